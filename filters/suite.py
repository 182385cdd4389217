"""Evaluation suites: benchmark items that need their image, are labelled right, and tell models apart.

DatBench (DatologyAI, arXiv 2601.02316), from the paper's text: its repository has the evaluation alone. The rules read
the answers of a panel, stored ones or live: `Score(panel=Answers(...))`, `Score(panel=Panel(...))`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from poolsieve.filters.dsl.derive import Derive
from poolsieve.filters.dsl.expr import AnyOf, col
from poolsieve.filters.dsl.ready import stage
from poolsieve.filters.dsl.stages import OTHERS, Chain, Keep, Rule, Score
from poolsieve.filters.dsl.top import Ranked, Top
from poolsieve.filters.items.discrimination import Discrimination
from poolsieve.filters.items.flags import VERDICTS, Flagged, NotTrue, Unjudged
from poolsieve.filters.items.guessing import CHANCE, NotBlindSolvable
from poolsieve.filters.items.options import OptionCount
from poolsieve.scoring_models.base.errors import PlanError, unknown_name
from poolsieve.scoring_models.base.kinds import short

DATBENCH = "datbench"
DATBENCH_TAU: Mapping[str, int] = {
    "CountBench": 4,
    "AI2D": 5,
    "CC-OCR multi-scene": 5,
    "TextVQA": 5,
    "TallyQA": 6,
    "LogicVista": 6,
    "MathVerse": 6,
    "MathVision MCQ": 6,
    "MathVista MCQ": 6,
    "MMBench": 6,
    "MMMU-Pro": 6,
    "RealWorldQA": 8,
    OTHERS: 1,
}
"""Table 7: data set -> tau, for 27 models; `"*"` are its data sets with tau 1. Counts of other panels do not fit it.

