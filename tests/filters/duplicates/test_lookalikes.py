"""Near pictures by their hashes: against loops that anyone can check, in any order, and in floods of equal ones."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest

from poolsieve.filters.duplicates import hamming
from poolsieve.filters.duplicates.components import components
from poolsieve.filters.duplicates.hamming import CROWD, FURTHEST, bits_apart, near_pairs, thinned
from poolsieve.filters.duplicates.lookalikes import FEWEST, Looked, changes, picture_clusters


def bits_between(a: Any, b: Any) -> int:
    return (int(a) ^ int(b)).bit_count()


def flipped(values: Any, bits: int, rng: Any) -> Any:
    """Each with so many different bits flipped."""
    order = rng.permuted(np.tile(np.arange(64, dtype=np.uint64), (len(values), 1)), axis=1)[:, :bits]
    return values ^ (np.uint64(1) << order).sum(axis=1, dtype=np.uint64)


def family(seed: int, count: int = 25) -> Any:
    """Hashes and others at every distance from 0 to 14 of them."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 1 << 64, count, dtype=np.uint64)
    return np.unique(np.concatenate([flipped(base, bits, rng) for bits in range(15)]))


def pairs_of(edges: Any) -> set[tuple[int, int]]:
    return {(min(pair), max(pair)) for pair in edges.tolist()}


