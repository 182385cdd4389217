"""JSON lines as a table: by Arrow's reader, or line by line where that gives up (mixed types, NaN, very long lines)."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.json

from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short

_BLOCK = 16 << 20
"""Bytes that Arrow takes at a time; a longer line is left to the slow way."""

_LOOK = 1000
"""Lines after which what a file has been seen to hold is enough, if it was all that is wanted."""


def names(path: Path, wanted: Sequence[str]) -> Sequence[str]:
    """The keys of a file's objects: of the first lines, and of more if not all that are wanted were among them."""
    found: dict[str, None] = {}
    for number, (_, item) in enumerate(_objects(path)):
        found.update(dict.fromkeys(item))
        if number >= _LOOK and all(name in found for name in wanted):
            break
    if not found:
        raise PlanError(f"{path} is empty: a line holds one JSON object")
    return list(found)


def load(path: Path, names: Sequence[str]) -> pa.Table:
    """Some keys of a file's objects as columns; null where an object has none."""
    schema = _guessed(path, names)
    if schema is not None:
        parse = pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        try:
            with pa.input_stream(str(path), compression="detect") as stream:
                read = pa.json.read_json(stream, pa.json.ReadOptions(block_size=_BLOCK), parse)  # type: ignore[arg-type]
                return read.select(list(names))
        except (pa.ArrowException, KeyError):
            pass
    return _by_line(path, names)


def place(path: Path, row: int) -> str:
    """The line of an object, from 1."""
    line = next((line for number, (line, _) in enumerate(_lines(path)) if number == row), 0)
    return f"{path}, line {line}"


def _guessed(path: Path, names: Sequence[str]) -> pa.Schema | None:
    """Types of the keys by the first lines; None where they do not tell."""
    seen: dict[str, set[type]] = {name: set() for name in names}
    for number, (_, item) in enumerate(_objects(path)):
        for name in names:
            seen[name].add(type(item.get(name)))
        if number >= _LOOK:
            break
    kinds = {name: _TYPES.get(frozenset(types - {type(None)})) for name, types in seen.items()}
    known = [(name, kind) for name, kind in kinds.items() if kind is not None]
    return pa.schema(known) if len(known) == len(kinds) else None


_TYPES: Mapping[frozenset[type], pa.DataType] = {
    frozenset([str]): pa.string(),
    frozenset([bool]): pa.bool_(),
    frozenset([int]): pa.int64(),
    frozenset([float]): pa.float64(),
    frozenset([int, float]): pa.float64(),
}


def _by_line(path: Path, names: Sequence[str]) -> pa.Table:
    """Integers beside texts become texts, and true and false beside numbers 1 and 0."""
    columns: dict[str, list[Any]] = {name: [] for name in names}
    kinds: dict[str, set[type]] = {name: set() for name in names}
    for line, item in _objects(path):
        for name in names:
            value = item.get(name)
            if value is not None and type(value) not in (str, bool, int, float):
                raise PlanError(f"{path}, line {line}: {name} is {short(value)}: a single value is wanted")
            columns[name].append(value)
            kinds[name].add(type(value))
    return pa.table({name: _column(values, kinds[name] - {type(None)}) for name, values in columns.items()})


def _column(values: list[Any], kinds: set[type]) -> pa.Array:
    """Texts where there is a text or a number that is too large, else numbers or truth."""
    if str in kinds or (kinds == {int} and max(abs(value or 0) for value in values) >= 1 << 63):
        return pa.array([None if value is None else _text(value) for value in values], pa.string())
    if len(kinds) > 1 or kinds == {float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array(values)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _objects(path: Path) -> Iterator[tuple[int, JsonObject]]:
    """Number of the line, from 1, and its object.

    Raises:
        PlanError: naming the line that holds none.
    """
    for number, line in _lines(path):
        item = _parsed(line)
        if not isinstance(item, dict):
            raise PlanError(f"{path}, line {number}: expected one JSON object, not {short(line[:100])}")
        yield number, item


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except ValueError:  # NaN, and integers beyond 64 bits, which Python's own reader knows
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            return None


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers from 1."""
    with pa.input_stream(str(path), compression="detect") as stream:
        for number, line in enumerate(io.BufferedReader(stream, 1 << 20), 1):  # type: ignore[type-var]
            if stripped := line.strip().removeprefix(b"\xef\xbb\xbf"):
                yield number, stripped
