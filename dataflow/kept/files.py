"""The kept rows of each file of the pool, by their positions in it; which of the pool's files a URL is."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from poolsieve.dataflow import fs
from poolsieve.dataflow.kept.fixed import Fixed
from poolsieve.dataflow.kept.uids import Bools
from poolsieve.dataflow.pools.formats.base import Ints
from poolsieve.dataflow.store.job import uid_source_of
from poolsieve.dataflow.store.layout import rows_url
from poolsieve.dataflow.store.manifest import repeats_of
from poolsieve.dataflow.store.shard_lines import ShardLine
from poolsieve.dataflow.store.tables import one_array, read_promised
from poolsieve.filters.repeat import REPEAT
from poolsieve.scoring_models.base.arrow import texts
from poolsieve.scoring_models.base.errors import PlanError, unknown_name

_TARS = 64
"""Files of tars whose kept keys stay in memory: as many as a shuffle buffer may mix."""

_COUNTED = "of a sample and of damaged files the ledger has not every row, so give {file: rows in it}"

_END = re.compile(r"[\s'\"?#|;]")
"""Ends a file's name within a `pipe:` or behind it in a URL."""


class Files:
    """The files of a pool. What was read of a ledger stays in memory: a bit for each row of the files asked for.

    Args:
        made: the decision.
    """

    def __init__(self, made: Fixed) -> None:
        self._made = made
        self._bits: dict[str, tuple[np.ndarray[tuple[int], np.dtype[np.uint8]], int]] = {}
        self._often = functools.lru_cache(maxsize=_TARS)(self._leaving)
        self.keys = functools.lru_cache(maxsize=_TARS)(self._keys)

    @functools.cached_property
    def lines(self) -> Mapping[str, Sequence[ShardLine]]:
        """Path of each file, as the ledger has it -> its shards, in order."""
        found: dict[str, list[ShardLine]] = {}
        for line in self._made.lines():
            found.setdefault(line.path, []).append(line)
        return found

    def url(self, path: str) -> str:
        """Where a file of the pool is."""
        for part, root in self._made.roots.items():
            if not part or path.startswith(f"{part}/"):
                return fs.join(root, path.removeprefix(f"{part}/") if part else path)
        raise unknown_name(f"{path!r} is of no part of the pool", path, self._made.roots)

    def path(self, name: str) -> str:
        """The path, as the ledger has it, of a file that a loader names: by that path, a URL, or a `pipe:` with one.

        Raises:
            PlanError: if it is none of the pool's files, saying where they are.
        """
        for path in self._readings(name):
            if path in self.lines:
                return path
        places = ", ".join(self._made.roots.values())
        raise PlanError(
            f"{name[:200]!r} is none of the pool's {len(self.lines):,} files, which are in {places}: if they have been "
            "copied elsewhere, say so with poolsieve.kept(OUT, root='folder or URL of the copy')"
        )

    def _readings(self, name: str) -> Iterator[str]:
        yield name
        for url in dict.fromkeys((name, name if "://" in name or name.startswith("pipe:") else fs.absolute(name))):
            for part, root in self._made.roots.items():
                _, found, below = url.partition(root.rstrip("/") + "/")
                if found:
                    yield f"{part}/{below}" if part else below
                    yield from ([f"{part}/{cut}" if part else cut] if (cut := _END.split(below, 1)[0]) != below else [])

    def keep(self, path: str) -> Bools:
        """bool (n,): for each position in the file, up to the last one in the ledger, whether that row was kept."""
        if path not in self._bits:
            tables = [self._made.ledger(line, ["row", "keep"]) for line in self.lines[path]]
            rows = np.concatenate([np.asarray(one_array(one, "row").to_numpy(), np.int64) for one in tables])
            kept = np.concatenate([np.asarray(one.column("keep").to_numpy(), bool) for one in tables])
            mask = np.zeros(int(rows.max(initial=-1)) + 1, bool)
            mask[rows[kept]] = True
            self._bits[path] = np.packbits(mask), len(mask)
        packed, n = self._bits[path]
        return np.unpackbits(packed, count=n).astype(bool)

    def has(self, path: str, row: int) -> bool:
        """Whether one row of a file was kept."""
        if path not in self._bits:
            self.keep(path)
        packed, n = self._bits[path]
        return 0 <= row < n and bool(packed[row >> 3] & (128 >> (row & 7)))

    def rows(self, path: str) -> Ints:
        """int64: positions of a file's kept rows, ascending, each as often as it leaves."""
        if self._made.repeated is None:
            return np.flatnonzero(self.keep(path)).astype(np.int64)
        tables = [self._made.ledger(line, ["row", "keep", REPEAT]) for line in self.lines[path]]
        rows = [np.repeat(one_array(one, "row").to_numpy(), repeats_of(one)) for one in tables]
        return np.sort(np.concatenate(rows)).astype(np.int64)

    def times(self, path: str, row: int) -> int:
        """How often one row of a file leaves; 0 if it was not kept."""
        if self._made.repeated is None or not self.has(path, row):
            return int(self.has(path, row))
        rows, counts = self._often(path)
        return int(counts[np.searchsorted(rows, row)])

    def _leaving(self, path: str) -> tuple[Ints, Ints]:
        return np.unique(self.rows(path), return_counts=True)

    def count(self, path: str) -> int:
        """Rows of a file that the ledger has a line for."""
        return sum(line.rows for line in self.lines[path])

    def _keys(self, path: str) -> frozenset[str]:
        """Keys of a tar's kept samples; `keys` keeps those of the last tars."""
        made, found = self._made, frozenset[str]()
        for line in self.lines[path]:
            keep = made.ledger(line, ["keep"]).column("keep")
            url = rows_url(made.out, line.shard, uid_source_of(made.files, line.shard))
            keys = one_array(read_promised(url, ["key"]).filter(keep), "key")
            found |= frozenset(texts(keys.drop_null()))
        return found


def positions(files: Files, named: Sequence[str] | Mapping[str, int], total: int) -> Ints:
    """int64: positions of the kept rows in a table of these files, one after the other.

    Args:
        files: of the pool.
        named: the files in the table's order, or each with its number of rows.
        total: rows of the table.

    Raises:
        PlanError: if the files don't have that many rows, or one is named that is not the pool's.
    """
    if isinstance(named, str):
        raise PlanError(f"files={named!r}: give a list of files, in the order in which they were read")
    start, found = 0, [np.zeros(0, np.int64)]
    for name in named:
        path = files.path(name)
        rows = files.rows(path)
        n = named[name] if isinstance(named, Mapping) else files.count(path)
        if len(rows) and rows[-1] >= n:
            raise PlanError(f"row {rows[-1]:,} of {name} was kept, and it should have {n:,} rows: {_COUNTED}")
        found.append(rows + start)
        start += n
    if start != total:
        raise PlanError(
            f"these files have {start:,} rows, and the table has {total:,}: name those that it was read from, in that "
            f"order; {_COUNTED}"
        )
    return np.concatenate(found)
