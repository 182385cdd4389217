"""`poolsieve export`."""

from __future__ import annotations

from typing import Any

import click

from poolsieve.jobs.commands.options import runner_options


class FormatName(click.ParamType):
    """`same`, or a name of `FORMATS`, which is looked at only when it is needed: `--help` loads no Arrow."""

    name = "format"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """The names, as `click.Choice` shows them."""
        return f"[{'|'.join(_names())}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, if there is such a format."""
        if value not in _names():
            self.fail(f"{value!r} is not one of {', '.join(map(repr, _names()))}.", param, ctx)
        return str(value)


def _names() -> list[str]:
    from poolsieve.dataflow.pools.formats import FORMATS

    return ["same", *FORMATS]


@click.command()
@click.argument("out", metavar="OUT")
@click.option("--to", metavar="FOLDER", help="Where to; OUT/export if not given.")
@click.option("--format", type=FormatName(), default="same", show_default=True)
@click.option("--reason", metavar="GLOB", help="Export the rows dropped for these reasons instead of the kept ones.")
@click.option("--uids", metavar="FILE", help="Export the rows on this list (.npy u8,u8, .parquet, text) instead.")
@click.option("--scores", is_flag=True, help="Add the score columns.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="COLUMN=ROLE",
    help="Put what the recipe's edits made of ROLE into COLUMN, as text=text (Parquet, JSON lines). Repeatable.",
)
@click.option("--target-mb", type=click.IntRange(1), help="Size of an output file; as the format has it if not given.")
@click.option("--replace", is_flag=True, help="Replace an earlier export in the same folder.")
@runner_options
def export(out: str, target_mb: int | None, columns: tuple[str, ...], **options: Any) -> None:
    """Write the kept rows of a whole run as they came, or as Parquet, WebDataset or JSON lines."""
    from poolsieve.dataflow.export.edited import parse_columns
    from poolsieve.jobs import api
    from poolsieve.jobs.commands.output import say
    from poolsieve.jobs.report.numbers import size

    size_wanted = target_mb << 20 if target_mb else None
    told: list[str] = []

    def tell(warning: str) -> None:
        told.append(warning)
        say(warning)

    found = api.export(out, columns=parse_columns(columns), target_bytes=size_wanted, say=tell, **options)
    for warning in found.warnings:
        if warning not in told:
            say(warning)
    click.echo(f"{found.rows} rows in {len(found.files)} files, {size(found.bytes)}: {found.target}")
