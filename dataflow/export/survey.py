"""The first half of an export: what every shard will give, before a byte is written."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from poolsieve.dataflow import fs, progress
from poolsieve.dataflow.export.rows import ExportPlan, Picked, ShardExtract, check_same, copy_keys, pick
from poolsieve.dataflow.pools.formats.jsonl.write import check_line
from poolsieve.dataflow.pools.formats.parquet.write import footer_of
from poolsieve.dataflow.pools.formats.webdataset.write import check_members
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.store.manifest import ShardLine
from poolsieve.filters.lists import Pairs


def survey(line: ShardLine, export: ExportPlan, found: str) -> ShardExtract:
    """What one shard (a line of `shards.parquet`) gives to the export; its file is checked if that is anything.

    Args:
        line: the shard's line.
        export: the export.
        found: the folder for notes of which entries of a list the shard has.

    Raises:
        ShardChanged: if the shard's file is not the one that was scored.
        PlanError: if scores can't be added to it.
    """
    progress.check()
    shard = line.shard
    made = _counted(line, shard) if export.kept else _picked(export, line, shard, found)
    if not made["rows"]:
        return ShardExtract(shard=shard, rows=0, unreadable=made["unreadable"])
    check_same(export, shard)
    return ShardExtract(shard=shard, **{**made, **_place(export, shard, made)})


def _counted(line: ShardLine, shard: Shard) -> dict[str, Any]:
    """From the decision's own counts."""
    keys = {"first_key": line.first_key, "last_key": line.last_key}
    return {"rows": line.kept, "nbytes": line.kept_bytes, "unreadable": 0, **keys}


def _picked(export: ExportPlan, line: ShardLine, shard: Shard, found: str) -> dict[str, Any]:
    """From the ledger's lines."""
    if export.select is not None and line.kept == line.rows:
        return {"rows": 0, "unreadable": 0}
    picked = pick(export, shard)
    if len(picked.found):
        sunk = io.BytesIO()
        np.save(sunk, picked.found, allow_pickle=False)
        fs.write_bytes(fs.join(found, f"{shard.name}.npy"), sunk.getvalue())
    nbytes = int((picked.column("nbytes") * picked.copies).sum()) if len(picked.row) else 0
    return {"rows": int(picked.copies.sum()), "nbytes": nbytes, "unreadable": picked.unreadable, **_ends(picked)}


def _ends(picked: Picked) -> dict[str, str | None]:
    """The first and the last key, as the samples will be named."""
    if not len(picked.row):
        return {"first_key": None, "last_key": None}
    keys = []
    for i in (0, -1):
        copies = int(picked.copies[i])
        own = picked.lines.column("key")[i].as_py()
        keys.append(copy_keys(picked.uid[i].as_py(), copies)[i] if copies > 1 else own)
    return {"first_key": keys[0], "last_key": keys[1]}


def _place(export: ExportPlan, shard: Shard, made: Mapping[str, Any]) -> dict[str, Any]:
    """What decides beside which other shards this one may stand."""
    if (export.files.format, export.format) == ("webdataset", "webdataset"):
        check_members(export, shard)
        return {}
    free = {"first_key": None, "last_key": None}
    if export.files.format == "jsonl":
        check_line(export, shard)
        return free
    if export.files.format != export.format:
        return free
    schema, whole, rows = footer_of(export, shard)
    every = whole and rows == made["rows"] and export.uids is None
    return {**free, "schema": schema, "whole": every}


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
