"""`poolsieve models`."""

from __future__ import annotations

import click

from poolsieve.jobs.commands.options import parsed_parameters, recipe_options


@click.command()
@recipe_options(out="Folder (any fsspec URL) of scores, ledger, manifest.")
@click.option("--to", required=True, metavar="URL", help="Folder (any fsspec URL) that gets the models.")
def models(recipe: str, out: str, parameters: tuple[str, ...], include: tuple[str, ...], to: str) -> None:
    """Copy the Hub's models of RECIPE to a folder, for workers that reach no Hub.

    `run --models URL` takes them from there. The folder has the layout of the Hub's cache: a copy of it can be the
    HF_HUB_CACHE of an image.
    """
    from poolsieve.jobs.commands.output import say
    from poolsieve.jobs.models import save_models

    made = save_models(recipe, to, out, params=parsed_parameters(parameters), include=include, say=say)
    for name in made:
        click.echo(name)
    click.echo(f"{len(made)} new files in {to}")
