"""What precision and backend cost and change on this machine's CPU, for CLIP and for an encoder shaped like Celadon.

    python benchmarks/precision.py --pairs 256 --documents 128 --runs 3
    python benchmarks/precision.py --clip hf-hub:apple/DFN-public --tar pool/00000.tar --no-encoder
    python benchmarks/precision.py --encoder PleIAs/celadon --jsonl documents.jsonl --no-clip

Each line is one backend and precision: how many times as fast as torch in fp32, measured in turn with it, for the whole
scorer (decoding and tokenising included); the largest difference of a score; and the share of rows that a threshold
which keeps the best 20 % by torch in fp32 would judge otherwise. An encoder's score is its expected total of severities,
from 0 to 15; the best are the lowest.

Without models named, the networks are a ViT-B-32 and Celadon's architecture with random weights. Speed does not depend
on weights; differences and flips do, and there they are a stand-in at best: scores of random networks lie closer
together than those of trained ones. So they are also counted for the demo's trained networks, which are small. For the
network that you mean to run, name it, and a shard of the pool that you mean to run it on.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from celadon import model_folder as celadon_folder
from clip import model_folder as clip_folder
from clip import photographs
from common import pairs

from poolsieve.dataflow.runners.base import threads_for
from poolsieve.scoring_models import Celadon, Clip
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.encoders.celadon import CATEGORIES
from poolsieve.scoring_models.feeding.driver import score_rows
from tests.filters.corpus import real

Array = np.ndarray[Any, Any]

DEMO = Path(__file__).parents[1] / "recipes" / "demo"
OTHERS = (("torch", "bf16"), ("openvino", "fp32"), ("openvino", "bf16"))
KEPT = 0.2


@dataclass(frozen=True)
class Case:
    """A network and rows for it.

    Attributes:
        name: for people.
        scorer: (backend, precision) -> a configuration.
        batch: the rows.
        number: columns -> float (n,): the higher, the better.
        work: what the rows are, in `unit`.
        unit: of `work`.
    """

    name: str
    scorer: Callable[[str, str], Any]
    batch: pa.RecordBatch
    number: Callable[[Mapping[str, pa.Array]], Array]
    work: int
    unit: str

    def run(self, loaded: Any) -> Array:
        """The rows' numbers."""
        made = score_rows(loaded, self.batch, loaded.config.columns, threads=threads_for(1))
        assert not made.errors, made.errors
        return self.number(made.columns)


def report(case: Case, runs: int) -> None:
    """Prints a line for torch in fp32, and one for each other backend and precision; without runs, no speed."""
    base = case.scorer("torch", "fp32").load()
    expected = case.run(base)
    limit = threshold(expected)
    print(f"{case.name}: {case.batch.num_rows} rows, scores {expected.min():.4f} to {expected.max():.4f}", flush=True)
    for backend, precision in OTHERS:
        try:
            loaded = case.scorer(backend, precision).load()
        except PlanError as error:
            print(f"  {backend} {precision}: {error}", flush=True)
            continue
        found = case.run(loaded)
        speed = speeds(case, loaded, base, runs) if runs else ""
        off, flips = np.abs(found - expected).max(), ((found >= limit) != (expected >= limit)).mean()
        print(f"  {backend} {precision}: {speed}largest difference {off:.1e}, {flips:.2%} of verdicts flip", flush=True)


def threshold(numbers: Array) -> float:
    """Halfway between the last that is kept and the first that is not: at a row's own number a last bit would flip it."""
    ranked = np.sort(numbers)
    first = len(ranked) - max(1, round(KEPT * len(ranked)))
    return float(ranked[max(first - 1, 0) : first + 1].mean(dtype=np.float64))


def speeds(case: Case, loaded: Any, base: Any, runs: int) -> str:
    """Throughput, and the ratio to torch in fp32."""
    mine, theirs, ratio = pairs(lambda: case.run(loaded), lambda: case.run(base), runs)
    rates = f"{case.work / mine:.1f} {case.unit}/s, torch fp32 {case.work / theirs:.1f}"
    return f"{1 / ratio:.2f} times ({rates}); "


def clip_case(name: str, model: str, images: list[bytes], captions: list[str]) -> Case:
    """CLIP over pairs; the number is the similarity."""
    batch = pa.record_batch({"image": pa.array(images, pa.binary()), "text": captions})

    def scorer(backend: str, precision: str) -> Clip:
        return Clip(model, backend=backend, precision=precision, device="cpu")

    return Case(name, scorer, batch, lambda made: made[""].to_numpy(), len(images), "pairs")


