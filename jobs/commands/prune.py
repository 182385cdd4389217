"""`poolsieve prune`."""

from __future__ import annotations

import click


@click.command()
@click.argument("out", metavar="OUT")
@click.option("--yes", is_flag=True, help="Don't ask.")
def prune(out: str, yes: bool) -> None:
    """Remove older decisions from OUT, and what killed runs left half-written. No score is lost.

    Many small score files of a shard, as answers of endpoints leave them, become one."""
    from poolsieve.dataflow.store.out import OutFolder

    found = OutFolder(out)
    if not yes:
        click.confirm(f"Remove every decision in {out} but {found.decision}?", abort=True)
    click.echo("\n".join(f"removed {name}" for name in found.remove_older()) or "nothing to remove")
