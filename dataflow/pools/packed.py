"""Very many shards in little memory: as columns they take some hundred bytes each, as objects four hundred."""

from __future__ import annotations

import functools
import hashlib
import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.dataflow.pools.shards import Shard
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.groups import in_groups

SHARD_SCHEMA = pa.schema(
    [  # type: ignore[arg-type]  # pyarrow-stubs: pairs with types of one class alone
        ("path", pa.large_string()),
        ("first", pa.int64()),
        ("extent", pa.int64()),
        ("start", pa.int64()),
        ("size", pa.int64()),
        ("tag", pa.large_string()),
    ]
)
"""A `Shard`, field by field."""

_AT_ONCE = 4096
"""Shards that are objects at a time."""

_values = operator.attrgetter(*SHARD_SCHEMA.names)


class Shards(Sequence[Shard]):
    """Shards in some order; each is made when it is asked for.

    Args:
        table: of `SHARD_SCHEMA`.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    @classmethod
    def of(cls, shards: Iterable[Shard]) -> Shards:
        """The same shards, in their order; of an iterator no more than a few are objects at a time."""
        if isinstance(shards, Shards):
            return shards
        return cls(pa.Table.from_batches(map(_batch, in_groups(shards, _AT_ONCE)), SHARD_SCHEMA))

    @classmethod
    def joined(cls, parts: Iterable[Shards]) -> Shards:
        """Those of all parts, one behind the other."""
        return cls(pa.concat_tables([SHARD_SCHEMA.empty_table(), *(part.table for part in parts)]))

    def in_order(self) -> Shards:
        """As a pool has them: by path and place in the file; of those that are equal in both one."""
        names = ("path", "first")  # Arrow compares texts by their bytes, which is the order of their characters
        order = pc.sort_indices(self.table.select(names), sort_keys=[(name, "ascending") for name in names])
        made = self.table.take(order).combine_chunks()
        if len(self) < 2:
            return Shards(made)
        again = functools.reduce(pc.and_, (_as_before(made.column(name)) for name in names))
        new = np.concatenate([[True], ~again.to_numpy(zero_copy_only=False)])
        return Shards(made) if new.all() else Shards(made).where(new)

    def below(self, prefix: str) -> Shards:
        """The same, with `prefix` before each path."""
        paths = pc.binary_replace_slice(self.table.column("path"), 0, 0, prefix)
        return Shards(self.table.set_column(0, SHARD_SCHEMA.field("path"), paths)) if prefix else self

    def where(self, mask: Any) -> Shards:
        """Those of which `mask`, bool (n,), is true."""
        return Shards(self.table.filter(pa.array(mask, pa.bool_())))

    @property
    def sizes(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """int64 (n,): bytes of each one's file."""
        return np.asarray(self.table.column("size").to_numpy(), dtype=np.int64)

    @property
    def shares(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """float64 (n,): bytes that each one has of its file, which its shards share alike."""
        paths: Any = pc.dictionary_encode(self.table.column("path").combine_chunks())
        file = paths.indices.to_numpy()
        return self.sizes / np.bincount(file)[file] if len(self) else np.zeros(0)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[Shard]:
        for batch in self.table.to_batches(max_chunksize=_AT_ONCE):
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield _shard(*values)

    @overload
    def __getitem__(self, place: int) -> Shard: ...
    @overload
    def __getitem__(self, place: slice) -> Shards: ...
    def __getitem__(self, place: int | slice) -> Shard | Shards:
        if isinstance(place, slice):
            low, high, step = place.indices(len(self))
            if step == 1:
                return Shards(self.table.slice(low, max(0, high - low)))
            return Shards(self.table.take(pa.array(range(low, high, step), pa.int64())))
        at = range(len(self))[place]
        return next(iter(self[at : at + 1]))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Shards):
            return bool(self.table.equals(other.table))
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(operator.eq, self, other))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Shards({list(self[:3])!r}{', ...' if len(self) > 3 else ''})"


def _batch(shards: Sequence[Shard]) -> pa.RecordBatch:
    columns = zip(*map(_values, shards), strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SHARD_SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SHARD_SCHEMA)


def _shard(path: str, first: int, extent: int | None, start: int, size: int, tag: str) -> Shard:
    return Shard(path=path, first=first, extent=extent, start=start, size=size, tag=tag)


def _as_before(column: pa.ChunkedArray) -> pa.Array:
    """bool (n - 1,): whether each value but the first is the one before it."""
    values = column.combine_chunks()
    return pc.equal(values.slice(1), values.slice(0, len(values) - 1))


def check_names(shards: Iterable[Shard]) -> None:
    """Refuses shards of one name: ledgers are stored under it, so one would replace the other's.

    Raises:
        PlanError: naming the two files.
    """
    marks = np.fromiter((mark_of(shard.name) for shard in shards), np.uint64)
    values, counts = np.unique(marks, return_counts=True)
    if len(values) == len(marks):
        return
    meeting = set(values[counts > 1].tolist())
    seen: dict[str, Shard] = {}
    for shard in (shard for shard in shards if mark_of(shard.name) in meeting):
        other = seen.setdefault(shard.name, shard)
        if other is not shard:
            raise PlanError(
                f"the pool's files {other.path!r} and {shard.path!r} would both be called {shard.name!r} in OUT, "
                "and one would replace the other: rename one of them"
            )


def mark_of(name: str) -> int:
    """What is kept of one name among very many: 64 bits of its hash."""
    return hash_of(name, 8)


def hash_of(text: str, nbytes: int) -> int:
    """So many bytes of a text's hash, as a number."""
    return int.from_bytes(hashlib.blake2b(os.fsencode(text), digest_size=nbytes).digest(), "little")
