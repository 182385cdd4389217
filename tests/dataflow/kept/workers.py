"""What a DataLoader's spawned workers unpickle: a module of its own, since they import all of it, each for itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq
from torch.utils.data import IterableDataset, get_worker_info

from poolsieve.dataflow.kept.kept import Kept


def json_uid(sample: Any) -> str:
    """The uid in a sample's JSON, decoded or not."""
    found: str = json.loads(sample["json"])["uid"] if isinstance(sample["json"], bytes) else sample["json"]["uid"]
    return found


def whole(rows: Any) -> Any:
    """Batches as they are."""
    return rows


def by_key(kept: Kept, row: Any) -> bool:
    """By the key of a row of `Rows`."""
    return (row["file"], row["row"]) in kept


class Rows(IterableDataset):
    """Somebody's own stream: each worker reads its files."""

    def __init__(self, files: list[str]) -> None:
        self.files = files

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        mine = self.files if worker is None else self.files[worker.id :: worker.num_workers]
        for file in mine:
            for i, row in enumerate(pq.read_table(file).to_pylist()):
                yield {**row, "file": file, "row": i}
