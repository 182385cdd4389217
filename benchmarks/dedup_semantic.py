"""Near embeddings: what `dedup.semantic` finds of planted pairs, and how long it takes on one core.

    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 python benchmarks/dedup_semantic.py --rows 100000 --width 512

Embeddings lie around so many random directions, at a cosine of `--spread`; of each cosine, 2 % of the rows are planted
beside another row. For each stands the share that is found (in one cluster), and how many pairs one cell alone would
part; beside it what comparing all with all finds, if there are few enough rows. Seconds are the processor's. Where
faiss is installed, its spherical k-means (as many centres, rounds and vectors) is measured too, and how many of 1,000
of its own cosines have other bits when they are computed one by one.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from poolsieve.filters.duplicates.cells import ROUNDS, SAMPLE, centres, nearest_two
from poolsieve.filters.duplicates.meanings import meaning_clusters
from poolsieve.filters.duplicates.vectors import products, scaled

COSINES = (0.995, 0.97, 0.951, 0.94, 0.91)
ALL = 20_000
PART = 8192


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """(seconds, result)."""
    start = time.process_time()
    made = work()
    return time.process_time() - start, made


def peak() -> float:
    """GB that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def across(base: Any, cosine: float, rng: Any) -> Any:
    """One vector for each of `base`, at a cosine from it."""
    other = rng.normal(size=base.shape)
    other -= (other * base).sum(axis=1, keepdims=True) * base
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return cosine * base + math.sqrt(1 - cosine**2) * other


def planted(given: argparse.Namespace, seed: int) -> Any:
    """float32 (rows, width): first the planted ones, of each cosine 2 %, then what they are beside."""
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=(given.groups, given.width))
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    made, group = np.empty((given.rows, given.width), np.float32), rng.integers(0, given.groups, given.rows)
    for part in parts(0, given.rows):
        made[part] = across(middle[group[part]], given.spread, rng)
    few = given.rows // 50
    for i, cosine in enumerate(COSINES):
        for part in parts(i * few, (i + 1) * few):
            beside = slice(part.start + len(COSINES) * few, part.stop + len(COSINES) * few)
            made[part] = across(made[beside].astype(np.float64), cosine, rng)
    return made


def parts(start: int, stop: int) -> Iterator[slice]:
    """Some rows at a time: what is made of them on the way takes many times their memory."""
    return (slice(at, min(at + PART, stop)) for at in range(start, stop, PART))


def shares(same: Any, rows: int) -> str:
    """The share of each cosine's pairs that are in one."""
    few = rows // 50
    pairs = ((i * few, (len(COSINES) + i) * few) for i in range(len(COSINES)))
    found = (np.mean(same(slice(a, a + few), slice(b, b + few))) for a, b in pairs)
    return "  ".join(f"{cosine} {share:.3f}" for cosine, share in zip(COSINES, found, strict=True))


def rounded(values: Any) -> tuple[Any, Any]:
    """`scaled`, some rows at a time."""
    vectors, some = zip(*(scaled(values[part].astype(np.float64)) for part in parts(0, len(values))), strict=True)
    return np.concatenate(vectors), np.concatenate(some)


def searched(vectors: Any, some: Any, given: argparse.Namespace, cells: int | None) -> tuple[float, Any]:
    """(seconds, clusters)."""
    rows, how = np.arange(len(vectors), dtype=np.uint64), {"threshold": given.threshold, "cells": cells}
    return timed(lambda: meaning_clusters(rows, vectors, some, None, **how).clusters)


def peer(values: Any, count: int) -> str:
    """faiss's k-means, and its cosines one by one against many at a time."""
    import faiss

    faiss.omp_set_num_threads(1)
    sample = np.ascontiguousarray(values[: SAMPLE * count])
    made = faiss.Kmeans(values.shape[1], count, niter=ROUNDS, spherical=True, max_points_per_centroid=SAMPLE)
    seconds, _ = timed(lambda: made.train(sample))
    whole = values[:1000] @ made.centroids.T
    single = np.concatenate([values[i : i + 1] @ made.centroids.T for i in range(1000)])
    return f"faiss {faiss.__version__}: {seconds:.1f} s; float cosines that differ one by one: {(whole != single).any(axis=1).sum()} of 1,000 rows"


def measured(given: argparse.Namespace, seed: int) -> None:
    """Prints what is found in the pool of one seed."""
    values = planted(given, seed)
    scaling, (vectors, some) = timed(lambda: rounded(values))
    before = peak()
    count = given.clusters or math.isqrt(given.rows)
    seconds, found = searched(vectors, some, given, given.clusters)
    print(f"seed {seed}: {given.rows:,} of {given.width} numbers; rounding {scaling:.1f} s, the rest {seconds:.1f} s")
    print(f"  {peak():.2f} GB at most, {before:.2f} before, {values.nbytes / 1e9:.2f} of them the floats")
    print(f"  found: {shares(lambda a, b: found.cluster[a] == found.cluster[b], given.rows)}", flush=True)
    order = np.random.default_rng(seed).permutation(len(vectors))
    training, middles = timed(lambda: centres(vectors[order], count))
    near = nearest_two(vectors, middles)[:, 0]
    print(f"  in the same nearest of {count} cells: {shares(lambda a, b: near[a] == near[b], given.rows)}")
    if given.rows <= ALL:
        whole = searched(vectors, some, given, 1)[1]
        print(f"  all with all: {shares(lambda a, b: whole.cluster[a] == whole.cluster[b], given.rows)}")
    few, one = products(vectors[:1000], middles), (products(vectors[i : i + 1], middles) for i in range(1000))
    print(
        f"  k-means {training:.1f} s; products that differ one by one: {(few != np.concatenate(list(one))).any(axis=1).sum()} of 1,000 rows"
    )
    if importlib.util.find_spec("faiss") is not None:
        print(f"  {peer(values, count)}", flush=True)


def main() -> None:
    """Prints all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--groups", type=int, default=300)
    parser.add_argument("--spread", type=float, default=0.6, help="cosine between a row and its group's direction")
    parser.add_argument("--threshold", type=float, default=0.95)
    parser.add_argument("--clusters", type=int, help="cells; the root of the rows if not given")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    for seed in range(given.seeds):
        measured(given, seed)


if __name__ == "__main__":
    main()
