"""Rounds give the lines that one worker comes to who sees all rows: for any homes, places, scores, giants and ties."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.dataflow.decisions.joining import in_turn, lines_in
from poolsieve.filters.duplicates.edges import contracted, least_equal
from poolsieve.filters.duplicates.giants import capped
from poolsieve.filters.duplicates.scores import worse
from poolsieve.filters.near import Duplicates
from poolsieve.scoring_models.base.derived import HOME_BITS, LINES, Extent, Home, Part

SCORES = {
    "float": pa.array([0.5, float("nan"), None, -0.0, 0.0, float("-inf"), 3.0], pa.float32()),
    "int": pa.array([(1 << 62) + 1, 1 << 62, None, -(1 << 63), 0], pa.int64()),
    "whole": pa.array([3, 1, 0], pa.uint64()),
}
"""Of each kind, values that rows have."""


EXTENTS = (Extent(1, 1), Extent(1 << 22, 1 << 40), Extent(1 << 28, 1 << 30), Extent(1 << 28, 1 << 40))
"""Of a pool of one place, of several, and of those for whose edges one worker is enough or not."""


def rows_of(seed: int) -> pa.Table:
    """Rows in families, some of them copies, some without sketch or hash, with scores of each kind, in a random order."""
    rng = np.random.default_rng(seed)
    hashes, sketches = list[Any](), list[Any]()
    for family in range(int(rng.integers(0, 9))):
        centre = rng.integers(0, 256, 256, dtype=np.uint8)
        for member in range(int(rng.integers(1, 9))):
            other = rng.random(256) < rng.choice((0, 0.1, 0.3, 0.45))
            sketch = np.where(other, rng.integers(0, 256, 256, dtype=np.uint8), centre).tobytes()
            copies = int(rng.integers(1, 4))
            hashes += [rng.choice([None, *[bytes([family, member] * 8)] * 9])] * copies
            sketches += [rng.choice(np.array([None, *[sketch] * 9], dtype=object))] * copies
    order = rng.permutation(len(hashes))
    columns = {"hash": pa.array(hashes, pa.binary(16)), "sketch": pa.array(sketches, pa.binary(256))}
    columns |= {name: some.take(pa.array(rng.integers(0, len(some), len(order)))) for name, some in SCORES.items()}
    return pa.table(columns).take(pa.array(order)).combine_chunks()


def cut(table: pa.Table, seed: int) -> list[list[Part]]:
    """The rows as files, and the files as homes; rows of a file may be missing, and a file may be two homes'."""
    rng = random.Random(seed)
    homes: list[list[Part]] = [[]]
    at, path, row = 0, 0, 0
    while at < len(table):
        some = table.slice(at, rng.randint(0, 9))
        rows = np.cumsum([rng.randint(1, 3) for _ in range(len(some))], dtype=np.int64) + row
        columns = {name: some.column(name).combine_chunks() for name in table.column_names}
        homes[-1].append(Part(f"f{path:03d}.parquet", rows, pa.nulls(len(some), pa.string()), columns))
        at, row = at + len(some), int(rows[-1]) if len(rows) else row
        if rng.random() < 0.5:
            homes.append([])
        if rng.random() < 0.6:
            path, row = path + 1, -1
    return homes


def as_home(number: int, parts: list[Part], names: list[str]) -> Home:
    rows = np.concatenate([np.zeros(0, np.int64), *(part.rows for part in parts)])
    path = pa.array([part.path for part in parts for _ in part.rows], pa.string())
    scores = {name: pa.concat_arrays([part.scores[name] for part in parts]) for name in names}
    keys = np.arange(len(rows), dtype=np.uint64) * np.uint64(3) + np.uint64(number << HOME_BITS)
    return Home(number, keys, path, rows, scores)


def by_rounds(made: Duplicates, homes: list[list[Part]], extent: Extent) -> Iterator[tuple[int, pa.Table]]:
    """The lines of each home that has some, in an order of homes that is not theirs."""
    there = {i: as_home(i, parts, list(made.reads)) for i, parts in reversed(list(enumerate(homes))) if parts}
    sent = in_turn(made, there, extent)[LINES]
    for number in sorted(sent):
        yield number, lines_in(data for _, data in sent[number]).sort_by([("path", "ascending"), ("row", "ascending")])


@pytest.mark.parametrize(
    "setting",
    [
        {"sketch": "sketch"},
        {"sketch": None, "best": "float"},
        {"sketch": "sketch", "best": "float", "cap": 3},
        {"sketch": "sketch", "best": "int", "edge": 0.75, "threshold": 0.8},
        {"sketch": "sketch", "best": "whole", "cap": 2, "bands": 128, "band_bytes": 2},
    ],
)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1 << 32), extent=st.sampled_from(EXTENTS))
def test_rounds_give_what_one_worker_gathers(setting: dict[str, Any], seed: int, extent: Extent) -> None:
    made, table = Duplicates(hash="hash", **setting), rows_of(seed)
    homes = cut(table, seed)
    whole = made.gather(part for parts in homes for part in parts)
    whole = whole.sort_by([("path", "ascending"), ("row", "ascending")])
    found = list(by_rounds(made, homes, extent))
    assert pa.concat_tables([whole.slice(0, 0), *(lines for _, lines in found)]).combine_chunks() == whole
    for number, lines in found:
        there = {(part.path, int(row)) for part in homes[number] for row in part.rows}
        assert there.issuperset(zip(lines.column("path").to_pylist(), lines.column("row").to_pylist(), strict=True))


def test_nothing_meets_where_no_row_has_a_hash() -> None:
    made = Duplicates(hash="hash", sketch="sketch")
    parts = [
        Part(
            "a", np.arange(2), pa.nulls(2), {"hash": pa.nulls(2, pa.binary(16)), "sketch": pa.nulls(2, pa.binary(256))}
        )
    ]
    assert list(by_rounds(made, [parts], Extent(2, 99))) == []
    assert made.gather(iter(parts)).num_rows == 0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 32), rows=st.integers(2, 40), cap=st.integers(2, 12), parts=st.integers(1, 4))
def test_contracted_edges_have_the_components_of_all_of_them(seed: int, rows: int, cap: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    edges = np.sort(rng.integers(0, rows, (int(rng.integers(1, 200)), 2)).astype(np.uint64), axis=1)
    edges = edges[edges[:, 0] != edges[:, 1]]
    equal = rng.integers(least_equal(0.5), 257, len(edges)).astype(np.int16)
    some = np.array_split(np.arange(len(edges)), parts)
    fewer = [contracted(edges[at], equal[at]) for at in some]
    assert all(len(left) < max(len(np.unique(edges[at])), 1) for (left, _), at in zip(fewer, some, strict=True))
    left, held = (np.concatenate(found) for found in zip(*fewer, strict=True))
    whole, again = capped(edges, equal, cap), capped(left, held, cap)
    assert whole.rows.tolist() == again.rows.tolist() and whole.labels.tolist() == again.labels.tolist()
    assert whole.size_before().tolist() == again.size_before().tolist()


def test_integers_keep_their_digits_beside_missing_ones() -> None:
    found = worse(SCORES["int"]).score()
    assert np.argsort(-found, kind="stable").tolist() == [0, 1, 4, 3, 2]
    zero = worse(SCORES["float"]).score()
    assert zero[3] == zero[4] and zero[1] == zero[2] == zero.min()
    whole = worse(pa.array([0, None], pa.uint64())).score()
    assert whole[0] > whole[1]
