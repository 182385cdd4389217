"""Stages: what a recipe is composed of. Each is data; nothing here runs.

A stage is one of two things: it names scorers (`Score`), or it is a *rule* with a reason (everything else). Rules over
scores that nothing has made yet (`text.word_count`, a pool column) bring those scores with them.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.filters.dsl.cuts import kept_by
from poolsieve.filters.dsl.expr import (
    SCORE,
    AllOf,
    AnyOf,
    Column,
    Compare,
    Env,
    IsIn,
    Node,
    Not,
    Predicate,
    as_predicate,
    col,
    nan_to_null,
)
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.errors import PlanError, unknown_name
from poolsieve.scoring_models.base.kinds import check_fields, short, wrong_kind
from poolsieve.scoring_models.base.scorer import Scorer


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

    >>> from poolsieve.scoring_models import ImageSize
    >>> stages = Score(size=ImageSize()) | Keep(col("size.width") >= 200)
    >>> [type(stage).__name__ for stage in stages.flat()]
    ['Score', 'Rule']
    """

    scorers: Mapping[str, Scorer]

    def __init__(self, **scorers: Scorer) -> None:
        for name, scorer in scorers.items():
            if not isinstance(scorer, Scorer):
                raise PlanError(
                    f"Score({name}=...) takes a scorer, not {short(scorer)}; wrap a function with scorer(...)"
                )
            if isinstance(scorer, type):
                raise PlanError(f"Score({name}={scorer.__name__}) takes a scorer: call it, as {scorer.__name__}(...)")
            check_fields(scorer, f"Score({name}={type(scorer).__name__}(...))")
        if not scorers:
            raise PlanError("Score() needs at least one scorer, as Score(dfn=Clip(...))")
        object.__setattr__(self, "scorers", dict(scorers))


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
    table = _table(stage, name, limit, by)
    named = tuple(group for group in table if group != OTHERS)
    parts = [AllOf((col(by or "") == group, compare(col(name), table[group]))) for group in named]
    if OTHERS in table:
        others = (Not(IsIn(col(by or ""), named)), compare(col(name), table[OTHERS]))
        parts.append(AllOf(others) if named else AllOf(others[1:]))
    return AnyOf(tuple(parts))


OTHERS = "*"
"""In a table by group: every group that it does not name."""


def _table(stage: str, name: str, table: Any, by: str | None) -> Mapping[str, Any]:
    """A table by group, once it has been checked."""
    if by is None or not isinstance(table, Mapping) or not table:
        raise PlanError(
            f"{stage}({name!r}): a table of limits and `by` go together, as {{'en': 0.9, '*': 0.5}}, by='language'"
        )
    wrong = [group for group in table if not isinstance(group, str)]
    if wrong:
        raise PlanError(f"{stage}({name!r}): group {wrong[0]!r} is no string; write it as in the ledger's {by!r}")
    return table


_MOST = (1 << 63) - 1
"""The largest weight, and so the largest budget that can tell rows apart."""


