"""What travels to a worker: the recipe as source, the resolved pool, fingerprints and options. Nothing live."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.recipes.compile import compile_recipe
from poolsieve.dataflow.recipes.program import Program, ScoreStep, Step
from poolsieve.dataflow.recipes.recipe import Pool, Recipe
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.recipes.walk import Cuts
from poolsieve.dataflow.store.artefacts import with_artefact
from poolsieve.dataflow.store.layout import scorer_folder
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.errors import PlanError


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a job is run; none of it changes a verdict."""

    threads: int = 1
    retry_quarantined: bool = False
    max_error_rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything a worker needs. Small, picklable and the same on every worker.

    `recipe` is set only for recipes that were made in Python and are importable; a file travels as `source`.
    `compare` names a decision that a what-if is compared with.
    `pool_id` is the hash of the shard listing: another pool is another decision.
    """

    out: str
    role_types: Mapping[str, pa.DataType]
    fingerprints: Mapping[str, str]
    parts: Mapping[str, Mapping[str, Any]]
    pool_id: str
    pool: Pool
    files: PoolFiles
    source: RecipeSource | None = None
    given: Recipe | None = None
    frozen: Cuts = field(default_factory=dict)
    options: Options = Options()
    compare: str = ""
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def recipe(self) -> Recipe:
        """The recipe, over the resolved pool."""
        if self.source is not None:
            return Recipe(self.pool, self.source.recipe().stages)
        if self.given is None:
            raise PlanError("a job needs a recipe or its source")
        return Recipe(self.pool, self.given.stages)

    @property
    def program(self) -> Program:
        """The compiled recipe, made once a process."""
        return _program(self.run_id, self)

    @property
    def reading(self) -> str:
        """Hash of how rows get their uids: what `rows/` depends on beside the shard."""
        return digest([self.pool.kind, self.pool.roles.get("uid")])

    def folder(self, step: ScoreStep) -> str:
        """Where a step's scores are kept."""
        return scorer_folder(self.out, step.name, self.fingerprints[step.name])

    def phase(self, label: str) -> str:
        """A name for one phase of this run; listings are made anew for each."""
        return f"{self.run_id}/{label}"


_LOCK = threading.RLock()
_PROGRAMS: dict[str, Program] = {}


def _program(run_id: str, job: Job) -> Program:
    with _LOCK:
        if run_id not in _PROGRAMS:
            _PROGRAMS[run_id] = _with_artefacts(compile_recipe(job.recipe.stages, job.pool.roles, job.role_types), job)
        return _PROGRAMS[run_id]


def _with_artefacts(program: Program, job: Job) -> Program:
    def filled(step: Step) -> Step:
        if not isinstance(step, ScoreStep):
            return step
        return replace(step, scorer=with_artefact(step.scorer, job.out, step.name, job.parts[step.name]["files"]))

    return replace(program, steps=tuple(filled(step) for step in program.steps))
