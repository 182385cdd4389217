"""Walks a program over the rows of one shard or batch: who is alive, who was dropped and why. No Beam, no files.

The same walk serves scoring (a source that computes what is missing), selection and decisions (a source that only
reads what is stored), so what a score was computed for and what a rule sees can't drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.dataflow.recipes.program import DeriveStep, Program, RuleStep, ScoreStep, Step
from poolsieve.filters.dsl.cuts import Cut, Table
from poolsieve.filters.dsl.env import Env, Paths
from poolsieve.scoring_models.base.derived import is_gathered, is_pooled

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Cuts = Mapping[str, Mapping[str, Cut | Table]]
"""Name of a cut -> group ("" without `by`) -> cut; first column of a derived value -> group -> its table."""

QUARANTINE = "quarantine."


@dataclass(frozen=True)
class StepScores:
    """Scores of one step for all n rows (null where not asked for), and error kinds (string array, null = none)."""

    columns: Mapping[str, pa.Array]
    errors: pa.Array | None = None
    unknown: Mask | None = None
    """Rows asked for whose score the source can't give; they leave the walk without a verdict."""


class ScoreSource(Protocol):
    """Where a walk gets its rows and scores from."""

    @property
    def path(self) -> Paths:
        """The file, relative to the pool; object (n,), each row's, if they are of several."""
        ...

    @property
    def rows(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """int64 (n,): positions in the file."""
        ...

    @property
    def uid(self) -> pa.Array:
        """string (n,)."""
        ...

    @property
    def read_errors(self) -> pa.Array:
        """string (n,): null where the row could be read."""
        ...

    def answer(self, step: ScoreStep, needed: Mask, scores: Mapping[str, pa.Array]) -> StepScores:
        """The step's scores for the rows that are needed; `scores` are those made so far."""
        ...

    def gathered(self, table: Table) -> pa.Table:
        """What was gathered of these n rows, null lines for rows of which nothing was."""
        ...


class StepCounts(NamedTuple):
    """Rows that reached a step alive, that left it alive, and that it quarantined."""

    rows_in: int
    out: int
    quarantined: int


@dataclass
class State:
    """How far a walk came. `reason` holds codes into `reasons` (-1: none)."""

    alive: Mask
    reason: np.ndarray[Any, np.dtype[np.int32]]
    reasons: list[str]
    scores: dict[str, pa.Array] = field(default_factory=dict)
    unknown: Mask | None = None
    funnel: list[StepCounts] = field(default_factory=list)
    passed: np.ndarray[Any, np.dtype[np.int16]] = field(default_factory=lambda: np.zeros(0, dtype=np.int16))
    """How many steps each row has come through alive."""
    env: Env | None = None

    def code(self, reason: str) -> int:
        """The code of a reason, made if new."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason)

    def drop(self, mask: Mask, reason: str) -> None:
        """Takes rows out of the living with a reason."""
        self.reason[mask] = self.code(reason)
        self.alive &= ~mask

    def reason_strings(self) -> pa.Array:
        """string (n,): null for rows that no event took out."""
        codes = pa.array(self.reason, mask=self.reason < 0)
        return pa.DictionaryArray.from_arrays(codes, pa.array(self.reasons, pa.string())).cast(pa.string())


def walk(program: Program, source: ScoreSource, cuts: Cuts, stop: int | None = None) -> State:
    """Walks `program` up to (not into) step `stop`, or to the end.

    Rows that could not be read are out before the first step; a needed score's failure takes a row out at the score's
    own step; a rule takes out the rows for which it is not true.
    """
    state = _start(source)
    for position, step in enumerate(program.steps):
        if stop is not None and position >= stop:
            break
        before = int(state.alive.sum())
        quarantined = _taken(state, source, step, cuts)
        after = int(state.alive.sum())
        state.passed += state.alive
        state.funnel.append(StepCounts(before, after, quarantined))
    state.env = environment(state, source, cuts)
    return state


def _start(source: ScoreSource) -> State:
    n = len(source.rows)
    state = State(np.ones(n, dtype=bool), np.full(n, -1, dtype=np.int32), [], passed=np.zeros(n, dtype=np.int16))
    _quarantine(state, source.read_errors)
    return state


def _quarantine(state: State, errors: pa.Array | None) -> int:
    """Takes out the living rows that have an error; returns how many."""
    if errors is None or errors.null_count == len(errors):
        return 0
    failed = _bool(errors.is_valid()) & state.alive
    kinds: list[Any] = errors.to_pylist() if failed.any() else []
    for i in np.flatnonzero(failed):
        state.reason[i] = state.code(QUARANTINE + kinds[i])
    state.alive &= ~failed
    return int(failed.sum())


def _taken(state: State, source: ScoreSource, step: Step, cuts: Cuts) -> int:
    """Takes one step; returns how many rows it quarantined."""
    if isinstance(step, ScoreStep):
        return _score(state, source, step, cuts)
    if isinstance(step, RuleStep):
        return _decide(state, source, step, cuts)
    return _derive(state, source, step, cuts)


def _derive(state: State, source: ScoreSource, step: DeriveStep, cuts: Cuts) -> int:
    """Derived values of the rows alive; null for the others."""
    scores = {name: state.scores[name] for name in step.derived.reads}
    made = step.derived.values(scores, _table(source, step, cuts))
    alive = pa.array(state.alive)
    for (name, kind), values in zip(step.columns.items(), made.values(), strict=True):
        whole = bool(state.alive.all())
        state.scores[name] = values if whole else pc.if_else(alive, values, pa.scalar(None, kind))
    return 0


def _table(source: ScoreSource, step: DeriveStep, cuts: Cuts) -> Any:
    if is_pooled(step.derived):
        return {group: found.sums for group, found in cuts[step.label].items() if isinstance(found, Table)}
    if is_gathered(step.derived):
        return gathered_of(source, step, cuts)
    return None


def gathered_of(source: ScoreSource, step: DeriveStep, cuts: Cuts) -> pa.Table:
    """What was gathered of the source's rows for a derived value, null lines for rows of which nothing was."""
    return next(source.gathered(found) for found in cuts[step.label].values() if isinstance(found, Table))


def _needed(state: State, source: ScoreSource, step: ScoreStep, cuts: Cuts) -> Mask:
    if step.whole_pool:
        return _bool(source.read_errors.is_null())
    if step.where is None:
        return state.alive.copy()
    return state.alive & _bool(step.where.truth(environment(state, source, cuts)).fill_null(False))


def _score(state: State, source: ScoreSource, step: ScoreStep, cuts: Cuts) -> int:
    needed = _needed(state, source, step, cuts)
    answer = source.answer(step, needed, state.scores)
    mask = pa.array(needed)
    for name, kind in step.columns.items():
        values = answer.columns[name]
        state.scores[name] = values if needed.all() else pc.if_else(mask, values, pa.scalar(None, kind))
    if answer.unknown is not None and answer.unknown.any():
        state.unknown = answer.unknown if state.unknown is None else state.unknown | answer.unknown
        state.alive &= ~answer.unknown
    if step.spares:
        return 0
    errors = answer.errors
    if step.where is not None and errors is not None:  # rows that another decision asked for, and this one does not
        errors = pc.if_else(mask, errors, pa.scalar(None, pa.string()))
    return _quarantine(state, errors)


def _decide(state: State, source: ScoreSource, step: RuleStep, cuts: Cuts) -> int:
    truth = step.predicate.truth(environment(state, source, cuts))
    kept = _bool(truth.fill_null(False))
    state.drop(state.alive & ~kept, step.reason)
    return 0


def environment(state: State, source: ScoreSource, cuts: Cuts) -> Env:
    """What rules may look at, at this point of a walk."""
    return Env(state.scores, lambda: source.uid, source.rows, source.path, cuts, state.alive)


def _bool(values: Any) -> Mask:
    return np.array(values.to_numpy(zero_copy_only=False), dtype=bool)


def reasons_count(state: State) -> dict[str, int]:
    """Reason -> rows."""
    codes, counts = np.unique(state.reason[state.reason >= 0], return_counts=True)
    return {state.reasons[int(code)]: int(count) for code, count in zip(codes, counts, strict=True)}


def is_quarantined(state: State) -> Mask:
    """bool (n,): rows out because something failed."""
    failed = [code for code, reason in enumerate(state.reasons) if reason.startswith(QUARANTINE)]
    return np.isin(state.reason, failed)


def quarantined(state: State) -> int:
    """Rows out because something failed."""
    return sum(count for reason, count in reasons_count(state).items() if reason.startswith(QUARANTINE))
