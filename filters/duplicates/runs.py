"""Runs of equal neighbours in an array."""

from __future__ import annotations

from typing import Any

import numpy as np

from poolsieve.filters.duplicates.roots import Ints

Array = np.ndarray[Any, Any]


def begins(values: Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """bool (n,): whether each of n values, or of n rows of values, is another than the one before it."""
    made = np.ones(len(values), dtype=bool)
    other = values[1:] != values[:-1]
    made[1:] = other.any(axis=1) if other.ndim > 1 else other
    return made


def heads(begin: np.ndarray[Any, np.dtype[np.bool_]]) -> Ints:
    """int64 (n,): the place of the first of the run that each of n values is in."""
    return np.maximum.accumulate(np.where(begin, np.arange(len(begin)), 0))
