"""The ledger as a table for the Hub: every row of the pool with its decision, reason and scores, in pool order.

It is made anew each time: a decision's ledgers are there, small beside the rows, and the same ones give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from poolsieve.dataflow import fs, progress
from poolsieve.dataflow.export.sink import sink
from poolsieve.dataflow.pools.formats.parquet.writer import RowGroups
from poolsieve.dataflow.publish.contents import SPLIT, Item, Table
from poolsieve.dataflow.store.out import PATH, OutFolder
from poolsieve.dataflow.store.shard_lines import ShardLine

NAME = "scores"
"""Of the configuration, and of its folder in the repository."""

TARGET_BYTES = 500_000_000
"""Of the ledgers that go into one file: `MAX_SHARD_SIZE` of `datasets`."""


def ledger_table(run: OutFolder, folder: str, target_bytes: int = TARGET_BYTES) -> Table:
    """Writes a decision's ledger as files `scores/train-00000-of-000NN.parquet`.

    Args:
        run: whose decision.
        folder: URL of a folder that holds nothing else.
        target_bytes: a file closes at the first shard boundary past this size.

    Raises:
        PoolsieveError: for a ledger that is missing, or is not the one that the decision was closed with.
    """
    columns = {PATH: pa.string(), **run.ledger_columns()}
    schema = pa.schema(list(columns.items()))
    parts = _parts(run.shards, target_bytes)
    names = [f"{NAME}/{SPLIT}-{i:05d}-of-{len(parts):05d}.parquet" for i in range(len(parts))]
    made = [_written(run, part, fs.join(folder, name), name, schema) for part, name in zip(parts, names, strict=True)]
    _remove_others(fs.join(folder, NAME), names)
    items, memory = tuple(item for item, _ in made), sum(size for _, size in made)
    return Table(name=NAME, pattern=f"{NAME}/{SPLIT}-*", format="parquet", schema=schema, items=items, memory=memory)


def _remove_others(folder: str, names: Sequence[str]) -> None:
    """Removes files of another cut. Those of this one are only ever replaced, each by the same bytes at once.

    So a second `publish` beside this one, which works under the same kind of lease, finds them all the time.
    """
    for name in set(fs.names(folder)) - {name.rpartition("/")[2] for name in names}:
        fs.remove(fs.join(folder, name))


def _parts(lines: Sequence[ShardLine], target_bytes: int) -> list[list[ShardLine]]:
    """Shards of each file, in pool order; known before the first byte: names say how many there are."""
    parts: list[list[ShardLine]] = [[]]
    filled = 0
    for line in lines:
        if filled >= target_bytes:
            parts.append([])
            filled = 0
        parts[-1].append(line)
        filled += line.ledger_bytes or 0
    return parts


def _written(run: OutFolder, lines: Sequence[ShardLine], url: str, name: str, schema: pa.Schema) -> tuple[Item, int]:
    """A file, and the bytes of its rows in memory."""
    rows = memory = 0
    with sink(url) as file:
        target = RowGroups(file, schema)
        for line in lines:
            for batch in _batches(run, line, schema):
                target.add(batch)
                rows += batch.num_rows
                memory += batch.nbytes
                progress.check()
        target.close()
    return Item(path=name, size=file.tell(), sha256=file.sha256, source=url, rows=rows), memory


def _batches(run: OutFolder, line: ShardLine, schema: pa.Schema) -> list[pa.RecordBatch]:
    table = run.ledger_of(line).replace_schema_metadata()
    paths = pa.array([line.path], pa.string()).take(pa.array([0] * table.num_rows, pa.int64()))
    return table.add_column(0, PATH, paths).select(schema.names).cast(schema).combine_chunks().to_batches()
