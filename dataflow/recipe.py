"""A recipe: a pool and its stages. Data only, printable and comparable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from poolsieve.dataflow.pool import Pool
from poolsieve.filters.edits import Edit
from poolsieve.filters.stages import Rule, Score, Stage
from poolsieve.scoring_models.protocol import Config, PlanError


@dataclass(frozen=True, eq=False)
class Recipe(Config):
    """A pool and the stages that its rows go through, in order."""

    pool: Pool
    stages: tuple[Stage, ...] = ()

    def __or__(self, stage: Stage) -> Recipe:
        if not isinstance(stage, Stage):
            raise PlanError(f"can't add {stage!r} to a recipe: expected a stage such as Keep, Drop, Score or Top")
        return Recipe(self.pool, self.stages + stage.flat())

    def to_dict(self) -> dict[str, Any]:
        """`{"pool": ..., "stages": [...]}` in plain JSON values."""
        return {"pool": self.pool.to_dict(), "stages": [stage.to_dict() for stage in self.stages]}

    def __str__(self) -> str:
        lines = [f"{self.pool.kind} pool {', '.join(self.pool.urls)}"]
        for stage in self.stages:
            lines.append(f"  | {describe(stage)}")
        return "\n".join(lines)


def describe(stage: Stage) -> str:
    """One line for people: what a stage scores, or the reason that it drops rows with."""
    if isinstance(stage, Score):
        return ", ".join(f"score {name} = {scorer!r}" for name, scorer in stage.scorers.items())
    if isinstance(stage, Rule):
        return f"rule  {stage.reason}"
    if isinstance(stage, Edit):
        return ", ".join(f"edit  {role} = {editor!r}" for role, editor in stage.editors.items())
    return repr(stage)
