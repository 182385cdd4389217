"""Values of typed columns in what a model wrote: leniently, in time that grows with the text, and never guessed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

MAIN = "score"
"""Key of the column ""."""

MOST_OBJECTS = 64
"""Braces of a reply at which an object may begin: so a reply is gone over so often at most."""

MOST_TEXT = 1024
"""Characters of a value in a column of texts."""

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_ONE = r"([-+]?[0-9]{1,15}(?:\.[0-9]{1,15})?|true|false|yes|no)"
_BARE = re.compile(rf"[\s*`\"']{{0,9}}{_ONE}[\s*`\"'.]{{0,9}}", re.IGNORECASE)


class Unreadable(Exception):
    """A reply that has not what was asked for; says what."""


def key_of(column: str) -> str:
    """The key of a column in a reply."""
    return column or MAIN


def read(
    reply: str,
    columns: Mapping[str, pa.DataType],
    least: float | None = None,
    most: float | None = None,
    cut: bool = False,
) -> dict[str, Any]:
    """Column -> value, from the first JSON object of a reply that has the columns.

    What stands before `</think>` is left out. One column alone may also be a bare number or word, or a line such as
    `quality: 3`. Keys are compared without case, and "-" and blanks are "_".

    Args:
        reply: what the model wrote.
        columns: column -> type: bool, an integer, a float or string.
        least, most: bounds of numbers, inclusive; None for none.
        cut: whether the reply was cut short, so that a number at its end may be half of one: objects alone count then.

    Raises:
        Unreadable: saying what is missing, or wrong.
    """
    text = reply.rpartition("</think>")[2]
    found = next(_with_keys(text, columns), None)
    if found is None and len(columns) == 1 and not cut:
        found = _alone(text, next(iter(columns)))
    if found is None:
        wanted = ", ".join(f'"{key_of(column)}"' for column in columns)
        raise Unreadable(f"no JSON object with {wanted}")
    return {
        column: _value(column, found[_plain(key_of(column))], kind, least, most) for column, kind in columns.items()
    }


def _plain(key: str) -> str:
    return re.sub(r"[-\s]", "_", key.strip().casefold())


def _with_keys(text: str, columns: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    wanted = {_plain(key_of(column)) for column in columns}
    for made in _objects(text):
        named = {_plain(key): value for key, value in made.items()}
        if wanted <= named.keys():
            yield named


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """JSON objects that begin at one of the first braces; after one, the search goes on behind it."""
    decoder, place = json.JSONDecoder(), 0
    for _ in range(MOST_OBJECTS):
        place = text.find("{", place)
        if place < 0:
            return
        try:
            made, place = decoder.raw_decode(text, place)
            yield made
        except (ValueError, RecursionError):
            place += 1


def _alone(text: str, column: str) -> dict[str, Any] | None:
    """A bare value, or the last line that gives one to the column."""
    key = _plain(key_of(column))
    bare = _BARE.fullmatch(text.strip()[:100]) if len(text.strip()) <= 100 else None
    if bare is not None:
        return {key: bare[1]}
    name = "[-_ ]".join(map(re.escape, key.split("_")))
    lines = re.findall(rf"^[ \t*_#>`-]{{0,9}}{name}[ \t*_`]{{0,9}}[:=][^\w\n+-]{{0,9}}{_ONE}\b", text, re.I | re.M)
    return {key: lines[-1]} if lines else None


def _value(column: str, value: Any, kind: pa.DataType, least: float | None, most: float | None) -> Any:
    name = key_of(column)
    if pa.types.is_boolean(kind):
        return _flag(name, value)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        if not isinstance(value, str):
            raise Unreadable(f'"{name}" is no text')
        return value[:MOST_TEXT]
    number = _number(name, value)
    if (least is not None and number < least) or (most is not None and number > most):
        raise Unreadable(f'"{name}" is {number:g}, not from {least} to {most}')
    return _whole(name, number, kind) if pa.types.is_integer(kind) else _float(name, number, kind)


def _flag(name: str, value: Any) -> bool:
    said = _WORDS.get(str(value).strip().casefold()) if isinstance(value, (bool, int, str)) else None
    if said is None:
        raise Unreadable(f'"{name}" is neither true nor false')
    return said


def _number(name: str, value: Any) -> float:
    try:
        number = float(value) if type(value) in (int, float, str) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise Unreadable(f'"{name}" is no number')
    return number


def _whole(name: str, number: float, kind: pa.DataType) -> int:
    kept: Any = kind.to_pandas_dtype()
    bounds = np.iinfo(kept)
    if number != int(number) or not bounds.min <= number <= min(bounds.max, 1 << 53):
        raise Unreadable(f'"{name}" is {number:g}, which is no {kind}')
    return int(number)


def _float(name: str, number: float, kind: pa.DataType) -> float:
    kept: Any = kind.to_pandas_dtype()
    if not abs(number) <= float(np.finfo(kept).max):
        raise Unreadable(f'"{name}" is {number:g}, beyond {kind}')
    return number
