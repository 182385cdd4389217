"""Rows of a pool on their way into another format: what they hold, and batches of those that leave."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import progress
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.formats.base import UID, Ints, wanted
from poolsieve.dataflow.pools.formats.outgoing import Build, Outgoing, Picked, Rows, Source, Written
from poolsieve.dataflow.pools.shards import Batch, Shard
from poolsieve.scoring_models.base.errors import PlanError, RowError

_COLUMN = "column "
"""Prefix of the roles that are read for a builder, so that none has the name of a role of the pool."""


def source_of(files: PoolFiles, fields: pa.Schema, shards: Sequence[Shard]) -> Source:
    """What the rows of a pool hold, as a builder is told.

    Args:
        files: the pool's.
        fields: as its reader has them (`Reader.fields`).
        shards: some, by which the types of image and text are known.
    """
    main = {role: files.roles[role] for role in ("image", "text") if role in files.roles}
    return Source(
        fields={item.name: item.type for item in fields},
        image=main.get("image"),
        text=main.get("text"),
        types=dataclasses.replace(files, roles=main).role_types(shards) if main else {},
        images=tuple(item.name for item in fields if (item.metadata or {}).get(b"role") == b"image"),
        format=files.own.title,
    )


def unified(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """One schema for files of several: all their columns, numbers as wide as the widest.

    Raises:
        PlanError: if a column has types that don't go together.
    """
    try:
        return pa.unify_schemas(list(schemas), promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise PlanError(
            f"the pool's files have columns that don't go into one table ({error}): export in the pool's own format, "
            "which keeps each schema in a folder of its own"
        ) from error


def rows_of(files: PoolFiles, made: Build, shards: Iterable[Outgoing], done: Written) -> Iterator[Rows]:
    """The rows that leave of some shards, in order; what can't be read is counted in `done` and left out."""
    columns = {name: source for name, source in made.columns.items() if not _is_label(files, source)}
    own = {role: files.roles[role] for role in (UID, files.own.row_role) if role in files.roles}
    there = dataclasses.replace(files, roles={**own, **{_COLUMN + name: source for name, source in columns.items()}})
    types = {_COLUMN + name: made.types[name] for name in columns}
    for item in shards:
        picked = item.pick()
        done.unreadable += picked.unreadable
        for batch in there.batches(item.shard, tuple(types), types, wanted(picked.row)):
            local, index = _readable(batch, picked, done)
            if len(index):
                yield _rows(batch, local, index, picked, made)
            progress.check()


def _is_label(files: PoolFiles, source: str) -> bool:
    """Whether a source is the rows' label, which the ledger knows: a format without columns calls it so."""
    return source == UID and not files.reader.has_columns


def _readable(batch: Batch, picked: Picked, done: Written) -> tuple[Ints, Ints]:
    """The picked rows of a batch that can be read: their places in the batch and in `picked`."""
    low, high = np.searchsorted(picked.row, (batch.start, batch.start + batch.num_rows))
    index, local = np.arange(low, high), picked.row[low:high] - batch.start
    lost = np.array([int(i) in batch.read_errors for i in local], dtype=bool)
    done.unreadable += int(picked.copies[index[lost]].sum())
    inside = {int(i) for i in local}
    counts = {role: _failed(inside, errors) for role, errors in batch.role_errors.items()}
    done.count_empty({role.removeprefix(_COLUMN): count for role, count in counts.items() if count})
    return local[~lost], index[~lost]


def _failed(rows: set[int], errors: Mapping[int, RowError]) -> int:
    """Values that can't stand in the new format (a caption that is no UTF-8). What a file has not is simply null."""
    return sum(errors[row].kind != "missing_column" for row in rows.intersection(errors))


def _rows(batch: Batch, local: Ints, index: Ints, picked: Picked, made: Build) -> Rows:
    here, there = pa.array(local, pa.int64()), pa.array(index, pa.int64())
    uid = picked.uid.take(there)
    own = dict(zip(batch.roles.schema.names, batch.roles.columns, strict=True))
    everything = len(local) == batch.num_rows
    columns = []
    for name in made.columns:
        column = own.get(_COLUMN + name)
        columns.append(uid if column is None else column if everything else column.take(here))
    key = pa.nulls(len(local), pa.string()) if batch.key is None else batch.key.take(here)
    values = pa.RecordBatch.from_arrays(columns, names=list(made.columns))
    return Rows(values=values, uid=uid, key=key, copies=picked.copies[index], scores=picked.scores.take(there))