@dataclass(frozen=True, eq=False)
class Ranked(Predicate):
    """The best rows by a score, of all the rows that compete. See `Top`."""

    name: str = field(metadata=SCORE)
    cut: str
    fraction: str | None = None
    count: int | None = None
    budget: int | None = None
    weight: str | None = field(default=None, metadata=SCORE)
    tau: str | None = None
    of: str = "alive"
    rank: str = "alive"
    by: str | None = field(default=None, metadata=SCORE)
    lowest: bool = False
    ties: str = "hash"
    position: str = "exact"
    seed: int = 0
    groups: Mapping[str, Mapping[str, Any]] | None = None
    """Group -> what is asked for in it, as the fields above; `"*"` for groups that are not named."""

    def of_group(self, group: str) -> Ranked:
        """The same with what is asked for in one group; no row of a group that a table leaves out."""
        if self.groups is None:
            return self
        return replace(self, groups=None, **self.groups.get(group, self.groups.get(OTHERS, {"count": 0})))

    @property
    def asked(self) -> str:
        """What is asked for, for people."""
        if self.groups is not None:
            return "; ".join(f"{group}: {self.of_group(group).asked}" for group in self.groups)
        return f"{self.fraction or self.count or self.budget or '1/' + str(self.tau)} of {self.of}"

    def names(self) -> tuple[str, ...]:
        """The score, and what it is weighed and grouped by."""
        return tuple(name for name in (self.name, self.weight, self.by) if name)

    def truth(self, env: Env) -> pa.Array:
        """True for competing rows on the good side of the cut (of their group)."""
        kept = np.zeros(len(env.rows), dtype=bool)
        for group, cut in env.cuts[self.cut].items():
            inside = kept_by(cut, env.scores[self.name], env.uid_of, env.rows, env.path, self.seed)
            kept |= inside & self.members(env, group) & self.fitting(env, group)
        return pa.array(kept)

    def fitting(self, env: Env, group: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """bool (n,): rows that the group's budget could hold alone; every row where there is no budget.

        The others don't compete: the first of them in rank order would end the budget before the rows after it.
        Said here alone, for the search of a cut and for the verdict, so that one threshold tells both.
        """
        budget = self.of_group(group).budget
        if budget is None:
            return np.ones(len(env.rows), dtype=bool)
        return self.weights(env) <= min(budget, _MOST)

    def weights(self, env: Env) -> np.ndarray[Any, np.dtype[np.int64]]:
        """int64 (n,): what each row takes of a budget: 1 without one, 0 where it is not known or below 0."""
        if self.weight is None:
            return np.ones(len(env.rows), dtype=np.int64)
        known = nan_to_null(env.scores[self.weight]).fill_null(0).to_numpy(zero_copy_only=False)
        if known.dtype.kind == "i":
            return np.maximum(known.astype(np.int64), 0)
        if known.dtype.kind == "u":
            return np.minimum(known.astype(np.uint64), np.uint64(_MOST)).astype(np.int64)
        # A float of 2^63 and above has no int64; what a cast makes of it differs between processors.
        whole, most = np.maximum(known.astype(np.float64), 0), 2.0**63
        return np.where(whole < most, np.where(whole < most, whole, 0).astype(np.int64), _MOST)

    def members(self, env: Env, group: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """bool (n,): rows of a group; every row where there are no groups."""
        if self.by is None:
            return np.ones(len(env.rows), dtype=bool)
        values = env.scores[self.by].cast(pa.string())
        here = pc.equal(values, pa.scalar(group)).fill_null(False)
        return np.asarray(here.to_numpy(zero_copy_only=False), dtype=bool)

    def target(self, rows: int) -> int:
        """How many of `rows` rows (or how much of the budget) the cut keeps, in exact integers.

        `position="datacomp"` is `baselines/apply_filter.py`'s rank: `sorted_desc[int(N * f)]`, one more than asked,
        with the product rounded as a float (mlfoundations/datacomp).
        """
        if self.budget is not None:
            return self.budget
        if self.count is not None:
            return min(self.count, rows)
        if self.tau is not None:
            return int(Decimal(rows) / Decimal(self.tau))
        if self.position == "datacomp":
            return int(rows * float(self.fraction or 0)) + 1
        return int(Decimal(rows) * Decimal(self.fraction or "0"))


Amount = float | str | Decimal


def Top(  # noqa: N802
    name: str,
    *,
    fraction: Amount | Mapping[str, Amount] | None = None,
    count: int | Mapping[str, int] | None = None,
    budget: str | Mapping[str, str] | None = None,
    tau: Amount | Mapping[str, Amount] | None = None,
    of: str = "alive",
    rank: str = "alive",
    by: str | None = None,
    lowest: bool = False,
    ties: str = "hash",
    position: str = "exact",
    seed: int = 0,
    reason: str | None = None,
) -> Rule:
    """Keeps the best rows by a score; the cut is exact whatever the size of the pool.

    Args:
        name: a score, or a numeric pool column.
        fraction: 0 to 1, of the rows named by `of`; give a string or Decimal for more digits than a float has.
        count: a number of rows.
        budget: an amount of another score, as `"10B tokens"`: rows are kept best first while their sum fits. A row that
            weighs more than the whole budget (of its group) does not compete: it is dropped with the rule's reason
            whatever its score, and the next best takes its place.
        tau: pool / selected, as CoLoR-Filter states it.
        of: "alive" or "pool": what the fraction is a fraction of.
        rank: "alive" or "pool": which rows compete. "pool" needs every row of the pool scored.
        by: a score with few values; each of its groups gets a cut of its own. Then fraction, count, budget or tau may
            be a table, as `budget={"en": "10B tokens", "*": "1B tokens"}`: `"*"` is for the groups that it does not
            name, of which otherwise no row stays.
        lowest: the smallest scores are the best.
        ties: "hash" keeps exactly as many as asked; "include" keeps all rows that tie with the last (not for a budget,
            which they could exceed).
        position: "exact", or "datacomp" for the rank that DataComp's script takes.
        seed: of the hash that breaks ties.
        reason: for the rows dropped; `<name>.below_cut` (or `.above_cut`) if not given. Also the cut's name.

    >>> Top("dfn", fraction=0.15, of="pool", rank="pool").predicate.target(100_000)
    15000
    >>> Top("quality", by="lang", budget={"en": "10B tokens", "*": "1B tokens"}).predicate.asked
    'en: 10000000000 of alive; *: 1000000000 of alive'
    >>> Top("dfn", fraction=15)
    Traceback (most recent call last):
    poolsieve...PlanError: Top('dfn', fraction=15): must be between 0 and 1; for 15 % write fraction=0.15

    Raises:
        PlanError: for an amount that can't be, for none or several, and for a choice that there is not.
    """
    given = {"fraction": fraction, "count": count, "budget": budget, "tau": tau}
    named = [key for key, value in given.items() if value is not None]
    _kinds(name, by=(by, str | None), lowest=(lowest, bool), seed=(seed, int), reason=(reason, str | None))
    if len(named) != 1:
        raise PlanError(f"Top({name!r}) needs exactly one of fraction, count, budget, tau; got {named or 'none'}")
    _choice(name, "of", of, ("alive", "pool"))
    _choice(name, "rank", rank, ("alive", "pool"))
    _choice(name, "ties", ties, ("hash", "include"))
    _choice(name, "position", position, ("exact", "datacomp"))
    if budget is not None and ties == "include":
        raise PlanError(f"Top({name!r}, ties='include'): rows that tie could exceed a budget; use ties='hash'")
    side = "above_cut" if lowest else "below_cut"
    reason = reason or f"{name}.{side}"
    asked, kind = given[named[0]], named[0]
    if isinstance(asked, Mapping):
        groups = {group: _asked(name, kind, one) for group, one in _table("Top", name, asked, by).items()}
        weights = {one.pop("weight") for one in groups.values() if "weight" in one}
        if len(weights) > 1:
            raise PlanError(f"Top({name!r}): one score is summed for all groups, not {', '.join(sorted(weights))}")
        amounts = {"groups": groups, "weight": next(iter(weights), None)}
    else:
        amounts = _asked(name, kind, asked)
    options = {"of": of, "rank": rank, "by": by, "lowest": lowest, "ties": ties, "position": position, "seed": seed}
    return Rule(Ranked(name=name, cut=reason, **options, **amounts), reason)  # type: ignore[arg-type]


def _asked(name: str, kind: str, value: Any) -> dict[str, Any]:
    """What is asked for, as fields of `Ranked`."""
    if kind == "budget":
        amount, weight = _budget(name, value)
        return {"budget": amount, "weight": weight}
    if kind == "count":
        return {"count": _count(name, value)}
    low, high = ("0", "1") if kind == "fraction" else ("1", None)
    return {kind: _decimal(name, kind, value, low=low, high=high)}


def _kinds(score: Any, **given: tuple[Any, Any]) -> None:
    if not isinstance(score, str) or not score:
        raise PlanError(f"Top({short(score)}): expected the name of a score or of a numeric column")
    for what, (value, hint) in given.items():
        wrong = wrong_kind(value, hint)
        if wrong is None and what == "seed" and not -(1 << 63) <= value < 1 << 63:
            wrong = "must have at most 64 bits"
        if wrong is not None:
            raise PlanError(f"Top({score!r}, {what}={short(value)}): {wrong}")


def _choice(name: str, what: str, value: Any, allowed: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise unknown_name(f"Top({name!r}, {what}={short(value)}): no such choice", short(value), allowed)


def _decimal(name: str, what: str, value: Any, low: str, high: str | None) -> str:
    try:
        number = Decimal(repr(value) if isinstance(value, float) else str(value))
    except ArithmeticError as error:
        raise PlanError(f"Top({name!r}, {what}={value!r}): not a number") from error
    if not number.is_finite() or number < Decimal(low) or (high is not None and number > Decimal(high)):
        span = f"between {low} and {high}" if high else f"at least {low}"
        percent = what == "fraction" and number.is_finite() and 1 < number <= 100
        hint = f"; for {value} % write fraction={number / 100}" if percent else ""
        raise PlanError(f"Top({name!r}, {what}={value!r}): must be {span}{hint}")
    return str(number)


def _count(name: str, count: Any) -> int:
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise PlanError(f"Top({name!r}, count={count!r}): must be a whole number of rows, 0 or more")
    return count


_LARGEST = 10**18
"""The largest budget: sums of int64 weights stay below their limit."""

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}


def _budget(name: str, budget: Any) -> tuple[int, str]:
    """`"10B tokens"` -> (10_000_000_000, "tokens")."""
    number, _, weight = str(budget).strip().partition(" ")
    unit = number[-1:].upper() if number[-1:].isalpha() else ""
    try:
        amount = Decimal(number[: len(number) - len(unit)].replace("_", "")) * _UNITS[unit]
    except (ArithmeticError, KeyError) as error:
        raise PlanError(f"Top({name!r}, budget={budget!r}): write an amount and a score, as '10B tokens'") from error
    if not amount.is_finite() or amount > _LARGEST:
        raise PlanError(f"Top({name!r}, budget={budget!r}): an amount up to 10^18 is expected")
    if not weight.strip() or amount < 0:
        raise PlanError(f"Top({name!r}, budget={budget!r}): name the score that is summed, as '10B tokens'")
    return int(amount), weight.strip()


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
