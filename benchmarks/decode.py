"""Pairs a second that one core prepares for CLIP: decode, resize and crop, tokenise, each apart and together.

    python benchmarks/decode.py --images 32 --runs 5

JPEGs whose longer side is 512 and 1,024 pixels, and captions as alt texts have them, for a ViT-B/32 at 224 pixels.
"ours" is what the scorer calls (`LoadedClip.decode` and its parts), "bare" is a loop of Pillow and open_clip's
transform and tokenizer; both on one core, in turn, by processor time, and their pixels and tokens are compared. Then,
by the clock, two threads on two cores, since what holds Python's lock does not scale; what remains where the libraries
have little to do; and captions of a megabyte.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from clip import model_folder
from common import pairs, seconds
from PIL import Image

from poolsieve.scoring_models import Clip
from poolsieve.scoring_models.base.images_io import decode_image
from poolsieve.scoring_models.clip.scorer import PIECE

WORDS = """
a the of and in with for on black white red new vintage photo image stock vector illustration portrait women's leather
wooden kitchen garden summer wedding dress shoes house | - & 2019 12 3x café naïve “best” – Zürich hotel
"""
"""What captions are drawn from: two in three have something beyond plain letters, marks and digits."""


def photographs(n: int, longer: int) -> list[bytes]:
    """JPEGs of 4:3: smooth noise, which compresses about as a photograph does."""
    made = []
    for seed in range(n):
        rough = np.random.default_rng(seed).integers(0, 255, (longer * 3 // 32, longer // 8, 3), dtype=np.uint8)
        sink = io.BytesIO()
        Image.fromarray(rough).resize((longer, longer * 3 // 4), Image.Resampling.BICUBIC).save(
            sink, "JPEG", quality=90
        )
        made.append(sink.getvalue())
    return made


def captions(n: int) -> list[str]:
    """Captions of 4 to 20 words."""
    dice = random.Random(0)
    return [" ".join(dice.choices(WORDS.split(), k=dice.randint(4, 20))) for _ in range(n)]


class Parts:
    """Both ways to prepare the same pairs, each step by itself."""

    def __init__(self, folder: Path, images: list[bytes], texts: list[str]) -> None:
        import open_clip

        name = f"local-dir:{folder}"
        _, _, self.transform = open_clip.create_model_and_transforms(name)
        self.tokenizer = open_clip.get_tokenizer(name)
        self.loaded = Clip(name, device="cpu").load()
        self.images, self.texts = images, texts
        self.batch = pa.record_batch({"image": pa.array(images, pa.binary()), "text": texts})
        self.decoded = [self.opened(data) for data in images]

    def opened(self, data: bytes) -> Image.Image:
        """Decoded, as a bare loop does it."""
        image = Image.open(io.BytesIO(data))
        image.load()
        return image

    def steps(self) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
        """Step -> (ours, bare); the transform of the bare loop includes normalisation, which ours does in the batch."""
        pixels, words = self.loaded.pixels, self.loaded.captions
        return {
            "decode": (lambda: [decode_image(x) for x in self.images], lambda: [self.opened(x) for x in self.images]),
            "resize, crop": (
                lambda: [pixels.of(x) for x in self.decoded],
                lambda: [self.transform(x) for x in self.decoded],
            ),
            "tokenise": (lambda: [words(self.texts)], lambda: [self.tokenizer(self.texts)]),
            "together": (self.ours, self.bare),
        }

    def ours(self) -> list[Any]:
        """Pairs of pixels and tokens, as the feed gets them."""
        return self.some(range(len(self.images)))

    def some(self, rows: Sequence[int]) -> list[Any]:
        """The pairs of some rows, in pieces as the feed takes them."""
        pieces = [rows[i : i + PIECE] for i in range(0, len(rows), PIECE)]
        return [row.inputs for piece in pieces for row in self.loaded.decode(self.batch, piece)[0]]

    def bare(self) -> list[Any]:
        """The same by a loop."""
        return [
            (self.transform(self.opened(data)), self.tokenizer([text])[0])
            for data, text in zip(self.images, self.texts, strict=True)
        ]

    def check(self) -> None:
        """Both ways must come to the same pixels and tokens."""
        for (pixels, tokens), (normal, expected) in zip(self.ours(), self.bare(), strict=True):
            assert np.array_equal(tokens, expected.numpy())
            mean, std = (np.array(getattr(self.loaded.pixels.normalise, name)) for name in ("mean", "std"))
            back = (normal.numpy().transpose(1, 2, 0) * std + mean) * 255
            assert np.array_equal(pixels, back.round().astype(np.uint8))


def cpu_pairs(first: Callable[[], object], second: Callable[[], object], runs: int) -> tuple[float, float, float]:
    """As `common.pairs`, in seconds of the processor, which a machine with other work on it changes less."""

    def cpu(work: Callable[[], object]) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    times = [(cpu(first), cpu(second)) for _ in range(runs)]
    a, b = zip(*times, strict=True)
    return statistics.median(a), statistics.median(b), statistics.median(x / y for x, y in times)


def threads(work: Callable[[Sequence[int]], object], rows: int, count: int) -> float:
    """Seconds in which so many threads do all rows, each its share."""
    shares = [range(i, rows, count) for i in range(count)]
    running = [threading.Thread(target=work, args=(share,)) for share in shares]

    def run() -> None:
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()

    return seconds(run)


def on_cores(count: int) -> None:
    """Leaves this thread, and those that it starts, so many of the process's cores."""
    os.sched_setaffinity(0, sorted(ALL)[:count])


