"""One shard of a pool as a file of items, and the list of its rows that are none."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pyarrow as pa

from poolsieve.dataflow import fs, progress
from poolsieve.dataflow.export.sink import sink
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.formats.base import UID
from poolsieve.dataflow.pools.formats.parquet.writer import RowGroups
from poolsieve.dataflow.pools.sample import only
from poolsieve.dataflow.pools.shards import Batch, Shard
from poolsieve.jobs.items_folder import LEFT_OUT, ItemsFile, ItemsTarget, Left
from poolsieve.jobs.items_layout import as_read, items_of, schema_of
from poolsieve.scoring_models.base.errors import RowError

ITEMS = "items"
"""Label of the counter of progress."""

_ROWS = 256
"""Rows that are rewritten at a time: each may become as many as it has options, with its image in each."""


@dataclass(frozen=True, kw_only=True)
class ItemsPlan:
    """What a worker needs to know: small and picklable.

    Attributes:
        files: the pool's.
        types: role -> type, of the roles that items are made of.
        how: a name of `items_layout.HOWS`.
    """

    files: PoolFiles
    types: Mapping[str, pa.DataType]
    how: str


@dataclass(frozen=True)
class Part:
    """A shard, and the name of the file that is made of it."""

    name: str
    shard: Shard

    @property
    def left_out(self) -> str:
        """The name of the list of its rows that are no items."""
        return f"{LEFT_OUT}/{self.name.rpartition('/')[2].removesuffix('.parquet')}.jsonl"


@dataclass
class _Done:
    rows: int = 0
    items: int = 0
    unchanged: int = 0
    left: list[Left] = field(default_factory=list)


def write_part(part: Part, plan: ItemsPlan, target: ItemsTarget) -> None:
    """Writes the items of a shard, and then notes that its files are whole.

    Raises:
        ShardChanged: if the shard is not the one that was listed, before it is read or after; no file appears then.
    """
    progress.check()
    plan.files.check_unchanged(part.shard)
    done = _Done()
    with sink(target.path(part.name)) as file:
        out = RowGroups(file, schema_of())
        for batch in _pieces(part.shard, plan):
            _add(batch, part.shard, plan, out, done)
        out.close()
        plan.files.check_unchanged(part.shard)
    lines = b"".join(msgspec.json.encode(one) + b"\n" for one in done.left)
    if lines:
        fs.write_bytes(target.path(part.left_out), lines)
    target.note(
        ItemsFile(
            name=part.name,
            bytes=file.tell(),
            sha256=file.sha256,
            path=part.shard.path,
            rows=done.rows,
            items=done.items,
            unchanged=done.unchanged,
            left_out=dict(sorted(collections.Counter(one.reason for one in done.left).items())),
            beside=part.left_out if lines else "",
            beside_bytes=len(lines),
        )
    )


def _pieces(shard: Shard, plan: ItemsPlan) -> Iterator[Batch]:
    for batch in plan.files.pool_batches(shard, tuple(plan.types), plan.types):
        for start in range(0, batch.num_rows, _ROWS):
            places = np.arange(batch.num_rows)
            yield only(batch, (places >= start) & (places < start + _ROWS)) if batch.num_rows > _ROWS else batch


def _add(batch: Batch, shard: Shard, plan: ItemsPlan, out: RowGroups, done: _Done) -> None:
    progress.check()
    wrong = _unreadable(batch, plan)
    good = np.array([row not in wrong for row in range(batch.num_rows)], dtype=bool)
    places = np.flatnonzero(good)
    columns = {role: batch.roles.column(role).filter(pa.array(good)) for role in plan.types if role != UID}
    made = items_of(as_read({UID: batch.uid.filter(pa.array(good)), **columns}), plan.how)
    wrong |= {int(places[row]): error for row, error in made.errors.items()}
    if made.rows.num_rows:
        out.add(pa.RecordBatch.from_arrays(made.rows.columns, schema=out.schema))
    done.rows += batch.num_rows
    done.items += made.rows.num_rows
    done.unchanged += len(made.unchanged)
    done.left += [_left(batch, shard, row, wrong[row]) for row in sorted(wrong)]
    progress.add(ITEMS, made.rows.num_rows)


def _unreadable(batch: Batch, plan: ItemsPlan) -> dict[int, RowError]:
    """Rows of which something can't be read, or that lack the image which the pool has."""
    wrong: dict[int, RowError] = {}
    if "image" in plan.types:
        missing = np.flatnonzero(batch.roles.column("image").is_null().to_numpy(zero_copy_only=False))
        wrong = {int(row): RowError("no_image", "the row has no image") for row in missing}
    for errors in batch.role_errors.values():
        wrong |= errors
    return {**wrong, **batch.read_errors}


def _left(batch: Batch, shard: Shard, row: int, error: RowError) -> Left:
    uid = str(batch.uid[row].as_py())
    return Left(path=shard.path, row=int(batch.rows[row]), uid=uid, reason=error.kind, message=error.message)
