"""Near embeddings in whole numbers: against loops that anyone can check, bit by bit, whatever the blocks and the order."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.filters.duplicates import cells, meanings
from poolsieve.filters.duplicates.cells import centres, members, nearest_two
from poolsieve.filters.duplicates.meanings import meaning_clusters
from poolsieve.filters.duplicates.vectors import LENGTH, WIDEST, directions, paired, products, scaled
from poolsieve.scoring_models.base.errors import PoolsieveError


def embeddings(seed: int, count: int = 240, width: int = 24, groups: int = 6) -> Any:
    """float32 (count, width) of unit vectors in groups; a third are near to another, by .9 to .999, or equal to it."""
    rng = np.random.default_rng(seed)
    made = rng.normal(size=(groups, width))[rng.integers(0, groups, count)] + rng.normal(size=(count, width))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    few = count // 3
    base, other = made[few : 2 * few], rng.normal(size=(few, width))
    other -= (other * base).sum(axis=1, keepdims=True) * base
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    cosine = rng.choice([0.9, 0.94, 0.96, 0.99, 0.999, 1], (few, 1))
    made[:few] = cosine * base + np.sqrt(1 - cosine**2) * other
    return made.astype(np.float32)


def found_in(values: Any, score: Any = None, rows: Any = None, **how: Any) -> Any:
    vectors, some = scaled(values.astype(np.float64))
    rows = np.arange(len(values), dtype=np.uint64) if rows is None else rows
    return meaning_clusters(rows, vectors, some, score, **{"threshold": 0.95, **how})


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=12))
def test_a_vector_is_what_the_definition_says(values: list[float]) -> None:
    (made,), (some,) = scaled(np.array([values]))
    assert some == any(values)
    if not some:
        assert not made.any()
        return
    exact = [Fraction(value) for value in values]
    shift = Fraction(2) ** (20 - math.frexp(max(map(abs, values)))[1])
    whole = [round(value * shift) for value in exact]  # to even, as IEEE 754 does
    length = math.sqrt(sum(value * value for value in whole))
    assert made.tolist() == [round(value * LENGTH / length) for value in whole]


@pytest.mark.parametrize("width", [3, 512, WIDEST])
def test_products_are_exact_in_any_block_and_order(width: int) -> None:
    rng = np.random.default_rng(width)
    vectors, _ = scaled(rng.normal(size=(40, width)) * 10.0 ** rng.integers(-30, 30, (40, 1)))
    vectors[1], vectors[2] = vectors[0], -vectors[0]  # the largest products that there are
    wanted = vectors.astype(object) @ vectors.astype(object).T
    assert abs(wanted).max() < 2**24
    assert (products(vectors, vectors) == wanted.astype(np.int64)).all()
    assert (products(vectors[5:6], vectors)[0] == wanted[5].astype(np.int64)).all()
    order = rng.permutation(width)
    assert (products(vectors[:, order], vectors[:, order]) == products(vectors, vectors)).all()
    assert (paired(vectors[:-1], vectors[1:]) == [wanted[i, i + 1] for i in range(39)]).all()


def plain(values: Any, score: Any, threshold: float) -> list[int]:
    """The row that stands for each, all compared with all."""
    vectors, some = scaled(values.astype(np.float64))
    import xxhash

    exact = vectors.astype(np.int64)
    keys = [xxhash.xxh3_128_digest(row.astype("<i2").tobytes()) for row in vectors]

    def cosine(i: int, k: int) -> float:
        return int(exact[i] @ exact[k]) / math.sqrt(int(exact[i] @ exact[i]) * int(exact[k] @ exact[k]))

    leaders, of = list[int](), list(range(len(values)))
    for i in sorted(np.flatnonzero(some).tolist(), key=lambda i: (-score[i], keys[i], i)):
        of[i] = next((k for k in leaders if keys[k] == keys[i] or cosine(i, k) >= threshold), i)
        leaders += [i] if of[i] == i else []
    return of


@pytest.mark.parametrize("seed", range(3))
def test_clusters_are_those_of_the_definition(seed: int) -> None:
    values = embeddings(seed)
    score = np.random.default_rng(seed).integers(0, 9, len(values))
    clusters = found_in(values, score).clusters
    of = plain(values, score, 0.95)
    assert clusters.of.tolist() == of and len(values) // 8 < sum(i != k for i, k in enumerate(of))
    near = (values * values[of]).sum(axis=1)
    assert np.abs(near - clusters.similarity).max() < 0.002 and clusters.copy.max() >= 1


@pytest.mark.parametrize("count", [None, 7])
def test_order_numbers_and_blocks_make_no_difference(count: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    values = embeddings(5)
    first = found_in(values, cells=count).clusters
    order = np.random.default_rng(1).permutation(len(values))
    monkeypatch.setattr(cells, "_BLOCK", 50)
    monkeypatch.setattr(meanings, "_ROWS", 3)
    monkeypatch.setattr(meanings, "_KEPT", -2 * len(values))  # edges are thinned out at each step
    again = found_in(values[order], rows=order.astype(np.uint64), cells=count).clusters
    for name in ("cluster", "of", "size", "rank", "copy", "similarity"):
        assert (getattr(again, name) == getattr(first, name)[order]).all(), name


def test_two_cells_for_each_row_find_what_one_parts() -> None:
    values = embeddings(11, 1500, 48, 5)
    vectors, _ = scaled(values.astype(np.float64))
    near = nearest_two(vectors, centres(vectors, 30))
    few = len(values) // 3
    parted = near[:few, 0] != near[few : 2 * few, 0]
    whole, two = found_in(values, threshold=0.9).clusters, found_in(values, threshold=0.9, cells=30).clusters
    assert parted.sum() > 10
    assert (two.rank > 0).sum() >= (whole.rank > 0).sum() - parted.sum() / 2
    assert all(near[i, 0] != near[i, 1] for i in range(len(near)))


def test_members_of_a_cell_are_those_that_have_it() -> None:
    pairs = np.array([[0, 1], [1, 0], [2, 2], [0, 2]])
    assert {cell: at.tolist() for cell, at in members(pairs)} == {0: [0, 1, 3], 1: [0, 1], 2: [2, 3]}


def test_a_centre_is_the_direction_of_its_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "ROUNDS", 200)  # until nothing moves
    vectors = scaled(embeddings(2, 150, 8, 3).astype(np.float64))[0]
    made = centres(vectors, 3)
    nearest = nearest_two(vectors, made)[:, 0]
    for cell in range(3):
        total = vectors[nearest == cell].astype(np.int64).sum(axis=0)
        assert (scaled(total[None].astype(np.float64))[0][0] == made[cell]).all()


def test_a_cell_beyond_the_cap_is_cut_and_said() -> None:
    found = found_in(embeddings(3), cap=60)
    assert found.crowded == 1 and not found.clusters.giants.components
    assert (found.clusters.similarity >= np.float32(0.95)).all() and (found.clusters.rank > 0).any()


def test_of_a_flood_beyond_the_cap_little_stays() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=48) + 0.15 * rng.normal(size=(400, 48))
    found = found_in(values, cap=150, cells=8)
    assert found.clusters.giants == (1, 400, 400) and (found.clusters.rank == 0).sum() < 12
    assert found.clusters.similarity.min() >= np.float32(0.95)


def test_equal_embeddings_are_one_before_any_is_compared() -> None:
    values = np.repeat(embeddings(0, 3), 20_000, axis=0)
    found = found_in(values, threshold=1)
    assert set(found.clusters.size) == {20_000} and not found.crowded


KINDS = [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float16())]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_lists_without_a_direction_are_nobodys_duplicates(kind: pa.DataType) -> None:
    good, nan, inf = [1.0, 2.0, 0.5], math.nan, math.inf
    lists = [good, None, [0.0, 0.0, 0.0], [nan, 1.0, 0.0], [inf, 0.0, 0.0], [1.0, 2.0], [], [None, 1.0, 0.0], good]
    batches = [pa.array(lists[:4], kind), pa.array([], kind), pa.array([[9.0] * 3, *lists[4:]], kind).slice(1)]
    vectors, some = directions(batches)
    assert some.tolist() == [True, *[False] * 7, True] and vectors.shape == (9, 3)
    clusters = meaning_clusters(np.arange(9, dtype=np.uint64), vectors, some, None, threshold=0.95).clusters
    assert clusters.size.tolist() == [2, *[1] * 7, 2] and clusters.rank.sum() == 1


def test_lists_of_one_size_and_no_lists_at_all() -> None:
    fixed = pa.array([[3.0, 4.0], None, [0.6, 0.8]], pa.list_(pa.float32(), 2))
    vectors, some = directions([fixed.slice(0, 1), fixed.slice(1)])
    assert some.tolist() == [True, False, True] and vectors[0].tolist() == vectors[2].tolist() == [2400, 3200]
    for none in ([], [pa.array([], pa.list_(pa.float32()))], [pa.array([None, []], pa.list_(pa.float32()))]):
        vectors, some = directions(none)
        made = meaning_clusters(np.arange(len(some), dtype=np.uint64), vectors, some, None, threshold=0.95, cells=4)
        assert not some.any() and made.clusters.size.tolist() == [1] * len(some)
    with pytest.raises(PoolsieveError, match=r"9,000 numbers, and duplicates are found among 8,192 at most"):
        directions([pa.array([[1.0] * 9000], pa.list_(pa.float32()))])


def test_cosines_of_pairs_are_those_of_the_blocks() -> None:
    vectors = scaled(embeddings(8, 60).astype(np.float64))[0]
    whole = products(vectors, vectors)
    for i, k in itertools.combinations(range(60), 2):
        assert whole[i, k] == paired(vectors[i : i + 1], vectors[k : k + 1])[0]
