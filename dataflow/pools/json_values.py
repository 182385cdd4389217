"""Values of JSON objects as what a role of a pool is, or why one can't be that."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa

from poolsieve.dataflow.pools.casts import Errors, is_json, is_text, storage
from poolsieve.dataflow.pools.formats.base import UID
from poolsieve.dataflow.pools.json_text import deeper, json_text, shown, too_deep
from poolsieve.dataflow.pools.json_types import fits, to_arrow
from poolsieve.scoring_models.base.errors import RowError

Value = Any
"""What a source gives for one row: a value, None where there is none, or a `RowError`."""


def field_of(value: dict[str, Any], path: str) -> Value:
    """The field of exactly that name, else what the dots lead to; None where it is missing."""
    if path in value:
        return value[path]
    found: Any = value
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def as_written(data: bytes, path: str) -> Value:
    """The number at `path` of an object as it is written: what a uid is where a float could not tell it from others.

    Of 100000000000000000001 and 100000000000000000002 a float makes the same `1e+20`.

    Args:
        data: the object's JSON, which has been parsed once without an error.
        path: see `field_of`.
    """
    try:
        text = data.decode(json.detect_encoding(data), "surrogatepass")
        if deeper(text):
            return too_deep()
        return field_of(json.loads(text, parse_int=str, parse_float=str, parse_constant=str), path)
    except ValueError as error:
        return RowError("json_decode", str(error)[:200])


def list_kind(values: Iterable[Value]) -> pa.DataType | None:
    """A list of texts, if the first value that is there is a list, and the first that is not empty has texts."""
    found = [value for value in values if value is not None]
    told: Value = next((value for value in found if value != []), [])
    texts = isinstance(told, list) and all(isinstance(one, str) for one in told)
    return pa.list_(pa.string()) if found and isinstance(found[0], list) and texts else None


def fitting(kind: pa.DataType, role: str) -> Callable[[Any], Value]:
    """A function that gives a JSON value as Python's counterpart of `kind`, or the error."""
    if is_json(kind):
        return json_text
    if pa.types.is_nested(kind):
        return _nested(kind)
    if is_text(kind):
        return _label if role == UID else _text
    if pa.types.is_boolean(kind):
        return _bool
    return _integer if pa.types.is_integer(kind) else _number if pa.types.is_floating(kind) else _wrong


def array_of(values: list[Value], kind: pa.DataType) -> tuple[pa.Array, Errors]:
    """Fitted values as a column of a type (JSON text as strings); a list or an object of another shape is null."""
    try:
        return pa.array(values, storage(kind)), {}
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        if not pa.types.is_nested(kind):
            raise
    # Types are made of the rows that leave; others of the same batch may have anything in their place.
    plain = storage(kind)
    errors = {row: _wrong(value) for row, value in enumerate(values) if not fits(plain, value)}
    return pa.array([None if row in errors else value for row, value in enumerate(values)], plain), errors


def _nested(kind: pa.DataType) -> Callable[[Any], Value]:
    change = to_arrow(kind)

    def fit(value: Any) -> Value:
        try:
            return value if change is None else change(value)
        except (TypeError, ValueError):
            return _wrong(value)

    return fit


def _wrong(value: Any) -> RowError:
    return RowError("json_type", f"unexpected {type(value).__name__}: {shown(value)}")


def _text(value: Any) -> Value:
    if not isinstance(value, str):
        return _wrong(value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            return RowError("text_utf8", f"character {error.start}: {error.reason}")
    return value


def _label(value: Any) -> Value:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return _text(str(value) if plain else value)


def _bool(value: Any) -> Value:
    return value if isinstance(value, bool) else _wrong(value)


def _number(value: Any) -> Value:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return _wrong(value)
    try:
        return float(value)
    except OverflowError:
        return _wrong(value)


def _integer(value: Any) -> Value:
    exact = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return int(value) if exact and not isinstance(value, bool) and abs(value) < 1 << 63 else _wrong(value)
