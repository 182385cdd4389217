"""Pools, passes in Beam, selection, ledger, manifest, export and runners."""

from poolsieve.dataflow.pool import Pool as Pool
from poolsieve.dataflow.recipe import Recipe as Recipe
