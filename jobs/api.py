"""A run, from Python: `poolsieve.run(recipe, "OUT")` and what can be done with OUT afterwards.

The command line is a thin skin over these functions.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

import msgspec

from poolsieve.dataflow import leases
from poolsieve.dataflow.decisions.summary import empty_budgets
from poolsieve.dataflow.export.export import export as export_rows
from poolsieve.dataflow.export.index import ExportIndex
from poolsieve.dataflow.fs import StorageOptions
from poolsieve.dataflow.kept.kept import Kept, kept
from poolsieve.dataflow.passes.estimate import PlanReport, advice, describe_plan, trivial_cuts
from poolsieve.dataflow.passes.needs import needs_of
from poolsieve.dataflow.passes.plan import prepare, prepare_stored
from poolsieve.dataflow.passes.submit import carry_out
from poolsieve.dataflow.passes.submit import what_if as compare_with_current
from poolsieve.dataflow.recipes.recipe import Pool, Recipe
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.runners.base import threads_for
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.store.job import Options
from poolsieve.dataflow.store.layout import leases_folder, report_url
from poolsieve.dataflow.store.manifest import read_cuts
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.dataflow.store.session import ending
from poolsieve.dataflow.store.summary import Summary
from poolsieve.jobs.given import AnyRecipe, Params, given, stored
from poolsieve.jobs.report.notebook import funnel_html
from poolsieve.jobs.report.page import write_report
from poolsieve.jobs.submitting import gap_warnings, models_folder, one_unless_given, planned, report_writer, watch_of
from poolsieve.scoring_models.base.errors import PlanError, unknown_name

if TYPE_CHECKING:
    from poolsieve.dataflow.publish.publish import Publication

Say = Callable[[str], None]
"""Is told what the user should know: one warning at a time."""


def warn(text: str) -> None:
    """Tells whoever called a function of this module, unless that was given another `say`."""
    warnings.warn(text, UserWarning, stacklevel=3)


class Run(OutFolder):
    """The folder of a whole run: manifest, cuts, counts, ledger, report; it can be decided again and exported.

    It shows the decision that was current when it was opened. In a notebook it shows the funnel.

    Args:
        url: OUT, on any fsspec storage.
        recipe: that this process made the run from; `decide` takes it if no other is given.

    Raises:
        PlanError: if there is no whole run.
    """

    def __init__(self, url: str | os.PathLike[str], recipe: Recipe | RecipeSource | None = None) -> None:
        super().__init__(os.fspath(url))
        self._recipe = recipe

    @property
    def report(self) -> str:
        """The path or URL of the HTML report."""
        return report_url(self.url, self.decision, "html")

    @overload
    def decide(
        self, recipe: AnyRecipe | None = None, *, what_if: Literal[True], **how: Unpack[DecideOptions]
    ) -> Summary: ...

    @overload
    def decide(
        self, recipe: AnyRecipe | None = None, *, what_if: Literal[False] = False, **how: Unpack[DecideOptions]
    ) -> Run: ...

    def decide(
        self, recipe: AnyRecipe | None = None, *, what_if: bool = False, **how: Unpack[DecideOptions]
    ) -> Run | Summary:
        """`poolsieve.decide` in this folder.

        Raises:
            PlanError: if another decision has become the current one since this was opened.
        """
        self.check_current()
        given = self._recipe if recipe is None else recipe
        return decide(given, self.url, what_if=True, **how) if what_if else decide(given, self.url, **how)

    def export(self, **how: Any) -> ExportIndex:
        """`poolsieve.export` of this folder.

        Raises:
            PlanError: if another decision has become the current one since this was opened.
        """
        self.check_current()
        # What this process ran already may be run again, whatever has become of its file.
        own = self._recipe is not None and self._recipe == self.manifest.source
        return export(self.url, **{"trust_recipe": own, **how})

    def publish(self, repo: str, **how: Any) -> Publication:
        """`poolsieve.publish` of this folder.

        Raises:
            PlanError: if another decision has become the current one since this was opened.
        """
        from poolsieve.jobs.publish import publish

        self.check_current()
        return publish(self.url, repo, **how)

    def kept(self, **how: Any) -> Kept:
        """`poolsieve.kept` of the decision that this shows: `scores`, `root`, `cache`."""
        return kept(self.url, **{"decision": self.decision, **how})

    def __repr__(self) -> str:
        return f"<run in {self.url}: {self.counts.kept:,} of {self.counts.rows_in:,} rows kept>"

    def _repr_html_(self) -> str:
        return funnel_html(self)


def plan(
    recipe: AnyRecipe,
    out: str | os.PathLike[str],
    *,
    params: Params | None = None,
    include: Sequence[str] = (),
    sample_rows: int = 2000,
    newest: bool = False,
    workers: int | None = None,
    runner: str = "local",
    beam_flags: Sequence[str] = (),
    models: str | os.PathLike[str] | None = None,
    pool_rows: float | None = None,
    prices: Mapping[str, float] | None = None,
) -> PlanReport:
    """What a run would read and compute, and about how many rows each rule would keep. Starts nothing.

    Args:
        recipe: an object, or a file.
        out: where the run would keep everything.
        params: arguments of the recipe file's function.
        include: files of modules that the recipe file imports.
        sample_rows: rows that are read for the estimates; 0 for none.
        newest: as for `run`; nothing is kept.
        workers, runner, beam_flags: as for `run`; `runner` of the report is what they come to.
        models: as for `run`.
        pool_rows: also project what a run over so many rows would take, from rates that OUT has of this recipe; where
            it has none, `sample_rows` are worked on here, in a folder that is gone afterwards.
        prices: of an hour of a "cpu" and of a "gpu", for that.

    Raises:
        PlanError: for anything that can't work.
    """
    engine = Engine(runner, one_unless_given(workers), beam_flags)
    options = Options(models=models_folder(models))
    made = prepare(given(recipe, params, include), os.fspath(out), options=options, newest=newest)
    with ending(made.job.run_id):
        there = engine.describe(needs_of(made.job), made.job.program.wants_processes)
        found = msgspec.structs.replace(describe_plan(made, sample_rows=sample_rows), runner=there)
        if pool_rows is None:
            if prices:
                raise PlanError("prices (--price-per-hour) are for a projection: give pool_rows (--pool-rows) as well")
            return found
        from poolsieve.jobs import scaling

        rows = scaling.rows_of(pool_rows)
        ahead = scaling.projected(made, rows, prices or {}, sample_rows, engine.in_memory)
        return msgspec.structs.replace(found, projection=ahead)


def run(
    recipe: AnyRecipe,
    out: str | os.PathLike[str],
    *,
    params: Params | None = None,
    include: Sequence[str] = (),
    workers: int | None = None,
    runner: str = "local",
    beam_flags: Sequence[str] = (),
    cuts: str | os.PathLike[str] | None = None,
    max_error_rate: float | None = None,
    retry_quarantined: bool = False,
    replace_pool: bool = False,
    newest: bool = False,
    devices: str | int | Sequence[int] | None = None,
    models: str | os.PathLike[str] | None = None,
    samples: bool = True,
    truth: str | os.PathLike[str] | None = None,
    progress: bool = False,
    say: Say = warn,
) -> Run:
    """Scores what has no scores yet, decides every row, and writes ledger, report and manifest to `out`.

    Stopped or killed, the same call goes on from where it was. When only rules changed, nothing is read or scored.

    Args:
        recipe: an object, or a file.
        out: OUT, on any fsspec storage.
        params: arguments of the recipe file's function.
        include: files of modules that the recipe file imports; they travel with it.
        workers: shards at a time (local runner); if not given, one, or where a model scores as many as keep it busy.
        runner: a name of `runners.engine.RUNNERS`.
        beam_flags: further Beam options.
        cuts: path of an earlier run's `cuts.json`, whose cuts are taken instead of searching for them.
        max_error_rate: fail if more of the rows than this share were quarantined.
        retry_quarantined: try rows again whose scores failed.
        replace_pool: go on if the current decision in OUT is of another pool; this one then takes its place.
        newest: read pools on the Hub at the commits that their revisions are now; else at those that the first run in
            OUT kept in `hub.json`. Only files that changed are scored anew.
        devices: GPUs of this machine (local runner), as "0,1" or "all": a copy of each model on each, except models
            that name their device. If not given, a model takes the first GPU that there is.
        models: a folder that `save_models` filled, on any fsspec storage: models of the Hub are looked for there first,
            and each file is fetched once a machine.
        samples: show rows in the report; False keeps their contents out of it.
        truth: Parquet file with uid and matches; the report states precision and recall.
        progress: show progress on stderr.
        say: is told warnings; Python's `warnings` if not given.

    Raises:
        PlanError: for anything that can't work, before any work starts.
        PoolsieveError: whatever stopped the run.
    """
    made, engine = planned(
        recipe,
        os.fspath(out),
        params=params,
        include=include,
        workers=workers,
        runner=runner,
        beam_flags=beam_flags,
        cuts=cuts,
        max_error_rate=max_error_rate,
        retry_quarantined=retry_quarantined,
        replace_pool=replace_pool,
        newest=newest,
        devices=devices,
        models=models,
        progress=progress,
    )
    with ending(made.job.run_id):
        for text in [*made.warnings, *trivial_cuts(made.job), *advice(made.job), *gap_warnings(made)]:
            say(text)
        reporter = report_writer(samples=samples, truth=truth)
        found = carry_out(made, engine=engine, watch=watch_of(made, progress), before_manifest=reporter)
        for text in empty_budgets(found.cuts):
            say(text)
        return Run(found.url, made.job.source or made.job.recipe_object)


class DecideOptions(TypedDict, total=False):
    """Keywords of `decide`; what is left out is as in `run`."""

    params: Params
    include: Sequence[str]
    workers: int | None
    runner: str
    beam_flags: Sequence[str]
    cuts: str | os.PathLike[str] | None
    samples: bool
    truth: str | os.PathLike[str] | None
    progress: bool
    trust_recipe: bool
    say: Say


@overload
def decide(
    recipe: AnyRecipe | None, out: str | os.PathLike[str], *, what_if: Literal[True], **how: Unpack[DecideOptions]
) -> Summary: ...


@overload
def decide(
    recipe: AnyRecipe | None,
    out: str | os.PathLike[str],
    *,
    what_if: Literal[False] = False,
    **how: Unpack[DecideOptions],
) -> Run: ...


def decide(
    recipe: AnyRecipe | None, out: str | os.PathLike[str], *, what_if: bool = False, **how: Unpack[DecideOptions]
) -> Run | Summary:
    """Decides again with moved limits, from stored rows and scores; no model is loaded and the pool may be gone.

    Args:
        recipe: an object or a file; None for the recipe that OUT holds, if it is what its file on this machine says.
        out: OUT of a whole run.
        what_if: write nothing, and return the counts with the overlap with the current decision.
        how: `params` (in place of those that the recipe's function had), `include`, `workers`, `runner`, `beam_flags`,
            `cuts`, `samples`, `truth`, `progress`, `say`: see `run`; `trust_recipe`: without a recipe, run the text
            that OUT holds whatever its file says. It is code: somebody else's does what it likes.

    Raises:
        PlanError: if OUT has no whole run, or the recipe needs scores that were never made there.
        NotScored: if rows need scores that have not been computed.
    """
    unknown = sorted(set(how) - set(DecideOptions.__annotations__))
    if unknown:
        raise TypeError(
            str(unknown_name(f"decide() takes no {unknown[0]!r}", unknown[0], DecideOptions.__annotations__))
        )
    out, workers = os.fspath(out), one_unless_given(how.get("workers"))
    engine = Engine(how.get("runner", "local"), workers, how.get("beam_flags", ()))
    params, cuts, trust = how.get("params"), how.get("cuts"), how.get("trust_recipe", False)
    source = stored(out, params, trust) if recipe is None else given(recipe, params, how.get("include", ()))
    options = Options(threads=threads_for(workers))
    frozen = None if cuts is None else read_cuts(cuts)
    made = prepare_stored(source, out, options=options, frozen=frozen, trust_recipe=trust)
    with ending(made.job.run_id):
        for text in made.warnings:
            how.get("say", warn)(text)
        watch = watch_of(made, how.get("progress", False))
        reporter = report_writer(samples=how.get("samples", True), truth=how.get("truth"))
        found: Summary | Run
        if what_if:
            found = compare_with_current(made, engine=engine, watch=watch)
        else:
            decided = carry_out(made, score=False, engine=engine, watch=watch, before_manifest=reporter)
            found = Run(decided.url, made.job.source or made.job.recipe_object)
        for text in empty_budgets(found.cuts):
            how.get("say", warn)(text)
        return found


def export(
    out: str | os.PathLike[str],
    *,
    to: str | os.PathLike[str] | None = None,
    format: str = "same",
    reason: str | None = None,
    uids: str | os.PathLike[str] | None = None,
    scores: bool | Sequence[str] = False,
    columns: Mapping[str, str] | None = None,
    target_bytes: int | None = None,
    replace: bool = False,
    pool: Pool | None = None,
    recipe: Recipe | None = None,
    trust_recipe: bool = False,
    tokenizer: str | None = None,
    revision: str | None = None,
    eos: str | None = None,
    text: str | None = None,
    workers: int | None = None,
    runner: str = "local",
    beam_flags: Sequence[str] = (),
    say: Say = warn,
) -> ExportIndex:
    """Writes the rows that the current decision kept, in pool order, as files for training.

    Args:
        out: OUT of a whole run.
        to: folder to write to; `OUT/export` if not given.
        format: `parquet`, `webdataset`, `jsonl`, or `same` as the pool; every pair works, but token files come of token
            files alone. `indices` writes the numbers of a token pool's kept chunks, best last, by the score of the
            recipe's last `Top`. `megatron` writes ids as Megatron-LM's indexed datasets: of texts, by `tokenizer`, or
            the chunks of a token pool.
        reason: export what was dropped for the reasons that this glob matches, instead of the kept rows.
        uids: path of a list (`.npy` `u8,u8`, Parquet or text); export the rows that it names instead.
        scores: add every score, or those named.
        columns: column or key -> role: what the recipe's edits made of the role. In `megatron` files the column is
            `text`.
        target_bytes: a file closes at the first shard boundary past this size.
        replace: remove the files of another export in the folder first.
        pool: where the pool is now, if it has moved, and how to reach it.
        recipe: for `columns`, of a run that was made in Python, or in place of the recipe that OUT holds.
        trust_recipe: for `columns`, run the recipe that OUT holds whatever its file says on this machine.
        tokenizer: for `megatron`: a Hub repository, or a folder, as `poolsieve.tokenize` takes it.
        revision: of the repository.
        eos: the token that ends documents; the tokenizer's own end-of-text token if not given.
        text: for `megatron`: source of the texts, in place of the pool's role `text`.
        workers: files at a time (local runner); one if not given.
        runner: a name of `runners.engine.RUNNERS`.
        beam_flags: further Beam options.
        say: is told what the format can't hold, before work starts; Python's `warnings` if not given.

    Returns:
        What `_export.json` says, all warnings included.

    Raises:
        PlanError: for anything that can't work, before a byte is written.
        PoolsieveError: whatever stopped the export.
    """
    return export_rows(
        os.fspath(out),
        target=to,
        format=format,
        select=reason,
        uids=uids,
        scores=scores,
        columns=columns,
        target_bytes=target_bytes,
        replace=replace,
        pool=pool,
        recipe=recipe,
        trust_recipe=trust_recipe,
        tokenizer=tokenizer,
        revision=revision,
        eos=eos,
        text=text,
        engine=Engine(runner, one_unless_given(workers), beam_flags),
        say=say,
    )


def open(out: str | os.PathLike[str]) -> Run:  # the verb of the folder, as `poolsieve.open`
    """A run that is there.

    Raises:
        PlanError: if OUT has no whole run.
    """
    return Run(out)


def report(
    out: str | os.PathLike[str],
    *,
    samples: bool = True,
    truth: str | os.PathLike[str] | None = None,
    storage_options: StorageOptions | None = None,
) -> str:
    """Makes the report of the current decision anew, from what is kept; returns its URL. It runs no recipe.

    Args:
        out: OUT of a whole run.
        samples: show rows of the pool; False keeps their contents out of it, and does not look at the pool.
        truth: Parquet file with uid and matches; the report states precision and recall.
        storage_options: for fsspec, to read the samples from a pool that takes keys or endpoints.

    Raises:
        PlanError: if OUT has no whole run, or the decision is an older version's.
        PoolsieveError: if what OUT holds is damaged.
    """
    found = OutFolder(os.fspath(out))
    with leases.held(leases_folder(found.url), leases.WORK, "poolsieve report", patience=leases.PRUNE_SECONDS):
        return write_report(found.url, found.summary, samples=samples, truth=truth, storage_options=storage_options)
