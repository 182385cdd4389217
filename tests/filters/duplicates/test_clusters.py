"""Clusters: against loops that anyone can check, in any order, in any split, and with what pools really hold."""

from __future__ import annotations

import random
from collections import defaultdict
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.filters.duplicates import roots as roots_module
from poolsieve.filters.duplicates.bands import RECORD, Bands, packed, stars
from poolsieve.filters.duplicates.clusters import Clusters, Near, clusters
from poolsieve.filters.duplicates.components import components
from poolsieve.filters.duplicates.edges import counted, equal_bytes, least_equal
from poolsieve.filters.duplicates.giants import capped
from poolsieve.filters.duplicates.leaders import best_first, leaders
from poolsieve.filters.duplicates.roots import hooked
from poolsieve.filters.duplicates.roots import joined as joined_roots
from poolsieve.filters.duplicates.sketch import similarity, sketches
from poolsieve.scoring_models.base.errors import PlanError
from tests.filters.duplicates.plain import joined

SEEDS = st.integers(0, 1 << 32)


def some_sketches(seed: int, families: int = 12, each: int = 6) -> np.ndarray[Any, Any]:
    """uint8 (n, 256): families around a centre, near and far, and some equal ones."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(families):
        centre = rng.integers(0, 256, 256, dtype=np.uint8)
        for _ in range(rng.integers(1, each + 1)):
            other = rng.random(256) < rng.choice((0, 0.1, 0.3, 0.45, 0.6))
            made.append(np.where(other, rng.integers(0, 256, 256, dtype=np.uint8), centre))
    return np.array(made)


def some_edges(seed: int, nodes: int, count: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    names = np.sort(rng.choice(1 << 40, nodes, replace=False)).astype(np.uint64)
    return np.sort(names[rng.integers(0, nodes, (count, 2))], axis=1)


def plain_labels(edges: np.ndarray[Any, Any]) -> dict[int, int]:
    """Each node's least neighbour's neighbour's ..., until nothing changes."""
    label = {int(node): int(node) for node in edges.ravel()}
    while True:
        before = dict(label)
        for a, b in edges.tolist():
            label[a] = label[b] = min(label[a], label[b])
        if label == before:
            return label


def plain(
    rows: list[int], hashes: list[bytes], made: Any, some: Any, score: list[float], near: Near
) -> dict[int, tuple[int, int]]:
    """Row -> (row that stands for it, equal bytes), one row after the other."""
    order = sorted(range(len(rows)), key=lambda i: (-score[i], hashes[i], rows[i]))
    best: dict[bytes, int] = {}
    for i in order:
        best.setdefault(hashes[i], i)
    firsts = sorted((i for i in best.values() if some[i]), key=lambda i: rows[i])
    same = {(i, j): int((made[i] == made[j]).sum()) for i in firsts for j in firsts}
    buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    size = near.bands.size
    for i in firsts:
        for band in range(near.bands.count):
            buckets[band, made[i, band * size : band * size + size].tobytes()].append(i)
    limit = {name: 255 * Fraction(str(value)) + 1 for name, value in (("edge", near.edge), ("leader", near.leader))}
    edges = [(rows[b[0]], rows[i]) for b in buckets.values() for i in b[1:] if same[b[0], i] >= limit["edge"]]
    label = {**{rows[i]: rows[i] for i in firsts}, **plain_labels(np.array(edges or [[0, 0]]))}
    taken: dict[int, tuple[int, int]] = {}
    for i in [i for i in order if i in firsts]:
        if i in taken:
            continue
        for j in firsts:
            if j not in taken and label[rows[i]] == label[rows[j]] and (i == j or same[i, j] >= limit["leader"]):
                taken[j] = (i, 256 if i == j else same[i, j])
    found = {i: taken.get(best[hashes[i]], (best[hashes[i]], 256)) for i in range(len(rows))}
    return {rows[i]: (rows[leader], equal) for i, (leader, equal) in found.items()}


def by_row(rows: Any, found: Clusters) -> list[tuple[Any, ...]]:
    return sorted(zip(rows.tolist(), *(part.tolist() for part in found[:6]), strict=True))


