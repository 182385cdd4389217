"""The files of a pool, once it is known where they are: listing them, opening them, reading rows from them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Self

import pyarrow as pa

from poolsieve.dataflow.pools.braces import count
from poolsieve.dataflow.pools.formats import FORMATS
from poolsieve.dataflow.pools.formats.base import INSTANCE, UID, Location, Reader, Want
from poolsieve.dataflow.pools.formats.format import Format
from poolsieve.dataflow.pools.formats.outgoing import Copier
from poolsieve.dataflow.pools.listing import Listing, find, first, gap_message
from poolsieve.dataflow.pools.packed import Shards, check_names
from poolsieve.dataflow.pools.sample import Sample, leading, taken
from poolsieve.dataflow.pools.shards import Batch, Shard
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError, unknown_name

_THREADS = 8

KnownSplits = Callable[["PoolFiles", Shard], list[Shard] | None]
"""The pieces of a file of a pool, or None if nobody has split it yet."""


@dataclass(frozen=True, kw_only=True)
class PoolFiles(Location):
    """A pool that has been located, made once by `Pool.located()`; small and picklable.

    Attributes:
        format: name of the format, a key of `FORMATS`.
        patterns: absolute URLs, globs and brace ranges.
        allow_gaps: whether names of a range may have no file.
        sample: which rows of the files are the pool's; None for all.
        first_rows: only so many of each shard are the pool's, for a trial; None for all.
    """

    format: str
    patterns: tuple[str, ...]
    allow_gaps: bool = False
    sample: Sample | None = None
    first_rows: int | None = None

    @property
    def own(self) -> Format:
        """The format of the files."""
        return FORMATS[self.format]

    @property
    def reader(self) -> Reader:
        """What reads this format."""
        return self.own.reader

    @property
    def copied(self) -> Format:
        """The format that a loss-free copy of the rows has.

        Raises:
            PlanError: if there is no one format.
        """
        return self.own

    @property
    def places(self) -> Sequence[PoolFiles]:
        """The pools that have a root of their own: this one, or the parts of a union."""
        return (self,)

    def part(self, shard: Shard) -> PoolFiles:
        """The pool that a shard is read from: this one, or a part of a union."""
        return self

    @property
    def marks(self) -> tuple[str, ...]:
        """What tells this pool from another over the same shards, where fingerprints don't: which rows are in."""
        few = () if self.first_rows is None else (f"first_rows={self.first_rows}",)
        return (*(self.sample.mark if self.sample else ()), *few)

    def readings(self, roles: Iterable[str]) -> Mapping[str, str]:
        """Part of a union -> hash of how it reads these roles: scores of its shards are looked up by that as well."""
        return {}

    def common_sources(self, roles: Sequence[str]) -> dict[str, str]:
        """What fingerprints say of roles: their sources, but for those that `readings` says."""
        return self.sources(roles)

    @property
    def limits(self) -> tuple[str, ...]:
        """What rows and scores are looked up by beside their sources; where a role says what a row is, that too."""
        role = self.own.row_role
        return (*super().limits, *((self.roles[role],) if role in self.roles else ()))

    def listing(self, known: KnownSplits | None = None) -> Listing:
        """Lists the files, with sizes and tags; splits the big ones.

        Args:
            known: the pieces of files that must be opened to be split, or None for those that are not known, which
                stay whole. Without it they are opened here.

        Raises:
            PlanError: for a pool without files, for gaps unless they are allowed, for files whose names in OUT would
                be the same, and for links, folders and devices that can't be read.
            StorageError: if the storage can't be listed.
        """
        files, gaps = find(self.patterns, self.root, self.storage_options)
        if gaps and not self.allow_gaps:
            raise PlanError(gap_message(gaps, sum(map(count, self.patterns))))
        unsplit: list[Shard] = []
        shards = self._split(files.below(self.prefix), known, unsplit)
        check_names(shards)
        return Listing(shards, tuple(gaps), tuple(sorted(unsplit)))

    def numbered(self, shards: Iterable[Shard]) -> Self:
        """With the number of each file's first instance, if the format's rows have any: files in order, from 0 on."""
        if self.own.instances is None:
            return self
        counts = self.instances(shards)
        return replace(self, firsts=dict(zip(counts, accumulate(counts.values(), initial=0), strict=False)))

    def instances(self, shards: Iterable[Shard]) -> dict[str, int]:
        """Path of each file -> its instances, in sorted order, where the format has them."""
        count = self.own.instances
        assert count is not None
        found = {shard.path: count(self, shard) for shard in shards}
        return dict(sorted(found.items()))

    def look_ahead(self) -> list[Shard]:
        """A few of the files, found without listing the pool; none where only the whole listing tells."""
        found = first(self.patterns, self.root, self.storage_options)
        return [replace(shard, path=self.prefix + shard.path) for shard in found]

    def _split(self, files: Shards, known: KnownSplits | None, unsplit: list[Shard]) -> Shards:
        large = files.sizes > self.split_bytes
        if not large.any():
            return files
        pieces = Shards.of(self._in_pieces(files.where(large), known, unsplit))
        return Shards.joined([files.where(~large), pieces]).in_order()

    def _in_pieces(self, files: Shards, known: KnownSplits | None, unsplit: list[Shard]) -> Iterator[Shard]:
        with ThreadPoolExecutor(min(_THREADS, len(files))) as threads:
            look = functools.partial(self._pieces, known)
            for shard, pieces in zip(files, threads.map(look, files), strict=True):
                if pieces is None:
                    unsplit.append(shard)
                yield from pieces or [shard]

    def _pieces(self, known: KnownSplits | None, shard: Shard) -> Sequence[Shard] | None:
        """The pieces of a big file; None where it must be opened for that, and they are not `known`."""
        asked = known if known is not None and self.reader.split_reads(shard.path) else self.reader.split
        return asked(self, shard)

    def columns(self, shards: Sequence[Shard]) -> dict[str, pa.DataType]:
        """Columns that are usable without declaring a role (Parquet: the top-level ones; WebDataset: none).

        Raises:
            PlanError: when none of the first shards can be read.
        """
        return self.reader.columns(self, shards)

    def role_types(self, shards: Sequence[Shard], extra: Sequence[str] = ()) -> dict[str, pa.DataType]:
        """The Arrow type of every declared role, and of `extra` undeclared columns, by the first readable shard.

        Raises:
            PlanError: for a source that is not there, with the nearest names; when no shard can be read.
        """
        return self.reader.role_types(self, shards, [name for name in extra if name not in self.roles])

    def all_types(self, shards: Sequence[Shard]) -> dict[str, pa.DataType]:
        """Arrow type of every role, and of every column that a rule could name without declaring it."""
        return {**self.columns(shards), **self.role_types(shards)}

    def two_schemas(self, shards: Sequence[Shard]) -> tuple[str, str] | None:
        """Paths of two files with different schemas, among the first, the middle and the last; None for none.

        A cheap look: three footers of a pool of any size, and nothing where files have no schema.
        """
        return self._two_schemas(self.own.copier, shards)

    def _two_schemas(self, copier: Copier, shards: Sequence[Shard]) -> tuple[str, str] | None:
        found: dict[str, str] = {}
        for shard in [shards[i] for i in (0, len(shards) // 2, -1)] if shards else []:
            with contextlib.suppress(PoolsieveError):
                found.setdefault(copier.schema(self, shard), shard.path)
        first, *others = found.values() or [""]
        return (first, others[0]) if others else None

    def needed_bytes(self, shard: Shard, roles: Sequence[str]) -> int:
        """About how many bytes of a shard have to be read for these roles (Parquet: a look at its footer)."""
        return self.reader.needed_bytes(self, shard, roles)

    def sources(self, roles: Sequence[str]) -> dict[str, str]:
        """The source of each role in one spelling: `column:text`, `member:jpg;png`, `json:width`, `derived`.

        An undeclared name is a column of that name; an undeclared uid is derived. Limits that are not the usual ones
        follow (`column:text max_document_bytes=1000`), since they say which values are read.

        Raises:
            PlanError: for an undeclared role of a format that has no columns.
        """
        return {role: " ".join((self._source(role), *self.limits)) for role in roles}

    def _source(self, role: str) -> str:
        if role in self.roles:
            return self.reader.source(role, self.roles[role])
        if role == UID:
            return "derived"
        if role == INSTANCE and self.own.instances is not None:
            # A file more may shift the numbers of all others.
            return f"{INSTANCE} {digest(sorted(self.firsts.items()))}"
        if not self.reader.has_columns:
            hint = f"Declare it: Pool.{self.format}(..., {role}=...)"
            raise unknown_name(f"the pool has no role {role!r}", role, self.roles, hint)
        return self.reader.source(role, role)

    def batches(
        self, shard: Shard, roles: Sequence[str], types: Mapping[str, pa.DataType], want: Want | None = None
    ) -> Iterator[Batch]:
        """The rows of a shard in file order, as batches of at most `BATCH_ROWS` rows and about `BATCH_BYTES`.

        What is wrong with a value or a row comes back in the batch; storage trouble is tried again and then raised.

        Args:
            shard: from the listing.
            roles: what to read. For Parquet, undeclared column names as well. `uid` gives the batch's uids.
            types: role -> Arrow type, from `role_types`.
            want: `want(start, n)` is False when no row of start ... start + n - 1 is needed; the reader may then skip
                them, and yields no batch for what it skipped. `n` may reach past the end of the file.

        Raises:
            OSError: when the file is missing, may not be read, or the storage goes on failing.
        """
        return self.reader.batches(self, shard, roles, types, want)

    def pool_batches(
        self, shard: Shard, roles: Sequence[str], types: Mapping[str, pa.DataType], want: Want | None = None
    ) -> Iterator[Batch]:
        """The same with the pool's rows alone: those of its sample, if it is one. For whoever takes every row.

        Who names rows by their positions reads `batches`.
        """
        return leading(taken(self.batches(shard, roles, types, want), self.sample), self.first_rows)
