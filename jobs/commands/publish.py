"""`poolsieve publish`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from poolsieve.jobs.commands.options import Registered

if TYPE_CHECKING:
    from poolsieve.dataflow.publish.publish import Publication


def _extras() -> Iterable[str]:
    from poolsieve.dataflow.publish.publish import EXTRAS

    return EXTRAS


@click.command()
@click.argument("out", metavar="OUT")
@click.option("--repo", required=True, metavar="ORG/NAME", help="The dataset on the Hub; made if it is not there.")
@click.option(
    "--license", metavar="L", help="As the Hub spells it (cc-by-4.0). Default: what the card or the pool says."
)
@click.option("--private", is_flag=True, help="Make the repository a private one; one that is there must be.")
@click.option(
    "--revision",
    default="main",
    show_default=True,
    metavar="R",
    help="A branch, made of main if it is not there; or refs/pr/N.",
)
@click.option("--pr", is_flag=True, help="Leave it in a pull request, for somebody to look at and merge.")
@click.option("--dry-run", is_flag=True, help="Export, say what would be sent, copied and removed, and send nothing.")
@click.option("--replace", is_flag=True, help="Remove what other people put into the repository.")
@click.option(
    "--with",
    "also",
    multiple=True,
    type=Registered(_extras),
    help="Publish beside the rows: the whole ledger as configuration `scores`, subset.npy, manifest.json. Repeatable.",
)
@click.option("--format", metavar="FORMAT", help="Of the export, if there is none yet: as `poolsieve export` has it.")
@click.option("--scores", is_flag=True, help="Add the score columns, if there is no export yet.")
@click.option("--to", metavar="FOLDER", help="Folder of the export; OUT/export if not given.")
def publish(out: str, **options: Any) -> None:
    """Publish the kept rows of a whole run as a dataset on the Hugging Face Hub, in one step.

    Readers see all of it or nothing. It exports first if that has not been done. What the Hub has already is not sent;
    stopped or killed, the same command goes on from where it was, and a second one makes no commit. Log in first: `hf
    auth login`, or HF_TOKEN.
    """
    from poolsieve.jobs.commands.output import say
    from poolsieve.jobs.publish import publish as publish_run

    _tell(publish_run(out, progress=True, say=say, **options))


def _tell(found: Publication) -> None:
    from poolsieve.jobs.report.numbers import size_text

    made, would = found.changes, "would be " if found.dry else ""
    new = sum(item.size for item in made.add)
    click.echo(f"{found.rows:,} rows in {found.files} files: {found.url}")
    click.echo(f"sent     {size_text(new if found.dry else found.sent)}, {len(made.add)} files {would}sent")
    click.echo(
        f"saved    {size_text(found.saved)}: {len(made.copy)} files {would}copied by the Hub, {len(made.same)} there"
    )
    if made.delete:
        click.echo(f"removed  {len(made.delete)} files of an earlier version{' would be' if found.dry else ''}")
    if found.dry:
        for item in made.add:
            click.echo(f"  + {item.path} ({size_text(item.size)})")
        for item, source in made.copy:
            click.echo(f"  = {item.path} (from {source.repo}, {source.path})")
        for path in made.delete:
            click.echo(f"  - {path}")
        return
    if found.pull is not None:
        click.echo(f"request  {found.pull.url}")
    click.echo(f"commit   {found.commit}" + ("" if found.commits else " (everything was there)"))