def case(seed: int) -> tuple[Any, Any, Any, Any, Any]:
    rng = np.random.default_rng(seed)
    made = some_sketches(seed)
    made = made[rng.integers(0, len(made), len(made) + 20)]
    rows = rng.choice(10_000, len(made), replace=False).astype(np.uint64)
    hashes = np.frombuffer(
        b"".join(xxhash.xxh3_128_digest(one.tobytes() + bytes([rng.integers(2)])) for one in made), np.uint8
    )
    return rows, hashes.reshape(-1, 16), made, rng.random(len(made)) < 0.9, rng.integers(0, 3, len(made)).astype(float)


@settings(deadline=None, max_examples=60)
@given(SEEDS)
def test_clusters_are_those_of_a_plain_reading_in_any_order(seed: int) -> None:
    rows, hashes, made, some, score = case(seed)
    first = {h.tobytes(): bool(s) for h, s in zip(hashes, some, strict=True)}
    some = np.array([first[h.tobytes()] for h in hashes])  # copies have a sketch, or none has
    near = Near(bands=Bands(30, 4))
    found = clusters(rows, hashes, made, some, score, near)
    wanted = plain(rows.tolist(), [h.tobytes() for h in hashes], made, some, score.tolist(), near)
    assert {row: of for row, *_, of in by_row(rows, found)} == {row: of for row, (of, _) in wanted.items()}
    np.testing.assert_allclose(found.similarity, [max(wanted[row][1] - 1, 0) / 255 for row in rows.tolist()], rtol=1e-6)
    order = np.random.default_rng(seed).permutation(len(rows))
    again = clusters(rows[order], hashes[order], made[order], some[order], score[order], near)
    assert by_row(rows[order], again) == by_row(rows, found)


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_every_row_resembles_the_one_that_stands_for_it(seed: int) -> None:
    rows, hashes, made, some, score = case(seed)
    found = clusters(rows, hashes, made, some, score)
    place = {row: i for i, row in enumerate(rows.tolist())}
    of = np.array([place[row] for row in found.of.tolist()])
    same = (hashes == hashes[of]).all(axis=1)
    assert (same | (similarity(made, made[of]) >= np.float32(0.55))).all()
    assert (found.of[of] == rows[of]).all() and (found.rank[of] == 0).all() and (score[of] >= score).all()
    for group in np.unique(hashes, axis=0):
        inside = (hashes == group).all(axis=1)
        assert sorted(found.copy[inside]) == list(range(inside.sum()))
        assert (np.argsort(found.copy[inside]) == np.argsort(found.rank[inside])).all()
    for cluster in np.unique(found.cluster):
        inside = found.cluster == cluster
        assert cluster == rows[inside].min() and (found.size[inside] == inside.sum()).all()
        assert sorted(found.rank[inside]) == list(range(inside.sum()))


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.integers(2, 60), st.integers(0, 80), st.integers(1, 5))
def test_components_have_their_least_row_in_any_order_and_split(seed: int, nodes: int, count: int, parts: int) -> None:
    edges = some_edges(seed, nodes, count)
    found = components(edges)
    assert dict(zip(found.rows.tolist(), found.labels.tolist(), strict=True)) == plain_labels(edges)
    rng = np.random.default_rng(seed)
    mixed = rng.permuted(edges[rng.permutation(count)], axis=1)
    forests = [components(part).forest() for part in np.array_split(mixed, parts)]
    joined_again = components(np.concatenate(forests))
    linked = np.isin(found.rows, joined_again.rows)  # a row with an edge to itself alone needs none
    assert (found.rows[linked] == joined_again.rows).all() and (found.labels[linked] == joined_again.labels).all()
    assert (found.rows[~linked] == found.labels[~linked]).all()
    assert sum(map(len, forests)) <= max(0, count)


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.integers(1, 50), st.integers(0, 80))
def test_numba_gives_the_same_roots(seed: int, count: int, edges: int) -> None:
    pytest.importorskip("numba")
    first, second = np.random.default_rng(seed).integers(0, count, (2, edges))
    found = joined_roots(count, first, second)
    for at_once in (1, 3, 1 << 22):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(roots_module, "AT_ONCE", at_once)
            assert (found == hooked(count, first, second)).all()
    linked = {node: label for node, label in enumerate(found.tolist()) if node in first or node in second}
    assert linked == plain_labels(np.stack([first, second], axis=1).astype(np.uint64))


