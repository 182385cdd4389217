"""An export as Beam sees it: two small pipelines over shard and part records. Rows never pass between steps."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam

from poolsieve.dataflow import fs
from poolsieve.dataflow.export.rows import ExportPlan, OutputFile, ShardExtract
from poolsieve.dataflow.export.survey import survey
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.store.manifest import ShardLine


def survey_all(engine: Engine, lines: Sequence[ShardLine], export: ExportPlan, work: str) -> list[ShardExtract]:
    """Surveys every shard; the inputs in pool order. `work` is a folder for notes."""
    url = fs.join(work, "survey.json")
    pipeline = engine.pipeline()
    shards = pipeline | "Shards" >> beam.Create(list(lines)) | "Spread" >> beam.Reshuffle()
    inputs = shards | "Survey" >> beam.Map(survey, export, fs.join(work, "found"))
    _ = inputs | "Collect" >> beam.combiners.ToList() | "Leave" >> beam.Map(_leave, url)
    pipeline.run().wait_until_finish()
    found = json.loads(fs.read_bytes(url))
    fs.remove(url)
    return sorted((_input(item) for item in found), key=lambda item: item.shard)


def _leave(inputs: Sequence[ShardExtract], url: str) -> None:
    """Runners have no other way to give something back."""
    fs.write_bytes(url, json.dumps([dataclasses.asdict(item) for item in inputs]).encode())


def _input(item: dict[str, Any]) -> ShardExtract:
    return ShardExtract(**{**item, "shard": Shard(**item["shard"])})


def write_all(engine: Engine, parts: Sequence[OutputFile], write: Callable[..., None], *args: Any) -> None:
    """Writes every part with `write(part, *args)`, which leaves a note of what it wrote."""
    pipeline = engine.pipeline()
    spread = pipeline | "Parts" >> beam.Create(list(parts)) | "Spread" >> beam.Reshuffle()
    _ = spread | "Write" >> beam.Map(write, *args)
    pipeline.run().wait_until_finish()
