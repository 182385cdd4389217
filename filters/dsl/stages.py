"""Stages: what a recipe is composed of. Each is data; nothing here runs.

A stage is one of two things: it names scorers (`Score`), or it is a *rule* with a reason (everything else). Rules over
scores that nothing has made yet (`text.word_count`, a pool column) bring those scores with them.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from poolsieve.filters.dsl.expr import (
    AllOf,
    AnyOf,
    Column,
    Compare,
    IsIn,
    Node,
    Not,
    Predicate,
    as_predicate,
    col,
)
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.derived import Composite, is_composite
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import check_fields, short
from poolsieve.scoring_models.base.scorer import Scorer, is_scorer


class Stage(Config):
    """One step of a recipe. `|` chains stages: `basic() | Top("dfn", fraction=0.15)`."""

    place: ClassVar[str] = ""
    """Where a recipe file has it, for messages: `r.yaml, line 7, stage 3`. No part of what the stage is."""

    def flat(self) -> tuple[Stage, ...]:
        """The elementary stages (`Score` and `Rule`) in order."""
        return (self,)

    def __or__(self, other: Stage) -> Chain:
        if not isinstance(other, Stage):
            raise not_a_stage("can't chain", other)
        return Chain(self.flat() + other.flat())

    def __invert__(self) -> Rule:
        raise PlanError(f"~{type(self).__name__} has no meaning: only a rule can be inverted")


def not_a_stage(what: str, given: Any) -> PlanError:
    """The error for anything else where a stage is wanted."""
    text = f"{what} {short(given)}: expected a stage such as Keep, Drop, Score or Top"
    if isinstance(given, (list, tuple)):
        return PlanError(f"{text}; chain several with |, as Keep(...) | Top(...)")
    if callable(given):
        return PlanError(f"{text}; call it, as {getattr(given, '__name__', 'stage')}(...)")
    return PlanError(text)


def placed(stage: Stage, place: str) -> Stage:
    """The same stage, which knows where it was written."""
    made = copy.copy(stage)
    object.__setattr__(made, "place", place)
    return made


@dataclass(frozen=True, eq=False)
class Chain(Stage):
    """Several stages, one after the other; each sees the rows that are still alive."""

    stages: tuple[Stage, ...]

    def flat(self) -> tuple[Stage, ...]:
        """The elementary stages in order."""
        return tuple(part for stage in self.stages for part in stage.flat())

    def __invert__(self) -> Rule:
        return ~all_of(self, reason="chain")


@dataclass(frozen=True, eq=False, init=False)
class Score(Stage):
    """Runs scorers on the rows alive and stores their columns: `Score(dfn=Clip("hf-hub:apple/DFN-public"))`.

    With `where`, on those of them alone for which a comparison of earlier scores is true: what costs money is asked
    only where it matters. The others have null. With `optional`, a failure leaves null as well and costs no row; it is
    stored as a failure. `where` and `optional` are therefore no names of scores.

    >>> from poolsieve.scoring_models import ImageSize
    >>> stages = Score(size=ImageSize()) | Keep(col("size.width") >= 200)
    >>> [type(stage).__name__ for stage in stages.flat()]
    ['Score', 'Rule']
    """

    scorers: Mapping[str, Scorer | Composite]
    where: Predicate | None = None
    optional: bool = False

    def __init__(self, *, where: Any = None, optional: Any = False, **scorers: Scorer | Composite) -> None:
        for name, scorer in scorers.items():
            _check_scorer(name, scorer)
        if not scorers:
            raise PlanError("Score() needs at least one scorer, as Score(dfn=Clip(...))")
        if not isinstance(optional, bool):
            raise PlanError(f"Score(optional={short(optional)}): write True or False; it is no name of a score")
        object.__setattr__(self, "scorers", dict(scorers))
        object.__setattr__(self, "optional", optional)
        object.__setattr__(self, "where", None if where is None else _predicate(where, "Score(where=...) | Keep"))


def _check_scorer(name: str, scorer: Any) -> None:
    if isinstance(scorer, type):
        raise PlanError(f"Score({name}={scorer.__name__}) takes a scorer: call it, as {scorer.__name__}(...)")
    if not is_scorer(scorer) and not is_composite(scorer):
        raise PlanError(f"Score({name}=...) takes a scorer, not {short(scorer)}; wrap a function with scorer(...)")
    check_fields(scorer, f"Score({name}={type(scorer).__name__}(...))")


@dataclass(frozen=True, eq=False)
class Rule(Stage):
    """Keeps the rows for which `predicate` is true; the others are dropped with `reason`."""

    predicate: Predicate
    reason: str
    needs: Mapping[str, str] = field(default_factory=dict, metadata={"runtime": True})
    """Roles that must be declared by name -> what to do where the pool has none."""

    def __post_init__(self) -> None:
        check_reason(self.reason)

    def __invert__(self) -> Rule:
        return Rule(Not(self.predicate), f"{self.reason}.inverted")


def check_reason(reason: str) -> None:
    """A reason is dotted words such as `caption.too_long`.

    Raises:
        PlanError: if it is not.
    """
    words = reason.split(".") if isinstance(reason, str) else []
    if not words or not all(word and word.replace("_", "a").replace("-", "a").isalnum() for word in words):
        raise PlanError(f"reason {reason!r} must be dotted words such as 'caption.too_long'")


def _predicate(rule: Any, stage: str) -> Predicate:
    if isinstance(rule, (Predicate, Node)):
        return as_predicate(rule)
    if isinstance(rule, Stage):
        return all_of(rule, reason="rule").predicate
    if callable(rule) and getattr(rule, "__name__", "") == "<lambda>":
        raise PlanError(
            f"{stage}(lambda ...) can't be stored, compared or moved later: write {stage}(col('x') >= 1), "
            "or a function of your own wrapped with scorer(...) and a limit on its score"
        )
    raise PlanError(f"{stage}() takes a comparison such as col('text').word_count() <= 64, not {short(rule)}")


def _reason(given: str | None, predicate: Predicate, stage: str) -> str:
    reason = given or predicate.default_reason()
    if reason is None:
        raise PlanError(f"{stage}() of several scores needs a name for what it drops: reason='my_rule.what'")
    return reason


def Keep(rule: Predicate | Node | Stage, reason: str | None = None) -> Rule:  # noqa: N802  (a stage's name)
    """Keeps the rows for which `rule` is true; null and NaN are dropped. A boolean column is a rule as it is.

    >>> Keep(col("text").word_count() <= 64).reason
    'text.word_count.above_limit'
    >>> Keep(col("text").word_count() <= 64, reason="caption.too_long").reason
    'caption.too_long'
    >>> Keep(col("flag")) == Keep(col("flag") == True)
    True
    """
    if isinstance(rule, Rule) and reason is None:
        return rule
    predicate = _predicate(rule, "Keep")
    return Rule(predicate, _reason(reason, predicate, "Keep"))


def Drop(rule: Predicate | Node | Stage, reason: str | None = None) -> Rule:  # noqa: N802
    """Drops the rows for which `rule` is true, and those for which it is unknown (null, NaN).

    `Drop(In("blocked.txt"))` is `~In("blocked.txt")`.

    >>> Drop(col("text").char_count() > 900).reason
    'text.char_count.unwanted'
    """
    if isinstance(rule, Rule) and reason is None:
        return ~rule
    wanted = _predicate(rule, "Drop")
    default = None
    if isinstance(wanted, Compare) and isinstance(wanted.left, Column):
        default = f"{wanted.left.name}.unwanted"
    predicate = Not(wanted)
    return Rule(predicate, _reason(reason or default, predicate, "Drop"))


Limits = float | Mapping[str, float]
"""A limit, or a table of limits: group -> limit, with `"*"` for every group that it does not name."""


def Above(name: str, limit: Limits, reason: str | None = None, by: str | None = None) -> Rule:  # noqa: N802
    """Keeps rows whose score is at least `limit`; with `by`, at least that of their group.

    `Above("quality", {"en": 0.9, "fr": 0.7, "*": 0.5}, by="language")`. Rows of other groups than the table's are
    dropped unless it has a `"*"`, and so are rows without a group.

    >>> Above("quality", 0.5) == Keep(col("quality") >= 0.5, reason="quality.below_cut")
    True
    >>> Above("quality", {"en": 0.9, "*": 0.5}, by="language").predicate.names()
    ('language', 'quality', 'language', 'quality')
    """
    return Rule(_limited("Above", name, limit, by, operator.ge), reason or f"{name}.below_cut")


def Below(name: str, limit: Limits, reason: str | None = None, by: str | None = None) -> Rule:  # noqa: N802
    """Keeps rows whose score is at most `limit`; with `by`, as `Above`.

    >>> Below("tox", 0.1).reason
    'tox.above_cut'
    """
    return Rule(_limited("Below", name, limit, by, operator.le), reason or f"{name}.above_cut")


def _limited(stage: str, name: str, limit: Limits, by: str | None, compare: Callable[[Any, Any], Any]) -> Predicate:
    if by is None and not isinstance(limit, Mapping):
        made: Predicate = compare(col(name), limit)
        return made
    table = group_table(stage, name, limit, by)
    named = tuple(group for group in table if group != OTHERS)
    parts = [AllOf((col(by or "") == group, compare(col(name), table[group]))) for group in named]
    if OTHERS in table:
        others = (Not(IsIn(col(by or ""), named)), compare(col(name), table[OTHERS]))
        parts.append(AllOf(others) if named else AllOf(others[1:]))
    return AnyOf(tuple(parts))


OTHERS = "*"
"""In a table by group: every group that it does not name."""


def group_table(stage: str, name: str, table: Any, by: str | None) -> Mapping[str, Any]:
    """A table by group, once it has been checked."""
    if by is None or not isinstance(table, Mapping) or not table:
        raise PlanError(
            f"{stage}({name!r}): a table of limits and `by` go together, as {{'en': 0.9, '*': 0.5}}, by='language'"
        )
    wrong = [group for group in table if not isinstance(group, str)]
    if wrong:
        raise PlanError(f"{stage}({name!r}): group {wrong[0]!r} is no string; write it as in the ledger's {by!r}")
    return table


def any_of(*rules: Stage | Predicate | Node, reason: str) -> Rule:
    """Keeps rows that at least one of the rules keeps; what all of them drop is dropped with the one reason.

    >>> any_of(Above("width", 200), Above("height", 200), reason="size.small").predicate.names()
    ('width', 'height')
    """
    return Rule(AnyOf(_members(rules, "any_of")), reason)


def all_of(*rules: Stage | Predicate | Node, reason: str) -> Rule:
    """Keeps rows that all of the rules keep; the others are dropped with the one reason.

    >>> all_of(Keep(col("x") >= 1), Keep(col("x") <= 5), reason="x.outside").reason
    'x.outside'
    >>> 1 <= col("x") <= 5  # Python's own `and` would lose one half
    Traceback (most recent call last):
    poolsieve...PlanError: a comparison of columns has no truth value: write all_of(...
    """
    return Rule(AllOf(_members(rules, "all_of")), reason)


def _members(rules: Iterable[Stage | Predicate | Node], what: str) -> tuple[Predicate, ...]:
    members = tuple(_member(rule, what) for rule in rules)
    if not members:
        raise PlanError(f"{what}() needs at least one rule")
    return members


def _member(rule: Any, what: str) -> Predicate:
    if isinstance(rule, (Predicate, Node)):
        return as_predicate(rule)
    if not isinstance(rule, Stage):
        raise PlanError(f"{what}() takes rules, not {short(rule)}")
    parts = rule.flat()
    if any(isinstance(part, Score) for part in parts):
        raise PlanError(f"{what}() takes rules only: put Score(...) before it, its scores can then be named in it")
    predicates = tuple(part.predicate for part in parts if isinstance(part, Rule))
    return predicates[0] if len(predicates) == 1 else AllOf(predicates)
