"""Pools with one rule, and what their ledgers say, for comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Top, col
from tests.conftest import run

Label = Callable[[int], Any]


def write(folder: Path, label: Label, sizes: Sequence[int] = (70, 50, 30)) -> Path:
    """Parquet files with a uid made by `label` of the row's number, a text, a float32 and an int64 score."""
    folder.mkdir()
    r, start = np.random.default_rng(5), 0
    for i, n in enumerate(sizes):
        table = pa.table(
            {
                "uid": [label(start + j) for j in range(n)],
                "text": [f"row {start + j} " + "word " * int(k) for j, k in enumerate(r.integers(0, 9, n))],
                "clip": pa.array(r.normal(0, 1, n), pa.float32()),
                "size": pa.array(r.integers(0, 1 << 40, n), pa.int64()),
            }
        )
        pq.write_table(table, folder / f"part-{i}.parquet", row_group_size=20)
        start += n
    return folder


def recipe(folder: Path, fraction: float = 0.4, uid: str | None = "uid") -> Any:
    roles = {"uid": uid} if uid else {}
    pool = Pool.parquet(f"{folder}/*.parquet", text="text", split_bytes=1500, **roles)
    sized = pool | Keep(col("size") >= 0, reason="size.negative")
    return sized | Keep(col("text").word_count() >= 3, reason="caption.too_short") | Top("clip", fraction=fraction)


def decided(tmp_path: Path, label: Label, **how: Any) -> Path:
    """OUT of a run over such a pool."""
    run(recipe(write(tmp_path / "pool", label), **how), tmp_path / "out")
    return tmp_path / "out"


def said(out: Path | str) -> dict[str, list[Any]]:
    """The ledger's columns."""
    return poolsieve.open(out).ledger().to_pydict()
