"""Placeholder until merged."""

from __future__ import annotations

from poolsieve.dataflow.publish.contents import Table
from poolsieve.dataflow.store.out import OutFolder


def ledger_table(run: OutFolder, folder: str, target_bytes: int = 0) -> Table:
    raise NotImplementedError
