"""The recipe that goes with the small pool of `conftest.py`."""

from __future__ import annotations

from pathlib import Path

from poolsieve.dataflow.recipes.recipe import Pool, Recipe
from poolsieve.filters import Keep, Top, col

SHARDS = 5


def recipe(pool: Path, most: int = 3) -> Recipe:
    words = col("text").word_count()
    return (
        Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text")
        | Keep(words <= most)
        | Top("text.word_count", count=7)
    )
