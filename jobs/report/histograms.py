"""The histograms of a report: each score's bars, with the cuts and limits that rules set on it."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from poolsieve.dataflow.store.summary import Facts, LimitFacts, Summary
from poolsieve.filters.dsl.cuts import only_cuts
from poolsieve.jobs.report.bars import Bars, rebin
from poolsieve.jobs.report.numbers import score_text

LINES = 12
"""Most cuts of one score that are drawn (a `Top(..., by=...)` may have thousands)."""

_INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}

SIGNS = {"less_equal": "≤", "less": "<", "greater_equal": "≥", "greater": ">", "equal": "=", "not_equal": "≠"}
"""Arrow's name of a comparison -> its sign."""


class Mark(msgspec.Struct, kw_only=True, frozen=True):
    """A place where a rule looks at a score: an exact cut, or the limit of a plain comparison."""

    kind: Literal["cut", "limit"]
    value: float
    label: str


class Histogram(Bars, kw_only=True, frozen=True):
    """The bars of one score.

    Attributes:
        type: Arrow's name of the score's type.
        nulls: rows without the score.
    """

    score: str
    type: str
    nulls: int
    marks: list[Mark]


def score_histograms(facts: Facts, summary: Summary) -> list[Histogram]:
    """Every score's: first those that a cut reads, then those with a limit, each in the order of the recipe."""
    found = [_histogram(facts, summary, score) for score in summary.histograms]
    return sorted((item for item in found if item is not None), key=_importance)


def _importance(histogram: Histogram) -> int:
    order = {"cut": 0, "limit": 1}
    return min((order[mark.kind] for mark in histogram.marks), default=2)


def _histogram(facts: Facts, summary: Summary, score: str) -> Histogram | None:
    types = {name: kind for pairs in (*(one.scores for one in facts.scorers), facts.derived) for name, kind in pairs}
    kind = types.get(score, "float32")
    marks = [*_cut_marks(facts, summary, score), *(_limit_mark(part) for part in facts.limits if part.score == score)]
    low, high = _kept_between(facts, summary, score)
    values = [mark.value for mark in marks]
    bars = rebin(summary.histograms[score], values, whole=kind in _INTEGERS, low=low, high=high)
    if bars is None:
        return None
    fields = msgspec.structs.asdict(bars)
    return Histogram(score=score, type=kind, nulls=summary.nulls.get(score, 0), marks=marks, **fields)


def _kept_between(facts: Facts, summary: Summary, score: str) -> tuple[float, float]:
    """The range of a score outside of which no row is kept, as its only cut has it; no bounds where there are more."""
    tops = [top for top in facts.tops if top.score == score]
    groups = only_cuts(summary.cuts).get(tops[0].cut, {}) if len(tops) == 1 else {}
    values = [float(cut.value) for cut in groups.values() if cut.value is not None]
    if len(values) != 1:
        return -math.inf, math.inf
    return (-math.inf, values[0]) if tops[0].lowest else (values[0], math.inf)


def _cut_marks(facts: Facts, summary: Summary, score: str) -> list[Mark]:
    marks = []
    for top in facts.tops:
        groups = only_cuts(summary.cuts).get(top.cut, {}) if top.score == score else {}
        for group, cut in list(groups.items())[:LINES]:
            if cut.value is not None and math.isfinite(cut.value):
                label = f"{group} cut {score_text(cut.value)}" if group else f"cut {score_text(cut.value)}"
                marks.append(Mark(kind="cut", value=float(cut.value), label=label))
    return marks


def _limit_mark(part: LimitFacts) -> Mark:
    return Mark(kind="limit", value=part.limit, label=f"{SIGNS[part.op]} {score_text(part.limit)}")
