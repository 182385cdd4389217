"""Radix selection against sorting, for any scores, any split into shards, every kind of cut."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.dataflow.decisions.selection import (
    FEW_TIES,
    DigitCounts,
    _histogram,
    add_counts,
    advance,
    count_rows,
    cuts_of,
    levels,
)
from poolsieve.dataflow.decisions.summary import empty_budgets
from poolsieve.filters.dsl.cuts import Cut, kept_by, key_value, order_keys, tie_hashes
from poolsieve.filters.dsl.expr import Env
from poolsieve.filters.dsl.top import Ranked, Top
from poolsieve.scoring_models.base.errors import PlanError

floats = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.1, float("inf"), float("-inf"), float("nan")]), st.floats(width=32)
)


def search(top: Ranked, scores: pa.Array, uids: pa.Array, shards: list[np.ndarray[Any, Any]], weights: Any) -> Cut:
    """All levels of the search, one by one, with plain sums in place of Beam's."""
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
        state = advance(total, state, top=top, kind=kind, few=0)
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


Row = tuple[Any, Any, str | None, bool]
"""Score, weight, group, alive."""


def shard_of(rows: list[Row], kinds: tuple[pa.DataType, pa.DataType], path: str, start: int) -> Env:
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    scores = {"x": pa.array(columns[0], kinds[0]), "w": pa.array(columns[1], kinds[1])}
    uids = pa.array([f"u{(start + i) % 5}" for i in range(len(rows))])  # uids may repeat
    alive = np.array(columns[3], dtype=bool)
    return Env(scores | {"g": pa.array(columns[2], pa.string())}, lambda: uids, np.arange(len(rows)), path, {}, alive)


def searched(top: Ranked, shards: list[Env]) -> dict[str, Cut]:
    """The whole search, with plain sums in place of Beam's; it comes to the same however many rows are listed."""
    cuts = _searched(top, shards, FEW_TIES)
    assert cuts == _searched(top, shards, 0) == _searched(top, shards, 3)
    return cuts


def _searched(top: Ranked, shards: list[Env], few: int) -> dict[str, Cut]:
    kind, state = shards[0].scores["x"].type, None
    for _ in range(levels(kind)):
        total: dict[str, DigitCounts] = {}
        for env in shards:
            add_counts(total, count_rows(env, state, top=top, kind=kind))
        state = advance(total, state, top=top, kind=kind, few=few)
    assert all(one.cut for one in (state or {}).values())
    return cuts_of(state or {})


def kept_rows(top: Ranked, shards: list[Env], cuts: dict[str, Cut]) -> set[tuple[str, int]]:
    """Keys of the rows that the rule keeps, as a walk takes them out."""
    found = set()
    for env in shards:
        judged = Env(env.scores, env.uid_of, env.rows, env.path, {top.cut: cuts}, env.alive)
        mask = np.array(top.truth(judged).to_numpy(zero_copy_only=False), dtype=bool) & env.alive
        found |= {(env.path, int(row)) for row in env.rows[mask]}
    return found


def taken(top: Ranked, shards: list[Env], budgets: dict[str, int], by: bool) -> set[tuple[str, int]]:
    """The plain reference: sort, skip what is too heavy alone, take while the sum fits."""
    order: dict[str, list[tuple[Any, ...]]] = {}
    for env in shards:
        hashes = tie_hashes(env.uid, 0).tolist()
        columns = [env.scores[name].to_pylist() for name in "xwg"]
        for i, (score, weight, group) in enumerate(zip(*columns, strict=True)):
            unknown = score is None or math.isnan(score) or (by and group is None)
            if unknown or not (env.alive[i] or top.rank == "pool"):
                continue
            known = (
                0 if weight is None or math.isnan(weight) else max(int(weight), 0) if math.isfinite(weight) else 2**70
            )
            key = (score if top.lowest else -score, hashes[i], env.path, i)
            order.setdefault(group if by else "", []).append(
                (*key, 0 if math.isinf(weight or 0) and weight < 0 else known)
            )
    kept = set()
    for group, rows in order.items():
        budget, left = budgets.get(group, budgets.get("*", -1)), budgets.get(group, budgets.get("*", -1))
        for _, _, path, i, weight in sorted(rows):
            if weight > budget:
                continue
            if weight > left:
                break
            left -= weight
            kept.add((path, i))
    alive = {(env.path, i) for env in shards for i in np.flatnonzero(env.alive).tolist()}
    return kept & alive


