"""Near duplicates: what sketches find of planted families, and how fast they are made on one core.

    python benchmarks/dedup.py                  # families among manual and HTML pages, or synthetic documents without any
    python benchmarks/dedup.py --peer ENV/bin/python      # datatrove's signature stage beside it

A family is a base of at least 260 words and its variants: copies, 1 %, 5 % and 15 % of the words replaced, paragraphs
shuffled, the first 90 % and the last 90 % of the words. The base is the best of its family. Bases of the two seeds are
different ones. For each kind stands the share of variants that are dropped, of families whose base stays (if another
family's row takes the base, a variant may have to stand for the others); "false" is the share of all dropped rows that
are of another family than the row which is kept instead and resemble it by less than .5 (true Jaccard of shingles of
five words). Seconds are the processor's, of one thread, clusters with the exact stage; `--peer` is another
environment's Python with datatrove 0.10, spaCy and an xxhash before 4. Both are measured in turns.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import in_fresh_process
from benchmarks.documents import files, manual, page
from poolsieve.filters import ExactHash, TextSketch
from poolsieve.filters.duplicates import signatures as signing
from poolsieve.filters.duplicates.bands import Bands
from poolsieve.filters.duplicates.chains import kept_by
from poolsieve.filters.duplicates.clusters import Near, clusters
from poolsieve.filters.duplicates.shingles import Texts, shingles
from poolsieve.filters.lines import UNITS, Pieces

BATCH = 4096
KINDS = ("exact", "1 %", "5 %", "15 %", "shuffled", "prefix", "suffix")
SETTINGS = {
    ".55 (the default)": Near(),
    ".60 (strict)": Near(leader=0.6),
    "32 x 8, .55": Near(bands=Bands(32, 8)),
}

PEER = """
import json, sys, tempfile, time
from datatrove.data import Document
from datatrove.pipeline.dedup import minhash
texts = [json.loads(line) for line in open(sys.argv[1])]
with tempfile.TemporaryDirectory() as folder:
    stage = minhash.MinhashDedupSignature(folder)
    stage.get_signature(stage.get_shingles("some words that load the tokenizer of english"))
    start = time.process_time()
    stage.run(iter([Document(text=text, id=str(i)) for i, text in enumerate(texts)]))
    signed = time.process_time() - start
