"""poolsieve: filter a pool of training data; score once, decide many; every row has a line in the ledger.

    import poolsieve

    out = poolsieve.run("recipe.py", "OUT", workers=2)
    out.counts, out.cuts, out.ledger(columns=["uid", "keep", "reason"])
    out.decide(params={"fraction": 0.2}, what_if=True)
    out.export()
    out.publish("org/name", license="cc-by-4.0")

Stages and scorers are in `poolsieve.filters` and `poolsieve.scoring_models`. Nothing is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poolsieve.dataflow.kept.kept import kept
    from poolsieve.dataflow.recipes.recipe import Pool, Recipe
    from poolsieve.jobs.api import decide, export, open, plan, report
    from poolsieve.jobs.items import items
    from poolsieve.jobs.parts import finish, run
    from poolsieve.jobs.publish import publish
    from poolsieve.jobs.tokens import tokenize

    __version__: str

_HOMES = {
    "Pool": "poolsieve.dataflow.recipes.recipe",
    "Recipe": "poolsieve.dataflow.recipes.recipe",
    "decide": "poolsieve.jobs.api",
    "export": "poolsieve.jobs.api",
    "finish": "poolsieve.jobs.parts",
    "items": "poolsieve.jobs.items",
    "kept": "poolsieve.dataflow.kept.kept",
    "open": "poolsieve.jobs.api",
    "plan": "poolsieve.jobs.api",
    "publish": "poolsieve.jobs.publish",
    "report": "poolsieve.jobs.api",
    "run": "poolsieve.jobs.parts",
    "tokenize": "poolsieve.jobs.tokens",
}

__all__ = [
    "Pool",
    "Recipe",
    "__version__",
    "decide",
    "export",
    "finish",
    "items",
    "kept",
    "open",
    "plan",
    "publish",
    "report",
    "run",
    "tokenize",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("poolsieve")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'poolsieve' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
