"""Open files are bounded: a pool of more shards than a process may open files is run, decided and reported."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SHARDS, FILES = 150, 100

CODE = """
import resource, sys
import poolsieve
from poolsieve.filters import Top
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[3]), int(sys.argv[3])))
pool = poolsieve.Pool.parquet(sys.argv[1] + "/*.parquet", uid="uid")
for count in (100, 120):
    found = poolsieve.run(pool | Top("score", count=count), sys.argv[2])
assert poolsieve.decide(pool | Top("score", count=50), sys.argv[2]).counts.kept == 50
poolsieve.report(sys.argv[2])
"""


def test_more_shards_than_open_files(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    for i in range(SHARDS):
        table = pa.table({"uid": [f"{i:032x}"], "score": pa.array([i % 7], pa.float32())})
        pq.write_table(table, tmp_path / "pool" / f"{i:04d}.parquet")
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= FILES
    command = [sys.executable, "-c", CODE, str(tmp_path / "pool"), str(tmp_path / "out"), str(FILES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    subsets = sorted(len(np.load(file)) for file in tmp_path.glob("out/decisions/*/subset.npy"))
    assert subsets == [50, 100, 120]