print(json.dumps(signed))
"""


@dataclass(frozen=True)
class Planted:
    """Texts; the family of each, -1 for none; its kind."""

    texts: list[str]
    family: np.ndarray[Any, Any]
    kind: list[str]


def synthetic(count: int) -> Iterator[str]:
    """Documents of words whose frequencies fall as in a language, in sentences and paragraphs."""
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlucmfw", k=rng.randint(2, 9))) for _ in range(20_000)]
    weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(words))))
    for _ in range(count):
        parts = [
            " ".join(rng.choices(words, cum_weights=weights, k=rng.randint(20, 90))) for _ in range(rng.randint(4, 14))
        ]
        yield "\n".join(f"{part.capitalize()}." for part in parts)


def background(given: argparse.Namespace) -> list[str]:
    """Pages of this machine, as many as there are, or else synthetic documents."""
    pages = files(given.html, ("*.html", "*.html.en"), page) if given.html.is_dir() else iter(())
    manuals = files(Path("/usr/share/man"), ("man*/*",), manual) if Path("/usr/share/man").is_dir() else iter(())
    found = list(itertools.islice(itertools.chain(pages, manuals), given.documents))
    return found if len(found) >= 1000 else list(synthetic(given.documents))


def variant(kind: str, text: str, words: Sequence[str], rng: random.Random) -> str:
    """One variant of a text; `words` are what is put in for others."""
    tokens = text.split(" ")
    if kind == "exact":
        return text
    if kind == "shuffled":
        parts = text.split("\n")
        return "\n".join(rng.sample(parts, len(parts)))
    if kind == "prefix":
        return " ".join(tokens[: len(tokens) * 9 // 10])
    if kind == "suffix":
        return " ".join(tokens[len(tokens) // 10 :])
    share = float(kind.split(maxsplit=1)[0]) / 100
    return " ".join(rng.choice(words) if rng.random() < share else token for token in tokens)


def planted(texts: list[str], seed: int, bases: int, each: int) -> Planted:
    """The documents and the families of one seed, in a random order."""
    rng = random.Random(seed)
    able = [i for i, text in enumerate(texts) if len(text.split()) >= 260 and text.count("\n") >= 4]
    chosen = random.Random(0).sample(able, min(len(able), 2 * bases))[seed * bases : (seed + 1) * bases]
    words = sorted({word for text in texts[:300] for word in text.split()})
    family = np.full(len(texts), -1)
    family[chosen] = np.arange(len(chosen))
    rows = [(text, int(group), "other" if group < 0 else "base") for text, group in zip(texts, family, strict=True)]
    for number, base in enumerate(chosen):
        rows += [(variant(kind, texts[base], words, rng), number, kind) for kind in KINDS for _ in range(each)]
    rng.shuffle(rows)
    made, groups, kinds = zip(*rows, strict=True)
    return Planted(list(made), np.array(groups), list(kinds))


def sketched(texts: list[str]) -> tuple[float, Any, Any, Any]:
    """(seconds of the sketch, hashes (n, 16), sketches (n, 256), which rows have one)."""
    batches = [pa.record_batch({"text": texts[i : i + BATCH]}) for i in range(0, len(texts), BATCH)]
    start = time.process_time()
    near = pa.concat_arrays([TextSketch().score(batch).columns[""] for batch in batches])
    taken = time.process_time() - start
    exact = pa.concat_arrays([ExactHash().score(batch).columns[""] for batch in batches])
    arrays = (
        np.frombuffer(one.fill_null(bytes(n)).buffers()[1], np.uint8, n * len(texts)).reshape(-1, n)
        for one, n in ((exact, 16), (near, 256))
    )
    return taken, *arrays, np.asarray(near.is_valid())


class Judge:
    """True similarity: Jaccard of hashed shingles."""

    def __init__(self, texts: list[str]) -> None:
        self.texts, self.known = texts, dict[int, Any]()

    def of(self, row: int) -> Any:
        """The set of a row."""
        if row not in self.known:
            parts = [hashes for _, hashes in shingles(Texts.of(pa.array([self.texts[row]])))]
            self.known[row] = np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.uint64)
        return self.known[row]

    def similarity(self, a: int, b: int) -> float:
        """Of two rows; 1 if neither has a shingle."""
        if self.texts[a] == self.texts[b]:
            return 1.0
        x, y = self.of(a), self.of(b)
        both = len(np.intersect1d(x, y, assume_unique=True))
        return both / (len(x) + len(y) - both) if len(x) + len(y) else 1.0


def judged(pool: Planted, kept: np.ndarray[Any, Any], judge: Judge) -> str:
    """What is to be said of the place of the row that is kept for each."""
    dropped = kept != np.arange(len(kept))
    own = (pool.family[kept] == pool.family) & (pool.family >= 0)
    foreign = np.flatnonzero(dropped & ~own)
    false = sum(judge.similarity(int(i), int(kept[i])) < 0.5 for i in foreign)
    kind = np.array(pool.kind)
    taken = pool.family[dropped & (kind == "base")]
    counts = ~np.isin(pool.family, taken)
    shares = "  ".join(f"{name} {dropped[counts & (kind == name)].mean():.3f}" for name in KINDS)
    said = f"dropped {dropped.sum()}, {len(taken)} bases among them  false {false / max(dropped.sum(), 1):.2%}"
    return f"{shares}  {said}"


def peer(python: str, texts: list[str]) -> float:
    """Seconds of datatrove's signature stage."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write("".join(json.dumps(text) + "\n" for text in texts))
        file.flush()
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        command, env = [python, "-c", PEER, file.name], {**os.environ, **one}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(done.stdout.splitlines()[-1])


WAYS = {"NumPy": sys.maxsize, **({"numba": 0} if importlib.util.find_spec("numba") else {})}
"""Characters from which numba is taken."""


def signed(texts: list[str], kind: str, way: str) -> float:
    """Seconds of the signatures of `dedup.datatrove` ("xxh64") or `dedup.fineweb` ("sha1")."""
    signing.MANY, start = WAYS[way], time.process_time()
    for i in range(0, len(texts), BATCH):
        signing.signatures(texts[i : i + BATCH], kind=kind)
    return time.process_time() - start


def lines_counted(texts: list[str], unit: str) -> tuple[float, float]:
    """(seconds, bytes of records a MB) of what `lines.repeated` counts, the texts as one shard."""
    start = time.process_time()
    found = np.unique(np.concatenate([Pieces(unit=unit).hashes(text)[1] for text in texts]), return_counts=True)
    return time.process_time() - start, 16 * len(found[0]) / (sum(len(text.encode()) for text in texts) / 1e6)


