"""Names of very many files in little memory: as texts of Python they take half as much again, in a dictionary more."""

from __future__ import annotations

import bisect
import itertools
import os
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.scoring_models.base.groups import in_groups

_AT_ONCE = 8192
"""Names that are texts of Python at a time, before they are packed or after."""


class SortedNames:
    """Names in order of their bytes, which is that of their characters.

    Args:
        names: in any order; of an iterator no more than a few are held at a time.
    """

    def __init__(self, names: Iterable[str]) -> None:
        # A folder may have strangers, of names that are no UTF-8.
        packed = [
            pa.array([os.fsencode(name) for name in group], pa.large_binary()) for group in in_groups(names, _AT_ONCE)
        ]
        found = pa.chunked_array(packed, pa.large_binary())
        self._names = found.take(pc.sort_indices(found)).combine_chunks()

    def __len__(self) -> int:
        return len(self._names)

    @property
    def nbytes(self) -> int:
        """Of memory."""
        return int(self._names.nbytes)

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _AT_ONCE):
            yield from (
                os.fsdecode(name) for name in self._names.slice(first, _AT_ONCE).to_pylist() if name is not None
            )

    def starting(self, prefix: str) -> Iterator[str]:
        """Those that begin so."""
        sought = os.fsencode(prefix)
        first = bisect.bisect_left(range(len(self)), sought, key=self._at)
        found = itertools.takewhile(lambda name: name.startswith(sought), map(self._at, range(first, len(self))))
        return map(os.fsdecode, found)

    def _at(self, place: int) -> bytes:
        return bytes(self._names[place].as_py())


class GrowingNames:
    """Names that more and more are added to; they are packed some thousand at a time.

    Args:
        names: the first of them, in any order.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._packed = [SortedNames(names)]
        self._new: dict[str, list[str]] = {}

    def add(self, prefix: str, name: str) -> None:
        """One more name, which begins so."""
        self._new.setdefault(prefix, []).append(name)
        if len(self._new) >= _AT_ONCE:
            self._pack()

    def _pack(self) -> None:
        made = SortedNames(itertools.chain.from_iterable(self._new.values()))
        # Of sizes that halve, there are few to look through, and a name is packed again no oftener than that.
        while len(self._packed) > 1 and len(self._packed[-1]) < 2 * len(made):
            made = SortedNames(itertools.chain(self._packed.pop(), made))
        self._packed.append(made)
        self._new = {}

    @property
    def nbytes(self) -> int:
        """Of memory, for those that are packed."""
        return sum(names.nbytes for names in self._packed)

    def starting(self, prefix: str) -> Iterator[str]:
        """Those that begin so: listed ones, and those that were added with this very prefix."""
        yield from itertools.chain.from_iterable(names.starting(prefix) for names in self._packed)
        yield from self._new.get(prefix, ())

    def __iter__(self) -> Iterator[str]:
        """Those that were not added."""
        return iter(self._packed[0])
