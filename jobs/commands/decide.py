"""`poolsieve decide`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from poolsieve.jobs.commands.options import (
    parsed_parameters,
    recipe_options,
    report_options,
    runner_options,
    trust_option,
)

if TYPE_CHECKING:
    from poolsieve.dataflow.store.summary import Summary


@click.command()
@recipe_options(out="Folder of a whole run.", required=False)
@click.option("--cuts", metavar="FILE", help="Use the frozen cuts of a cuts.json.")
@report_options
@trust_option
@click.option("--what-if", is_flag=True, help="Print counts and overlaps with the current decision; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@runner_options
def decide(
    recipe: str | None,
    out: str,
    parameters: tuple[str, ...],
    include: tuple[str, ...],
    no_samples: bool,
    what_if: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Decide again with moved limits, from stored rows and scores; no model is loaded and the pool may be gone.

    Without RECIPE the recipe of the last run is taken, with other parameters (-p) if given: if its file on this machine
    is what OUT holds, byte for byte.
    """
    from poolsieve.jobs import api
    from poolsieve.jobs.commands.output import print_counts, say

    how = {"params": parsed_parameters(parameters), "include": include, "progress": True, "say": say, **options}
    if what_if:
        summary = api.decide(recipe, out, what_if=True, **how)
        _print_json(summary) if as_json else _print_overlap(summary)
        return
    found = api.decide(recipe, out, samples=not no_samples, **how)
    if as_json:
        _print_json(found.summary)
        return
    print_counts(found.summary)
    click.echo(f"report   {found.report}")
    click.echo(f"manifest {found.url}/manifest.json (decision {found.decision})")


_SHOWN = ("decision", "rows", "kept", "dropped", "quarantined", "reasons", "funnel", "cuts", "overlap")


def _print_json(summary: Summary) -> None:
    found = summary.to_json()
    click.echo(json.dumps({key: found[key] for key in _SHOWN}, indent=1))


def _print_overlap(summary: Summary) -> None:
    from poolsieve.jobs.commands.output import print_counts

    print_counts(summary)
    both, new, old = (summary.overlap.get(key, 0) for key in ("both", "new", "old"))
    click.echo(f"against the current decision: {both} kept by both, {new} only by the new rules, {old} no longer kept")
