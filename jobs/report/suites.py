"""What a report says of an evaluation suite: how its items tell models apart, and what no answers are known of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np

from poolsieve.dataflow.store.summary import Summary, Unmatched
from poolsieve.filters.dsl.cuts import Table
from poolsieve.filters.duplicates.families import SIZES
from poolsieve.filters.items.discrimination import ASKED, BINS, RIGHT, UNIT

CURVE_WIDTH, CURVE_HEIGHT = 220, 130
"""Size of a curve's drawing; its frame leaves `CURVE_EDGE` on each side."""

CURVE_EDGE = 8

Sums = Mapping[str, int]


class Discriminating(msgspec.Struct, kw_only=True, frozen=True):
    """How the items of one group tell models apart, all that were alive there against those that are kept.

    Attributes:
        models: that answered with the image.
        items, kept_items: items with a discrimination.
        total, kept: their sum of r.
        share: `kept` of `total`; above 1 where items with a negative r went. None without any.
        rank_correlation: Spearman's, between the models' scores on the kept items and on all of them; None for fewer
            than two models, or where all are equal.
        curve: (share of the items, share of the sum of r), from the most discriminating item on.
    """

    group: str
    models: int
    items: int
    kept_items: int
    total: float
    kept: float
    share: float | None
    rank_correlation: float | None
    curve: list[tuple[float, float]]


class Suite(msgspec.Struct, kw_only=True, frozen=True):
    """One panel's part of the report."""

    name: str
    groups: list[Discriminating]


class Flags(msgspec.Struct, kw_only=True, frozen=True):
    """Items that no model got right, and what a judge left open."""

    name: str
    counts: dict[str, int]


class Tally(msgspec.Struct, kw_only=True, frozen=True):
    """What another derived value counted in one group ("" without groups)."""

    name: str
    group: str
    counts: dict[str, int]


class Strays(msgspec.Struct, kw_only=True, frozen=True):
    """What a scorer has stored, against the rows of the pool."""

    name: str
    found: Unmatched


class Suites(msgspec.Struct, kw_only=True, frozen=True):
    """Everything of panels, and of other derived values; all empty for a recipe without any."""

    suites: list[Suite]
    flags: list[Flags]
    strays: list[Strays]
    tallies: list[Tally]


def suites_of(summary: Summary) -> Suites:
    """What the sums of a decision say of its panels."""
    suites = [Suite(name=name, groups=list(_groups(summary, name))) for name in _ending(summary, ".discrimination")]
    flags = [Flags(name=name, counts=summary.tallies[name].get("", {})) for name in _ending(summary, ".unjudged")]
    strays = [Strays(name=name, found=found) for name, found in summary.unmatched.items() if found.items or found.rows]
    shown = {*(one.name for one in suites), *(one.name for one in flags)}
    shown |= {name for name, groups in summary.tallies.items() if SIZES in groups}  # `duplicates` has these
    tallies = [
        Tally(name=name, group=group, counts=dict(counts))
        for name, groups in summary.tallies.items()
        if name not in shown
        for group, counts in sorted(groups.items())
    ]
    return Suites(suites=suites, flags=flags, strays=strays, tallies=tallies)


def _ending(summary: Summary, ending: str) -> list[str]:
    return [name for name in summary.tallies if name.endswith(ending)]


def _groups(summary: Summary, name: str) -> Iterator[Discriminating]:
    tables = summary.cuts.get(name, {})
    for group, sums in sorted(summary.tallies[name].items()):
        table = tables.get(group)
        yield _group(group, sums, table.sums if isinstance(table, Table) else {})


def _group(group: str, sums: Sums, whole: Sums) -> Discriminating:
    items, units = ([sums.get(f"{what} {one}", 0) for one in reversed(range(BINS))] for what in ("items", "r"))
    total, kept = sum(units), sums.get("kept r", 0)
    return Discriminating(
        group=group,
        models=sum(name.startswith(ASKED) for name in whole),
        items=sum(items),
        kept_items=sums.get("kept items", 0),
        total=total / UNIT,
        kept=kept / UNIT,
        share=kept / total if total > 0 else None,
        rank_correlation=spearman(_scores(sums, whole), _scores(whole, whole)),
        curve=_curve(items, units),
    )


def _scores(sums: Sums, whole: Sums) -> list[float]:
    """Each model's share of right answers, in the order of `whole`; 0 for one that was asked nothing."""
    models = [name.removeprefix(ASKED) for name in sorted(whole) if name.startswith(ASKED)]
    return [sums.get(RIGHT + model, 0) / max(sums.get(ASKED + model, 0), 1) for model in models]


def _curve(items: Sequence[int], units: Sequence[int]) -> list[tuple[float, float]]:
    count, total = sum(items), sum(units)
    if count <= 0 or total <= 0:
        return []
    x, y = np.cumsum(items) / count, np.cumsum(np.array(units, dtype=np.float64)) / total
    some = [i for i, n in enumerate(items) if n]
    return [(0.0, 0.0), *((round(float(x[i]), 4), round(float(y[i]), 4)) for i in some)]


def spearman(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Spearman's rank correlation, equal values sharing their mean rank; None where one side has a single value."""
    if len(set(left)) < 2 or len(set(right)) < 2:
        return None
    return float(np.corrcoef(_ranks(left), _ranks(right))[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    _, places, counts = np.unique(np.array(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[places], dtype=np.float64)


def curve_points(curve: Sequence[tuple[float, float]]) -> str:
    """A curve as the points of an SVG polyline; the sum of r may reach above 1 and is drawn up to 1.25."""
    wide, high = CURVE_WIDTH - 2 * CURVE_EDGE, CURVE_HEIGHT - 2 * CURVE_EDGE
    places = ((CURVE_EDGE + x * wide, CURVE_HEIGHT - CURVE_EDGE - max(min(y, 1.25), 0) / 1.25 * high) for x, y in curve)
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
