"""Rows by group, at one pass however many groups there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Array = np.ndarray[Any, Any]


class Groups(NamedTuple):
    """The names of groups, sorted, and of each of n rows its group's place among them; -1 for a row without one."""

    names: tuple[str, ...]
    codes: Array

    @classmethod
    def of(cls, values: Any, n: int) -> Groups:
        """By a column of n values, as texts; None is one group, "", of all rows."""
        if values is None:
            return cls(("",), np.zeros(n, dtype=np.int64))
        texts = values.cast(pa.string())
        names = tuple(sorted(pc.unique(texts.drop_null()).to_pylist()))
        codes = pc.index_in(texts, value_set=pa.array(names, pa.string())).fill_null(-1)
        return cls(names, np.asarray(codes, dtype=np.int64))

    def rows(self, among: Array | None = None) -> Iterator[tuple[str, Array]]:
        """Each group that has any, with its rows: int64, ascending. `among`: bool (n,), only those."""
        chosen = np.arange(len(self.codes)) if among is None else np.flatnonzero(among)
        if not len(chosen):
            return
        codes = self.codes[chosen]
        order = np.argsort(codes, kind="stable")
        found, starts = np.unique(codes[order], return_index=True)
        for code, rows in zip(found, np.split(chosen[order], starts[1:]), strict=True):
            if code >= 0:
                yield self.names[code], rows
