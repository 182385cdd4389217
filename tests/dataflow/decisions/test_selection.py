"""Radix selection against sorting, for any scores, any split into shards, every kind of cut."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.dataflow.decisions.selection import DigitCounts, _histogram, advance, cuts_of, levels
from poolsieve.filters.dsl.cuts import Cut, kept_by, key_value, order_keys, tie_hashes
from poolsieve.filters.dsl.stages import Ranked, Top

floats = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.1, float("inf"), float("-inf"), float("nan")]), st.floats(width=32)
)


def search(top: Ranked, scores: pa.Array, uids: pa.Array, shards: list[np.ndarray[Any, Any]], weights: Any) -> Cut:
    """The levels of the search, with plain sums in place of Beam's."""
    kind, state = scores.type, None
    for level in range(levels(kind)):
        total: dict[str, DigitCounts] = {}
        for path, rows in enumerate(shards):
            keys, valid = order_keys(scores.take(pa.array(rows)), top.lowest)
            counts = DigitCounts(of=len(rows), competing=int(valid.sum()), total=int(weights[rows][valid].sum()))
            one = None if state is None else state[""]
            if one is not None and one.cut:
                continue
            counts.digits = digits(level, kind, one, keys, valid, uids.take(pa.array(rows)), weights[rows], str(path))
            total.setdefault("", DigitCounts()).add(counts)
        state = advance(total, state, top=top, kind=kind)
    assert state is not None
    return cuts_of(state)[""]


def digits(
    level: int, kind: Any, one: Any, keys: Any, valid: Any, uids: Any, weights: Any, path: str
) -> dict[Any, int]:
    bits = 32 if pa.types.is_float32(kind) else 64
    if level < bits // 16:
        return _histogram(keys[valid], weights[valid], bits, level, one.key if one else 0)
    tied = np.flatnonzero(valid & (keys == np.uint64(one.key)))
    hashes = tie_hashes(uids.take(pa.array(tied)), 0)
    if level < bits // 16 + 4:
        return _histogram(hashes, weights[tied], 64, level - bits // 16, one.hash)
    tied = tied[hashes == np.uint64(one.hash)]
    if level == bits // 16 + 4:
        return {path: int(weights[tied].sum())} if len(tied) else {}
    return {int(i): int(weights[i]) for i in tied} if path == one.path else {}


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(floats, min_size=1, max_size=40),
    doubles=st.booleans(),
    lowest=st.booleans(),
    pieces=st.integers(1, 4),
    share=st.integers(0, 100),
    few_uids=st.booleans(),
)
def test_top_keeps_what_sorting_keeps(
    values: list[float], doubles: bool, lowest: bool, pieces: int, share: int, few_uids: bool
) -> None:
    scores = pa.array(values, pa.float64() if doubles else pa.float32())
    uids = pa.array([f"u{i % 3 if few_uids else i}" for i in range(len(values))])
    shards = np.array_split(np.arange(len(values)), pieces)
    top = Top("x", fraction=share / 100, lowest=lowest).predicate
    assert isinstance(top, Ranked)
    cut = search(top, scores, uids, shards, np.ones(len(values), dtype=np.int64))
    hashes = tie_hashes(uids, 0)
    kept = set()
    for path, rows in enumerate(shards):
        mine = uids.take(pa.array(rows))
        mask = kept_by(cut, scores.take(pa.array(rows)), lambda u=mine: u, np.arange(len(rows)), str(path), 0)
        kept |= set(rows[mask].tolist())
    numbers = [i for i, v in enumerate(scores.to_pylist()) if not math.isnan(v)]
    order = sorted(numbers, key=lambda i: (scores[i].as_py() if lowest else -scores[i].as_py(), int(hashes[i]), i))
    assert kept == set(order[: top.target(len(values))])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 9)), min_size=1, max_size=30), st.integers(0, 120))
def test_budget_keeps_the_best_while_they_fit(rows: list[tuple[int, int]], budget: int) -> None:
    scores, weights = pa.array([s for s, _ in rows], pa.int64()), np.array([w for _, w in rows], dtype=np.int64)
    uids = pa.array([f"{i:032x}" for i in range(len(rows))])
    top = Top("x", budget=f"{budget} w").predicate
    assert isinstance(top, Ranked)
    cut = search(top, scores, uids, [np.arange(len(rows))], weights)
    mask = kept_by(cut, scores, lambda: uids, np.arange(len(rows)), "0", 0)
    hashes = tie_hashes(uids, 0)
    order = sorted(range(len(rows)), key=lambda i: (-rows[i][0], int(hashes[i])))
    sums, wanted = 0, set()
    for i in order:
        sums += int(weights[i])
        if sums > budget:
            break
        wanted.add(i)
    assert set(np.flatnonzero(mask).tolist()) == wanted


@pytest.mark.parametrize(
    "kind", [pa.float32(), pa.float64(), pa.int64(), pa.int32(), pa.int8(), pa.uint64(), pa.uint32()]
)
def test_keys_keep_order_and_come_back(kind: pa.DataType) -> None:
    info = np.iinfo if pa.types.is_integer(kind) else np.finfo
    span = info(kind.to_pandas_dtype())
    values = sorted({span.min, span.max, *([-1] if span.min < 0 else []), 0, 1, 17})
    array = pa.array(values, kind)
    for lowest in (True, False):
        keys, valid = order_keys(array, lowest)
        assert valid.all()
        assert (np.diff(keys.astype(object)) > 0).all() == lowest
        assert [key_value(int(key), kind, lowest) for key in keys] == values


def test_a_cut_survives_json() -> None:
    cut = Cut(value=0.1, key=2**63 + 1, bits=64, tie_hash=2**64 - 1, tie_path="ä", tie_row=3, of=5, k=2, competing=4)
    assert Cut.from_dict(cut.to_dict()) == cut
