"""`Top`: the best rows by a score, as many as a fraction, a count or a budget says. `selection` finds its cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.filters.dsl.cuts import Cut, Mask, kept_by
from poolsieve.filters.dsl.env import SCORE, Env, paths_at
from poolsieve.filters.dsl.expr import Predicate
from poolsieve.filters.dsl.groups import Groups
from poolsieve.filters.dsl.limits import nan_to_null
from poolsieve.filters.dsl.stages import OTHERS, Rule, group_table
from poolsieve.scoring_models.base.errors import PlanError, unknown_name
from poolsieve.scoring_models.base.kinds import short, wrong_kind

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
    after: str | None = None
    """Name of an earlier cut of the same rule: of `count` (in each group) those that it keeps are taken."""
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
        kept, weights, cuts = np.zeros(len(env.rows), dtype=bool), self.weights(env), env.cuts[self.cut]
        for group, rows in self.grouped(env).rows():
            if group in cuts:
                kept[rows] = self._inside(env, cuts[group], rows) & self.fitting(group, weights[rows])
        return pa.array(kept)

    def _inside(self, env: Env, cut: Cut, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Mask:
        """bool (m,): which of some rows are on the good side of their cut."""
        if len(rows) == len(env.rows):
            return kept_by(cut, env.scores[self.name], env.uid_of, env.rows, env.path, self.seed)
        index = pa.array(rows, pa.int64())
        scores = env.scores[self.name].take(index)
        return kept_by(cut, scores, lambda: env.uid.take(index), env.rows[rows], paths_at(env.path, rows), self.seed)

    def grouped(self, env: Env) -> Groups:
        """The group of each row: one of all rows without `by`."""
        return Groups.of(None if self.by is None else env.scores[self.by], len(env.rows))

    def fitting(self, group: str, weights: np.ndarray[Any, np.dtype[np.int64]]) -> Mask:
        """bool (m,): rows that the group's budget could hold alone; every row where there is no budget.

        The others don't compete: the first of them in rank order would end the budget before the rows after it.
        Said here alone, for the search of a cut and for the verdict, so that one threshold tells both.
        """
        budget = self.of_group(group).budget
        if budget is None:
            return np.ones(len(weights), dtype=bool)
        return weights <= min(budget, _MOST)

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

    def target(self, rows: int, taken: int = 0) -> int:
        """How many of `rows` rows (or how much of the budget) the cut keeps, in exact integers.

        `taken` of a count are another cut's.

        `position="datacomp"` is `baselines/apply_filter.py`'s rank: `sorted_desc[int(N * f)]`, one more than asked,
        with the product rounded as a float (mlfoundations/datacomp).
        """
        if self.budget is not None:
            return self.budget
        if self.count is not None:
            return max(0, min(self.count, rows) - taken)
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
        groups = {group: _asked(name, kind, one) for group, one in group_table("Top", name, asked, by).items()}
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
