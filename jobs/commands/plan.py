"""`poolsieve plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from poolsieve.jobs.commands.options import models_option, parsed_parameters, recipe_options, runner_options

if TYPE_CHECKING:
    from poolsieve.dataflow.passes.estimate import PlanReport, StageEstimate
    from poolsieve.dataflow.runners.needs import RunnerPlan


@click.command()
@recipe_options(out="Folder (any fsspec URL) of scores, ledger, manifest.")
@runner_options
@models_option
@click.option("--sample", "sample_rows", default=2000, show_default=True, help="Rows to sample for estimates; 0: none.")
@click.option("--newest", is_flag=True, help="Read Hub pools at their newest commits, not at those kept in OUT.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(
    recipe: str,
    out: str,
    parameters: tuple[str, ...],
    include: tuple[str, ...],
    sample_rows: int,
    newest: bool,
    as_json: bool,
    **where: Any,
) -> None:
    """Check RECIPE and show what a run would do: passes, bytes, fingerprints, what is scored already, yields.

    With --runner, it also asks that runner's cluster what can be asked, and shows Beam's flags, and steps' machines.
    """
    import msgspec

    from poolsieve.jobs import api

    params = parsed_parameters(parameters)
    found = api.plan(recipe, out, params=params, include=include, sample_rows=sample_rows, newest=newest, **where)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
        return
    _print(found)


def _print(found: PlanReport) -> None:
    from poolsieve.jobs.commands.output import print_table, say
    from poolsieve.jobs.report.numbers import size_text

    click.echo(f"pool     {found.shards} shards, {size_text(found.bytes)}, {found.pool.root}")
    for gap in found.gaps[:5]:
        click.echo(f"gap      {gap}")
    for i, reading in enumerate(found.passes, 1):
        steps = ", ".join(reading.steps)
        click.echo(f"pass {i}   reads {reading.shards} shards, ~{size_text(reading.nbytes)}: {steps}")
    print_table(
        ("score", "scorer", "fingerprint", "scored shards"),
        [(one.name, one.scorer, one.fingerprint, f"{one.scored_shards} of {found.shards}") for one in found.scorers],
    )
    print_table(("rule", "keeps about", "95 % interval", "of rows"), [_stage(stage) for stage in found.stages])
    if found.runner is not None and found.runner.runner != "local":
        _print_runner(found.runner)
    for warning in found.warnings:
        say(warning)


def _print_runner(found: RunnerPlan) -> None:
    """The flags as they could be typed, and each step's machines."""
    for flag in found.flags:
        click.echo(f"beam     {flag}")
    for step in found.steps:
        click.echo(f"{step.step:<8} {step.note}")
        for name, value in step.hints.items():
            click.echo(f"         {name}={value}")


def _stage(stage: StageEstimate) -> tuple[str, ...]:
    if stage.keeps is None:
        return stage.reason, "?", stage.note, ""
    return stage.reason, f"{stage.keeps:.1%}", f"{stage.low:.1%} to {stage.high:.1%}", str(stage.sampled)
