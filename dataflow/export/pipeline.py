"""An export as Beam sees it: two small pipelines over shard and part records. Rows never pass between steps."""

from __future__ import annotations

import json
from collections.abc import Sequence

import apache_beam as beam
import msgspec

from poolsieve.dataflow import fs
from poolsieve.dataflow.export.parts import OutputFile, ShardExtract
from poolsieve.dataflow.export.plan import ExportPlan, WritePart
from poolsieve.dataflow.export.survey import survey
from poolsieve.dataflow.export.target import Target
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.store.shard_lines import ShardLine


def survey_all(engine: Engine, lines: Sequence[ShardLine], plan: ExportPlan, work: str) -> list[ShardExtract]:
    """Surveys every shard; the inputs in pool order. `work` is a folder for notes."""
    url = fs.join(work, "survey.json")

    def build(pipeline: beam.Pipeline) -> None:
        shards = pipeline | "Shards" >> beam.Create(list(lines)) | "Spread" >> beam.Reshuffle()
        inputs = shards | "Survey" >> beam.Map(survey, plan, fs.join(work, "found"))
        _ = inputs | "Collect" >> beam.combiners.ToList() | "Leave" >> beam.Map(_leave, url)

    engine.run(build)
    found = msgspec.convert(json.loads(fs.read_bytes(url)), list[ShardExtract])
    fs.remove(url)
    return sorted(found, key=lambda item: item.shard)


def _leave(inputs: Sequence[ShardExtract], url: str) -> None:
    """Runners have no other way to give something back."""
    fs.write_bytes(url, json.dumps(msgspec.to_builtins(inputs)).encode())


def write_all(engine: Engine, parts: Sequence[OutputFile], write: WritePart, plan: ExportPlan, target: Target) -> None:
    """Writes every part."""

    def build(pipeline: beam.Pipeline) -> None:
        spread = pipeline | "Parts" >> beam.Create(list(parts)) | "Spread" >> beam.Reshuffle()
        _ = spread | "Write" >> beam.Map(write, plan, target)

    engine.run(build)
