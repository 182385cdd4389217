"""Types for JSON values: one Arrow type for a key, whatever the lines of a whole pool have there.

| values of the key | type |
|---|---|
| texts; truth values; integers within 64 bits; other numbers | string; bool; int64; float64 |
| integers and other numbers | float64, since JSON does not tell them apart |
| objects | a struct of all their keys; above `MOST_KEYS` keys, where keys are data, JSON text |
| lists | a list of the type that fits all items |
| nothing but null | string |
| kinds that don't go together; objects without keys; more than `DEEPEST` levels | JSON text (`pa.json_()`) |

The type of many values does not depend on their order, but for the order of a struct's fields: first seen, first named.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson
import pyarrow as pa

from poolsieve.dataflow.pools.casts import is_json
from poolsieve.scoring_models.base.errors import PlanError

MOST_KEYS = 256
"""Keys of one object that become fields of a struct."""

MOST_COLUMNS = 10_000
"""Different keys of a pool's lines that become columns."""

DEEPEST = 12
"""Levels of nesting that become types."""

_SCALARS: Mapping[type, pa.DataType] = {str: pa.string(), bool: pa.bool_(), float: pa.float64(), type(None): pa.null()}


def type_of(value: Any, depth: int = 0) -> pa.DataType:
    """The type of one value; nothing is settled yet: null and the empty object have types of their own."""
    if isinstance(value, int) and not isinstance(value, bool):
        return pa.int64() if -(1 << 63) <= value < 1 << 63 else pa.float64()
    if (scalar := _SCALARS.get(type(value))) is not None:
        return scalar
    if depth >= DEEPEST:
        return pa.json_()
    if isinstance(value, list):
        return pa.list_(_all(type_of(item, depth + 1) for item in value))
    return pa.struct([(key, type_of(inner, depth + 1)) for key, inner in value.items()])


def united(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    """The type that holds the values of both; JSON text where no other does."""
    types = pa.types
    if a == b or types.is_null(b):
        return a
    if types.is_null(a):
        return b
    if {a, b} == {pa.int64(), pa.float64()}:
        return pa.float64()
    if types.is_list(a) and types.is_list(b):
        return pa.list_(united(a.value_type, b.value_type))
    if types.is_struct(a) and types.is_struct(b):
        fields = _merged({item.name: item.type for item in a}, {item.name: item.type for item in b})
        return pa.struct(list(fields.items())) if len(fields) <= MOST_KEYS else pa.json_()
    return pa.json_()


def _all(kinds: Iterable[pa.DataType]) -> pa.DataType:
    found: pa.DataType = pa.null()
    for kind in kinds:
        found = united(found, kind)
    return found


def _merged(a: Mapping[str, pa.DataType], b: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
    return {**a, **{name: united(a[name], kind) if name in a else kind for name, kind in b.items()}}


class KeyTypes:
    """The types of the keys of many objects, one object after the other."""

    def __init__(self) -> None:
        self.types: dict[str, pa.DataType] = {}
        self._seen: set[tuple[str, type]] = set()

    def add(self, row: Mapping[str, Any]) -> None:
        """Takes one more object.

        Raises:
            PlanError: if there are more different keys than columns could be.
        """
        for key, value in row.items():
            kind = type(value)
            # The type of a text or number is known by the second row; lists, objects and integers are looked into.
            if (key, kind) in self._seen:
                continue
            if kind in _SCALARS:
                self._seen.add((key, kind))
            self.types[key] = united(self.types.get(key, pa.null()), type_of(value))
        if len(self.types) > MOST_COLUMNS:
            raise PlanError(f"the lines have more than {MOST_COLUMNS:,} different keys, too many for columns")


def settled(kind: pa.DataType) -> pa.DataType:
    """A type that files can have: what held nothing but nulls is text, objects without keys are JSON text."""
    types = pa.types
    if types.is_null(kind):
        return pa.string()
    if types.is_list(kind):
        return pa.list_(settled(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([(item.name, settled(item.type)) for item in kind]) if kind.num_fields else pa.json_()
    return kind


def schema_of_all(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """One schema for all shards' fields, settled."""
    found: dict[str, pa.DataType] = {}
    for schema in schemas:
        found = _merged(found, {item.name: item.type for item in schema})
    return pa.schema([(name, settled(kind)) for name, kind in found.items()])


def json_texts(fields: Iterable[Any], prefix: str = "") -> Iterator[str]:
    """The names, with dots, of what is JSON text in these fields of a schema or struct."""
    for item in fields:
        if is_json(item.type):
            yield prefix + item.name
        elif pa.types.is_struct(item.type):
            yield from json_texts(item.type, f"{prefix}{item.name}.")
        elif pa.types.is_list(item.type):
            yield from json_texts([item.type.value_field.with_name(f"{item.name}[]")], prefix)


Change = Callable[[Any], Any]


def to_arrow(kind: pa.DataType) -> Change | None:
    """A function that gives a JSON value as Python's counterpart of `kind`; None where Arrow takes it as it is."""
    return _changing(kind, _to_arrow)


def from_arrow(kind: pa.DataType) -> Change | None:
    """The inverse of `to_arrow`: JSON text becomes the value that it spells; None where there is none."""
    return _changing(kind, _from_arrow)


def json_text(value: Any) -> str:
    """A JSON value as text; one that no JSON writer takes (a number beyond 64 bits) as Python writes it."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return json.dumps(value)


def _to_arrow(kind: pa.DataType) -> Change | None:
    if is_json(kind):
        return json_text
    return float if pa.types.is_floating(kind) else None


def _from_arrow(kind: pa.DataType) -> Change | None:
    return _value_of if is_json(kind) else None


def _value_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _changing(kind: pa.DataType, leaf: Callable[[pa.DataType], Change | None]) -> Change | None:
    """`leaf`'s changes at any depth; nulls stay."""
    if pa.types.is_list(kind):
        inner = _changing(kind.value_type, leaf)
        change = None if inner is None else lambda values: [inner(value) for value in values]
    elif pa.types.is_struct(kind):
        parts = {item.name: made for item in kind if (made := _changing(item.type, leaf)) is not None}
        change = _in_object(parts) if parts else None
    else:
        change = leaf(kind)
    return None if change is None else lambda value: None if value is None else change(value)


def _in_object(parts: Mapping[str, Change]) -> Change:
    return lambda value: {**value, **{name: make(value[name]) for name, make in parts.items() if name in value}}


def first_of(rows: Iterable[Mapping[str, Any]], most: int) -> pa.Schema:
    """The unsettled fields of the first objects."""
    keys = KeyTypes()
    for row in itertools.islice(rows, most):
        keys.add(row)
    return pa.schema(list(keys.types.items()))
