"""Pools, passes in Beam, selection, ledger, manifest, export and runners."""

from poolsieve.dataflow.recipes.recipe import Pool, Recipe

__all__ = [
    "Pool",
    "Recipe",
]
