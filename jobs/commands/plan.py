"""`poolsieve plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from poolsieve.jobs.commands.options import models_option, parsed_parameters, recipe_options, runner_options

if TYPE_CHECKING:
    from poolsieve.dataflow.passes.estimate import PlanReport, StageEstimate
    from poolsieve.dataflow.passes.projection import Limit, Projection, StageProjection
    from poolsieve.dataflow.runners.needs import RunnerPlan


@click.command()
@recipe_options(out="Folder (any fsspec URL) of scores, ledger, manifest.")
@runner_options
@models_option
@click.option("--sample", "sample_rows", default=2000, show_default=True, help="Rows to sample for estimates; 0: none.")
@click.option("--newest", is_flag=True, help="Read Hub pools at their newest commits, not at those kept in OUT.")
@click.option("--pool-rows", metavar="N", help="Also project a run over N rows (as 12.8e9), from measured rates.")
@click.option(
    "--price-per-hour",
    "prices",
    multiple=True,
    metavar="[cpu=|gpu=]PRICE",
    help="With --pool-rows: of a CPU worker, of a GPU, or of either. Repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(
    recipe: str,
    out: str,
    parameters: tuple[str, ...],
    include: tuple[str, ...],
    sample_rows: int,
    newest: bool,
    pool_rows: str | None,
    prices: tuple[str, ...],
    as_json: bool,
    **where: Any,
) -> None:
    """Check RECIPE and show what a run would do: passes, bytes, fingerprints, what is scored already, yields.

    With --runner, it also asks that runner's cluster what can be asked, and shows Beam's flags, and steps' machines.
    """
    import msgspec

    from poolsieve.jobs import api
    from poolsieve.jobs.scaling import prices_of, rows_of

    params = parsed_parameters(parameters)
    where |= {"pool_rows": None if pool_rows is None else rows_of(pool_rows), "prices": prices_of(prices)}
    found = api.plan(recipe, out, params=params, include=include, sample_rows=sample_rows, newest=newest, **where)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
        return
    _print(found)


def _print(found: PlanReport) -> None:
    from poolsieve.jobs.commands.output import print_table, say
    from poolsieve.jobs.report.numbers import size_text

    many = f"{found.big_files:,} big file{'s' * (found.big_files > 1)}"
    about = f" (an estimate: a run splits {many} first)" if found.big_files else ""
    click.echo(f"pool     {found.shards} shards{about}, {size_text(found.bytes)}, {found.pool.root}")
    for gap in found.gaps[:5]:
        click.echo(f"gap      {gap}")
    for made in found.artefacts:
        read = f"reads {made.role!r} of {made.shards:,} shards, {size_text(made.bytes)}, {made.pool.root}"
        click.echo(f"first    {read}: {made.scorer} of {made.name}, to {made.artefact}")
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
    if found.projection is not None:
        _print_projection(found.projection)
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


def _print_projection(found: Projection) -> None:
    """What the whole pool would take, a line for each stage and each limit."""
    from poolsieve.jobs.commands.output import print_table
    from poolsieve.jobs.report.asked import cost_text
    from poolsieve.jobs.report.numbers import size_text

    click.echo(f"rates    {found.source}")
    shards = f"{found.shards:,} shards of {found.rows_per_shard:,} rows, {size_text(found.bytes)}"
    click.echo(f"ahead    {found.rows:,} rows: {shards}, in {found.items:,} work items")
    click.echo(f"memory   {size_text(found.driver_bytes)} in the submitting process")
    click.echo(f"shuffle  at most {size_text(found.shuffle_bytes)}, all steps together")
    print_table(("stage", "device", "rows", "rows/s", "measured", "hours", "cost"), map(_ahead, found.stages))
    hours = ", ".join(f"{hours:,.3g} of {kind}" for kind, hours in found.hours.items())
    click.echo(f"hours    {hours}; cost {cost_text(found.cost)}")
    print_table(("limit", "then", "at most", "reached at rows"), map(_limit, found.limits))
    click.echo(f"scaling  {found.ends}")


def _ahead(stage: StageProjection) -> tuple[str, ...]:
    from poolsieve.jobs.report.asked import cost_text
    from poolsieve.jobs.report.numbers import count_text, rate_text

    rate = rate_text(1 / stage.seconds_per_row if stage.seconds_per_row else None)
    amounts = f"{stage.hours:,.3g}", cost_text(stage.cost)
    return stage.step, stage.device, count_text(stage.rows), rate, count_text(stage.measured_rows), *amounts


def _limit(limit: Limit) -> tuple[str, ...]:
    from poolsieve.jobs.report.numbers import count_text, size_text

    text = size_text if limit.unit == "bytes" else "{:,}".format
    at = "does not grow" if limit.rows is None else count_text(limit.rows)
    return limit.what, text(limit.value), text(limit.most), at


def _stage(stage: StageEstimate) -> tuple[str, ...]:
    if stage.keeps is None:
        return stage.reason, "?", stage.note, ""
    return stage.reason, f"{stage.keeps:.1%}", f"{stage.low:.1%} to {stage.high:.1%}", str(stage.sampled)
