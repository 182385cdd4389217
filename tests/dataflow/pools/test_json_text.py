"""JSON of any depth and width: nothing recurses, nothing is quadratic, ordinary values stay as they were written."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsieve.dataflow.pools.casts import storage
from poolsieve.dataflow.pools.json_text import (
    LEVELS,
    _pieces,
    deeper,
    dump,
    end_of,
    json_text,
    object_of,
    plain,
    shown,
    value_of,
)
from poolsieve.dataflow.pools.json_types import MOST_LEAVES, KeyTypes, fits, schema_of_all, settled, to_arrow, type_of
from poolsieve.scoring_models.base.errors import RowError
from tests.dataflow.pools.test_json_types import VALUES, kind_of


def nested(levels: int, *, lists: bool) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if lists else {"a": value}
    return value


@given(VALUES)
def test_pieces_are_what_python_writes(value: Any) -> None:
    assert "".join(_pieces(value, json.dumps)) == json.dumps(value)
    assert "".join(_pieces(value, repr)) == repr(value)
    assert shown(value) == repr(value)[:60]


@given(st.lists(VALUES), st.integers(0, 3))
def test_a_value_ends_where_python_finds_its_end(values: list[Any], spaces: int) -> None:
    text = json.dumps(values, ensure_ascii=False, indent=spaces or None)
    start = 1
    for value in values:
        while text[start] in " \n,":
            start += 1
        stop = end_of(text, start)
        assert json.loads(text[start:stop]) == value
        start = stop


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("levels", [10, LEVELS, LEVELS + 1, 1000, 100_000])
def test_any_depth(levels: int, lists: bool) -> None:
    value = nested(levels, lists=lists)
    text = json_text(value)
    assert dump(plain(value)).decode() == "".join(_pieces(value, json.dumps))
    assert text.count("[" if lists else "{") == levels == text.count("]" if lists else "}")
    assert deeper(text) == (levels > LEVELS) and end_of(text, 0) == len(text)
    assert (value_of(text) is text) == (levels > LEVELS)
    found = object_of(b'{"a":1}' if lists else text.encode())
    assert isinstance(found, RowError) == (levels > LEVELS and not lists)
    assert type_of(value).num_fields and settled(type_of(value)).equals(settled(kind_of([value, value])))
    assert len(shown(value)) == min(60, len(repr(nested(min(levels, 100), lists=lists))))


def test_brackets_in_texts_are_no_levels() -> None:
    assert not deeper(json.dumps({"text": '[{"\\' * 2000, "other": ["}"] * 2000}))
    assert deeper('["\\\\", ' + "[" * 600)


def test_plain_leaves_its_argument_alone() -> None:
    value = {"a": [math.nan, {"b": (math.inf, 1)}], 2: None}
    assert plain(value) == {"a": [None, {"b": [None, 1]}], "2": None}
    assert math.isnan(value["a"][0]) and plain(math.nan) is None and plain("x") == "x"


WIDE: dict[str, Any] = {
    "keys": {str(i): i for i in range(9000)},
    "objects": {str(i): {"a": i} for i in range(9000)},
    "one list of objects": {"x": [{str(i): 1} for i in range(50_000)]},
    "one object": {"x": {str(i): {str(j): 1 for j in range(100)} for i in range(500)}},
    "a large object and many small ones": {
        "x": [{str(i): {str(j): 1 for j in range(256)} for i in range(256)}, *({"1": {"1": 1}} for _ in range(50_000))]
    },
}


@pytest.mark.parametrize("row", WIDE.values(), ids=WIDE)
def test_wide_values_take_no_time(row: dict[str, Any]) -> None:
    start, keys = time.perf_counter(), KeyTypes()
    keys.add(row)
    schema = schema_of_all([pa.schema(list(keys.types.items()))])
    assert time.perf_counter() - start < 60  # a square would take hours
    assert len(schema) == len(row)


def test_too_many_leaves_are_text() -> None:
    side = int(MOST_LEAVES**0.5)
    fine = {str(i): {str(j): 1 for j in range(side)} for i in range(side)}
    for value, text in ((fine, False), ({**fine, "more": 1}, True)):
        (kind,) = schema_of_all([pa.schema({"x": type_of(value)})]).types
        assert isinstance(kind, pa.JsonType) == text


@given(st.lists(VALUES, min_size=1, max_size=4), VALUES)
def test_fits_says_whether_arrow_takes_a_value(values: list[Any], other: Any) -> None:
    kind = settled(kind_of(values))
    if isinstance(kind, pa.JsonType):
        return
    change = to_arrow(kind) or (lambda value: value)
    assert all(fits(storage(kind), change(value)) for value in values)
    if fits(storage(kind), other):
        assert pa.array([other], storage(kind)).null_count == (other is None)
