"""Damaged footers: pyarrow ends the process on some of them, and here they cost what they hold and nothing else."""

from __future__ import annotations

import contextlib
import io
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.formats.outgoing import Added, Outgoing, Picked
from poolsieve.dataflow.pools.formats.parquet.files import Opened, Sizes
from poolsieve.dataflow.pools.shards import Batch, Shard
from poolsieve.scoring_models.base.errors import PoolsieveError

TYPES = {"uid": pa.string(), "text": pa.string()}
ROWS, GROUP = 20, 10


def pool_file(path: Path) -> bytes:
    texts = pa.array([f"some text {i}" for i in range(ROWS)])
    lists = pa.array([[i, i + 1] for i in range(ROWS)])
    pq.write_table(pa.table({"uid": texts, "text": texts, "more": lists}), path, row_group_size=GROUP)
    return path.read_bytes()


def flips(data: bytes, step: int, first: int = 0) -> Iterator[tuple[int, bytes]]:
    """The file with one bit of its footer flipped, for every `step`th bit."""
    size = struct.unpack("<I", data[-8:-4])[0]
    for bit in range(8 * (len(data) - 8 - size) + first, 8 * len(data), step):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield bit, bytes(changed)


def pool(folder: Path, split_bytes: int = 1) -> PoolFiles:
    roles = {"uid": "uid", "text": "text"}
    return PoolFiles(
        root=str(folder), format="parquet", patterns=(f"{folder}/*.parquet",), roles=roles, split_bytes=split_bytes
    )


def read(files: PoolFiles, shard: Shard) -> list[Batch]:
    return list(files.batches(shard, tuple(TYPES), TYPES))


def go_through(folder: str, step: int, first: int) -> None:
    """Lists, plans and reads one damaged file after the other: each row once, or one line for the file."""
    data = pool_file(Path(folder, "a.parquet"))
    for bit, changed in flips(data, step, first):
        Path(folder, "a.parquet").write_bytes(changed)
        counts = []
        for files in (pool(Path(folder)), pool(Path(folder), 1 << 30)):
            shards, rows = files.listing().shards, 0
            for shard in shards:
                files.needed_bytes(shard, ("text",))
                for batch in read(files, shard):
                    assert batch.start == rows, bit
                    rows += batch.num_rows
            counts.append(rows)
            with contextlib.suppress(PoolsieveError):
                files.all_types(shards)
        assert counts in ([ROWS, ROWS], [1, 1], [0, 0]), (bit, counts)


@pytest.mark.parametrize("first", [0, 1])
def test_flipped_bits_of_a_footer_never_end_the_process(tmp_path: Path, first: int) -> None:
    code = f"from {__name__} import go_through; go_through({str(tmp_path)!r}, 6, {3 * first})"
    found = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr[-2000:]


def damaged(path: Path) -> bytes:
    """A file of which one row group's chunk contradicts the schema, so that asking for the chunk would abort."""
    data = pool_file(path)
    for _, changed in flips(data, 1):
        handle = pa.BufferReader(changed)
        try:
            opened = Opened(pq.ParquetFile(handle, pre_buffer=False, buffer_size=1 << 16), handle)
            first, second = (opened.sizes(i) for i in range(opened.file.metadata.num_row_groups))
        except (OSError, ValueError, pa.ArrowException):
            continue
        if isinstance(first, Sizes) and not isinstance(second, Sizes) and "histogram" in second.message:
            return changed
    raise AssertionError("no such bit")


def test_a_broken_row_group_costs_its_rows_and_its_neighbours_leave(tmp_path: Path) -> None:
    data = damaged(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes(data)
    files = pool(tmp_path, 1 << 30)
    (shard,) = files.listing().shards
    found = read(files, shard)
    bad = [batch.start + i for batch in found for i in batch.read_errors]
    assert bad == list(range(GROUP, ROWS)) and sum(batch.num_rows for batch in found) == ROWS
    assert {error.kind for batch in found for error in batch.read_errors.values()} == {"row_group"}
    rows, sink = np.arange(GROUP, dtype=np.int64), io.BytesIO()
    picked = Picked(
        row=rows, copies=np.ones(GROUP, np.int64), uid=pa.array(map(str, rows)), lines=pa.table({}), scores=pa.table({})
    )
    done = files.own.copier.copy(files, [Outgoing(shard=shard, rows=GROUP, pick=lambda: picked)], Added(), sink)
    assert (done.rows, done.unreadable) == (GROUP, 0)
    assert pq.read_table(io.BytesIO(sink.getvalue()))["text"].to_pylist() == [f"some text {i}" for i in range(GROUP)]


def test_numbers_of_rows_that_can_not_be_are_damage(tmp_path: Path) -> None:
    """A row group that claims 10^15 rows would have as many lines in the ledger."""
    data = pool_file(tmp_path / "a.parquet")
    for _, changed in flips(data, 1):
        (tmp_path / "a.parquet").write_bytes(changed)
        files = pool(tmp_path, 1 << 30)
        found = read(files, files.listing().shards[0])
        errors = [error for batch in found for error in batch.read_errors.values()]
        if errors and errors[0].kind == "footer" and "rows" in errors[0].message:
            assert sum(batch.num_rows for batch in found) == 1
            return
    raise AssertionError("no such bit")
