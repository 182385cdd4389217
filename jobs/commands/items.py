"""`poolsieve items`."""

from __future__ import annotations

from typing import Any

import click

from poolsieve.jobs.commands.options import Registered, parsed_parameters, runner_options


def _layouts() -> list[str]:
    from poolsieve.jobs.items_layout import HOWS

    return list(HOWS)


@click.command()
@click.argument("pool", metavar="POOL")
@click.option("--as", "layout", type=Registered(_layouts), default="datbench", show_default=True, help="How.")
@click.option("--to", required=True, metavar="DIR", help="Where to.")
@click.option("--replace", is_flag=True, help="Replace other items in the same folder.")
@click.option("-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the recipe. Repeatable.")
@runner_options
def items(pool: str, parameters: tuple[str, ...], **options: Any) -> None:
    """Write the items of a pool as Parquet in DatBench's layout.

    POOL is a recipe file, whose pool is taken, or a glob of .parquet or .jsonl files with the columns question and
    answer, in quotes; several pools are a union in a recipe file. --as datbench leaves rows as they are, generative
    asks multiple choice without its options, circular asks every rotation of them. Rows that are no items are listed
    in DIR/_left_out.

    \b
    poolsieve items items.yaml --as generative --to open
    """
    from poolsieve.jobs import items as job
    from poolsieve.jobs.commands.output import say

    found = job.items(pool, params=parsed_parameters(parameters), say=say, **options)
    made = found.rows - sum(found.left_out.values())
    kept = f", {found.unchanged:,} of them open already" * bool(found.unchanged)
    click.echo(f"{found.items:,} items of {made:,} rows{kept}, in {len(found.files):,} files: {options['to']}")
