"""A pool of a few small shards."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.dataflow.passes.small import SHARDS


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    for i in range(SHARDS):
        table = pa.table({"text": ["a b c", "a b", "a", "a b c d"], "uid": [f"{i:016x}{j:016x}" for j in range(4)]})
        (tmp_path / "pool").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "pool" / f"p{i}.parquet")
    return tmp_path / "pool"