whole_weights = st.integers(-3, 40)
broken_weights = st.one_of(
    whole_weights.map(float),
    st.sampled_from([0.5, 7.9, 1e300, 2.0**63, float("inf"), float("-inf"), float("nan")]),
    st.none(),
)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), floating=st.booleans(), lowest=st.booleans(), pool=st.booleans(), by=st.sampled_from("nst"))
def test_a_budget_keeps_the_best_while_they_fit(
    data: st.DataObject, floating: bool, lowest: bool, pool: bool, by: str
) -> None:
    """No groups, one budget for each group, or a table of budgets; ties, dead rows, nulls, rows that are too heavy."""
    kinds = (pa.float32() if floating else pa.int64(), pa.float64() if floating else pa.int32())
    score = (
        st.one_of(st.sampled_from([0.0, -0.0, 1.5, float("nan")]), st.integers(-3, 3).map(float)) if floating else None
    )
    row = st.tuples(
        st.one_of(st.none(), st.integers(-3, 3) if score is None else score),
        broken_weights if floating else whole_weights,
        st.sampled_from(["a", "b", "c", None]),
        st.booleans() | st.just(True),
    )
    pieces = data.draw(st.lists(st.lists(row, max_size=12), min_size=1, max_size=4))
    shards = [shard_of(rows, kinds, f"part-{i}", 7 * i) for i, rows in enumerate(pieces)]
    asked = data.draw(st.lists(st.integers(0, 60), min_size=2, max_size=2))
    table = {"n": {"": asked[0]}, "s": {"*": asked[0]}, "t": {"a": asked[0], "*": asked[1]}}[by]
    budget: Any = f"{asked[0]} w" if by != "t" else {group: f"{amount} w" for group, amount in table.items()}
    top = Top(
        "x", budget=budget, by=None if by == "n" else "g", lowest=lowest, rank="pool" if pool else "alive"
    ).predicate
    assert isinstance(top, Ranked)
    cuts = searched(top, shards)
    assert kept_rows(top, shards, cuts) == taken(top, shards, table, by != "n")
    frozen = {group: Cut.from_dict(cut.to_dict()) for group, cut in cuts.items()}
    assert kept_rows(top, shards[::-1], frozen) == taken(top, shards, table, by != "n")


def test_a_row_heavier_than_its_budget_does_not_compete() -> None:
    rows: list[Row] = [(9, 100, "en", True), (8, 3, "en", True), (7, 3, "en", True), (6, 50, "de", True)]
    env = shard_of(rows, (pa.int64(), pa.int64()), "p", 0)
    top = Top("x", budget="5 w", by="g").predicate
    assert isinstance(top, Ranked)
    cuts = searched(top, [env])
    assert kept_rows(top, [env], cuts) == {("p", 1)}
    assert cuts["en"].competing == 2
    assert empty_budgets({top.cut: cuts}) == [
        "the cut 'x.below_cut' keeps no row of group 'de': every row that has a score weighs more than the whole budget "
        "of 5; give a larger one"
    ]


def test_a_frozen_budget_skips_heavy_rows_of_a_grown_pool() -> None:
    top = Top("x", budget="5 w").predicate
    assert isinstance(top, Ranked)
    kinds = (pa.int64(), pa.int64())
    cuts = searched(top, [shard_of([(9, 4, None, True), (8, 4, None, True)], kinds, "old", 0)])
    grown = shard_of([(99, 6, None, True), (98, 5, None, True)], kinds, "new", 0)
    assert kept_rows(top, [grown], cuts) == {("new", 1)}


def test_nothing_is_said_of_a_budget_of_nothing_or_of_rows_that_never_came() -> None:
    for budget, alive in (("0 w", True), ("5 w", False)):
        top = Top("x", budget=budget).predicate
        assert isinstance(top, Ranked)
        cuts = searched(top, [shard_of([(1, 7, None, alive)], (pa.int64(), pa.int64()), "p", 0)])
        assert cuts[""].kind == "none" and empty_budgets({top.cut: cuts}) == []


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.integers(0, 2), min_size=1, max_size=60),
    pieces=st.integers(1, 4),
    share=st.integers(0, 100),
    few=st.sampled_from([0, 1, 2, 5, FEW_TIES]),
)
def test_ties_are_broken_alike_by_digits_and_by_a_list(rows: list[int], pieces: int, share: int, few: int) -> None:
    """Scores of few values and uids that repeat: all digits, or a list as soon as `few` rows are left."""
    top = Top("x", fraction=share / 100).predicate
    assert isinstance(top, Ranked)
    kinds, shards = (pa.float32(), pa.int32()), []
    for i, some in enumerate(np.array_split(np.array(rows), pieces)):
        shards.append(shard_of([(float(value), 1, None, True) for value in some.tolist()], kinds, f"p{i}", i))
    assert _searched(top, shards, few) == _searched(top, shards, 0)


def test_few_ties_take_one_level_after_the_score() -> None:
    top = Top("x", fraction="0.5").predicate
    assert isinstance(top, Ranked)
    env = shard_of([(1.0, 1, None, True)] * 4, (pa.float32(), pa.int32()), "p", 0)
    state: Any = None
    for _ in range(3):
        assert state is None or not state[""].cut
        state = advance(count_rows(env, state, top=top, kind=pa.float32()), state, top=top, kind=pa.float32())
    assert state[""].cut is not None


def test_ties_can_not_exceed_a_budget() -> None:
    with pytest.raises(PlanError, match="could exceed a budget"):
        Top("x", budget="5 w", ties="include")


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
    value = key_value(2**63 + 1, pa.float64(), lowest=False)
    cut = Cut(value=value, key=2**63 + 1, bits=64, tie_hash=2**64 - 1, tie_path="ä", tie_row=3, of=5, k=2, competing=4)
    assert Cut.from_dict(cut.to_dict()) == cut
