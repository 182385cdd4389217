"""`shards.parquet`: one line a shard, with its counts in a decision. Lines travel packed, and are read a few at a time.

So what a decision over many shards holds of each is about a hundred bytes.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from poolsieve.dataflow.pools.packed import mark_of
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.store.layout import shards_url
from poolsieve.dataflow.store.tables import read_batches, write_tables
from poolsieve.scoring_models.base.config import list_digest
from poolsieve.scoring_models.base.errors import PoolsieveError
from poolsieve.scoring_models.base.groups import in_groups
from poolsieve.scoring_models.base.work import Count

GROUP = 8192
"""Lines of a row group of the file."""

SHARDS_SCHEMA = pa.schema(
    [  # type: ignore[arg-type]  # pyarrow-stubs: pairs with types of one class alone
        ("path", pa.string()),
        ("first", pa.int64()),
        ("extent", pa.int64()),
        ("start", pa.int64()),
        ("size", pa.int64()),
        ("tag", pa.string()),
        ("name", pa.string()),
        ("rows", pa.int64()),
        ("kept", pa.int64()),
        ("dropped", pa.int64()),
        ("quarantined", pa.int64()),
        ("nbytes", pa.int64()),
        ("kept_bytes", pa.int64()),
        ("first_key", pa.string()),
        ("last_key", pa.string()),
        ("ledger_sha256", pa.string()),
        ("ledger_bytes", pa.int64()),
    ]
)
"""`shards.parquet`: one `ShardLine` a shard, in pool order."""


def shards_schema(repeats: bool) -> pa.Schema:
    """The same, with what leaves where rows are repeated."""
    return SHARDS_SCHEMA.append(pa.field("repeated", pa.int64())) if repeats else SHARDS_SCHEMA


class ShardLine(msgspec.Struct, kw_only=True, frozen=True):
    """One shard and its counts in a decision.

    Attributes:
        path, first, extent, start, size, tag: see `Shard`.
        name: of its files in OUT.
        rows, kept, dropped, quarantined: rows in, and what became of them.
        nbytes, kept_bytes: payload bytes of all rows, and of those kept.
        first_key, last_key: keys of the first and last kept samples of a tar: equal keys must not meet in one file.
        ledger_sha256, ledger_bytes: of its ledger file, and its size; None where nothing was written (a what-if).
        repeated: the kept rows, each as often as it leaves; None where each leaves once.
    """

    path: str
    first: Count
    extent: Count | None
    start: Count
    size: Count
    tag: str
    name: str
    rows: Count
    kept: Count
    dropped: Count
    quarantined: Count
    nbytes: Count
    kept_bytes: Count
    first_key: str | None = None
    last_key: str | None = None
    ledger_sha256: str | None = None
    ledger_bytes: int | None = None
    repeated: Count | None = None

    @property
    def leaving(self) -> int:
        """Kept rows, each as often as it leaves."""
        return self.kept if self.repeated is None else self.repeated

    @property
    def shard(self) -> Shard:
        """The shard."""
        return Shard(
            path=self.path, first=self.first, extent=self.extent, start=self.start, size=self.size, tag=self.tag
        )


class Block(NamedTuple):
    """Lines of neighbouring shards, packed: a fifth of what they take as records.

    Attributes:
        path, start: of the first of them: they order blocks as the pool is ordered.
        data: all of them.
    """

    path: str
    start: int
    data: bytes


def packed(lines: Sequence[ShardLine]) -> Block:
    """Some lines, of which there is one at least, in pool order."""
    return Block(lines[0].path, lines[0].start, zlib.compress(msgspec.msgpack.encode(lines), 1))


def lines_in(blocks: Iterable[Block]) -> Iterator[ShardLine]:
    """The lines of blocks, in pool order: no block has a line between two of another."""
    for block in sorted(blocks, key=itemgetter(0, 1)):
        yield from msgspec.msgpack.decode(zlib.decompress(block.data), type=list[ShardLine])


def write_shards(out: str, decision: str, blocks: Iterable[Block], repeats: bool) -> None:
    """Writes a decision's `shards.parquet`; `repeats`: whether rows leave more than once."""
    schema, groups = shards_schema(repeats), in_groups(lines_in(blocks), GROUP)
    tables = (pa.Table.from_pylist(msgspec.to_builtins(group), schema=schema) for group in groups)
    write_tables(shards_url(out, decision), schema, tables)


def read_shards(out: str, decision: str) -> list[ShardLine]:
    """All lines of a decision's `shards.parquet`, in pool order. Raises as `shard_lines`, which takes less memory."""
    return list(shard_lines(out, decision))


def shard_lines(out: str, decision: str) -> Iterator[ShardLine]:
    """The lines of a decision's `shards.parquet` one by one, in pool order.

    Raises:
        PoolsieveError: if the file is missing, damaged or edited so that it names files elsewhere.
    """
    url = shards_url(out, decision)
    try:
        for batch in read_batches(url):
            for line in msgspec.convert(batch.to_pylist(), list[ShardLine]):
                _check_line(url, line)
                yield line
    except (msgspec.ValidationError, UnicodeDecodeError) as error:  # Parquet's names and strings may be any bytes
        raise PoolsieveError(
            f"{url} is of another version or was edited ({error}): run again to make it anew"
        ) from error


class LedgerHashes:
    """SHA-256 of the ledgers of a decision by shard, in 72 bytes each: a line takes ten times as much.

    Args:
        lines: of all shards; none is held.
    """

    def __init__(self, lines: Iterable[ShardLine]) -> None:
        found = ((mark_of(line.name), (line.ledger_sha256 or "").encode()) for line in lines)
        self._packed = np.sort(np.fromiter(found, [("mark", np.uint64), ("sha256", "S64")]), order="mark")

    @property
    def nbytes(self) -> int:
        """Of memory."""
        return self._packed.nbytes

    def of(self, name: str) -> str:
        """Of the shard whose files in OUT have that name.

        Raises:
            KeyError: for a name that no line has.
        """
        mark = np.uint64(mark_of(name))
        place = int(np.searchsorted(self._packed["mark"], mark))
        if place == len(self._packed) or self._packed["mark"][place] != mark:
            raise KeyError(name)
        return bytes(self._packed["sha256"][place]).decode(errors="replace")


def _check_line(url: str, line: ShardLine) -> None:
    """Refuses names that lead out of OUT or of the pool: what they name would be read and copied."""
    # A part begins at a byte or at a row group: either is a number below the file's size.
    if line.name != line.shard.name or not is_inside(line.path) or line.first > line.size:
        raise PoolsieveError(
            f"{url} names {line.name!r} for {line.path!r}: it is of another version or was edited. Run again to make "
            "it anew"
        )


def is_inside(path: str) -> bool:
    """Whether a relative path stays below the folder that it is relative to."""
    return not path.startswith("/") and "\0" not in path and ".." not in path.split("/")


def pool_id(shards: Sequence[Shard], marks: Sequence[str] = ()) -> str:
    """Hash of a pool's listing: paths, ranges, sizes and tags of all shards, in order, and its `PoolFiles.marks`."""
    return pool_id_of(sorted(shards), marks)


def pool_id_of(shards: Iterable[Shard], marks: Sequence[str] = ()) -> str:
    """`pool_id` of shards that come in order, of which none is kept."""
    return list_digest(itertools.chain((shard.identity for shard in shards), marks), 8)
