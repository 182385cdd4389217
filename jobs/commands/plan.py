"""`poolsieve plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from poolsieve.jobs.commands.options import parsed_parameters, recipe_options, runner_options

if TYPE_CHECKING:
    from poolsieve.dataflow.passes.estimate import PlanReport, StageEstimate


@click.command()
@recipe_options(out="Folder (any fsspec URL) of scores, ledger, manifest.")
@click.option("--sample", "sample_rows", default=2000, show_default=True, help="Rows to sample for estimates; 0: none.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@runner_options
def plan(
    recipe: str,
    out: str,
    parameters: tuple[str, ...],
    include: tuple[str, ...],
    sample_rows: int,
    as_json: bool,
    runner: str,
    workers: int | None,
    beam_flags: tuple[str, ...],
) -> None:
    """Check RECIPE and show what a run would do: passes, bytes, fingerprints, what is scored already, yields.

    With --runner, it also asks that runner's cluster what can be asked, and shows Beam's flags of the run.
    """
    import msgspec

    from poolsieve.dataflow.runners.engine import Engine
    from poolsieve.jobs import api

    engine = Engine(runner, 1 if workers is None else workers, beam_flags)
    flags = [] if runner == "local" else engine.all_flags()
    params = parsed_parameters(parameters)
    found = api.plan(recipe, out, params=params, include=include, sample_rows=sample_rows)
    if as_json:
        shown = msgspec.to_builtins(found) | ({"beam_flags": flags} if flags else {})
        click.echo(msgspec.json.format(msgspec.json.encode(shown), indent=1).decode())
        return
    _print(found)
    for flag in flags:
        click.echo(f"beam     {flag}")


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
    for warning in found.warnings:
        say(warning)


def _stage(stage: StageEstimate) -> tuple[str, ...]:
    if stage.keeps is None:
        return stage.reason, "?", stage.note, ""
    return stage.reason, f"{stage.keeps:.1%}", f"{stage.low:.1%} to {stage.high:.1%}", str(stage.sampled)
