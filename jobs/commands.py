"""What each command does. Called by `cli`, which has parsed the arguments; importing this imports Beam."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from poolsieve.dataflow.passes.estimate import describe_plan, trivial_cuts
from poolsieve.dataflow.passes.submit import Plan, execute, prepare, prepare_stored
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.runners.base import threads_for
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.store.job import Options
from poolsieve.dataflow.store.manifest import read_cuts, read_manifest, recipe_in_manifest, write_manifest
from poolsieve.dataflow.store.manifest import tokens as tokens_of
from poolsieve.dataflow.store.prune import prune as prune_out
from poolsieve.jobs.display import Display
from poolsieve.jobs.report.data import write_report
from poolsieve.jobs.report.numbers import size
from poolsieve.jobs.train.fasttext import pool_of
from poolsieve.jobs.train.fasttext import train_fasttext as train_model
from poolsieve.scoring_models.base.errors import PlanError

out_console = Console()
log = logging.getLogger("poolsieve")


def source(recipe: str, parameters: tuple[str, ...], include: tuple[str, ...]) -> RecipeSource:
    """The recipe file with its parameters.

    Raises:
        PlanError: for a parameter that is not NAME=VALUE, or a file that is no recipe.
    """
    if not recipe.endswith((".py", ".yaml", ".yml")):
        raise PlanError(f"{recipe}: a recipe is a .py or .yaml file")
    return RecipeSource.read(recipe, _parameters(parameters), include)


def _parameters(given: tuple[str, ...]) -> dict[str, str]:
    wrong = [text for text in given if "=" not in text]
    if wrong:
        raise PlanError(f"-p {wrong[0]}: write NAME=VALUE")
    return dict(text.split("=", 1) for text in given)


def plan(
    recipe: str, out: str, parameters: tuple[str, ...], include: tuple[str, ...], *, sample_rows: int, as_json: bool
) -> None:
    """`poolsieve plan`."""
    prepared = prepare(source(recipe, parameters, include), out)
    found = describe_plan(prepared, sample_rows=sample_rows)
    if as_json:
        click.echo(json.dumps(found, indent=1, default=str))
        return
    _print_plan(found)


def _print_plan(found: Mapping[str, Any]) -> None:
    click.echo(f"pool     {found['shards']} shards, {size(found['bytes'])}, {found['pool']['root']}")
    for gap in found["gaps"][:5]:
        click.echo(f"gap      {gap}")
    for i, reading in enumerate(found["passes"], 1):
        click.echo(
            f"pass {i}   reads {reading['shards']} shards, ~{size(reading['nbytes'])}: {', '.join(reading['steps'])}"
        )
    table = Table("score", "scorer", "fingerprint", "scored shards", box=None)
    for step in found["scorers"]:
        table.add_row(
            step["name"], step["scorer"], step["fingerprint"], f"{step['scored_shards']} of {found['shards']}"
        )
    out_console.print(table)
    table = Table("rule", "keeps about", "95 % interval", "of rows", box=None)
    for stage in found["stages"]:
        known = stage["keeps"] is not None
        span = f"{stage['low']:.1%} to {stage['high']:.1%}" if known else stage["note"]
        table.add_row(stage["reason"], f"{stage['keeps']:.1%}" if known else "?", span, str(stage["sampled"] or ""))
    out_console.print(table)
    _say(found["warnings"])


def run(
    recipe: str,
    out: str,
    parameters: tuple[str, ...],
    include: tuple[str, ...],
    *,
    runner: str,
    workers: int,
    beam_flags: tuple[str, ...],
    cuts: str | None,
    max_error_rate: float | None,
    retry_quarantined: bool,
    no_samples: bool,
    truth: str | None,
) -> None:
    """`poolsieve run`."""
    started = time.monotonic()
    frozen = read_cuts(cuts) if cuts else None
    options = Options(threads=threads_for(workers), retry_quarantined=retry_quarantined, max_error_rate=max_error_rate)
    prepared = prepare(source(recipe, parameters, include), out, options=options, frozen=frozen)
    _warn(prepared)
    display = Display(prepared.job, len(prepared.shards))
    summary = execute(prepared, engine=Engine(runner, workers, beam_flags), watch=display.watch)
    _finish(prepared, summary, started, samples=not no_samples, truth=truth)


def _warn(prepared: Plan) -> None:
    _say([*prepared.warnings, *trivial_cuts(prepared.job)])
    if prepared.gaps:
        _say([f"names of the range without a file: {len(prepared.gaps):,}, the first {prepared.gaps[0]}"])


def _say(warnings: Iterable[str]) -> None:
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


def _finish(prepared: Plan, summary: dict[str, Any], started: float, *, samples: bool, truth: str | None) -> None:
    """The report first, the manifest last: its presence says that everything else is there."""
    summary["wall_seconds"] = time.monotonic() - started
    url = write_report(prepared.job, summary, gaps=prepared.gaps, truth=truth, samples=samples)
    files = {name: parts["files"] for name, parts in prepared.job.parts.items() if parts["files"]}
    write_manifest(prepared.job, summary, files, prepared.gaps)
    print_counts(summary)
    click.echo(f"report   {url}")
    click.echo(f"manifest {prepared.job.out}/manifest.json (decision {summary['decision']})")


def print_counts(summary: Mapping[str, Any]) -> None:
    """The counts of a decision, as a table."""
    rows = max(summary["rows"], 1)
    click.echo(f"{summary['rows']} rows in, {summary['kept']} kept ({summary['kept'] / rows:.2%})")
    counted = tokens_of(summary).get("tokens")
    tokens = f", {counted['kept']:,} of {counted['counted']:,} tokens" if counted else ""
    click.echo(f"{size(summary['kept_bytes'])} of {size(summary['nbytes'])} kept{tokens}")
    table = Table("reason", "rows", "share", box=None)
    for reason, count in sorted(summary["reasons"].items(), key=lambda item: (-item[1], item[0])):
        table.add_row(reason, str(count), f"{count / rows:.2%}")
    out_console.print(table)
    if not summary["kept"]:
        _say(["no row was kept"])
    whole = [name for name, cuts in summary["cuts"].items() if cuts and all(c["kind"] == "all" for c in cuts.values())]
    _say(f"the cut {name!r} dropped no row that has a score: it asks for as many or more" for name in whole)


def decide(
    recipe: str | None,
    out: str,
    parameters: tuple[str, ...],
    include: tuple[str, ...],
    *,
    runner: str,
    workers: int,
    beam_flags: tuple[str, ...],
    cuts: str | None,
    what_if: bool,
    as_json: bool,
    no_samples: bool,
    truth: str | None,
) -> None:
    """`poolsieve decide`."""
    started = time.monotonic()
    frozen = read_cuts(cuts) if cuts else None
    given = source(recipe, parameters, include) if recipe else None
    if given is None and parameters:
        stored = recipe_in_manifest(read_manifest(out), out)
        given = stored.with_parameters(_parameters(parameters))
    prepared = prepare_stored(given, out, options=Options(threads=threads_for(workers)), frozen=frozen)
    display = Display(prepared.job, len(prepared.shards))
    summary = execute(
        prepared,
        score=False,
        write=not what_if,
        engine=Engine(runner, workers, beam_flags),
        watch=display.watch,
    )
    if what_if:
        _print_what_if(summary, as_json)
        return
    _finish(prepared, summary, started, samples=not no_samples, truth=truth)


def _print_what_if(summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        shown = ("rows", "kept", "dropped", "quarantined", "reasons", "funnel", "cuts", "overlap")
        click.echo(json.dumps({key: summary[key] for key in shown}, indent=1))
        return
    print_counts(summary)
    both, new, old = (summary["overlap"].get(key, 0) for key in ("both", "new", "old"))
    click.echo(f"against the current decision: {both} kept by both, {new} only by the new rules, {old} no longer kept")


def export(
    out: str,
    *,
    target: str | None,
    format_: str,
    reason: str | None,
    uids: str | None,
    scores: bool,
    target_mb: int | None,
    columns: tuple[str, ...],
    replace: bool,
    runner: str,
    workers: int,
    beam_flags: tuple[str, ...],
) -> None:
    """`poolsieve export`."""
    from poolsieve.dataflow.export.edited import parse_columns
    from poolsieve.dataflow.export.export import export as write

    sized = {"target_bytes": target_mb << 20} if target_mb else {}
    found = write(
        out,
        target=target,
        format=format_,
        select=reason,
        uids=uids,
        scores=scores,
        columns=parse_columns(columns),
        replace=replace,
        engine=Engine(runner, workers, beam_flags),
        **sized,  # type: ignore[arg-type]
    )
    files = found["files"]
    total = sum(file["bytes"] for file in files)
    _say(found["warnings"])
    click.echo(f"{sum(file['rows'] for file in files)} rows in {len(files)} files, {size(total)}: {found['target']}")


def report(out: str, *, no_samples: bool, truth: str | None) -> None:
    """`poolsieve report`."""
    prepared = prepare_stored(None, out)
    frozen = read_cuts(f"{prepared.job.out}/decisions/{read_manifest(out)['decision']}/cuts.json")
    prepared = prepare_stored(None, out, frozen=frozen)
    summary = execute(prepared, score=False, write=False)
    click.echo(write_report(prepared.job, summary, gaps=prepared.gaps, truth=truth, samples=not no_samples))


def prune(out: str, *, yes: bool) -> None:
    """`poolsieve prune`."""
    current = read_manifest(out)["decision"]
    if not yes:
        click.confirm(f"Remove every decision in {out} but {current}?", abort=True)
    gone = prune_out(out, current)
    click.echo("\n".join(f"removed {name}" for name in gone) or "nothing to remove")


def train_fasttext(
    model: str,
    positive: str,
    negative: str,
    text: str | None,
    *,
    positive_label: str,
    negative_label: str,
    **settings: Any,
) -> None:
    """`poolsieve train fasttext`."""
    labels = (positive_label, negative_label)
    made = train_model(
        pool_of(positive, text),
        pool_of(negative, text),
        model,
        labels=labels,
        said=click.echo,
        **settings,
    )
    for label, counts in made.counts.items():
        skipped = f", {counts.empty:,} empty" * bool(counts.empty)
        skipped += f", {counts.unreadable:,} unreadable" * bool(counts.unreadable)
        click.echo(f"{label}: {counts.trained:,} texts, {counts.held_out:,} held out{skipped}")
    quality = made.quality
    if quality.precision is not None and quality.recall is not None:
        found = f"precision {quality.precision:.1%}, recall {quality.recall:.1%} at a probability of 0.5"
        click.echo(f"on the held-out texts: {found}")
    click.echo(f"wrote {model}: Score(quality=FastText({model!r}, label={labels[0]!r}))")
