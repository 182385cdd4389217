"""Removes older decisions, and what killed runs left half-written."""

from __future__ import annotations

from poolsieve.dataflow import fs
from poolsieve.dataflow.store.layout import decision_url


def prune(out: str, current: str) -> list[str]:
    """Removes decisions other than the current one, and files that a killed run left half-written; names them."""
    gone = [name for name in fs.names(fs.join(out, "decisions")) if name != current]
    for name in gone:
        fs.remove(decision_url(out, name))
    return [f"decisions/{name}" for name in gone] + fs.remove_leftovers(out)
