"""`poolsieve tokenize`."""

from __future__ import annotations

from typing import Any

import click

from poolsieve.jobs.commands.options import runner_options


@click.command()
@click.argument("pool", metavar="POOL")
@click.option("--to", required=True, metavar="DIR", help="Where to.")
@click.option("--tokenizer", required=True, metavar="T", help="A repository of the Hub, or a folder.")
@click.option("--revision", metavar="COMMIT", help="Of the repository: a commit, branch or tag.")
@click.option("--length", type=click.IntRange(2), default=512, show_default=True, help="Ids of a chunk.")
@click.option("--dtype", type=click.Choice(["uint16", "uint32"]), help="Of an id.  [default: the smallest that fits]")
@click.option("--eos", metavar="TOKEN", help="What ends a document.  [default: the tokenizer's end of text]")
@click.option("--text", metavar="SOURCE", help="Column, field or member of the text.  [default: text; txt in tars]")
@click.option("--uid", metavar="SOURCE", help="Column, field or member that labels a document.  [default: made up]")
@click.option("--replace", is_flag=True, help="Replace other tokens in the same folder.")
@runner_options
def tokenize(pool: str, to: str, **options: Any) -> None:
    """Write the documents of POOL as raw token files: a pool of chunks of one length, for Pool.tokens.

    POOL is a glob or brace range of .jsonl(.gz, .zst), .parquet or .tar files, in quotes. The same command again goes
    on where it stopped, and adds the shards by which a pool has grown.

    \b
    poolsieve tokenize 'docs/*.jsonl.zst' --tokenizer EleutherAI/gpt-neox-20b --length 512 --to tokens
    """
    from poolsieve.jobs import tokens
    from poolsieve.jobs.commands.output import say
    from poolsieve.jobs.report.numbers import size_text

    found = tokens.tokenize(pool, to, progress=True, say=say, **options)
    counts = found.counts
    left = f", {counts.empty:,} empty" * bool(counts.empty) + f", {counts.unreadable:,} unreadable" * bool(
        counts.unreadable
    )
    click.echo(f"{counts.documents:,} documents{left}: {counts.tokens:,} tokens, {found.chunks:,} chunks")
    size = size_text(sum(file.bytes for file in found.files))
    opened = f'Pool.tokens("{to}/*.npy", dtype="{found.dtype}", length={found.length})'
    click.echo(f"{size} in {len(found.files):,} files: {opened}")
