"""A recipe in any of the forms in which users give it: an object, a file with parameters, or what OUT holds."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.scoring_models.base.errors import PlanError

AnyRecipe = Recipe | RecipeSource | str | os.PathLike[str]
"""A recipe object, or the path of a recipe file (`.py`, `.yaml`)."""

Params = Mapping[str, Any]
"""Arguments of a recipe file's function, by name; of any type that JSON has."""


def given(recipe: AnyRecipe, params: Params | None = None, include: Sequence[str] = ()) -> Recipe | RecipeSource:
    """A recipe as `prepare` takes it.

    Raises:
        PlanError: for a file that is no recipe, or parameters for a recipe that takes none.
    """
    if isinstance(recipe, Recipe):
        if params or include:
            raise PlanError("params and include are for recipe files; this recipe is an object, made already")
        return recipe
    if isinstance(recipe, RecipeSource):
        return recipe.with_parameters(_texts(params))
    if not isinstance(recipe, (str, os.PathLike)):
        raise PlanError(f"a recipe is a Recipe or the path of a recipe file, not {type(recipe).__name__}")
    path = os.fspath(recipe)
    if not path.endswith((".py", ".yaml", ".yml")):
        raise PlanError(f"{path}: a recipe is a .py or .yaml file")
    if isinstance(include, (str, os.PathLike)):
        raise PlanError(f"include={os.fspath(include)!r}: give a list of files, as [{os.fspath(include)!r}]")
    return RecipeSource.read(path, _texts(params), tuple(include))


def stored(out: str, params: Params | None, trust: bool) -> RecipeSource | None:
    """The recipe that OUT holds with other parameters; None for the very same, which `prepare_stored` finds itself.

    Raises:
        PlanError: if OUT has no whole run, or its recipe is not to be trusted.
    """
    if not params:
        return None
    found = OutFolder(out)
    return found.manifest.recipe_source(found.url, trust=trust).with_parameters(_texts(params))


def _texts(params: Params | None) -> dict[str, str]:
    """Parameters as the command line spells them: text as it is, else JSON, which YAML reads."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in (params or {}).items()}
