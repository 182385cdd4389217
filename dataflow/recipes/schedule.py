"""Which step runs in which reading of the pool: said here once, for scoring, pipeline and plan alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from poolsieve.dataflow.recipes.program import Program, ScoreStep


@dataclass(frozen=True)
class Schedule:
    """Pass i runs the steps before `stops[i]` (None: to the end); then that rule's cuts are found."""

    program: Program
    stops: tuple[int | None, ...]

    @classmethod
    def of(cls, program: Program, frozen: Iterable[str]) -> Schedule:
        """A stop at each rule that must see the whole pool and whose cut is not frozen."""
        return cls(program, (*program.barriers(frozen), None))

    def scored_in(self, i: int) -> list[ScoreStep]:
        """The score steps that pass i is the first to reach. Those that score the whole pool all run in the first."""
        start = (self.stops[i - 1] or 0) if i else 0
        own = [step for step in self.program.steps[start : self.stops[i]] if isinstance(step, ScoreStep)]
        return own + whole_pool_after(self.program, self.stops[i]) if i == 0 else [s for s in own if not s.whole_pool]

    def reads(self, i: int) -> bool:
        """Whether pass i has anything to score that an earlier pass had not (the first always reads rows)."""
        return i == 0 or bool(self.scored_in(i))


def whole_pool_after(program: Program, stop: int | None) -> list[ScoreStep]:
    """Steps at or after `stop` that score the whole pool, whichever rows are alive: they run in the first pass."""
    later = program.steps[stop:] if stop is not None else ()
    return [step for step in later if isinstance(step, ScoreStep) and step.whole_pool]
