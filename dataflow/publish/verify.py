"""After the commit: what the Hub has there, file by file, against what was meant."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq

from poolsieve.dataflow import progress
from poolsieve.dataflow.publish.contents import Item
from poolsieve.dataflow.publish.patience import patiently
from poolsieve.dataflow.publish.repository import Repository
from poolsieve.scoring_models.base.errors import PoolsieveError

_THREADS = 8

_FOOTER = 1 << 20
"""Bytes that are read of a Parquet file at once: most footers are smaller."""


class NotAsMeant(PoolsieveError):
    """The Hub has something else than what was published."""


def verify(repository: Repository, items: Sequence[Item], same: Sequence[Item], commit: str) -> None:
    """Compares sizes and hashes of every file, and the rows of new Parquet files by their footers.

    Args:
        repository: where to look.
        items: every file that should be there.
        same: those of them that were there before, by their hashes.
        commit: to look at.

    Raises:
        NotAsMeant: for the first file that differs.
    """
    there = repository.paths([item.path for item in items], commit)
    for item in items:
        found = there.get(item.path)
        if found is None or not found.has(item):
            what = "is missing" if found is None else f"has {found.size:,} bytes, or others, for {item.size:,}"
            raise NotAsMeant(f"{item.path} {what} in {repository.name} at {commit}: publish again")
    before = {item.path for item in same}
    new = [item for item in items if item.path not in before]
    with_rows = [item for item in new if item.rows is not None and item.path.endswith(".parquet")]
    with ThreadPoolExecutor(_THREADS) as threads, repository.told("read footers"):
        for item, rows in zip(
            with_rows, threads.map(lambda item: _rows(repository, item, commit), with_rows), strict=True
        ):
            if rows != item.rows:
                raise NotAsMeant(
                    f"{item.path} has {rows:,} rows in {repository.name}, for {item.rows:,}: publish again"
                )


def _rows(repository: Repository, item: Item, commit: str) -> int:
    def read() -> int:
        progress.check()
        path = repository.inside(item.path, commit)
        with repository.system.open(path, "rb", block_size=_FOOTER) as opened, pq.ParquetFile(opened) as file:
            return int(file.metadata.num_rows)

    return patiently(read, repository.say)
