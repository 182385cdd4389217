"""Types for JSON values."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsieve.dataflow.pools.casts import storage
from poolsieve.dataflow.pools.json_types import (
    MOST_KEYS,
    KeyTypes,
    from_arrow,
    json_texts,
    schema_of_all,
    settled,
    to_arrow,
    type_of,
    united,
)
from poolsieve.scoring_models.base.errors import PlanError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SCALARS, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from("abc"), x, max_size=3), max_leaves=8
)


def kind_of(values: list[Any]) -> pa.DataType:
    keys = KeyTypes()
    for value in values:
        keys.add({"x": value})
    return keys.types["x"]


@given(st.lists(VALUES, min_size=1, max_size=6))
def test_values_of_any_kinds_have_one_type_and_come_back(values: list[Any]) -> None:
    kind = settled(kind_of(values))
    change, back = to_arrow(kind) or (lambda x: x), from_arrow(kind) or (lambda x: x)
    column = pa.array([change(value) for value in values], storage(kind))
    for value, found in zip(values, column.to_pylist(), strict=True):
        assert equal(back(found), value), kind


def equal(found: Any, value: Any) -> bool:
    """Equal, but for what a struct can't tell: a key that is null from one that is missing."""
    if isinstance(value, dict):
        return isinstance(found, dict) and all(equal(found.get(k), value.get(k)) for k in {*found, *value})
    if isinstance(value, list):
        return len(found) == len(value) and all(map(equal, found, value))
    return bool(found == value) or (isinstance(found, float) and found == float(value))


@given(st.lists(VALUES, min_size=1, max_size=6), st.randoms())
def test_the_type_does_not_depend_on_the_order(values: list[Any], random: Any) -> None:
    other = random.sample(values, len(values))
    assert unordered(kind_of(values)) == unordered(kind_of(other))
    half = len(values) // 2
    merged = united(kind_of([None, *values[:half]]), kind_of([None, *values[half:]]))
    assert unordered(merged) == unordered(kind_of(values))


def unordered(kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind):
        return {item.name: unordered(item.type) for item in kind}
    return [unordered(kind.value_type)] if pa.types.is_list(kind) else str(kind)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], pa.int64()),
        ([1, 2.5, None], pa.float64()),
        ([1 << 63], pa.float64()),
        ([None, None], pa.string()),
        (["a", 1], pa.json_()),
        ([True, 1], pa.json_()),
        ([{}, None], pa.json_()),
        ([[], [1]], pa.list_(pa.int64())),
        ([{"a": 1}, {"b": [None]}], pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))])),
        ([{"a": 1}, {"a": "x"}], pa.struct([("a", pa.json_())])),
        ([{str(i): 1} for i in range(MOST_KEYS + 1)], pa.json_()),
    ],
    ids=str,
)
def test_types(values: list[Any], kind: pa.DataType) -> None:
    assert settled(kind_of(values)) == kind


def test_what_is_json_text_is_named() -> None:
    schema = schema_of_all([pa.schema([(key, type_of(value)) for key, value in row.items()]) for row in ROWS])
    assert list(json_texts(schema)) == ["mixed", "deep.inner", "many[].x"]
    assert schema.names == ["mixed", "deep", "many", "late"]


ROWS: list[dict[str, Any]] = [
    {"mixed": 1, "deep": {"inner": [1], "fine": 2}, "many": [{"x": 1}, {"x": "1"}]},
    {"mixed": "one", "deep": {"inner": "1"}, "late": None},
]


def test_too_deep_and_too_wide() -> None:
    deep: Any = 1
    for _ in range(40):
        deep = {"a": deep}
    kind = settled(kind_of([deep]))
    change, back = to_arrow(kind), from_arrow(kind)
    assert change is not None and back is not None
    assert back(pa.array([change(deep)], storage(kind))[0].as_py()) == json.loads(json.dumps(deep))
    with pytest.raises(PlanError, match="different keys"):
        KeyTypes().add({str(i): i for i in range(10_001)})
