"""Packed records, and the places that they go to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from poolsieve.filters.duplicates import runs
from poolsieve.filters.duplicates.bands import Rows

Records = np.ndarray[Any, Any]


def records_of(kind: np.dtype[Any], *columns: np.ndarray[Any, Any]) -> Records:
    """Records of columns of one length."""
    made = np.empty(len(columns[0]), dtype=kind)
    for name, values in zip(kind.names or (), columns, strict=True):
        made[name] = values
    return made


def records_in(blocks: Iterable[bytes | memoryview], kind: np.dtype[Any]) -> Records:
    """The records of all blocks."""
    return np.frombuffer(b"".join(blocks), dtype=kind)


def by_place(places: Rows, values: np.ndarray[Any, Any]) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
    """(place, what goes there in its order), ascending."""
    order = np.argsort(places, kind="stable")
    firsts = np.flatnonzero(runs.begins(places[order]))
    yield from zip(places[order[firsts]].tolist(), np.split(values[order], firsts[1:]), strict=False)
