"""The cuts of a decision: exact values by group, which ties stay, and how a frozen cut drifts on a grown pool."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from poolsieve.dataflow.store.summary import CutRecord, Facts, FunnelLine, Summary, TopFacts
from poolsieve.filters.dsl.cuts import Cut, only_cuts


class CutGroup(CutRecord, kw_only=True, frozen=True):
    """The cut of one group ("" without `by`), as `cuts.json` has it.

    Attributes:
        text: which rows at the cut's own value stay, for people.
    """

    group: str
    text: str


class CutReport(msgspec.Struct, kw_only=True, frozen=True, rename={"rows_in": "in"}):
    """A cut with its groups.

    Attributes:
        score, by: that it ranks by, and groups by; None for a frozen cut that this recipe does not have.
        frozen: given, not searched for.
        rows_in, out: rows of this pool that reached its rule, and were left by it.
        drift: how a frozen cut falls on this pool, where it falls otherwise than on the one that it was made on.
    """

    cut: str
    score: str | None
    by: str | None
    frozen: bool
    rows_in: int | None
    out: int | None
    groups: list[CutGroup]
    drift: str | None


def cut_reports(facts: Facts, summary: Summary) -> list[CutReport]:
    """Every cut with its groups; for a frozen one also its drift."""
    tops = {top.cut: top for top in facts.tops}
    steps = {line.step: line for line in summary.funnel}
    return [
        _report(name, groups, tops.get(name), steps.get(name), name in summary.frozen)
        for name, groups in only_cuts(summary.cuts).items()
    ]


def _report(
    name: str, groups: Mapping[str, Cut], top: TopFacts | None, line: FunnelLine | None, frozen: bool
) -> CutReport:
    # Groups drift each by themselves, and rows outside `rank="alive"` never reached the rule: no one sentence tells.
    comparable = frozen and top is not None and top.rank == "alive" and len(groups) == 1
    return CutReport(
        cut=name,
        score=top.score if top is not None else None,
        by=top.by if top is not None else None,
        frozen=frozen,
        rows_in=line.rows_in if line else None,
        out=line.out if line else None,
        groups=[_group(group, cut) for group, cut in groups.items()],
        drift=_drift(line, next(iter(groups.values()))) if comparable and line else None,
    )


def _group(group: str, cut: Cut) -> CutGroup:
    made = cut.to_dict()
    return msgspec.convert({**made, "group": group, "text": _ties(cut, made["tie_hash"])}, CutGroup)


def _ties(cut: Cut, tie_hash: str) -> str:
    """Which rows at the cut's own value stay."""
    if cut.kind == "all":
        return "every row with a score stays"
    if cut.kind == "none" and not cut.inclusive and cut.k:
        return f"no row stays: every row that has a score weighs more than the whole budget of {cut.k:,}"
    if cut.kind == "none":
        return "no row stays"
    if cut.include_ties:
        return "all rows with this score stay"
    side = "up to and with" if cut.inclusive else "before"
    return f"of equal scores those {side} tie hash {tie_hash} stay"


def _drift(line: FunnelLine, made: Cut) -> str | None:
    """What a cut keeps here against what it kept where it was made; None where both are the same or nothing is."""
    same = (line.rows_in, line.out) == (made.competing, made.k)
    if same or not line.rows_in or not made.competing:
        return None
    return (
        f"Frozen: it keeps {line.out:,} of the {line.rows_in:,} rows that reached it here "
        f"({line.out / line.rows_in:.2%}); "
        f"when it was made, {made.k:,} of {made.competing:,} ({made.k / made.competing:.2%})."
    )
