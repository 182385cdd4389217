"""A recipe, checked and resolved against its pool: a flat list of score steps and rule steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from poolsieve.dataflow.recipes.derived import DerivedRole, RoleSource, editors, pool_roles, score_steps
from poolsieve.filters.dsl.expr import Predicate
from poolsieve.filters.dsl.top import Ranked
from poolsieve.scoring_models.base.derived import Derived, is_gathered, is_pooled
from poolsieve.scoring_models.base.scorer import Scorer, fed, has_model


@dataclass(frozen=True)
class ScoreStep:
    """A scorer under its name.

    `inputs` says where each role that it reads comes from: the pool, an edit, or an earlier score. `whole_pool`: it
    scores every readable row, not only those alive. `where`: of those alive, only the ones for which this is true.
    `optional`: see `spares`.
    """

    name: str
    scorer: Scorer
    columns: Mapping[str, pa.DataType]
    inputs: Mapping[str, RoleSource]
    whole_pool: bool = False
    where: Predicate | None = None
    optional: bool = False

    @property
    def spares(self) -> bool:
        """Whether a failure costs no row: the recipe says so, or the scorer does."""
        return self.optional or bool(getattr(self.scorer, "spares", False))

    @property
    def pool_roles(self) -> tuple[str, ...]:
        """The roles of the pool that the step needs."""
        return tuple(dict.fromkeys(pool_roles(self.inputs)))

    @property
    def label(self) -> str:
        """What progress and reports call the step."""
        return self.name


@dataclass(frozen=True)
class RuleStep:
    """A rule; `tops` are the cuts inside it, which must be known before it can decide."""

    predicate: Predicate
    reason: str
    tops: tuple[Ranked, ...] = ()

    @property
    def label(self) -> str:
        """What progress and reports call the step."""
        return self.reason


@dataclass(frozen=True)
class DeriveStep:
    """A derived value; `columns` are its full names."""

    derived: Derived
    columns: Mapping[str, pa.DataType]

    @property
    def label(self) -> str:
        """What reports call the step, and `cuts.json` its table: its first column."""
        return next(iter(self.columns))

    @property
    def sees_pool(self) -> bool:
        """Whether it needs more than a row's own scores."""
        return is_pooled(self.derived) or is_gathered(self.derived)


Step = ScoreStep | RuleStep | DeriveStep


@dataclass(frozen=True)
class Program:
    """The steps of a recipe in order; `edited` holds each derived role as it is at the end of the recipe."""

    steps: tuple[Step, ...]
    edited: Mapping[str, DerivedRole] = field(default_factory=dict)

    @property
    def scorers(self) -> tuple[ScoreStep, ...]:
        """The score steps in order."""
        return tuple(step for step in self.steps if isinstance(step, ScoreStep))

    @property
    def types(self) -> dict[str, pa.DataType]:
        """Score name -> type, in recipe order."""
        made = (step for step in self.steps if not isinstance(step, RuleStep))
        return {name: kind for step in made for name, kind in step.columns.items()}

    @property
    def tops(self) -> tuple[Ranked, ...]:
        """Every cut that the recipe comes to, in order."""
        return tuple(top for step in self.steps if isinstance(step, RuleStep) for top in step.tops)

    @property
    def derived(self) -> tuple[DeriveStep, ...]:
        """The derived values in order."""
        return tuple(step for step in self.steps if isinstance(step, DeriveStep))

    @property
    def marks(self) -> tuple[str, ...]:
        """Every name that `cuts.json` can have: of cuts, and of tables of derived values."""
        return (*(top.cut for top in self.tops), *(step.label for step in self.derived if step.sees_pool))

    @property
    def repeats(self) -> str | None:
        """The value that says how often a kept row leaves; None where each leaves once."""
        return next((step.label for step in self.derived if getattr(step.derived, "repeats", False)), None)

    @property
    def tokens(self) -> tuple[int, str] | None:
        """(step, score) that counts tokens: the first scorer that says so, else an integer score named `tokens`."""
        scorers = [(i, step) for i, step in enumerate(self.steps) if isinstance(step, ScoreStep)]
        own = [(i, step.name) for i, step in scorers if getattr(step.scorer, "counts", None) == "tokens"]
        named = [(i, "tokens") for i, step in scorers if pa.types.is_integer(step.columns.get("tokens", pa.null()))]
        return next(iter(own + named), None)

    def roles(self) -> tuple[str, ...]:
        """Every role of the pool that some scorer needs."""
        return tuple(dict.fromkeys(role for step in self.scorers for role in step.pool_roles))

    def roles_behind(self, step: ScoreStep) -> tuple[str, ...]:
        """The roles of the pool that a step's scores depend on: its own, and those of the scores that it reads."""
        named = {made.name: made for made in self.scorers}
        earlier = (self.roles_behind(named[name]) for name in dict.fromkeys(score_steps(step.inputs)))
        return tuple(dict.fromkeys([*step.pool_roles, *(role for roles in earlier for role in roles)]))

    def barriers(self, known: Iterable[str] = ()) -> tuple[int, ...]:
        """Positions of the rules and derived values that must see the whole pool first.

        Those with frozen cuts or tables (`known`) need not.
        """
        frozen = set(known)
        return tuple(i for i, step in enumerate(self.steps) if not frozen.issuperset(_waits_for(step)))

    @property
    def wants_processes(self) -> bool:
        """Whether workers should be processes: a scorer holds Python's lock, and no model would be loaded twice."""
        locked = any(step.scorer.resources.holds_gil or any(editors(step.inputs)) for step in self.scorers)
        return locked and not any(has_model(step.scorer) for step in self.scorers)

    @property
    def feeds_model(self) -> bool:
        """Whether some scorer has a model that lets Python's lock go, and so is fed from several shards at a time."""
        return any(fed(step.scorer) for step in self.scorers)

    def rules(self) -> list[Any]:
        """The rules as plain values: what a decision's id is made from beside fingerprints and cuts."""
        return [
            {"reason": step.reason, "rule": step.predicate.to_dict()} if isinstance(step, RuleStep) else _made_by(step)
            for step in self.steps
        ]


def _waits_for(step: Step) -> tuple[str, ...]:
    """Names of the cuts or tables without which a step can't be taken."""
    if isinstance(step, RuleStep):
        return tuple(top.cut for top in step.tops)
    return (step.label,) if isinstance(step, DeriveStep) and step.sees_pool else ()


def _made_by(step: ScoreStep | DeriveStep) -> Any:
    if isinstance(step, DeriveStep):
        return {"derived": step.derived.to_dict(), "version": step.derived.version, "columns": list(step.columns)}
    if step.where is None and not step.optional:
        return step.name
    where = None if step.where is None else step.where.to_dict()
    return {"score": step.name, "where": where, "optional": step.optional}
