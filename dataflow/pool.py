"""A pool: the files of a corpus, and how uid, text, image and other *roles* are read from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from poolsieve.dataflow import fs, listing
from poolsieve.dataflow.listing import Listing
from poolsieve.dataflow.read_jsonl import JsonlReader
from poolsieve.dataflow.read_parquet import ParquetReader
from poolsieve.dataflow.read_webdataset import WebDatasetReader
from poolsieve.dataflow.reader import UID, Reader, Want, refuse
from poolsieve.dataflow.records import Chunk, Shard
from poolsieve.scoring_models.protocol import Config, PlanError

if TYPE_CHECKING:
    from poolsieve.dataflow.recipe import Recipe

READERS: Mapping[str, Reader] = {
    "parquet": ParquetReader(),
    "webdataset": WebDatasetReader(),
    "jsonl": JsonlReader(),
}
"""Kind of pool -> its reader."""

SPLIT_BYTES = 1 << 30
"""Files above this size are several shards, where the kind allows it."""

_THREADS = 8


@dataclass(frozen=True, eq=False)
class Pool(Config):
    """The corpus to filter: files and roles, nothing read yet. Equality is by content, without the secrets.

    Attributes:
        kind: `parquet`, `webdataset` or `jsonl`.
        urls: as written; globs (`*`, `?`, `[..]`) and brace ranges (`{00..99}`, `{a,b}`) on any fsspec storage.
        roles: role -> source. In Parquet a column or a nested field (`meta.width`); in WebDataset members by
            extension (`jpg;png`: the first that a sample has), a field of a JSON member (`json:original_width`) or
            `__key__`.
        allow_gaps: whether names of a range may have no file.
        split_bytes: Parquet files above this are several shards, by runs of row groups that the footer fixes.
        storage_options: for fsspec (keys, endpoints). Never stored: it may hold secrets.
    """

    kind: str
    urls: tuple[str, ...]
    roles: Mapping[str, str] = field(default_factory=dict)
    allow_gaps: bool = False
    split_bytes: int = SPLIT_BYTES
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False, metadata={"runtime": True})

    def __post_init__(self) -> None:
        if self.kind not in READERS:
            refuse(f"there is no kind of pool {self.kind!r}", self.kind, READERS)
        if not self.urls:
            raise PlanError(f"Pool.{self.kind}() needs at least one URL, like 'data/*.parquet'")
        if self.split_bytes < 1:
            raise PlanError(f"split_bytes={self.split_bytes} must be a positive number of bytes")
        for role, source in self.roles.items():
            READERS[self.kind].source(role, source)

    @classmethod
    def parquet(
        cls,
        *urls: str,
        allow_gaps: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        split_bytes: int = SPLIT_BYTES,
        **roles: str | None,
    ) -> Self:
        """A pool of Parquet files: `Pool.parquet("data/*.parquet", uid="id", text="caption", width="meta.width")`.

        Raises:
            PlanError: without a URL, or when a source can't exist.
        """
        return cls("parquet", tuple(urls), _given(roles), allow_gaps, split_bytes, dict(storage_options or {}))

    @classmethod
    def webdataset(
        cls,
        *urls: str,
        allow_gaps: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        split_bytes: int = SPLIT_BYTES,
        **roles: str | None,
    ) -> Self:
        """A pool of tars: `Pool.webdataset("s3://pool/{000..099}.tar", uid="json:uid", text="txt", image="jpg;png")`.

        Raises:
            PlanError: without a URL, or when a source can't exist.
        """
        return cls("webdataset", tuple(urls), _given(roles), allow_gaps, split_bytes, dict(storage_options or {}))

    @classmethod
    def jsonl(
        cls,
        *urls: str,
        allow_gaps: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        split_bytes: int = SPLIT_BYTES,
        **roles: str | None,
    ) -> Self:
        """A pool of JSON lines, plain, gzip or zstd: `Pool.jsonl("docs/*.jsonl.zst", text="text", url="meta.url")`.

        Raises:
            PlanError: without a URL, or when a source can't exist.
        """
        return cls("jsonl", tuple(urls), _given(roles), allow_gaps, split_bytes, dict(storage_options or {}))

    def __or__(self, stage: Any) -> Recipe:
        """A recipe that starts with this pool."""
        from poolsieve.dataflow.recipe import Recipe

        return Recipe(pool=self, stages=()) | stage

    def absolute(self) -> Self:
        """The same pool with URLs that mean the same from any directory."""
        return dataclasses.replace(self, urls=tuple(fs.absolute(url) for url in self.urls))

    @property
    def root(self) -> str:
        """The absolute URL of the longest folder that all patterns share; shards' paths are relative to it.

        Raises:
            PlanError: when they share none.
        """
        return listing.common_root([fs.absolute(url) for url in self.urls])

    def url(self, shard: Shard) -> str:
        """The absolute URL of a shard's file."""
        return listing.url_of(self.root, shard.path)

    def listing(self) -> Listing:
        """Lists the pool's files, with sizes and tags; splits the big ones (their footers are read).

        Raises:
            PlanError: for a pool without files, and for gaps unless they are allowed.
        """
        urls = [fs.absolute(url) for url in self.urls]
        files, gaps = listing.find(urls, self.root, self.storage_options)
        if gaps and not self.allow_gaps:
            raise PlanError(listing.gap_message(gaps, sum(len(listing.expand(url)) for url in urls)))
        return Listing(tuple(sorted(self._split(files))), tuple(gaps))

    def look_ahead(self) -> list[Shard]:
        """A few of the pool's files, found without listing it; none where only the whole listing tells."""
        return listing.first([fs.absolute(url) for url in self.urls], self.root, self.storage_options)

    def _split(self, files: Sequence[Shard]) -> Iterator[Shard]:
        small = [shard for shard in files if shard.size <= self.split_bytes]
        large = [shard for shard in files if shard.size > self.split_bytes]
        yield from small
        if large:
            with ThreadPoolExecutor(min(_THREADS, len(large))) as threads:
                for shards in threads.map(lambda shard: self._reader.split(self, shard), large):
                    yield from shards

    @property
    def _reader(self) -> Reader:
        return READERS[self.kind]

    def columns(self, shards: Sequence[Shard]) -> dict[str, pa.DataType]:
        """Columns that are usable without declaring a role (Parquet: the top-level ones; WebDataset: none).

        Raises:
            PlanError: when none of the first shards can be read.
        """
        return self._reader.columns(self, shards)

    def role_types(self, shards: Sequence[Shard], extra: Sequence[str] = ()) -> dict[str, pa.DataType]:
        """The Arrow type of every declared role, and of `extra` undeclared columns, by the first readable shard.

        Raises:
            PlanError: for a source that is not there, with the nearest names; when no shard can be read.
        """
        return self._reader.role_types(self, shards, [name for name in extra if name not in self.roles])

    def needed_bytes(self, shard: Shard, roles: Sequence[str]) -> int:
        """About how many bytes of a shard have to be read for these roles (Parquet: a look at its footer)."""
        return self._reader.needed_bytes(self, shard, roles)

    def sources(self, roles: Sequence[str]) -> dict[str, str]:
        """The source of each role in one spelling: `column:text`, `member:jpg;png`, `json:width`, `derived`.

        An undeclared name is a column of that name; an undeclared uid is derived.

        Raises:
            PlanError: for an undeclared role of a kind that has no columns.
        """
        return {role: self._source(role) for role in roles}

    def _source(self, role: str) -> str:
        if role in self.roles:
            return self._reader.source(role, self.roles[role])
        if role == UID:
            return "derived"
        if not self._reader.has_columns:
            refuse(
                f"the pool has no role {role!r}", role, self.roles, f" Declare it: Pool.{self.kind}(..., {role}=...)"
            )
        return self._reader.source(role, role)


def _given(roles: Mapping[str, str | None]) -> dict[str, str]:
    return {role: source for role, source in roles.items() if source is not None}


def open_chunks(
    pool: Pool,
    shard: Shard,
    roles: Sequence[str],
    types: Mapping[str, pa.DataType],
    want: Want | None = None,
) -> Iterator[Chunk]:
    """The rows of a shard in file order, as chunks of at most `BATCH_ROWS` rows and about `BATCH_BYTES`.

    What is wrong with a value or a row comes back in the chunk; storage trouble is tried again and then raised.

    Args:
        pool: the shard's pool.
        shard: from the pool's listing.
        roles: what to read. For Parquet, undeclared column names as well. `uid` gives the chunk's uids.
        types: role -> Arrow type, from `Pool.role_types`.
        want: `want(start, n)` is False when no row of start ... start + n - 1 is needed; the reader may then skip
            them, and yields no chunk for what it skipped. `n` may reach past the end of the file.

    Raises:
        OSError: when the file is missing, may not be read, or the storage goes on failing.
    """
    return READERS[pool.kind].chunks(pool, shard, roles, types, want)
