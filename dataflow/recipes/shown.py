"""What a stage is, in one line for people."""

from __future__ import annotations

from poolsieve.filters.dsl.derive import Derive
from poolsieve.filters.dsl.edits import Edit
from poolsieve.filters.dsl.stages import Rule, Score, Stage


def describe(stage: Stage) -> str:
    """One line for people: what a stage scores, or the reason that it drops rows with."""
    if isinstance(stage, Score):
        return ", ".join(f"score {name} = {scorer!r}" for name, scorer in stage.scorers.items())
    if isinstance(stage, Rule):
        return f"rule  {stage.reason}"
    if isinstance(stage, Edit):
        return ", ".join(f"edit  {role} = {editor!r}" for role, editor in stage.editors.items())
    if isinstance(stage, Derive):
        return ", ".join(f"derive {name} = {made!r}" for name, made in stage.values.items())
    return repr(stage)
