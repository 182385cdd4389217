"""A small dataset on the loopback Hub, and pools of it."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from poolsieve import Pool
from poolsieve.filters import Keep, col
from tests import forked
from tests.hub_server import HubServer
from tests.hub_store import Repo

REPO = "org/pool"
FIRST, SECOND, TEST = (
    f"data/{name}.parquet" for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001")
)
RULE = Keep(col("text").word_count() >= 3, reason="text.short")


def parquet(number: int, rows: int = 20) -> bytes:
    sink = io.BytesIO()
    texts = ["word " * (i % 7) + f"{number}" for i in range(rows)]
    pq.write_table(pa.table({"text": texts}), sink)
    return sink.getvalue()


def filled(hub: HubServer, **more: bytes) -> Repo:
    return hub.create(
        REPO, {FIRST: parquet(0), SECOND: parquet(1), TEST: parquet(2), "README.md": b"# A pool\n", **more}
    )


def options(hub: HubServer, token: str | bool = "hf_read") -> dict[str, Any]:
    return {"endpoint": hub.url, "token": token}


def pool(hub: HubServer, repo: str = REPO, **given: Any) -> Pool:
    return Pool.hub(repo, **{"storage_options": options(hub), "text": "text", **given})


def python(code: str, hub: HubServer, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """A process whose environment names the hub: the client reads that when it is imported."""
    environment = hub.environment(home, **more)
    return forked.run(
        [sys.executable, "-c", code], env=environment, text=True, capture_output=True, timeout=100, check=False
    )