def test_a_path_of_a_million_rows_is_one_component() -> None:
    path = np.arange(1_000_000, dtype=np.uint64)
    order = np.random.default_rng(0).permutation(len(path))
    edges = np.stack([path[order][:-1], path[order][1:]], axis=1)
    assert not components(edges).labels.any()


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.integers(0, 6))
def test_stars_of_packed_blocks_are_those_of_all_records(seed: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    records = np.zeros(200, dtype=RECORD)
    records["key"] = rng.choice(
        np.array([3, 1 << 63, (1 << 63) + 7, (1 << 60) + 1], dtype=np.uint64), 200
    ) + rng.integers(0, 20, 200).astype(np.uint64)
    records["row"] = rng.integers(0, 60, 200)
    whole = stars(records)
    blocks: dict[int, list[bytes]] = defaultdict(list)
    for part in np.array_split(rng.permutation(records), 3):
        for prefix, block in packed(part, bits):
            blocks[prefix].append(block)
    joined_blocks = [stars(np.frombuffer(b"".join(block), RECORD)) for block in blocks.values()]
    assert len(blocks) <= 1 << bits and set(map(tuple, np.concatenate(joined_blocks).tolist())) == set(
        map(tuple, whole.tolist())
    )
    buckets = defaultdict(set)
    for key, row in records.tolist():
        buckets[key].add(row)
    assert set(map(tuple, whole.tolist())) == {(min(b), row) for b in buckets.values() for row in b if row > min(b)}


def test_band_keys_are_of_the_band_s_bytes_alone() -> None:
    made = some_sketches(0)
    for bands in (Bands(42, 6), Bands(14, 8), Bands(20, 12), Bands(256, 1)):
        keys = np.array([bands.keys(made, band) for band in range(bands.count)])
        parts = made[:, : bands.count * bands.size].reshape(len(made), bands.count, bands.size)
        same = (parts[:, None] == parts[None]).all(axis=3)
        assert ((keys.T[:, None] == keys.T[None]) == same).all()
        assert len(np.intersect1d(keys[0], keys[1])) == 0


@pytest.mark.parametrize("wrong", [(0, 6), (42, 0), (43, 6), (True, 6), ("42", 6)])
def test_bands_that_a_sketch_has_not_are_refused(wrong: tuple[Any, Any]) -> None:
    with pytest.raises(PlanError, match="Bands"):
        Bands(*wrong)


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.integers(1, 12))
def test_a_component_above_the_cap_is_split_in_the_same_way_in_any_order(seed: int, cap: int) -> None:
    made = some_sketches(seed, 3, 12)
    rows = np.arange(len(made), dtype=np.uint64) * np.uint64(3)
    edges = np.stack([np.repeat(rows[0], len(rows) - 1), rows[1:]], axis=1)
    equal = counted(edges, rows, made)
    found = capped(edges, equal, cap)
    assert np.unique(found.labels, return_counts=True)[1].max() <= cap
    assert (found.size_before() == (len(rows) if len(rows) > cap else 0)).all()
    assert (found.labels <= found.rows).all() and (found.rows == components(edges).rows).all()
    order = np.random.default_rng(seed).permutation(len(edges))
    again = capped(edges[order], equal[order], cap)
    assert (again.labels == found.labels).all()
    for step in (0.7, 0.9):  # what the strictest edges hold together stays together, if there is room
        strict = components(edges[equal >= least_equal(step)])
        if len(strict.rows) and np.unique(strict.labels, return_counts=True)[1].max() <= cap and step == 0.7:
            labels = dict(zip(found.rows.tolist(), found.labels.tolist(), strict=True))
            assert all(
                labels[a] == labels[b] for a, b in zip(strict.rows.tolist(), strict.labels.tolist(), strict=True)
            )


def test_thresholds_are_the_decimals_that_were_written() -> None:
    for threshold in (0.5, 0.55, 0.6, "0.7", 0.8, 0.9, 1):
        least = least_equal(threshold)
        assert (least - 1) / 255 >= float(threshold) > (least - 2) / 255


def test_the_best_has_the_largest_score_then_the_least_hash_then_row() -> None:
    hashes = np.zeros((6, 16), dtype=np.uint8)
    hashes[:, 15] = [2, 1, 1, 0, 0, 0]
    rows = np.array([1, 9, 8, 3, 4, 5], dtype=np.uint64)
    score = np.array([1.0, 1.0, 1.0, 0.5, np.nan, -np.inf])
    assert best_first(score, hashes, rows).tolist() == [2, 1, 0, 3, 5, 4]
    assert best_first(None, hashes, rows).tolist() == [5, 4, 3, 0, 1, 2]
    big = np.array([2**63, 2**63 + 1, 0, 1, 2, 3], dtype=np.uint64)
    assert best_first(big, hashes, rows).tolist() == [1, 0, 5, 4, 3, 2]