def speed(texts: list[str], given: argparse.Namespace) -> None:
    """Prints MB/s of the sketch, of our signatures and, with a peer, of datatrove's signature stage."""
    size = sum(len(text.encode()) for text in texts) / 1e6
    sketched(texts[:200])
    ours = [size / sketched(texts)[0] for _ in range(given.runs)]
    print(
        f"{len(texts)} documents, {size:.1f} MB; sketch {statistics.median(ours):.0f} MB/s ({min(ours):.0f} to {max(ours):.0f})",
        flush=True,
    )
    some = texts[:: max(1, len(texts) // given.sample)]
    part = sum(len(text.encode()) for text in some) / 1e6
    for kind, way in itertools.product(("xxh64", "sha1"), WAYS):
        signed(texts[1:200], kind, way)
        rates = sorted(part / signed(some, kind, way) for _ in range(given.runs))
        said = f"{statistics.median(rates):.1f} MB/s ({rates[0]:.1f} to {rates[-1]:.1f})"
        print(f"{len(some)} of them: signatures by {kind}, {way} {said}", flush=True)
    for unit in UNITS:
        taken, counted = lines_counted(some, unit)
        print(f"{len(some)} of them: {unit} {part / taken:.0f} MB/s, {counted:.0f} bytes of records a MB", flush=True)
    if given.peer:
        pairs = [(peer(given.peer, some), sketched(some)[0]) for _ in range(given.runs)]
        ratios = sorted(theirs / mine for theirs, mine in pairs)
        theirs = statistics.median(part / pair[0] for pair in pairs)
        print(
            f"{len(some)} of them: datatrove's signatures {theirs:.2f} MB/s, the sketch {statistics.median(ratios):.0f} times ({ratios[0]:.0f} to {ratios[-1]:.0f})",
            flush=True,
        )


def chained(texts: list[str]) -> np.ndarray[Any, Any]:
    """int64 (n,): the row that `dedup.datatrove` keeps for each, all texts in one file."""
    found = [one for i in range(0, len(texts), BATCH) for one in signing.signatures(texts[i : i + BATCH])]
    signed = np.array([i for i, one in enumerate(found) if one is not None], dtype=np.int64)
    kept = np.arange(len(texts))
    kept[signed] = signed[kept_by(np.stack([one for one in found if one is not None]).reshape(len(signed), 14, 8))]
    return kept


def quality(texts: list[str], given: argparse.Namespace) -> None:
    """Prints what is found of the families of each seed."""
    for seed in range(given.seeds):
        pool = planted(texts, seed, given.bases, given.each)
        _, exact, near, some = sketched(pool.texts)
        judge, rows = Judge(pool.texts), np.arange(len(pool.texts), dtype=np.uint64)
        base = np.array([kind == "base" for kind in pool.kind], dtype=float)  # a family's base is the best of it
        print(f"seed {seed}: {len(pool.texts)} documents")
        for name, setting in SETTINGS.items():
            start = time.process_time()
            found = clusters(rows, exact, near, some, base, setting)
            taken = time.process_time() - start
            print(f"  {name}: {judged(pool, found.of.astype(np.int64), judge)}  ({taken:.1f} s)", flush=True)
        print(f"  chains (dedup.datatrove): {judged(pool, chained(pool.texts), judge)}", flush=True)


ROOTS = """
import resource, time
import numpy as np
from poolsieve.filters.duplicates import roots
count = int(sys.argv[1])
work = getattr(roots, sys.argv[2])
work(10, np.arange(9), np.arange(1, 10))
first, second = np.random.default_rng(0).integers(0, count, (2, count))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
start = time.process_time()
found = work(count, first, second)
result = {"seconds": time.process_time() - start, "before_mb": before, "sum": int(found.sum())}
"""


def edges_a_second(count: int) -> None:
    """Prints seconds and memory of components of `count` random edges between as many rows, by each way there is."""
    ways = ["hooked", *(["joined"] if importlib.util.find_spec("numba") else [])]
    found = {way: in_fresh_process(ROOTS, str(count), way) for way in ways}
    for way, one in found.items():
        more = one["peak_mb"] - one["before_mb"]
        print(f"components of {count:,} edges, {way}: {one['seconds']:.1f} s, {more:.0f} MB above the edges")
    if len({one["sum"] for one in found.values()}) > 1:
        raise SystemExit("the ways differ")


def main() -> None:
    """Prints speed, then quality."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000, help="most that are taken beside the families")
    parser.add_argument("--html", type=Path, default=Path("/usr/share/doc"), metavar="FOLDER")
    parser.add_argument("--bases", type=int, default=200, help="families of a seed")
    parser.add_argument("--each", type=int, default=5, help="variants of each kind")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peer", metavar="PYTHON", help="interpreter with datatrove 0.10, spaCy and xxhash<4")
    parser.add_argument("--sample", type=int, default=500, help="documents that datatrove reads")
    parser.add_argument("--edges", type=int, default=0, help="components of so many edges too")
    given = parser.parse_args()
    texts = background(given)
    speed(texts, given)
    quality(texts, given)
    if given.edges:
        edges_a_second(given.edges)


if __name__ == "__main__":
    main()
