"""Stages as a Beam `PTransform` over `pyarrow.RecordBatch`, for other people's pipelines.

    batches | ApplyStages(datacomp.basic(size="stored"))

Each batch comes out with its scores as columns, and `keep` and `reason` beside them. Import this module where batches
are made: it registers an Arrow IPC coder for `RecordBatch`, without which Beam pickles a slice with its whole parent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.utils.shared import Shared

from poolsieve.dataflow.pools.formats.base import UID
from poolsieve.dataflow.recipes.compile import compile_recipe
from poolsieve.dataflow.recipes.derived import RoleValues, spread
from poolsieve.dataflow.recipes.program import Program, ScoreStep
from poolsieve.dataflow.recipes.walk import Mask, StepScores, walk
from poolsieve.dataflow.store.artefacts import missing
from poolsieve.dataflow.store.rows import error_columns
from poolsieve.dataflow.store.session import Session
from poolsieve.filters.dsl.cuts import Table
from poolsieve.filters.dsl.stages import Stage, not_a_stage
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.scorer import has_model
from poolsieve.scoring_models.feeding.driver import score_rows


class RecordBatchCoder(beam.coders.Coder):
    """Arrow's IPC stream format: a batch alone, never the buffers of what it was cut from."""

    def encode(self, value: pa.RecordBatch) -> bytes:
        """One batch as an IPC stream."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write_batch(value)
        return bytes(sink.getvalue().to_pybytes())

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        """The batch of an IPC stream."""
        return pa.ipc.open_stream(encoded).read_next_batch()

    def estimate_size(self, value: pa.RecordBatch) -> int:
        """Bytes of the batch itself."""
        return int(value.nbytes)

    def is_deterministic(self) -> bool:
        """Not a key: padding bytes may differ."""
        return False

    def to_type_hint(self) -> type:
        """The type that it is registered for."""
        kind: type = pa.RecordBatch
        return kind


Ready = Callable[[ScoreStep], Any]
"""A step -> its scorer, ready to score."""

beam.coders.registry.register_coder(pa.RecordBatch, RecordBatchCoder)


class _BatchSource:
    """A walk's source over one batch of somebody else's pipeline."""

    def __init__(self, batch: pa.RecordBatch, scorer: Ready, threads: int) -> None:
        self.batch, self.scorer, self.threads, self.path = batch, scorer, threads, ""
        self.rows = np.arange(batch.num_rows, dtype=np.int64)
        self.uid = batch.column("uid") if "uid" in batch.schema.names else pa.nulls(batch.num_rows, pa.string())
        self.read_errors = pa.nulls(batch.num_rows, pa.string())
        self.values = RoleValues(batch, {})

    def gathered(self, table: Table) -> pa.Table:
        """Nothing: `program_for` refuses what would ask for it."""
        raise PlanError("ApplyStages sees one batch at a time")

    def answer(self, step: ScoreStep, needed: Mask, scores: Mapping[str, pa.Array]) -> StepScores:
        """Scores of the needed rows."""
        self.values.scores = scores
        inputs, good, failed = self.values.batch(step.inputs, np.flatnonzero(needed))
        made = score_rows(self.scorer(step), inputs, step.scorer.columns, threads=self.threads)
        errors, _ = error_columns(failed | {int(good[i]): e for i, e in made.errors.items()}, len(needed))
        columns = zip(step.columns, made.columns.values(), strict=True)
        return StepScores({name: spread(values, good, np.arange(len(needed))) for name, values in columns}, errors)


def loaded_once(models: Session) -> Ready:
    """Scorers with their models, each loaded once a session."""

    def ready(step: ScoreStep) -> Any:
        made: Any = step.scorer
        return models.once(digest([step.name, made.to_dict()]), made.load) if has_model(made) else made

    return ready


def apply_stages(
    program: Program, batch: pa.RecordBatch, threads: int = 1, scorer: Ready | None = None
) -> pa.RecordBatch:
    """The batch with score columns, `keep` (bool) and `reason` (string) added. Pure; no Beam.

    Args:
        program: the stages, from `program_for`.
        batch: rows.
        threads: batches of a model that may be worked on at a time.
        scorer: gives a step's scorer with its model loaded; without it, models are loaded for this batch alone.
    """
    state = walk(program, _BatchSource(batch, scorer or loaded_once(Session()), threads), {})
    added: Mapping[str, pa.Array] = {**state.scores, "keep": pa.array(state.alive), "reason": state.reason_strings()}
    new = {name: array for name, array in added.items() if name not in batch.schema.names}
    return pa.RecordBatch.from_arrays([*batch.columns, *new.values()], names=[*batch.schema.names, *new])


@beam.typehints.with_input_types(pa.RecordBatch)
@beam.typehints.with_output_types(pa.RecordBatch)
class _Apply(beam.DoFn):  # type: ignore[misc]
    def __init__(self, stage: Stage, threads: int) -> None:
        self.stage, self.threads, self.shared = stage, threads, Shared()
        self.programs: dict[str, Program] = {}

    def setup(self) -> None:
        """All threads of a process share one copy of each model; the last of them to end lets them go."""
        self.models: Session = self.shared.acquire(Session)

    def process(self, batch: pa.RecordBatch) -> Any:
        """One batch in, one out."""
        key = str(batch.schema)
        if key not in self.programs:
            self.programs[key] = program_for(self.stage, batch.schema)
        yield apply_stages(self.programs[key], batch, self.threads, loaded_once(self.models))


def program_for(stage: Stage, schema: pa.Schema) -> Program:
    """The stages resolved against the columns of a batch, which stand for roles.

    Raises:
        PlanError: for a cut, which needs the whole pool, for a scorer made from other pools, and for names that the
            batch has not.
    """
    program = compile_recipe(stage.flat(), schema.names, dict(zip(schema.names, schema.types, strict=True)))
    if UID in program.roles() and UID not in schema.names:
        raise PlanError(f"a scorer reads {UID!r}, and the batches have no such column: add one")
    unmade = next((step for step in program.scorers if missing(step.scorer)), None)
    if unmade is not None:
        raise PlanError(f"{unmade.name!r} needs a file that `poolsieve run` makes of another pool first")
    if program.marks:
        raise PlanError(f"{program.marks[0]!r} needs the whole pool; ApplyStages sees one batch at a time")
    return program


class ApplyStages(beam.PTransform):  # type: ignore[misc]
    """Scores and decides each batch: `pa.RecordBatch` in, the same with scores, `keep` and `reason` out.

    Raises:
        PlanError: for anything but a stage, such as a list of stages.
    """

    def __init__(self, stage: Stage, threads: int = 1) -> None:
        super().__init__()
        if not isinstance(stage, Stage):
            raise not_a_stage("ApplyStages() can't apply", stage)
        self.stage, self.threads = stage, threads

    def expand(self, batches: Any) -> Any:
        """One fused step; no shuffle."""
        return batches | "ApplyStages" >> beam.ParDo(_Apply(self.stage, self.threads))
