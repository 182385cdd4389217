"""A small run of a plan, to measure: the first rows of a few shards, in a folder that is gone afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from poolsieve.dataflow import progress
from poolsieve.dataflow.passes.plan import Plan
from poolsieve.dataflow.passes.submit import execute
from poolsieve.dataflow.pools.packed import Shards
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.program import ScoreStep
from poolsieve.dataflow.store.session import ending
from poolsieve.dataflow.store.shard_lines import pool_id
from poolsieve.dataflow.store.summary import Summary
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.scorer import has_model, in_pieces

TRIED_SHARDS = 8
"""Shards whose first rows are worked on."""

WARM_ROWS = 16
"""Rows that are worked on before anything is measured: models, tokenizers and tables are loaded with the first ones."""


class Trial(NamedTuple):
    """What a small run came to; its files are there as long as the block that gave it lasts."""

    plan: Plan
    summary: Summary


@contextlib.contextmanager
def tried(plan: Plan, rows: int, seed: int = 0) -> Iterator[Trial]:
    """Runs a plan over about so many rows in this process; nothing of it stands in OUT.

    Args:
        plan: from `prepare`.
        rows: all together; each of a few shards gives as many of its first ones.
        seed: chooses the shards.

    Raises:
        PlanError: for a recipe that asks endpoints, which may want to be paid, and for no rows.
        PoolsieveError: whatever stopped the run.
    """
    _check(plan, rows)
    chosen = sorted(random.Random(seed).sample(plan.shards, min(TRIED_SHARDS, len(plan.shards))))  # noqa: S311
    run_id = uuid.uuid4().hex  # of both runs, since models are kept for a run
    with tempfile.TemporaryDirectory(prefix="poolsieve-plan-") as folder, ending(run_id), progress.of(run_id).here():
        few = -(-rows // len(chosen))
        execute(_part_of(plan, chosen[:1], min(few, WARM_ROWS), Path(folder, "warm"), run_id))
        part = _part_of(plan, chosen, few, Path(folder, "out"), run_id)
        yield Trial(part, execute(part))


def _check(plan: Plan, rows: int) -> None:
    asking = [step.name for step in plan.job.program.scorers if asks(step)]
    if asking:
        raise PlanError(
            f"{', '.join(asking)} would ask an endpoint about each row of a trial, and that may cost: run the recipe "
            "on a small part of the pool with the same --out first, whose rates are taken then"
        )
    if rows < 1 or not plan.shards:
        raise PlanError(
            f"{plan.job.out} has no rates of this recipe, and with --sample {rows} no row is tried for them"
        )


def asks(step: ScoreStep) -> bool:
    """Whether a step asks somebody who may want to be paid."""
    return in_pieces(step.scorer) and not has_model(step.scorer)


def _part_of(plan: Plan, shards: Sequence[Shard], rows: int, out: Path, run_id: str) -> Plan:
    files = dataclasses.replace(plan.job.files, first_rows=rows)
    job = dataclasses.replace(
        plan.job, out=str(out), files=files, pool_id=pool_id(shards, files.marks), retried=False, run_id=run_id
    )
    return Plan(job, Shards.of(shards))


class Counted(NamedTuple):
    """Rows of a shard, and the bytes of its file that they take."""

    rows: int
    nbytes: float


def counted(plan: Plan) -> Counted:
    """The rows of one shard, the one of median size: it is read to its end, with no more of a row than it takes.

    Where that is a big file that is not split yet, it is split for this.
    """
    files, sizes = plan.job.files, plan.shards.shares
    place = int(np.argsort(sizes, kind="stable")[(len(sizes) - 1) // 2])
    shard, nbytes = plan.shards[place], float(sizes[place])
    if shard in plan.unsplit:
        part = files.part(shard)
        pieces = part.reader.split(part, shard)
        shard, nbytes = pieces[0], shard.size / len(pieces)
    rows = sum(batch.num_rows for batch in files.pool_batches(shard, (), {}))
    return Counted(rows, nbytes)
