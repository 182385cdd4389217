"""Pools, recipes, OUT, decisions, passes in Beam, exports and runners, a room each; imports between them point down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poolsieve.dataflow.recipes.recipe import Pool, Recipe

__all__ = [
    "Pool",
    "Recipe",
]


def __getattr__(name: str) -> Any:
    # Not at load: whoever imports one room needs not have all of a recipe's libraries.
    if name in __all__:
        from poolsieve.dataflow.recipes import recipe

        return getattr(recipe, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
