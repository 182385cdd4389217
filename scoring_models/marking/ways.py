"""The ways of marking by name, and which one holds for an item."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.errors import PlanError, unknown_name
from poolsieve.scoring_models.base.kinds import short
from poolsieve.scoring_models.base.packages import need
from poolsieve.scoring_models.marking.boxes import mark_iou, no_box
from poolsieve.scoring_models.marking.gold import Gold, no_answer
from poolsieve.scoring_models.marking.letters import mark_letter, no_letter
from poolsieve.scoring_models.marking.numbers import TOLERANCE, mark_count, mark_numeric, no_count
from poolsieve.scoring_models.marking.similar import LEAST, mark_anls
from poolsieve.scoring_models.marking.texts import mark_exact, mark_normalised
from poolsieve.scoring_models.marking.vqa import mark_vqa, no_people


class Way(NamedTuple):
    """One way of marking."""

    mark: Callable[[str, Gold, float | None], float] | None
    """(what was said, gold, parameter) -> 0 to 1; None for the judge, who needs an endpoint."""
    lacks: Callable[[Gold], str | None]
    """Why an item can't be marked this way; None if it can."""
    parameter: float | None = None
    """The parameter's default, for a way that has one, from 0 to 1: `numeric:0.01`."""
    packages: tuple[str, ...] = ()
    """Distributions that it needs, of the extra `suites`."""


HOWS: Mapping[str, Way] = {
    "exact": Way(mark_exact, no_answer),
    "normalised": Way(mark_normalised, no_answer),
    "numeric": Way(mark_numeric, no_answer, TOLERANCE),
    "count": Way(mark_count, no_count),
    "letter": Way(mark_letter, no_letter),
    "vqa": Way(mark_vqa, no_people),
    "anls": Way(mark_anls, no_answer, LEAST, ("rapidfuzz",)),
    "iou": Way(mark_iou, no_box, 0.0),
    "judge": Way(None, no_answer),
}
"""Name -> way of marking."""

REFUSED = {"table_edit": "edit distance of tables", "latex": "equivalence of LaTeX"}
"""Ways that DatBench has and we do not."""

ANY = "*"
"""The source that stands for all others."""


@functools.lru_cache(256)
def way_named(how: str) -> tuple[Way, float | None]:
    """The way of that name, and its parameter.

    Raises:
        PlanError: for a name that is unknown or not supported, for a parameter that the way doesn't take, and for a
            package that is not installed.
    """
    name, colon, written = how.partition(":")
    if name in REFUSED:
        raise PlanError(f"marking by {name!r} ({REFUSED[name]}) is not supported; 'judge' can stand in for it")
    if name not in HOWS:
        raise unknown_name(f"there is no way of marking {name!r}", name, HOWS)
    way = HOWS[name]
    need(f"marking by {name!r}", *way.packages, extra="suites")
    if colon and way.parameter is None:
        raise PlanError(f"marking by {how!r}: {name!r} takes no parameter")
    return way, _parameter(how, written) if colon else way.parameter


def _parameter(how: str, written: str) -> float:
    try:
        value = float(written)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise PlanError(f"marking by {how!r}: the parameter must be a number from 0 to 1")
    return value


def spelling(how: str) -> str:
    """The one spelling of a way of marking, which fingerprints are made from: no parameter that is the default.

    Raises:
        PlanError: as `way_named`.
    """
    way, parameter = way_named(how)
    name = how.partition(":")[0]
    return name if parameter == way.parameter else f"{name}:{str(parameter).removesuffix('.0')}"


def mark(how: str, said: str, gold: Gold) -> float:
    """How right an answer is, from 0 to 1; 0 where the item can't be marked that way (see `lacking`).

    Args:
        how: a name of `HOWS`, with a parameter where it takes one: "numeric:0.01".
        said: what was answered, any text.
        gold: what is right.

    Raises:
        PlanError: for an unknown way, and for "judge", which only a `Panel` with a judge can do.
    """
    way, parameter = way_named(how)
    if way.mark is None:
        raise PlanError("marking by 'judge' needs an endpoint: give the panel a judge, or choose another way")
    return way.mark(said, gold, parameter)


def lacking(how: str, gold: Gold) -> str | None:
    """Why an item can't be marked that way, for the row's error; None if it can.

    Raises:
        PlanError: for an unknown way.
    """
    return way_named(how)[0].lacks(gold)


@dataclass(frozen=True, eq=False)
class Scoring(Config):
    """Which way of marking holds for which source: `Scoring.of({"DocVQA": "anls", "*": "exact"})`."""

    ways: Mapping[str, str]
    """Source -> name of `HOWS`, with its parameter; "*" for all other sources and for items without one."""

    def __post_init__(self) -> None:
        named = isinstance(self.ways, Mapping) and all(
            isinstance(part, str) for pair in self.ways.items() for part in pair
        )
        if not named:
            raise PlanError(f"scoring={short(self.ways)}: give the name of a way of marking, or one for each source")
        spelt = {source: spelling(how) for source, how in sorted(self.ways.items())}
        if ANY not in spelt:
            raise PlanError(f"scoring={short(spelt)}: '*' is missing, which says how all other sources are marked")
        object.__setattr__(self, "ways", spelt)

    @classmethod
    def of(cls, value: Any) -> Scoring:
        """From one name for all items, or from a mapping of sources that has "*".

        Raises:
            PlanError: for an unknown name, with the nearest; for a mapping without "*"; for anything else.
        """
        if isinstance(value, Scoring):
            return value
        return cls({ANY: value} if isinstance(value, str) else value)

    def how(self, source: str | None) -> str:
        """The way of marking for items of a source; None for an item without one."""
        return self.ways.get(source, self.ways[ANY]) if source is not None else self.ways[ANY]

    @property
    def by_source(self) -> bool:
        """Whether the role `source` must be read."""
        return len(self.ways) > 1

    @property
    def judged(self) -> bool:
        """Whether some source needs a judge."""
        return any(how == "judge" for how in self.ways.values())

    @property
    def packages(self) -> tuple[str, ...]:
        """Distributions that marks depend on."""
        return tuple(sorted({name for how in self.ways.values() for name in way_named(how)[0].packages}))
