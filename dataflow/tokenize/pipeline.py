"""Tokenising as Beam sees it: one step over shard records. Neither documents nor tokens pass between steps.

Other jobs that fill a folder shard by shard use the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import apache_beam as beam

from poolsieve.dataflow.runners.engine import Engine

Some = TypeVar("Some")
Plan = TypeVar("Plan")
Folder = TypeVar("Folder")


def write_all(
    engine: Engine, shards: Sequence[Some], write: Callable[[Some, Plan, Folder], None], plan: Plan, target: Folder
) -> None:
    """Has `write` write the files of every shard, and leave a note of them in the folder."""

    def build(pipeline: beam.Pipeline) -> None:
        spread = pipeline | "Shards" >> beam.Create(list(shards)) | "Spread" >> beam.Reshuffle()
        _ = spread | "Write" >> beam.Map(write, plan, target)

    engine.run(build)
