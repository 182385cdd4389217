"""`poolsieve finish`."""

from __future__ import annotations

from typing import Any

import click

from poolsieve.jobs.commands.options import (
    parsed_parameters,
    recipe_options,
    report_options,
    runner_options,
    trust_option,
)


@click.command()
@recipe_options(out="Folder that `poolsieve run --part` scored in.", required=False)
@click.option("--cuts", metavar="FILE", help="Use the frozen cuts of an earlier run's cuts.json, as the parts did.")
@click.option(
    "--max-error-rate", type=click.FloatRange(0, 1), help="Fail if more of the rows than this are quarantined."
)
@click.option("--replace-pool", is_flag=True, help="Go on if OUT holds the decision over another pool.")
@report_options
@trust_option
@runner_options
def finish(
    recipe: str | None,
    out: str,
    parameters: tuple[str, ...],
    include: tuple[str, ...],
    no_samples: bool,
    **options: Any,
) -> None:
    """End a run whose parts are scored (`poolsieve run --part`): find the cuts, decide, write ledger and manifest.

    Where scores are lacking it says which parts to run, and ends with status 3: parts that died, or, for a rule that
    must see the whole pool before more is scored, all of them once more.

    Without RECIPE the recipe of the parts is taken: if its file on this machine is what OUT holds, byte for byte.
    """
    from poolsieve.jobs.commands.output import print_counts, print_work, say
    from poolsieve.jobs.parts import finish as finish_run

    how = {"params": parsed_parameters(parameters), "include": include, "progress": True, "say": say, **options}
    found = finish_run(recipe, out, samples=not no_samples, **how)
    print_counts(found.summary)
    print_work(found.summary)
    click.echo(f"report   {found.report}")
    click.echo(f"manifest {found.url}/manifest.json (decision {found.decision})")
