"""What travels to a worker: the recipe as source, the resolved pool, fingerprints and options. Nothing live."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from poolsieve.dataflow import progress
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.formats.base import UID
from poolsieve.dataflow.pools.hub_commits import Revisions
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.compile import compile_recipe
from poolsieve.dataflow.recipes.program import Program, ScoreStep, Step
from poolsieve.dataflow.recipes.recipe import Pool, Recipe
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.recipes.walk import Cuts
from poolsieve.dataflow.store import layout
from poolsieve.dataflow.store.artefacts import with_artefact
from poolsieve.dataflow.store.models import use_models
from poolsieve.dataflow.store.reports import Reporter, this_process
from poolsieve.dataflow.store.scores import FolderListing
from poolsieve.dataflow.store.session import Session, session_of
from poolsieve.dataflow.store.settings import ScorerParts, check_settings, stored_settings
from poolsieve.scoring_models.base.config import JsonObject, digest
from poolsieve.scoring_models.base.derived import Extent
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.scorer import has_model
from poolsieve.scoring_models.devices.replicas import load_on
from poolsieve.scoring_models.feeding.meter import Meter
from poolsieve.scoring_models.hub.cache import Commits, use_commits


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a job is run; none of it changes a verdict.

    Attributes:
        threads: that one worker may keep busy; 0: what its own machine has for it.
        retry_quarantined: try rows again whose scores failed.
        max_error_rate: fail if more of the rows than this share were quarantined; None: never.
        devices: of torch, for models that leave theirs open: a copy on each; none: where a model's own "auto" leads.
        models: URL where models of the Hub are looked for first; see `store.models`.
        at_once: bytes of a pool up to which one worker sees all rows of a joined derived value, where more are met by
            rounds; None: as many as pay, and all where what is shuffled lies in one process.
        extent: how large the pool is taken to be where rounds are laid out; None: as it is.

    Raises:
        PlanError: for a rate that is no share.
    """

    threads: int = 1
    retry_quarantined: bool = False
    max_error_rate: float | None = None
    devices: tuple[str, ...] = ()
    models: str = ""
    at_once: int | None = None
    extent: Extent | None = None

    def __post_init__(self) -> None:
        most = self.max_error_rate
        if most is not None and not (isinstance(most, (int, float)) and type(most) is not bool and 0 <= most <= 1):
            raise PlanError(f"max_error_rate={most!r}: a share of the rows is wanted, from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything a worker needs. Small, picklable and the same on every worker.

    Attributes:
        out: absolute URL of OUT.
        role_types: Arrow type of every role and readable pool column.
        fingerprints: name of a score step -> fingerprint of its scorer.
        scorer_parts: name of a score step -> what the fingerprint was made from.
        pool_id: hash of the shard listing: another pool is another decision.
        pool: as the recipe has it, with absolute URLs; `files` is the same, located.
        source: the recipe as text; None for a recipe that was made in Python.
        recipe_object: the recipe itself where there is no source; its classes must be importable by workers.
        frozen: cuts that are given and not searched for.
        compare: the decision that a what-if is compared with.
        pins: which commits revisions of the Hub are, of the pool and of those that artefacts are made from.
        commits: what branches of model repositories were when the plan was made: workers load the same files.
        retried: whether failures were ever tried again in OUT: a decision is then named after its ledger as well.
        client: the process that shows progress, as `this_process` names it; "" if none does.
        part: score up to the first cut that is not `frozen`, and decide nothing: one part of a run (`dataflow.parts`).
        parts: name of the run whose parts are to be finished: what is lacking is noted there; empty for other runs.
        trial: nothing of the decision is to stay, as with a what-if.
    """

    out: str
    role_types: Mapping[str, pa.DataType]
    fingerprints: Mapping[str, str]
    scorer_parts: Mapping[str, ScorerParts]
    pool_id: str
    pool: Pool
    files: PoolFiles
    source: RecipeSource | None = None
    recipe_object: Recipe | None = None
    frozen: Cuts = field(default_factory=dict)
    options: Options = Options()
    compare: str = ""
    retried: bool = False
    pins: Revisions = field(default_factory=dict)
    part: bool = False
    parts: str = ""
    commits: Commits = field(default_factory=dict)
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    client: str = ""
    trial: bool = False

    def tell(self) -> None:
        """Lets the client know how far this process is, if it is another one."""
        if self.client and self.client != this_process():
            made = self.session.once("reporter", lambda: Reporter(self.out, self.run_id))
            made.tell(progress.of(self.run_id).counts())

    @property
    def recipe(self) -> Recipe:
        """The recipe, over the resolved pool."""
        found = self.source.recipe() if self.source is not None else self.recipe_object
        if found is None:
            raise PlanError("a job needs a recipe or its source")
        return Recipe(self.pool, found.stages)

    @property
    def derived_in(self) -> str:
        """Where what is gathered or joined is kept: OUT, or this run's own folder, which goes with the run."""
        return layout.run_folder(self.out, self.run_id) if self.trial else self.out

    @property
    def session(self) -> Session:
        """What this process keeps of the run."""
        return session_of(self.run_id)

    @property
    def program(self) -> Program:
        """The compiled recipe, made once a process."""
        return self.session.once("program", self._compiled)

    def _compiled(self) -> Program:
        use_commits(self.commits)
        use_models(self.options.models)
        program = compile_recipe(self.recipe.stages, self.pool.roles, self.role_types, self._facts)
        return replace(program, steps=tuple(self._with_artefact(step) for step in program.steps))

    def _facts(self, name: str, scorer: Any) -> JsonObject:
        parts = self.scorer_parts.get(name)
        return {} if parts is None else dict(parts.facts)

    def _with_artefact(self, step: Step) -> Step:
        if not isinstance(step, ScoreStep):
            return step
        files = self.scorer_parts[step.name].files
        return replace(step, scorer=with_artefact(step.scorer, self.out, step.name, files))

    def types_of(self, roles: Iterable[str]) -> dict[str, pa.DataType]:
        """Arrow type of each of some roles; a uid is a text, declared or derived."""
        return {role: pa.string() if role == UID else self.role_types[role] for role in roles}

    def rows_url(self, shard: Shard) -> str:
        """Where the rows of a shard are kept."""
        return layout.rows_url(self.out, shard, uid_source_of(self.files, shard))

    def folder(self, step: ScoreStep) -> str:
        """Where a step's scores are kept."""
        return layout.scorer_folder(self.out, step.name, self.fingerprints[step.name])

    def score_files(self, phase: str, step: ScoreStep) -> FolderListing:
        """The step's score files, listed once for each phase of the run in each process."""
        folder = self.folder(step)
        key = ("scores", folder)  # names of all shards' files: those of phases that are over would fill the memory
        return self.session.recent(key, phase, lambda: FolderListing.of(folder, self.readings(step)))

    def readings(self, step: ScoreStep) -> Mapping[str, str]:
        """What the step's score files are named after beside their shards; see `PoolFiles.readings`."""
        return self.files.readings(self.program.roles_behind(step))

    def scorer(self, step: ScoreStep) -> Any:
        """The step's scorer, ready to score: its model is loaded, its settings are those of the stored scores.

        Raises:
            SettingsChanged: if they can't be.
        """
        return self.session.once(("scorer", step.name), lambda: self._ready(step))

    def _ready(self, step: ScoreStep) -> Any:
        made: Any = step.scorer
        settings: JsonObject = {}
        if has_model(made):
            made, _ = self._model(step)
            settings = getattr(made, "settings", {})
        check_settings(self.folder(step), self.scorer_parts[step.name], settings)
        return made

    def meter(self, step: ScoreStep) -> tuple[str, Meter] | None:
        """Under which name the work of the step's model is added up, and its meter; None for a scorer without a model.

        Steps that share a model share its meter, and what it did goes under the first one's name.
        """
        if not has_model(step.scorer):
            return None
        mark = self.fingerprints[step.name]
        name = next(one.name for one in self.program.scorers if self.fingerprints[one.name] == mark)
        return name, self._model(step)[1]

    def _model(self, step: ScoreStep) -> tuple[Any, Meter]:
        """The step's model, loaded once a process, and its meter."""
        return self.session.once(("model", self.fingerprints[step.name]), lambda: self._loaded(step))

    def _loaded(self, step: ScoreStep) -> tuple[Any, Meter]:
        """The step's model on this machine, with the batches that its stored scores were made with, and its meter."""
        scorer, found = step.scorer, stored_settings(self.folder(step))
        if found is not None and hasattr(scorer, "as_recorded"):
            scorer = scorer.as_recorded(found)
        started = time.perf_counter()
        with progress.loading(step.name):
            made = load_on(scorer, self.options.devices)
        return made, Meter.of(made, time.perf_counter() - started)

    def training(self) -> dict[str, JsonObject]:
        """Scorer -> how its models were made, of those that say so."""
        return {name: dict(parts.training) for name, parts in self.scorer_parts.items() if parts.training}

    def pools_on_hub(self) -> dict[str, dict[str, list[str]]]:
        """Scorer -> pool that its artefact is made from -> its URLs at their commits, of those on the Hub."""
        return {name: dict(parts.pools) for name, parts in self.scorer_parts.items() if parts.pools}

    def model_files(self) -> dict[str, dict[str, str]]:
        """Scorer -> model file -> SHA-256, of those that have any."""
        return {name: dict(parts.files) for name, parts in self.scorer_parts.items() if parts.files}


def uid_source_of(files: PoolFiles, shard: Shard) -> str:
    """Hash of how a shard's rows get their uids, and which of them are read: what `rows/` depends on beside it."""
    part = files.part(shard)
    return digest([part.format, part.roles.get("uid"), *part.limits, *(files.sample.mark if files.sample else ())])
