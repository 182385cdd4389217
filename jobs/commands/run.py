"""`poolsieve run`."""

from __future__ import annotations

from typing import Any

import click

from poolsieve.jobs.commands.options import (
    models_option,
    parsed_parameters,
    recipe_options,
    report_options,
    runner_options,
)


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
@report_options
def run(
    recipe: str, out: str, parameters: tuple[str, ...], include: tuple[str, ...], no_samples: bool, **options: Any
) -> None:
    """Score what has no scores yet, decide every row, and write ledger, manifest and report to OUT.

    Stopped or killed, the same command goes on from where it was. When only rules changed, nothing is read or scored.
    Beam options may follow after `--`.
    """
    from poolsieve.jobs import api
    from poolsieve.jobs.commands.output import print_counts, print_work, say

    params = parsed_parameters(parameters)
    found = api.run(
        recipe, out, params=params, include=include, samples=not no_samples, progress=True, say=say, **options
    )
    print_counts(found.summary)
    print_work(found.summary)
    click.echo(f"report   {found.report}")
    click.echo(f"manifest {found.url}/manifest.json (decision {found.decision})")
