"""Ready-made stages: functions that make one, marked so that YAML and the page of rules find them by name.

@stage(example="gopher.quality()")
def quality(*, min_words: int = 50, text: str = "text") -> Chain: ...
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar, cast

from poolsieve.filters.dsl.stages import Stage
from poolsieve.scoring_models.base.errors import PlanError

Maker = Callable[..., Stage]
M = TypeVar("M", bound=Maker)

_MARK = "__poolsieve_stage__"


class ReadyMade(NamedTuple):
    """What is known of a function that makes a ready-made stage.

    Attributes:
        example: the stage as a recipe writes it. An expression that can be evaluated, over the names of
            `poolsieve.filters` and `Pool`; docs/rules.md shows it and says what it keeps.
        pools: the arguments that are pools by name, which YAML spells as it spells a recipe's pool.
        one_pool: the arguments that are one pool each.
        scorers: the arguments that are scorers, which YAML spells as it spells those of a stage `score`.
    """

    example: str
    pools: tuple[str, ...] = ()
    one_pool: tuple[str, ...] = ()
    scorers: tuple[str, ...] = ()


def stage(
    *,
    example: str,
    pools: tuple[str, ...] = (),
    one_pool: tuple[str, ...] = (),
    scorers: tuple[str, ...] = (),
    instead: Mapping[str, str] | None = None,
) -> Callable[[M], M]:
    """Marks a function as the maker of a ready-made stage.

    Args:
        example: see `ReadyMade`, as for the next three.
        pools: by name.
        one_pool: each.
        scorers: arguments.
        instead: arguments that its neighbours take and it does not -> what to write instead of them.
    """

    def marked(make: M) -> M:
        made = _refusing(make, example.partition("(")[0], instead) if instead else make
        setattr(made, _MARK, ReadyMade(example, pools, one_pool, scorers))
        return made

    return marked


def _refusing(make: M, called: str, instead: Mapping[str, str]) -> M:
    """The same function, with a line for what people take from its neighbours."""

    @functools.wraps(make)
    def made(*positional: Any, **named: Any) -> Stage:
        for name in instead.keys() & named.keys():
            raise PlanError(f"{called} takes no {name}=: {instead[name]}")
        return make(*positional, **named)

    return cast("M", made)


def ready_made(make: Any) -> ReadyMade | None:
    """What `@stage` says of a function; None if it is no maker of a ready-made stage."""
    found: ReadyMade | None = getattr(make, _MARK, None)
    return found


def makers(package: Any) -> dict[str, Maker]:
    """Name -> maker of every ready-made stage of a package: its own functions, and `family.name` for its modules'.

    A function that stands in both has the package's name for it alone: `dfn`, not `networks.dfn`.
    """
    own = dict(_marked(package))
    found = dict(own)
    for family, module in vars(package).items():
        if inspect.ismodule(module):
            made_there = ((name, make) for name, make in _marked(module) if make.__module__ == module.__name__)
            found |= {f"{family}.{name}": make for name, make in made_there if make not in own.values()}
    return dict(sorted(found.items()))


def _marked(module: Any) -> Iterator[tuple[str, Maker]]:
    return ((name, made) for name, made in vars(module).items() if inspect.isfunction(made) and ready_made(made))