def test_a_chain_has_several_leaders_and_each_row_resembles_its_own() -> None:
    rng = np.random.default_rng(0)
    chain = [rng.integers(0, 256, 256, dtype=np.uint8)]
    for _ in range(30):
        chain.append(chain[-1].copy())
        chain[-1][rng.choice(256, 40, replace=False)] = rng.integers(0, 256, 40)
    made = np.array(chain)
    led = leaders(np.zeros(31, dtype=np.uint64), np.arange(31), made, least_equal(0.55))
    assert 5 < len(np.unique(led.leader)) < 25
    assert (equal_bytes(made, np.arange(31), led.leader) >= least_equal(0.55)).all()


def digests(texts: list[str]) -> Any:
    return np.frombuffer(b"".join(xxhash.xxh3_128_digest(t.encode()) for t in texts), np.uint8).reshape(-1, 16)


def of_texts(texts: list[str], **near: Any) -> Clusters:
    made, some = sketches(joined(texts))
    return clusters(np.arange(len(texts), dtype=np.uint64), digests(texts), made, some, None, Near(**near))


def test_empty_and_short_texts_have_no_duplicates_but_copies() -> None:
    texts = ["", "a", "b", "", "one two", "one two three", "a", "!", "?", "one two "]
    found = of_texts(texts)
    assert found.cluster.tolist() == [0, 1, 2, 0, 4, 5, 1, 7, 8, 9]
    assert found.size.tolist() == [2, 2, 1, 2, 1, 1, 2, 1, 1, 1]


def test_a_pool_of_equal_texts_is_one_cluster() -> None:
    n = 100_000
    hashes = np.tile(digests(["x"]), (n, 1))
    found = clusters(np.arange(n, dtype=np.uint64), hashes, np.zeros((n, 256), np.uint8), np.ones(n, bool))
    assert (found.cluster == 0).all() and (found.size == n).all() and (found.similarity == 1).all()


def test_of_a_flood_of_near_rows_beyond_the_cap_most_go() -> None:
    """All are near to all, none as near as the step at which they fall apart."""
    rng = np.random.default_rng(3)
    made = np.tile(rng.integers(0, 256, 256, dtype=np.uint8), (600, 1))
    other = rng.random(made.shape) < 0.15
    made[other] = rng.integers(0, 256, int(other.sum()), dtype=np.uint8)
    rows, hashes = np.arange(600, dtype=np.uint64), rng.integers(0, 256, (600, 16), dtype=np.uint8)
    found = clusters(rows, hashes, made, np.ones(600, bool), None, Near(cap=100))
    assert found.giants == (1, 600, 600) and (found.rank == 0).sum() <= 600 / 50
    assert (found.similarity >= 0.55).all()


def test_many_texts_that_differ_and_have_one_sketch_are_split_at_the_cap() -> None:
    texts = [f"{'.' * i} the very same five words" for i in range(1000)]
    found = of_texts(texts, cap=300)
    assert found.giants == (1, 1000, 1000) and sorted(np.unique(found.cluster, return_counts=True)[1]) == [
        100,
        300,
        300,
        300,
    ]
    assert (found.similarity == 1).all()


def test_no_rows() -> None:
    none = clusters(np.zeros(0, "u8"), np.zeros((0, 16), "u1"), np.zeros((0, 256), "u1"), np.zeros(0, bool))
    assert [len(part) for part in none[:6]] == [0] * 6


def test_variants_of_a_text_are_found_and_others_are_not() -> None:
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefgh", k=6)) for _ in range(3000)]
    bases = [rng.choices(words, k=300) for _ in range(40)]
    texts = [" ".join(base) for base in bases]
    changed = [[w if rng.random() > 0.01 else "new" for w in base] for base in bases]
    texts += [" ".join(one) for one in changed] + [" ".join(base[:270]) for base in bases]
    found = of_texts(texts)
    assert np.unique(found.size).tolist() == [3] and (found.cluster.reshape(3, 40) == np.arange(40)).all()
