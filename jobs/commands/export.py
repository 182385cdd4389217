"""`poolsieve export`."""

from __future__ import annotations

from typing import Any

import click

from poolsieve.jobs.commands.options import Registered, runner_options, trust_option


def _formats() -> list[str]:
    from poolsieve.dataflow.export.index import KINDS
    from poolsieve.dataflow.pools.formats import FORMATS

    return ["same", *FORMATS, *KINDS]


@click.command()
@click.argument("out", metavar="OUT")
@click.option("--to", metavar="FOLDER", help="Where to; OUT/export if not given.")
@click.option("--format", type=Registered(_formats), default="same", show_default=True)
@click.option("--reason", metavar="GLOB", help="Export the rows dropped for these reasons instead of the kept ones.")
@click.option("--uids", metavar="FILE", help="Export the rows on this list (.npy u8,u8, .parquet, text) instead.")
@click.option("--scores", is_flag=True, help="Add the score columns.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="COLUMN=ROLE",
    help="Put what the recipe's edits made of ROLE into COLUMN, as text=text (not in tars). Repeatable.",
)
@trust_option
@click.option("--tokenizer", metavar="T", help="megatron: a repository of the Hub, or a folder; makes ids of texts.")
@click.option("--revision", metavar="COMMIT", help="megatron: of the repository: a commit, branch or tag.")
@click.option("--eos", metavar="TOKEN", help="megatron: what ends a document.  [default: the tokenizer's end of text]")
@click.option("--text", metavar="SOURCE", help="megatron: where the text is.  [default: the pool's role text]")
@click.option("--target-mb", type=click.IntRange(1), help="Size of an output file; as the format has it if not given.")
@click.option("--replace", is_flag=True, help="Replace an earlier export in the same folder.")
@runner_options
def export(out: str, target_mb: int | None, columns: tuple[str, ...], **options: Any) -> None:
    """Write the kept rows of a whole run as they came, or as Parquet, WebDataset or JSON lines.

    Of token files, `indices` writes the numbers of the kept chunks instead (selected_indices.npy, the best last).
    `megatron` writes ids as Megatron-LM's indexed datasets (.bin and .idx): of texts, by --tokenizer, or kept chunks.
    """
    from poolsieve.dataflow.export.edited import parse_columns
    from poolsieve.jobs import api
    from poolsieve.jobs.commands.output import say
    from poolsieve.jobs.report.numbers import size_text

    size_wanted = target_mb << 20 if target_mb else None
    told: list[str] = []

    def tell(warning: str) -> None:
        told.append(warning)
        say(warning)

    found = api.export(out, columns=parse_columns(columns), target_bytes=size_wanted, say=tell, **options)
    for warning in found.warnings:
        if warning not in told:
            say(warning)
    tokens = f", {found.tokens:,} tokens" if found.tokens else ""
    click.echo(f"{found.rows} rows{tokens} in {len(found.files)} files, {size_text(found.bytes)}: {found.target}")
