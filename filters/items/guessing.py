"""How many models may be right by guessing: the limit above which an item counts as solvable without its image."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.filters.dsl.env import SCORE, Env
from poolsieve.filters.dsl.expr import Predicate
from poolsieve.filters.dsl.stages import OTHERS

CHANCE = "chance"
LEVEL = "0.01"
"""Of guessers' counts, the share that may reach the limit (ours; the paper has no chance model)."""

USUAL_OPTIONS = 4
"""What a warning reckons with where only rows say how many options they have."""

Array = np.ndarray[Any, Any]


def tail(count: int, asked: int, options: int) -> Fraction:
    """P(c >= count) for c ~ Binomial(asked, 1/options), exactly: guessers that are independent of one another."""
    ways = sum(math.comb(asked, c) * (options - 1) ** (asked - c) for c in range(max(count, 0), asked + 1))
    return Fraction(ways, options**asked)


@functools.lru_cache(maxsize=4096)
def chance_limit(asked: int, options: int, level: str = LEVEL) -> int:
    """The least count that at most a share `level` of guessers reaches; 1 for an open question (`options` below 2).

    It may be above `asked`: so few answers never tell solving from guessing.

    >>> chance_limit(27, 4), chance_limit(27, 1), chance_limit(1, 4)
    (13, 1, 2)
    """
    if options < 2:
        return 1
    most = Fraction(level)
    return next(count for count in range(1, asked + 2) if tail(count, asked, options) <= most)


@dataclass(frozen=True, eq=False)
class NotBlindSolvable(Predicate):
    """True where fewer models are right without the image than a limit says; see `suite.blind_solvable`.

    Attributes:
        right, asked: scores with the counts.
        options: score with the number of options; null for an open question.
        tau, at: group -> limit (or "chance"), group -> ">=" or ">"; `"*"` for the others, and for rows without a group.
        by: score with the groups; None where all have one limit.
        level: see `LEVEL`.
    """

    right: str = field(metadata=SCORE)
    asked: str = field(metadata=SCORE)
    options: str = field(metadata=SCORE)
    tau: Mapping[str, int | str]
    at: Mapping[str, str]
    by: str | None = field(default=None, metadata=SCORE)
    level: str = LEVEL

    def names(self) -> tuple[str, ...]:
        """The counts, the options, the groups."""
        return tuple(name for name in (self.right, self.asked, self.options, self.by) if name)

    def truth(self, env: Env) -> pa.Array:
        """Never null but where the count is."""
        right = env.scores[self.right]
        counts = np.asarray(right.fill_null(0).to_numpy(zero_copy_only=False))
        return pa.array(counts < self.limits(env), mask=np.asarray(right.is_null()))

    def limits(self, env: Env) -> Array:
        """int64 (n,): the least count that costs each row its place."""
        out = np.zeros(len(env.rows), dtype=np.int64)
        for group, rows in self._groups(env):
            tau = self.tau.get(group, self.tau[OTHERS])
            beyond = int(self.at.get(group, self.at[OTHERS]) == ">")
            out[rows] = self._chance(env, rows) if tau == CHANCE else int(tau) + beyond
        return out

    def _groups(self, env: Env) -> Iterator[tuple[str, Array]]:
        named = sorted({*self.tau, *self.at} - {OTHERS})
        if self.by is None or not named:
            yield OTHERS, np.arange(len(env.rows))
            return
        places = {name: number for number, name in enumerate(named)}
        values = env.scores[self.by].cast(pa.string()).fill_null(OTHERS).to_pylist()
        codes = np.array([places.get(str(value), -1) for value in values], dtype=np.int64)
        for number, name in enumerate([*named, OTHERS]):
            yield name, np.flatnonzero(codes == (number if name != OTHERS else -1))

    def _chance(self, env: Env, rows: Array) -> Array:
        asked, options = (
            np.asarray(env.scores[name].cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False))[rows]
            for name in (self.asked, self.options)
        )
        pairs, places = np.unique(np.stack([asked, options]), axis=1, return_inverse=True)
        limits = [chance_limit(int(n), int(k), self.level) for n, k in pairs.T]
        return np.array(limits, dtype=np.int64)[places.reshape(-1)]

    def advise(self, made_by: Mapping[str, Any], declared: set[str]) -> Iterator[str]:
        """Warnings for limits that guessers reach, where items have options.

        Args:
            made_by: score -> what makes it.
            declared: roles of the pool.
        """
        models, counted = len(getattr(made_by.get(self.right), "models", ())), made_by.get(self.options)
        turned = getattr(made_by.get(getattr(counted, "item", "")), "circular", False)
        if getattr(counted, "role", "") not in declared or turned:
            return
        for group, tau in self.tau.items():
            least = 0 if tau == CHANCE else int(tau) + int(self.at.get(group, self.at[OTHERS]) == ">")
            if tau != CHANCE and models and tail(least, models, USUAL_OPTIONS) > Fraction(self.level):
                yield _inside_guessing(group, least, models)


def _inside_guessing(group: str, least: int, models: int) -> str:
    share = float(tail(least, models, USUAL_OPTIONS))
    where = "" if group == OTHERS else f" of {group!r}"
    return (
        f"suite.blind_solvable: the limit{where} lies inside guessing: of items with {USUAL_OPTIONS} options, "
        f"{share:.0%} are answered right by {least} or more of {models} models that only guess. Take tau='chance', or "
        "ask without options first"
    )
