"""`poolsieve run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from poolsieve.jobs.commands.options import (
    models_option,
    parsed_parameters,
    part_option,
    recipe_options,
    report_options,
    runner_options,
)

if TYPE_CHECKING:
    from poolsieve.jobs.parts import PartDone


@click.command()
@recipe_options(out="Folder (any fsspec URL) of scores, ledger, manifest.")
@runner_options
@click.option("--cuts", metavar="FILE", help="Use the frozen cuts of an earlier run's cuts.json.")
@click.option(
    "--max-error-rate", type=click.FloatRange(0, 1), help="Fail if more of the rows than this are quarantined."
)
@click.option("--retry-quarantined", is_flag=True, help="Try rows again whose scores failed.")
@click.option("--replace-pool", is_flag=True, help="Go on if OUT holds the decision over another pool.")
@click.option("--newest", is_flag=True, help="Read Hub pools at their newest commits, not at those kept in OUT.")
@click.option(
    "--devices", metavar="0,1|all", help="GPUs of this machine: a copy of each model on each. Default: the first."
)
@models_option
@part_option
@report_options
def run(
    recipe: str,
    out: str,
    parameters: tuple[str, ...],
    include: tuple[str, ...],
    no_samples: bool,
    part: str | None,
    **options: Any,
) -> None:
    """Score what has no scores yet, decide every row, and write ledger, manifest and report to OUT.

    Stopped or killed, the same command goes on from where it was. When only rules changed, nothing is read or scored.
    Beam options may follow after `--`.

    With --part many processes share the work: --part slurm is the part of a task of a Slurm array, slurm/5000 its share
    of so many parts, where an array may not have as many tasks.
    """
    from poolsieve.jobs import parts
    from poolsieve.jobs.commands.output import print_counts, print_work, say

    how = {"params": parsed_parameters(parameters), "include": include, "progress": True, "say": say, **options}
    if part is not None:
        _print_part(parts.run(recipe, out, part=part, samples=not no_samples, **how), out)
        return
    found = parts.run(recipe, out, samples=not no_samples, **how)
    print_counts(found.summary)
    print_work(found.summary)
    click.echo(f"report   {found.report}")
    click.echo(f"manifest {found.url}/manifest.json (decision {found.decision})")


def _print_part(done: PartDone, out: str) -> None:
    scored = sum(done.work.scored.values())
    click.echo(
        f"part {done.part}, pass {done.pass_number} of {done.passes}: {done.shards:,} shards, {done.work.rows:,} rows, "
        f"{scored:,} scores made"
    )
    click.echo(f"when all parts are through: poolsieve finish --out {out}")