Section 3.2 discards from tau = 1 on (`>=`), the captions of figure 4 and table 7 what is above tau (`>`).
"""

AT = (">=", ">")
_ALIKE = "suite.not_discriminative"
_REASONS = ("wrong_label", "ambiguous", "needs_resolution")


@stage(example='suite.blind_solvable("panel")')
def blind_solvable(
    panel: str = "panel",
    *,
    tau: int | str | Mapping[str, int | str] = CHANCE,
    at: str | Mapping[str, str] = ">=",
    by: str | None = None,
    options: str = "options",
    reason: str = "suite.blind_solvable",
) -> Chain:
    """Drops items that so many models solve without the image that guessing does not explain it.

    Args:
        panel: score with the answers: `<panel>.blind_right` and `<panel>.blind_asked` are read.
        tau: the number of models from which an item goes. "chance": the least number that at most 1 % of as many
            guessers reach, where the role `options` says how many options there are (1 for an open question). A panel
            that asks in all turns of the options (`circular`) is known to be harder to guess.
            "datbench": the published table for 27 models, by data set. A table has a limit for each group of `by`,
            and `"*"` for the others.
        at: ">=" (an item at tau goes) or ">" (one above it); or a table as `tau`.
        by: score or column with the groups of a table.
        options: role with the options of an item, or their number; a pool need not have it.
        reason: of what is dropped; a second panel's rule needs another.

    Raises:
        PlanError: for a limit that is no count, and for a table without `by` or without `"*"`.
    """
    given = DATBENCH_TAU if tau == DATBENCH else tau
    taus, ats = (_table("tau", given, by, _tau), _table("at", at, by, _at))
    if CHANCE in taus.values() and ats != {OTHERS: ">="}:
        raise PlanError("suite.blind_solvable: tau='chance' is the count from which an item goes: leave at='>='")
    counted = f"{_named('blind_solvable', panel)}.options"
    rule = NotBlindSolvable(f"{panel}.blind_right", f"{panel}.blind_asked", counted, taus, ats, by)
    return Chain((Score(**{counted: OptionCount(options, f"{panel}.item")}), Rule(rule, reason)))


def _named(rule: str, panel: Any) -> str:
    if not isinstance(panel, str) or not panel:
        raise PlanError(
            f"suite.{rule}({short(panel)}): give the name of the score with the answers, as 'panel' after "
            "Score(panel=Answers(...))"
        )
    return panel


def _table(what: str, given: Any, by: str | None, one: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        return {OTHERS: one(given)}
    if by is None or OTHERS not in given:
        raise PlanError(
            f"suite.blind_solvable({what}={short(dict(given))}): a table goes with by= and has a '*' for all other "
            "groups, as {'AI2D': 5, '*': 1}, by='source'"
        )
    return {str(group): one(value) for group, value in given.items()}


def _tau(value: Any) -> int | str:
    if value == CHANCE:
        return CHANCE
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise PlanError(f"suite.blind_solvable(tau={short(value)}): give a number of models, 'chance' or 'datbench'")
    return value


def _at(value: Any) -> str:
    if value not in AT:
        raise unknown_name(f"suite.blind_solvable(at={short(value)})", str(value), AT)
    return str(value)


@stage(example='suite.mislabelled("panel", verdicts=Verdicts("verdicts.parquet"))', scorers=("verdicts", "judge"))
def mislabelled(
    panel: str = "panel", *, verdicts: Any = None, judge: Any = None, name: str = "verdict", family: str = "suite"
) -> Chain:
    """Drops items whose answer is wrong, whose question is ambiguous, or whose image is too small, as a judge says.

    Only items that every model misses with the image (`<panel>.flagged`) are judged. The first verdict that is true, in
    this order, is the reason; flagged items that are cleared, or that nobody judged, stay.

    Args:
        panel: score with the answers: `<panel>.right` and `<panel>.asked` are read. Items without any answer go.
        verdicts: stored verdicts, `Verdicts(...)`.
        judge: a model that is asked, `Judge(...)`; one of the two.
        name: of the verdicts' score; another one for a second panel in a recipe.
        family: what its reasons begin with: `suite.wrong_label`; another one for a second panel.

    Raises:
        PlanError: without verdicts or a judge, and for both.
    """
    given = [one for one in (verdicts, judge) if one is not None]
    if len(given) != 1:
        raise PlanError("suite.mislabelled takes one of verdicts=Verdicts(...) and judge=Judge(...)")
    flagged = f"{_named('mislabelled', panel)}.flagged"
    reasons = [f"{family}.{said}" for said in _REASONS]
    rules = (Rule(NotTrue(f"{name}.{said}"), reason) for said, reason in zip(VERDICTS, reasons, strict=True))
    return Chain(
        (
            Keep(col(f"{panel}.asked") > 0, reason=f"{family}.unanswered"),
            Derive(**{flagged: Flagged(panel)}),
            Score(where=col(flagged), optional=True, **{name: given[0]}),
            Derive(**{f"{panel}.unjudged": Unjudged(flagged, name)}),
            *rules,
        )
    )


@stage(example='suite.discriminative("panel", by="capability", count=5000)')
def discriminative(
    panel: str = "panel",
    *,
    by: str | None = "capability",
    count: int | Mapping[str, int] = 5000,
    frontier: float | str | Decimal = 0.2,
    reason: str = _ALIKE,
) -> Chain:
    """Keeps the items that tell models apart best, and some that no model solves yet.

    Args:
        panel: score with the answers with the image.
        by: score or column with the groups in which models are compared and items are chosen; None for one group.
        count: of items that stay in each group, or a table by group, with `"*"` for the others.
        frontier: of `count`, the share that items may take which no model got right. The rest, and what they leave
            free, goes to the items with the highest `<panel>.discrimination`.
        reason: of what is dropped; a second panel's rule needs another.

    Raises:
        PlanError: for a share outside 0 to 1, and a count that is no number of rows.
    """
    best = Top(f"{_named('discriminative', panel)}.discrimination", count=count, by=by, reason=reason).predicate
    cut = "suite.frontier" if reason == _ALIKE else f"{reason}.frontier"
    share = Top(f"{panel}.frontier", fraction=frontier, by=by, reason=cut).predicate
    assert isinstance(best, Ranked) and isinstance(share, Ranked)
    first = _of_count(best, share)
    rest = dataclasses.replace(best, after=first.cut)
    rule = Rule(AnyOf((first, rest)), reason)
    return Chain((Derive(**{panel: Discrimination(panel, by)}), rule))


def _of_count(best: Ranked, share: Ranked) -> Ranked:
    """The frontier's cut: floor(share x count) of each group, in exact decimals."""

    def part(count: int | None) -> int:
        return int(Decimal(share.fraction or "0") * Decimal(count or 0))

    groups = None
    if best.groups is not None:
        groups = {group: {"count": part(one["count"])} for group, one in best.groups.items()}
    return dataclasses.replace(share, fraction=None, count=part(best.count) if groups is None else None, groups=groups)
