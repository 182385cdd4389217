"""The models of a recipe, copied to where workers without a network take them from."""

from __future__ import annotations

import os
from collections.abc import Sequence

from poolsieve.dataflow.fs import absolute
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.store.models import local_files, upload
from poolsieve.dataflow.store.session import ending
from poolsieve.jobs.api import Say, warn
from poolsieve.jobs.given import AnyRecipe, Params, given


def save_models(
    recipe: AnyRecipe,
    to: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    params: Params | None = None,
    include: Sequence[str] = (),
    say: Say = warn,
) -> list[str]:
    """Copies the Hub's models of a recipe to a folder that `run(models=...)` takes, or that an image has as its cache.

    Args:
        recipe: an object, or a file.
        to: a folder on any fsspec storage, which gets the layout of the Hub's cache.
        out: OUT, as for `plan`.
        params: arguments of the recipe file's function.
        include: files of modules that the recipe file imports.
        say: is told of model files that are of no repository, and so are not copied.

    Returns:
        The files that were not there yet, relative to `to`.

    Raises:
        PlanError: for anything that can't work.
    """
    made = prepare(given(recipe, params, include), os.fspath(out))
    with ending(made.job.run_id):
        files = [step.scorer.files() for step in made.job.program.scorers]
        for path in local_files(files):
            say(f"{path} is a file of this machine: workers need it at that path")
        return upload(files, made.job.commits, absolute(to))
