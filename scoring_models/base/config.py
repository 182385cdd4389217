"""Frozen configurations: one spelling in JSON, hashes of it, and paths that mean the same everywhere."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

JsonObject = dict[str, Any]
"""A JSON object whose keys and values nobody here knows: a configuration, a row of somebody else's."""


def canonical_json(value: Any) -> str:
    """One spelling of a JSON value: sorted keys, no blanks, ASCII. What fingerprints are made from."""
    return _CANONICAL.encode(value)


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, pa.DataType):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (tuple, set, frozenset)):
        return sorted(value) if isinstance(value, (set, frozenset)) else list(value)
    return str(value)


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_plain)
"""Made once: `json.dumps` makes one for each call with settings of its own, and shards are named by the million."""


def digest(value: Any, size: int = 8) -> str:
    """Hexadecimal BLAKE2b of the canonical JSON of `value`, `size` bytes long."""
    return hashlib.blake2b(canonical_json(value).encode(), digest_size=size).hexdigest()


def list_digest(values: Iterable[Any], size: int = 8) -> str:
    """`digest` of a list whose values come one by one."""
    state, between = hashlib.blake2b(b"[", digest_size=size), b""
    for value in values:
        state.update(between + canonical_json(value).encode())
        between = b","
    state.update(b"]")
    return state.hexdigest()


class Config:
    """Mix-in for frozen dataclasses: `to_dict()` for manifests and fingerprints, equality and hash by content."""

    def to_dict(self) -> JsonObject:
        """The class's name under `type` and every field that is not at its default, as plain JSON values."""
        out: JsonObject = {"type": type(self).__name__}
        for item in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if item.metadata.get("runtime") or _is_default(item, value):
                continue
            out[item.name] = json.loads(canonical_json(value))
        return out

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.to_dict() == other.to_dict()  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(canonical_json(self.to_dict()))


def _is_default(item: dataclasses.Field[Any], value: Any) -> bool:
    if item.default is not dataclasses.MISSING:
        return value is item.default or (type(value) is type(item.default) and bool(value == item.default))
    if item.default_factory is not dataclasses.MISSING:
        return bool(value == item.default_factory())
    return False


_BASE: contextvars.ContextVar[str | None] = contextvars.ContextVar("poolsieve_base", default=None)


@contextlib.contextmanager
def base_folder(path: str) -> Iterator[None]:
    """While a recipe is executed: the folder that its relative paths are relative to (a worker runs from elsewhere)."""
    token = _BASE.set(path)
    try:
        yield
    finally:
        _BASE.reset(token)


def absolute_path(path: str) -> str:
    """`path` made absolute and normalised, relative to the recipe's base folder; URLs stay as they are."""
    if "://" in path:
        return path
    return os.path.abspath(os.path.join(_BASE.get() or os.getcwd(), os.path.expanduser(path)))
