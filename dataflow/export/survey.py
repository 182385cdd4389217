"""The first half of an export: what every shard will give, before a byte is written."""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Iterable

import numpy as np

from poolsieve.dataflow import fs, progress
from poolsieve.dataflow.export.parts import ShardExtract
from poolsieve.dataflow.export.plan import ExportPlan
from poolsieve.dataflow.pools.formats.base import NoneReadable
from poolsieve.dataflow.pools.formats.outgoing import Picked, copy_keys
from poolsieve.dataflow.store.shard_lines import ShardLine
from poolsieve.filters.lists import Pairs


def survey(line: ShardLine, plan: ExportPlan, found: str) -> ShardExtract:
    """What one shard gives to the export; its file is checked if that is anything.

    Args:
        line: of the shard, in the decision's list.
        plan: the export.
        found: the folder for notes of which entries of a list the shard has.

    Raises:
        ShardChanged: if the shard's file is not the one that was scored.
        PlanError: if scores can't be added to it.
    """
    progress.check()
    made = _counted(line) if plan.choice.once(line) else _picked(plan, line, found)
    if not made.rows:
        return ShardExtract(shard=made.shard, rows=0, unreadable=made.unreadable)
    plan.check(made.shard)
    if plan.build is not None:
        return _built(plan, made)
    return _copied(plan, made, whole=plan.choice.uids is None and not (plan.choice.repeats and made.rows > line.kept))


def _counted(line: ShardLine) -> ShardExtract:
    """From the decision's own counts."""
    return ShardExtract(
        shard=line.shard,
        rows=line.kept,
        nbytes=line.kept_bytes,
        first_key=line.first_key,
        last_key=line.last_key,
        ledger_sha256=line.ledger_sha256,
    )


def _picked(plan: ExportPlan, line: ShardLine, found: str) -> ShardExtract:
    """From the ledger's lines."""
    shard = line.shard
    if plan.choice.select is not None and line.kept == line.rows:
        return ShardExtract(shard=shard, rows=0)
    picked, listed = plan.choice.look_up(shard, line.ledger_sha256)
    if len(listed):
        sunk = io.BytesIO()
        np.save(sunk, listed, allow_pickle=False)
        fs.write_bytes(fs.join(found, f"{shard.name}.npy"), sunk.getvalue())
    nbytes = int((picked.column("nbytes") * picked.copies).sum()) if len(picked.row) else 0
    first, last = _ends(picked)
    return ShardExtract(
        shard=shard,
        rows=int(picked.copies.sum()),
        nbytes=nbytes,
        unreadable=picked.unreadable,
        first_key=first,
        last_key=last,
        ledger_sha256=line.ledger_sha256,
    )


def _ends(picked: Picked) -> tuple[str | None, str | None]:
    """The first and the last key, as the samples will be named."""
    return (_key(picked, 0), _key(picked, -1)) if len(picked.row) else (None, None)


def _key(picked: Picked, i: int) -> str | None:
    copies = int(picked.copies[i])
    if copies > 1:
        return copy_keys(picked.uid[i].as_py(), copies)[i]
    own: str | None = picked.lines.column("key")[i].as_py()
    return own


def _copied(plan: ExportPlan, made: ShardExtract, *, whole: bool) -> ShardExtract:
    """With what decides beside which other shards this one may stand; `whole`: if it may be copied as a file."""
    pick = functools.partial(plan.choice.pick, made.shard, made.ledger_sha256)
    look = plan.to.copier.look(plan.files, made.shard, pick, plan.added)
    keys = (made.first_key, made.last_key) if look.keyed else (None, None)
    whole = whole and look.rows == made.rows
    part = plan.files.part(made.shard).prefix
    return dataclasses.replace(made, first_key=keys[0], last_key=keys[1], schema=look.schema, whole=whole, part=part)


def _built(plan: ExportPlan, made: ShardExtract) -> ShardExtract:
    """With what its rows hold, where shards differ in that: a key of the last line of a pool is a column too."""
    fields = _fields(plan, made) if plan.columns_vary else b""
    return dataclasses.replace(made, first_key=None, last_key=None, fields=fields)


def _fields(plan: ExportPlan, made: ShardExtract) -> bytes:
    reader = plan.files.reader
    rows = plan.choice.pick(made.shard, made.ledger_sha256).row if reader.typed_by_rows else None
    try:
        return bytes(reader.fields(plan.files, [made.shard], rows).serialize())
    except NoneReadable:
        return b""


def missing(listed: Pairs, founds: Iterable[str]) -> int:
    """How many different entries of a sorted list no shard has; `founds` are the shards' notes."""
    seen = np.zeros(len(listed), dtype=bool)
    for url in founds:
        seen[np.load(io.BytesIO(fs.read_bytes(url)), allow_pickle=False)] = True
    return _different(listed) - int(seen.sum())


def _different(listed: Pairs, block: int = 1 << 20) -> int:
    """Different entries of a sorted list, counted block by block so that a memory map stays on disk."""
    count = min(len(listed), 1)
    for start in range(0, max(len(listed) - 1, 0), block):
        piece = listed[start : start + block + 1]
        count += int((piece[1:] != piece[:-1]).sum())
    return count
