"""Near pictures: what `dedup.images` finds of planted variants of photographs, and how fast they are hashed on one core.

    python benchmarks/dedup_images.py FOLDER        # of photographs, of any size and format that Pillow reads
    python benchmarks/dedup_images.py --made 60     # pictures made of noise, where there are none
    python benchmarks/dedup_images.py FOLDER --hashes 1000000     # the join of so many random hashes too

Photographs, and by themselves the cells of a grid over each (up to 3 x 2 of 512 pixels and more, many of which are sky or
blurred), are distinct pictures of 512 pixels. For each kind of variant stands the share that is near to its own
picture; then how many of the distinct ones are dropped, and how many pairs of them are near, which are the wrong ones,
but for what two of the photographs really have in common. Cropped and mirrored ones are what no such hash finds. Seconds are the processor's, of one thread, the median of `--runs`; where the package `imagehash` is installed, its
`dhash` of the same files is measured in turns.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

sys.path.insert(0, str(Path(__file__).parents[1]))

from poolsieve.filters import ExactHash, ImageHash
from poolsieve.filters.duplicates.hamming import BITS, bits_apart, near_pairs
from poolsieve.filters.duplicates.lookalikes import Looked, picture_clusters

SIDE = 512
DISTANCES = (4, 8, 10, 12)


def encoded(image: Any, quality: int = 90) -> bytes:
    """A JPEG."""
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=quality)
    return sink.getvalue()


def marked(image: Any) -> Any:
    """With a white mark in its lower right corner, of 5 % of its area."""
    other, (width, height) = image.copy(), image.size
    other.paste((255, 255, 255), (int(0.58 * width), int(0.86 * height), int(0.97 * width), int(0.98 * height)))
    return other


def cropped(image: Any) -> Any:
    """Without a tenth of its width and height."""
    width, height = image.size
    return image.crop((width // 20, height // 20, width - width // 20, height - height // 20))


CHANGES: dict[str, Callable[[Any], bytes]] = {
    "copy": encoded,
    "resized": lambda image: encoded(image.resize((image.width * 3 // 5, image.height * 3 // 5))),
    "blurred": lambda image: encoded(image.filter(ImageFilter.GaussianBlur(2))),
    "q30": lambda image: encoded(image, 30),
    "brighter": lambda image: encoded(ImageEnhance.Brightness(image).enhance(1.25)),
    "darker": lambda image: encoded(ImageEnhance.Brightness(image).enhance(0.75)),
    "watermark": lambda image: encoded(marked(image)),
    "cropped": lambda image: encoded(cropped(image)),
    "mirrored": lambda image: encoded(ImageOps.mirror(image)),
}


def made(count: int) -> Iterator[Any]:
    """Pictures of noise of several sizes, as strong as in photographs."""
    for seed in range(count):
        rng, total = np.random.default_rng(seed), np.zeros((SIDE, SIDE, 3))
        for cells in (2, 4, 8, 16, 32, 64, 128, 256):
            small = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
            total += np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=float) / cells
        yield Image.fromarray((255 * (total - total.min()) / (total.max() - total.min())).astype(np.uint8))


def photographs(folder: Path) -> Iterator[Any]:
    """Those of a folder, on white where they are transparent."""
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")):
        image = Image.open(path).convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        yield white


def cells(image: Any) -> Iterator[Any]:
    """Up to 3 x 2 cuts of a photograph, of 512 pixels and more each."""
    columns, rows = min(3, image.width // SIDE), min(2, image.height // SIDE)
    for cell in range(columns * rows if columns * rows > 1 else 0):
        x, y = cell % columns * image.width // columns, cell // columns * image.height // rows
        yield small(image.crop((x, y, x + image.width // columns, y + image.height // rows)))


def small(image: Any) -> Any:
    """Of 512 pixels in its longer side."""
    scale = SIDE / max(image.size)
    return image.resize((round(scale * image.width), round(scale * image.height)), Image.Resampling.LANCZOS)


def hashed(data: list[bytes]) -> dict[str, Any]:
    """`exact` and `picture`, uint8 (n, 16) both, and `some`, bool (n,), which have a picture's hash."""
    batch = pa.record_batch({"image": data})
    columns = {**ImageHash().score(batch).columns, "exact": ExactHash("image").score(batch).columns[""]}
    made = {
        name: np.array([np.frombuffer(one or bytes(8), np.uint8) for one in column.to_pylist()])
        for name, column in columns.items()
    }
    picture = np.concatenate([made["dhash"], made["phash"]], axis=1)
    return {"exact": made["exact"], "picture": picture, "some": np.asarray(columns["dhash"].is_valid())}


def quality(images: list[Any], label: str) -> None:
    """Prints what is found at each distance."""
    base = hashed([encoded(image) for image in images])
    images = [image for image, some in zip(images, base["some"], strict=True) if some]
    print(f"{len(base['some'])} {label}, {len(base['some']) - len(images)} of them without structure")
    base = {name: values[base["some"]] for name, values in base.items()}
    sets = {name: hashed([change(image) for image in images]) for name, change in CHANGES.items()}
    for distance in DISTANCES:
        print(f"  {distance} bits: {said(base, sets, distance)}", flush=True)
    for each in (10, 12, 14):
        print(f"  8 bits, or {each} of both hashes: {together(base, sets, 8, each)}", flush=True)


