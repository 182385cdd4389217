"""Measures of a log: which one says that an answer is right, and what it says as a mark from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short

SCORE = "score"
"""Key of the mark where a measure is an object (lmms-eval: `{"question_id": .., "score": 0.0}`)."""


class Measure(NamedTuple):
    """One of the measures of a log: a metric, after one of the task's filters."""

    metric: str
    filter: str
    key: str = SCORE
    """Where the metric is an object, which part of it."""

    def __str__(self) -> str:
        key = "" if self.key == SCORE else f".{self.key}"
        return f"{self.metric}{key},{self.filter}"


def chosen(tool: str, wanted: str | None, offered: Sequence[Measure], where: str) -> Measure:
    """The measure that is meant; the first that the log lists where none is.

    Args:
        tool: for messages.
        wanted: `metric`, `metric,filter`, or `metric.key` where the metric is an object.
        offered: by the log, in its order.
        where: the log, for messages.

    Raises:
        PlanError: for one that is not there, and for a metric without its filter where there are several.
    """
    if not offered:
        raise PlanError(f"Answers.{tool}: {where} has no measures")
    if wanted is None:
        return offered[0]
    if not isinstance(wanted, str):
        raise PlanError(f"Answers.{tool}(measure={short(wanted)}): expected the name of a measure")
    found = [one for each in offered for one in _meant(wanted, each)]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(repr(str(measure)) for measure in offered[:20])
    problem = "several filters have it" if found else "there is no such measure"
    raise PlanError(f"Answers.{tool}(measure={wanted!r}): {problem} in {where}. There is {listed}")


def _meant(wanted: str, offered: Measure) -> list[Measure]:
    """The measure, if that is what was asked for; with the key that was named."""
    name = wanted.removesuffix(f",{offered.filter}")
    if name == offered.metric:
        return [offered]
    key = name.removeprefix(f"{offered.metric}.")
    return [offered._replace(key=key)] if key != name and key else []


def same(tool: str, found: Mapping[str, Measure]) -> None:
    """Refuses logs of which each lists another measure first.

    Args:
        tool: for messages.
        found: path of the log -> its measure.

    Raises:
        PlanError: naming two of them.
    """
    (path, first), *others = found.items()
    for other, measure in others:
        if measure != first:
            raise PlanError(
                f"Answers.{tool}: {path} lists {str(first)!r} first, and {other} {str(measure)!r}: say measure=..."
            )


def mark_of(value: Any, measure: Measure, where: str) -> float | None:
    """A measure's value as a mark from 0 to 1; None for null and NaN.

    Raises:
        PlanError: for anything else, with the place.
    """
    if isinstance(value, Mapping):
        if measure.key not in value:
            keys = ", ".join(map(str, list(value)[:10])) or "nothing"
            raise PlanError(
                f"{where}: {measure.metric} has no {measure.key!r}, but {keys}: say measure='{measure.metric}.KEY', or "
                "another measure"
            )
        value = value[measure.key]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, (bool, int, float)) and 0 <= value <= 1:
        return float(value)
    raise PlanError(f"{where}: {measure.metric} is {short(value)}, which is no mark from 0 to 1: say another measure")
