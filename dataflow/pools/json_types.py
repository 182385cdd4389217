"""Types for JSON values: one Arrow type for a key, whatever the lines of a whole pool have there.

| values of the key | type |
|---|---|
| texts; truth values; integers within 64 bits; other numbers | string; bool; int64; float64 |
| integers and other numbers | float64, since JSON does not tell them apart |
| objects | a struct of all their keys; above `MOST_KEYS` keys, where keys are data, JSON text |
| lists | a list of the type that fits all items |
| nothing but null | string |
| kinds that don't go together; objects without keys; more than `DEEPEST` levels | JSON text (`pa.json_()`) |
| more than `MOST_LEAVES` values within one another | JSON text |

The type of many values does not depend on their order, but for the order of a struct's fields: first seen, first named.
Time and memory are linear in the size of the values, whatever they are: anybody may have written a pool's lines.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from poolsieve.dataflow.pools.casts import is_json
from poolsieve.dataflow.pools.json_text import json_text, value_of
from poolsieve.scoring_models.base.errors import PlanError

MOST_KEYS = 256
"""Keys of one object that become fields of a struct."""

MOST_COLUMNS = 10_000
"""Different keys of a pool's lines that become columns."""

DEEPEST = 12
"""Levels of nesting that become types."""

MOST_LEAVES = 4096
"""Fields without fields of their own in one column. A batch has a value for each of them in each of its rows."""

_SCALARS: Mapping[type, pa.DataType] = {str: pa.string(), bool: pa.bool_(), float: pa.float64(), type(None): pa.null()}


class _Shape:
    """What the values in one place have been so far, changed in place: a union of types would be made anew each time.

    At most one of `leaf`, `item` and `fields` is there; none means nothing but null. `text` is for good.
    """

    __slots__ = ("fields", "item", "leaf", "text")

    def __init__(self) -> None:
        self.text = False
        self._forget()

    def _forget(self) -> None:
        self.leaf: pa.DataType | None = None
        self.item: _Shape | None = None
        self.fields: dict[str, _Shape] | None = None

    def add(self, value: Any, depth: int = 0) -> None:
        """Takes one more value, which stands `depth` levels deep."""
        if self.text or value is None:
            return
        if not isinstance(value, (dict, list)):
            self._add_leaf(_leaf_of(value))
        elif depth >= DEEPEST:
            self._be_text()
        elif isinstance(value, list):
            self._add_list(value, depth + 1)
        else:
            self._add_object(value, depth + 1)

    def _add_leaf(self, kind: pa.DataType) -> None:
        if self.item is not None or self.fields is not None:
            return self._be_text()
        self.leaf = united(self.leaf or pa.null(), kind)
        return self._be_text() if is_json(self.leaf) else None

    def _add_list(self, value: list[Any], depth: int) -> None:
        if self.leaf is not None or self.fields is not None:
            return self._be_text()
        self.item = self.item or _Shape()
        for inner in value:
            self.item.add(inner, depth)
        return None

    def _add_object(self, value: Mapping[str, Any], depth: int) -> None:
        if self.leaf is not None or self.item is not None or len(value) > MOST_KEYS:
            return self._be_text()
        self.fields = {} if self.fields is None else self.fields
        for name, inner in value.items():
            self.fields.setdefault(name, _Shape()).add(inner, depth)
        return self._be_text() if len(self.fields) > MOST_KEYS else None

    def _be_text(self) -> None:
        self.text = True
        self._forget()

    def kind(self) -> pa.DataType:
        """The type, unsettled."""
        if self.text:
            return pa.json_()
        if self.item is not None:
            return pa.list_(self.item.kind())
        if self.fields is not None:
            return pa.struct([(name, inner.kind()) for name, inner in self.fields.items()])
        return self.leaf or pa.null()


def _leaf_of(value: Any) -> pa.DataType:
    if isinstance(value, int) and not isinstance(value, bool):
        return pa.int64() if -(1 << 63) <= value < 1 << 63 else pa.float64()
    return _SCALARS[type(value)]


def type_of(value: Any) -> pa.DataType:
    """The type of one value; nothing is settled yet: null and the empty object have types of their own."""
    shape = _Shape()
    shape.add(value)
    return shape.kind()


def fits(kind: pa.DataType, value: Any) -> bool:
    """Whether a type that files can have holds a value as it is."""
    if value is None:
        return True
    if pa.types.is_list(kind):
        return isinstance(value, list) and all(fits(kind.value_type, inner) for inner in value)
    if not pa.types.is_struct(kind):
        return united(kind, type_of(value)) == kind
    places = {name: kind.get_field_index(name) for name in value} if isinstance(value, dict) else {"": -1}
    return -1 not in places.values() and all(fits(kind.field(at).type, value[name]) for name, at in places.items())


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


def _merged(a: Mapping[str, pa.DataType], b: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
    return {**a, **{name: united(a[name], kind) if name in a else kind for name, kind in b.items()}}


class KeyTypes:
    """The types of the keys of many objects, one object after the other."""

    def __init__(self) -> None:
        self._shapes: dict[str, _Shape] = {}
        self._seen: set[tuple[str, type]] = set()

    @property
    def types(self) -> dict[str, pa.DataType]:
        """The types so far, unsettled."""
        return {name: shape.kind() for name, shape in self._shapes.items()}

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
            self._shapes.setdefault(key, _Shape()).add(value)
        if len(self._shapes) > MOST_COLUMNS:
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
    return pa.schema([(name, _bounded(settled(kind))) for name, kind in found.items()])


def _bounded(kind: pa.DataType) -> pa.DataType:
    """The type, or JSON text for one so large that a batch of it would not fit into memory.

    Asked of the whole pool's type alone, so that the answer does not depend on the order of rows.
    """
    return kind if _leaves(kind) <= MOST_LEAVES else pa.json_()


def _leaves(kind: pa.DataType) -> int:
    return sum(_leaves(kind.field(i).type) for i in range(kind.num_fields)) if pa.types.is_nested(kind) else 1


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


def _to_arrow(kind: pa.DataType) -> Change | None:
    if is_json(kind):
        return json_text
    return float if pa.types.is_floating(kind) else None


def _from_arrow(kind: pa.DataType) -> Change | None:
    return value_of if is_json(kind) else None


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