def said(base: dict[str, Any], sets: dict[str, Any], distance: int) -> str:
    """What is to be said of one distance."""
    shares = [f"{name} {one:.3f}" for name, one in shares_of(base, sets, distance).items()]
    count = len(base["some"])
    clusters = picture_clusters(
        np.arange(count, dtype=np.uint64), base["exact"], base["picture"], base["some"], None, distance=distance
    ).clusters
    merged = f"{(clusters.rank > 0).sum()} of {count} distinct ones dropped"
    return f"{'  '.join(shares)}  {merged}, {pairs_near(base, distance)} of {count * (count - 1) // 2} pairs near"


def shares_of(base: dict[str, Any], sets: dict[str, Any], distance: int) -> dict[str, float]:
    """The share of each kind's variants that are near to their own picture."""
    own = np.arange(len(base["some"]))
    near = {name: Looked(np.concatenate([base["picture"], other["picture"]])) for name, other in sets.items()}
    bits = {name: alike.equal_bits(own, own + len(own)) for name, alike in near.items()}
    return {name: float(np.mean((bits[name] >= BITS - distance) & sets[name]["some"])) for name in sets}


def together(base: dict[str, Any], sets: dict[str, Any], distance: int, each: int) -> str:
    """The same if pictures of which both hashes are within `each` bits were near as well."""
    first, second = np.triu_indices(len(base["picture"]), 1)
    near = {name: Looked(np.concatenate([base["picture"], other["picture"]])) for name, other in sets.items()}
    own = np.arange(len(base["some"]))
    shares = (
        f"{name} {np.mean(_either(looked, own, own + len(own), distance, each) & sets[name]['some']):.3f}"
        for name, looked in near.items()
    )
    return f"{'  '.join(shares)}  {_either(Looked(base['picture']), first, second, distance, each).sum()} pairs near"


def _either(looked: Looked, first: Any, second: Any, distance: int, each: int) -> Any:
    both = [bits_apart(hashes[first], hashes[second]) <= each for hashes in (looked.dhash, looked.phash)]
    return (looked.equal_bits(first, second) >= BITS - distance) | (both[0] & both[1])


def pairs_near(base: dict[str, Any], distance: int) -> int:
    """How many pairs of distinct pictures are near."""
    first, second = np.triu_indices(len(base["picture"]), 1)
    return int((Looked(base["picture"]).equal_bits(first, second) >= BITS - distance).sum())


def speed(images: list[Any], runs: int) -> None:
    """Prints pictures a second of our hashes, and of `imagehash.dhash`."""
    data = [encoded(image) for image in images]
    batch = pa.record_batch({"image": data})
    ways: dict[str, Callable[[], Any]] = {"ImageHash (both hashes)": lambda: ImageHash().score(batch)}
    if importlib.util.find_spec("imagehash") is not None:
        import imagehash

        ways["imagehash.dhash"] = lambda: [imagehash.dhash(Image.open(io.BytesIO(one))) for one in data]
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, work in ways.items():
            start = time.process_time()
            work()
            taken[name].append(len(data) / (time.process_time() - start))
    size = sum(map(len, data)) / len(data) / 1000
    for name, rates in taken.items():
        print(
            f"{name}: {statistics.median(rates):.0f} pictures of {size:.0f} kB a second ({min(rates):.0f} to {max(rates):.0f})"
        )


def join(count: int) -> None:
    """Prints seconds of the join of random hashes at distance 8, and what it finds of those that were planted."""
    rng = np.random.default_rng(0)
    hashes = np.unique(rng.integers(0, 1 << 64, count, dtype=np.uint64))
    near = hashes[: count // 100].copy()
    for bits in rng.permuted(np.tile(np.arange(64, dtype=np.uint64), (len(near), 1)), axis=1).T[:8]:
        near ^= np.uint64(1) << bits
    both = np.unique(np.concatenate([hashes, near]))
    start = time.process_time()
    edges = near_pairs(both, 8).edges
    taken = time.process_time() - start
    pairs = np.sort(both[edges.astype(np.int64)], axis=1)
    planted = np.sort(np.stack([hashes[: len(near)], near], axis=1), axis=1)
    seen = {tuple(pair) for pair in pairs.tolist()}
    share = np.mean([tuple(pair) in seen for pair in planted.tolist()])
    print(
        f"join of {len(both):,} hashes at 8 bits: {taken:.1f} s, {share:.4f} of {len(near):,} planted pairs, {len(edges):,} edges"
    )


def main() -> None:
    """Prints quality, then speed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="of photographs")
    parser.add_argument("--made", type=int, default=60, help="pictures of noise, without a folder")
    parser.add_argument("--hashes", type=int, default=0, help="join so many random hashes")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    if given.folder:
        whole, cut = [], []
        for image in photographs(given.folder):
            whole.append(small(image))
            cut += cells(image)
        quality(whole, "photographs")
        quality(cut, "cuts of them")
    else:
        whole, cut = list(made(given.made)), []
        quality(whole, "pictures of noise")
    speed(whole + cut, given.runs)
    if given.hashes:
        join(given.hashes)


if __name__ == "__main__":
    main()
