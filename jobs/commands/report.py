"""`poolsieve report`."""

from __future__ import annotations

import click

from poolsieve.jobs.commands.options import report_options


@click.command()
@click.argument("out", metavar="OUT")
@report_options
def report(out: str, no_samples: bool, truth: str | None) -> None:
    """Make the report of the current decision anew, from what OUT holds; no recipe is needed, and none is run."""
    from poolsieve.jobs import api

    click.echo(api.report(out, samples=not no_samples, truth=truth))