ALL = os.sched_getaffinity(0)


def main() -> None:
    """Prints pairs a second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "poolsieve-benchmarks")
    given = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    model, texts, n = model_folder(given.folder), captions(given.images), given.images
    for longer in (512, 1024):
        of_size(model, photographs(n, longer), texts, given.runs)
    blank = io.BytesIO()
    Image.new("RGB", (224, 224)).save(blank, "PNG")
    small = Parts(model, [blank.getvalue()] * n, texts)
    ours, bare, ratio = cpu_pairs(small.ours, small.bare, given.runs)
    print(f"blank PNGs of 224 pixels: ours {ours / n * 1e6:.0f} us, bare {bare / n * 1e6:.0f} us: {ratio:.2f} of it")
    for name, text in LONG.items():
        took = seconds(lambda text=text: small.loaded.captions([text]))
        print(f"a caption of {len(text.encode()) / 1e6:.1f} MB, {name}: {took:.2f} s")


def of_size(model: Path, images: list[bytes], texts: list[str], runs: int) -> None:
    """Prints each step's pairs a second for images of one size."""
    parts, n = Parts(model, images, texts), len(images)
    parts.check()
    width, height = parts.decoded[0].size
    print(f"{width} x {height} pixels, files of {sum(map(len, images)) // n // 1000} KB, one core:")
    on_cores(1)
    for name, (ours, bare) in parts.steps().items():
        a, b, ratio = cpu_pairs(ours, bare, runs)
        print(f"  {name:12}  ours {n / a:7.0f}/s, bare {n / b:7.0f}/s: {1 / ratio:.2f} of it")
    on_cores(2)
    *_, ratio = pairs(lambda: threads(parts.some, n, 1), lambda: threads(parts.some, n, 2), runs)
    print(f"  two threads on two cores: {ratio:.2f} times one thread")
    on_cores(1)


LONG = {
    "words": "a photo of the house " * 47_600,
    "lines beyond ASCII": "café in “Zürich”, the best\n" * 36_000,
    "one line beyond ASCII": "café in “Zürich”, the best " * 36_000,
    "one word": "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=1_000_000)),
}


if __name__ == "__main__":
    main()
