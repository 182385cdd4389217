"""Tokenising as Beam sees it: one step over shard records. Neither documents nor tokens pass between steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import apache_beam as beam

from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.tokenize.folder import TokensTarget
from poolsieve.dataflow.tokenize.write import TokensPlan

WriteShard = Callable[[Shard, TokensPlan, TokensTarget], None]
"""Writes the files of one shard, and leaves a note of them."""


def write_all(
    engine: Engine, shards: Sequence[Shard], write: WriteShard, plan: TokensPlan, target: TokensTarget
) -> None:
    """Writes the files of every shard."""
    pipeline = engine.pipeline()
    spread = pipeline | "Shards" >> beam.Create(list(shards)) | "Spread" >> beam.Reshuffle()
    _ = spread | "Tokenize" >> beam.Map(write, plan, target)
    pipeline.run().wait_until_finish()