def celadon_case(name: str, model: str, documents: list[str]) -> Case:
    """Celadon over documents; the number is minus the expected total of severities."""

    def scorer(backend: str, precision: str) -> Celadon:
        return Celadon(model, backend=backend, precision=precision, device="cpu", probabilities=True)

    def number(made: Mapping[str, pa.Array]) -> Array:
        shares = [np.stack(made[f"{name}_probabilities"].to_numpy(zero_copy_only=False)) for name in CATEGORIES]
        return -sum((part @ np.arange(4) for part in shares), np.zeros(len(documents)))

    tokenizer = scorer("torch", "fp32").load().tokenizer
    tokens = sum(len(ids) for ids in tokenizer(documents, add_special_tokens=False)["input_ids"])
    return Case(name, scorer, pa.record_batch({"text": documents}), number, tokens, "tokens")


def tar_pairs(path: Path, n: int) -> tuple[list[bytes], list[str]]:
    """The first pairs of a WebDataset shard: members that share a key, an image and a `.txt`."""
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as file:
        for member in file:
            key, _, ending = member.name.partition(".")
            kind = "image" if ending in ("jpg", "jpeg", "png", "webp") else ending
            if member.isfile() and kind in ("image", "txt"):
                found.setdefault(key, {})[kind] = file.extractfile(member).read()  # type: ignore[union-attr]
    whole = [pair for pair in found.values() if len(pair) == 2][:n]
    return [pair["image"] for pair in whole], [pair["txt"].decode(errors="replace") for pair in whole]


def jsonl_texts(path: Path, n: int) -> list[str]:
    """The first texts of a file of JSON lines, by their key `text`."""
    with path.open() as file:
        return [json.loads(line)["text"] for line, _ in zip(file, range(n), strict=False)]


def demo_pairs(n: int) -> tuple[list[bytes], list[str]]:
    """Scenes that the demo's CLIP was not trained on; every second caption is wrong in one detail."""
    sys.path.insert(0, str(DEMO))
    from world import caption, draw, encoded, scene, wrong_in_one_detail

    numbers = range(5_000_000, 5_000_000 + n)
    told = [scene(i) if i % 2 else wrong_in_one_detail(scene(i), i) for i in numbers]
    return [encoded(draw(scene(i), i, side=128)) for i in numbers], [
        caption(what, i) for what, i in zip(told, numbers, strict=True)
    ]


def demo_documents(n: int) -> list[str]:
    """Documents in the demo's words."""
    sys.path.insert(0, str(DEMO))
    from train_celadon import example

    dice = random.Random("flips")
    return [example(dice, 24)[0] for _ in range(n)]


def clips(given: argparse.Namespace) -> None:
    """CLIP's lines."""
    if given.clip:
        images = tar_pairs(given.tar, given.pairs) if given.tar else _stand_in(given.pairs)
        report(clip_case(given.clip, given.clip, *images), given.runs)
        return
    model = f"local-dir:{clip_folder(given.folder)}"
    report(clip_case("CLIP ViT-B-32, random weights", model, *_stand_in(given.pairs)), given.runs)
    report(clip_case("the demo's trained CLIP", f"local-dir:{DEMO / 'clip'}", *demo_pairs(2000)), 0)


def _stand_in(n: int) -> tuple[list[bytes], list[str]]:
    return photographs(n), [f"a photo of thing {i}" for i in range(n)]


def encoders(given: argparse.Namespace) -> None:
    """Celadon's lines."""
    documents = jsonl_texts(given.jsonl, given.documents) if given.jsonl else list(real(given.documents))
    if given.encoder:
        report(celadon_case(given.encoder, given.encoder, documents), given.runs)
        return
    short = [text[:2000] for text in documents]
    report(celadon_case("Celadon's shape, random weights", str(celadon_folder(given.folder)), short), given.runs)
    report(celadon_case("the demo's trained Celadon", str(DEMO / "celadon"), demo_documents(2000)), 0)


def main() -> None:
    """Prints the lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--documents", type=int, default=128)
    parser.add_argument("--runs", type=int, default=3, help="0: differences and flips alone")
    parser.add_argument("--clip", metavar="MODEL", help="hf-hub:organisation/name or local-dir:/path")
    parser.add_argument("--tar", type=Path, help="a WebDataset shard with pairs for CLIP")
    parser.add_argument("--encoder", metavar="MODEL", help="a repository or folder in Celadon's layout")
    parser.add_argument("--jsonl", type=Path, help="documents for the encoder, by their key `text`")
    parser.add_argument("--no-clip", action="store_true")
    parser.add_argument("--no-encoder", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "poolsieve-benchmarks")
    given = parser.parse_args()
    if not given.no_clip:
        clips(given)
    if not given.no_encoder:
        encoders(given)


if __name__ == "__main__":
    main()
