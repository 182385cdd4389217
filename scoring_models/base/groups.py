"""Values a few at a time: Python 3.12 has it as `itertools.batched`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def in_groups(values: Iterable[T], most: int) -> Iterator[list[T]]:
    """The values in order, in lists of `most`; the last may have fewer, and none is empty."""
    left = iter(values)
    while group := list(itertools.islice(left, most)):
        yield group
