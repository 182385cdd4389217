"""What commands print: warnings, counts, tables."""

from __future__ import annotations

import errno
from collections.abc import Iterable

import click

from poolsieve.dataflow.store.summary import Summary
from poolsieve.filters.dsl.cuts import only_cuts
from poolsieve.jobs.report.numbers import size_text


def say(warning: str) -> None:
    """One warning, on stderr."""
    click.echo(f"warning: {warning}", err=True)


def print_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Lines in columns."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    class Output(Console):
        """Lets a closed pipe be the command's to handle; rich would end the process."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError(errno.EPIPE, "nobody reads the output")

    # As `Text`, since rich takes "[/x]" in a plain string for markup, and a pool's column may have that name.
    table = Table(*header, box=None)
    for row in rows:
        table.add_row(*map(Text, row))
    Output().print(table)


def print_work(found: Summary) -> None:
    """What took the time of a run, and a line for each model; nothing where nothing was scored."""
    from poolsieve.jobs.report.throughput import measured

    if found.facts is None or not found.work.scored:
        return
    made = measured(found.facts, found.work, found.wall_seconds)
    for line in made.models:
        click.echo(f"model    {line.text}")
    for asked in made.asked:
        click.echo(f"asked    {asked.text}")
    click.echo(f"time     {made.text}")


def print_counts(found: Summary) -> None:
    """The counts of a decision, and what they should make the user think."""
    rows = max(found.rows, 1)
    click.echo(f"{found.rows} rows in, {found.kept} kept ({found.kept / rows:.2%})")
    if found.repeated is not None:
        click.echo(f"{found.repeated} rows leave: kept ones are repeated")
    counted = found.tokens is not None and found.kept_tokens is not None
    tokens = f", {found.kept_tokens:,} of {found.tokens:,} tokens" if counted else ""
    click.echo(f"{size_text(found.kept_bytes)} of {size_text(found.nbytes)} kept{tokens}")
    ordered = sorted(found.reasons.items(), key=lambda item: (-item[1], item[0]))
    print_table(("reason", "rows", "share"), [(reason, str(count), f"{count / rows:.2%}") for reason, count in ordered])
    if not found.kept:
        say("no row was kept")
    for name, cuts in only_cuts(found.cuts).items():
        if cuts and all(cut.kind == "all" for cut in cuts.values()):
            say(f"the cut {name!r} dropped no row that has a score: it asks for as many or more")
