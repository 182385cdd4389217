"""JSON as text and back, however deep it is nested.

Python's own reader and writer go down one call a level and give up after some hundreds, which depends on who called
them. Here the answer depends on the value alone: what is written never recurses, and text that is nested deeper than
`LEVELS` is not parsed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from poolsieve.scoring_models.base.errors import RowError

LEVELS = 500
"""Levels of nesting that Python's reader is given: half of its limit, since its callers take some of that."""

_SHOWN = 60
"""Characters of a value in a message."""

_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_MARKS = re.compile(_STRING + r"|[\[\]{}]", re.DOTALL)
_SIMPLE = re.compile(_STRING + r"|[^\s,\]}]+", re.DOTALL)


def json_text(value: Any) -> str:
    """A JSON value as text; one that orjson does not write (beyond 64 bits, very deep) as Python would write it."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return _written(value)


def value_of(text: str) -> Any:
    """What a text spells as JSON; the text itself if that is nothing, or nested deeper than `LEVELS`."""
    try:
        return text if deeper(text) else json.loads(text)
    except ValueError:
        return text


def object_of(data: bytes) -> dict[str, Any] | RowError:
    """The object that bytes spell as JSON, as Python reads it, or what is wrong with it."""
    try:
        text = data.decode(json.detect_encoding(data), "surrogatepass")
        value = too_deep() if deeper(text) else json.loads(text)
    except ValueError as error:
        return RowError("json_decode", str(error)[:200])
    if not isinstance(value, (dict, RowError)):
        return RowError("json_decode", f"the JSON member is no object but {type(value).__name__}")
    return value


def too_deep() -> RowError:
    """What is wrong with JSON that `deeper` finds."""
    return RowError("json_decode", f"nested more than {LEVELS} levels deep")


def deeper(text: str) -> bool:
    """Whether JSON is nested deeper than `LEVELS`."""
    if text.count("[") + text.count("{") <= LEVELS:
        return False  # nearly always, and quick
    depth = 0
    for mark in _MARKS.finditer(text):
        depth += (mark[0] in "[{") - (mark[0] in "]}")
        if depth > LEVELS:
            return True
    return False


def end_of(text: str, start: int) -> int:
    """Where the JSON value that starts at `start` ends, in a text that is JSON; nothing is converted."""
    if text[start] not in "[{":
        found = _SIMPLE.match(text, start)
        return len(text) if found is None else found.end()
    depth = 0
    for mark in _MARKS.finditer(text, start):
        depth += (mark[0] in "[{") - (mark[0] in "]}")
        if not depth:
            return mark.end()
    return len(text)


def dump(value: Any) -> bytes:
    """JSON as members hold it, in UTF-8; characters that no UTF-8 has are escaped."""
    options: dict[str, Any] = {"default": str, "allow_nan": False}
    try:
        return _written(value, ensure_ascii=False, **options).encode()
    except UnicodeEncodeError:
        return _written(value, **options).encode()


def plain(value: Any) -> Any:
    """A value as JSON can hold it: NaN and the infinities are null, at any depth."""
    top: Any = [value]
    waiting: list[Any] = [top]
    while waiting:
        holder = waiting.pop()
        for at, item in holder.items() if isinstance(holder, dict) else enumerate(holder):
            if isinstance(item, float):
                holder[at] = item if math.isfinite(item) else None
            elif isinstance(item, (Mapping, list, tuple)):
                holder[at] = _copy(item)
                waiting.append(holder[at])
    return top[0]


def shown(value: Any) -> str:
    """The beginning of `repr(value)`, without making the rest of it."""
    found = ""
    for piece in _pieces(value, repr):
        found += piece
        if len(found) >= _SHOWN:
            break
    return found[:_SHOWN]


def _copy(item: Any) -> Any:
    return {str(name): inner for name, inner in item.items()} if isinstance(item, Mapping) else list(item)


def _written(value: Any, **options: Any) -> str:
    try:
        return json.dumps(value, **options)
    except RecursionError:
        return "".join(_pieces(value, lambda inner: json.dumps(inner, **options)))


class _Mark(str):
    """Text between values."""

    __slots__ = ()


def _pieces(value: Any, leaf: Callable[[Any], str]) -> Iterator[str]:
    """A value as Python and JSON write lists and objects, piece by piece, without going down a call a level."""
    open_parts: list[Iterator[Any]] = [iter((value,))]
    while open_parts:
        for item in open_parts[-1]:
            if isinstance(item, (dict, list)):
                open_parts.append(_parts(item, leaf))
                break
            yield item if isinstance(item, _Mark) else leaf(item)
        else:
            open_parts.pop()


def _parts(value: dict[str, Any] | list[Any], leaf: Callable[[Any], str]) -> Iterator[Any]:
    """The values of a list or an object, and what stands around them."""
    named = isinstance(value, dict)
    yield _Mark("{" if named else "[")
    for number, inner in enumerate(value):
        yield _Mark((", " if number else "") + (f"{leaf(inner)}: " if named else ""))
        yield value[inner] if named else inner  # type: ignore[call-overload,index]  # which of the two is settled above
    yield _Mark("}" if named else "]")
