"""Pools, passes in Beam, selection, ledger, manifest, export and runners."""

from poolsieve.dataflow.pool import Pool
from poolsieve.dataflow.recipe import Recipe

__all__ = [
    "Pool",
    "Recipe",
]