@pytest.mark.parametrize("distance", [0, 1, 2, 3, 6, 8, FURTHEST])
def test_no_pair_is_missed_whatever_the_parts(distance: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = family(distance)
    near = {(i, j) for (i, a), (j, b) in itertools.combinations(enumerate(hashes), 2) if bits_between(a, b) <= distance}
    assert distance == 0 or near
    assert pairs_of(near_pairs(hashes, distance).edges) == near
    for parts in (4, 6, 8):
        monkeypatch.setattr(hamming, "_PARTS", [parts])
        found = near_pairs(hashes, distance)
        assert pairs_of(found.edges) == near and not found.crowded
        assert all(bits_between(*hashes[pair]) == bits for pair, bits in zip(found.edges, found.apart, strict=True))


def test_fewer_edges_join_the_same_at_every_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = family(3, 40)
    whole = near_pairs(hashes, 10)
    edges, apart = thinned(whole.edges, whole.apart, len(hashes))
    assert len(edges) < len(hashes) < len(whole.edges)
    monkeypatch.setattr(hamming, "_KEPT", 100 - 2 * len(hashes))  # so that they are thinned out again and again
    again = near_pairs(hashes, 10)
    assert len(again.edges) < len(whole.edges)
    for level in range(11):
        wanted = components(whole.edges[whole.apart <= level])
        for some, bits in ((edges, apart), (again.edges, again.apart)):
            found = components(some[bits <= level])
            assert (found.rows == wanted.rows).all() and (found.labels == wanted.labels).all()


def test_a_crowd_is_joined_without_comparing_all_of_it() -> None:
    rng = np.random.default_rng(0)
    crowd = np.unique(flipped(np.full(3 * CROWD, 77 << 40, dtype=np.uint64), 3, rng))
    compared = []

    def counted(first: Any, second: Any, apart: Any) -> Any:
        compared.append(len(apart))
        return np.ones(len(apart), dtype=bool)

    found = near_pairs(crowd, 8, counted)
    assert found.crowded > CROWD and sum(compared) < len(crowd) ** 2 / 4
    joined = components(found.edges)
    assert len(np.unique(joined.labels)) == 1 and len(joined.rows) == len(crowd)


def plain_looks(a: Any, b: Any, distance: int) -> int | None:
    """Bits between two pictures that look alike."""

    def steps(dhash: int) -> int:
        rows = [[dhash >> (63 - 8 * r - c) & 1 for c in range(8)] for r in range(8)]
        return sum(x != y for line in [*rows, *zip(*rows, strict=True)] for x, y in itertools.pairwise(line))

    fewest, d, p = min(steps(int(a[0])), steps(int(b[0]))), bits_between(a[0], b[0]), bits_between(a[1], b[1])
    bits = min(p, d) if fewest >= FEWEST and 2 * d < fewest else p
    return bits if bits <= distance else None


def sketched(seed: int, count: int = 90) -> tuple[Any, Any, Any]:
    """(hashes, pictures as uint64 (n, 2), score) with families, copies, and dHashes of few changes."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 1 << 64, (12, 2), dtype=np.uint64)
    base[:4, 0] = [0, 0xFF << 32, 0xFFFFFFFF, 0x0F0F0F0F0F0F0F0F]
    made = base[rng.integers(0, 12, count)]
    for column in (0, 1):
        for bits in range(7):
            some = np.flatnonzero(rng.integers(0, 7, count) == bits)
            made[some, column] = flipped(made[some, column], bits, rng)
    hashes = rng.integers(0, 256, (count, 16), dtype=np.uint8)
    copied = rng.integers(0, count // 2, count // 6) + count // 2
    hashes[: len(copied)], made[: len(copied)] = hashes[copied], made[copied]
    return hashes, made, rng.integers(0, 5, count)


def found_in(hashes: Any, pictures: Any, score: Any, some: Any = None, rows: Any = None, **how: Any) -> Any:
    some = np.ones(len(hashes), dtype=bool) if some is None else some
    rows = np.arange(len(hashes), dtype=np.uint64) if rows is None else rows
    data = pictures.astype(">u8").view(np.uint8).reshape(len(hashes), 16)
    return picture_clusters(rows, hashes, data, some, score, **{"distance": 8, **how})


@pytest.mark.parametrize("seed", range(4))
def test_clusters_are_those_of_the_definition(seed: int) -> None:
    hashes, pictures, score = sketched(seed)
    order = sorted(range(len(hashes)), key=lambda i: (-score[i], hashes[i].tobytes(), i))
    leader: dict[int, int] = {}
    leaders, copies = list[int](), dict[bytes, int]()
    for i in order:
        first = copies.setdefault(hashes[i].tobytes(), i)
        taken = (k for k in leaders if plain_looks(pictures[k], pictures[i], 8) is not None)
        leader[i] = leader[first] if first != i else next(taken, i)
        leaders += [i] if leader[i] == i else []
    clusters = found_in(hashes, pictures, score).clusters
    assert clusters.of.tolist() == [leader[i] for i in range(len(hashes))]
    assert 12 <= len(leaders) < len(hashes) / 2
    for i, share in enumerate(clusters.similarity):
        bits = 0 if leader[i] == i else plain_looks(pictures[i], pictures[leader[i]], 8)
        assert bits is not None and share == np.float32((64 - bits) / 64)
    assert (clusters.rank == 0).sum() == len(leaders) and clusters.copy.max() >= 1


def test_order_and_numbers_of_rows_make_no_difference() -> None:
    hashes, pictures, score = sketched(9)
    first = found_in(hashes, pictures, score).clusters
    order = np.random.default_rng(1).permutation(len(hashes))
    again = found_in(hashes[order], pictures[order], score[order], rows=order.astype(np.uint64)).clusters
    for name in ("cluster", "of", "size", "rank", "copy", "similarity"):
        assert (getattr(again, name) == getattr(first, name)[order]).all(), name


def test_pictures_without_hashes_have_copies_alone() -> None:
    hashes, pictures = np.arange(16, dtype=np.uint64).view(np.uint8).reshape(8, 16).copy(), np.zeros((8, 2), np.uint64)
    hashes[3] = hashes[4]
    clusters = found_in(hashes, pictures, None, np.zeros(8, dtype=bool)).clusters
    assert sorted(clusters.size.tolist()) == [1] * 6 + [2, 2] and clusters.copy.sum() == 1
    empty = found_in(hashes[:0], pictures[:0], None)
    assert not len(empty.clusters.of) and not empty.crowded


def test_many_rows_that_look_the_same_are_one_cluster() -> None:
    rng = random.Random(0)
    pictures = np.array([[rng.getrandbits(64), rng.getrandbits(64)]] * 60_000, dtype=np.uint64)
    hashes = np.arange(2 * len(pictures), dtype=np.uint64).view(np.uint8).reshape(-1, 16)
    clusters = found_in(hashes, pictures, None).clusters
    assert (
        set(clusters.size) == {60_000}
        and not clusters.giants.components
        and sorted(clusters.rank) == list(range(60_000))
    )


def test_a_component_beyond_the_cap_is_split_and_its_rows_still_resemble_their_leaders() -> None:
    rng = np.random.default_rng(4)
    pictures = np.stack([rng.integers(0, 1 << 64, 300, dtype=np.uint64)] * 2, axis=1)
    for i in range(1, 300):  # a chain, of which each resembles the one before
        pictures[i, 1] = flipped(pictures[i - 1 : i, 1], 2, rng)[0]
    hashes = rng.integers(0, 256, (300, 16), dtype=np.uint8)
    whole, split = (found_in(hashes, pictures, None, cap=cap).clusters for cap in (1000, 50))
    assert not whole.giants.components and split.giants.components == 1
    for clusters in (whole, split):
        assert all(plain_looks(pictures[i], pictures[int(k)], 8) is not None for i, k in enumerate(clusters.of))


def test_a_dhash_of_few_changes_says_nothing() -> None:
    sky, other = np.uint64(0xFFFFFFFF_FFFFFFFF), np.uint64(0xA5C3_96F0_1B7D_E842)
    assert changes(np.array([sky, other])).tolist()[0] == 0 and changes(np.array([other]))[0] > 2 * 8
    for dhash, near in ((sky, False), (other, True)):
        looked = Looked(np.array([[dhash, 1], [dhash, 0xFFFF_FFFF]], dtype=">u8").view(np.uint8).reshape(2, 16))
        alike = looked.equal_bits(np.array([0]), np.array([1]))[0] >= 56
        assert alike == near and len(looked.measure(8)[0].edges) == near


def test_bits_are_counted_as_written_in_full() -> None:
    values = np.random.default_rng(0).integers(0, 1 << 64, (2, 200), dtype=np.uint64)
    values[0, :3], values[1, :3] = [0, 0, 1 << 63], [0, (1 << 64) - 1, 0]
    assert bits_apart(*values).tolist() == [bits_between(a, b) for a, b in values.T]
