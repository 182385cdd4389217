"""A recipe, checked and resolved against its pool: a flat list of score steps and rule steps.

Names are settled here: a rule's name is a score made earlier, else a statistic of a role (`text.word_count`), else a
pool column, which becomes a scorer of its own just before the rule that first reads it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from poolsieve.dataflow.edits import Derived, Input, pool_roles
from poolsieve.dataflow.recipe import Recipe
from poolsieve.filters.cuts import key_bits
from poolsieve.filters.edits import Edit, Editor
from poolsieve.filters.expr import Arithmetic, Compare, IsIn, Literal, Node, Predicate, renamed
from poolsieve.filters.expr import Column as ColumnNode
from poolsieve.filters.stages import Ranked, Rule, Score
from poolsieve.filters.statistics import pool_column, statistic_of
from poolsieve.scoring_models.protocol import PlanError, Scorer, score_names


@dataclass(frozen=True)
class ScoreStep:
    """A scorer under its name.

    `inputs` says where each role that it reads comes from: the pool, or an edit. `whole_pool`: it scores every readable
    row, not only those alive.
    """

    name: str
    scorer: Scorer
    columns: Mapping[str, pa.DataType]
    inputs: Mapping[str, Input]
    whole_pool: bool = False

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


Step = ScoreStep | RuleStep

POOL = "pool."
"""`pool.text` is the pool's own text, whatever edits there are."""


@dataclass(frozen=True)
class Program:
    """The steps of a recipe in order; `edited` holds each derived role as it is at the end of the recipe."""

    steps: tuple[Step, ...]
    edited: Mapping[str, Derived] = field(default_factory=dict)

    @property
    def scorers(self) -> tuple[ScoreStep, ...]:
        """The score steps in order."""
        return tuple(step for step in self.steps if isinstance(step, ScoreStep))

    @property
    def types(self) -> dict[str, pa.DataType]:
        """Score name -> type, in recipe order."""
        return {name: kind for step in self.scorers for name, kind in step.columns.items()}

    @property
    def tops(self) -> tuple[Ranked, ...]:
        """Every cut that the recipe comes to, in order."""
        return tuple(top for step in self.steps if isinstance(step, RuleStep) for top in step.tops)

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

    def barriers(self, known: Iterable[str] = ()) -> tuple[int, ...]:
        """Positions of the rules that must see the whole pool first; those with frozen cuts (`known`) need not."""
        frozen = set(known)
        return tuple(
            i
            for i, step in enumerate(self.steps)
            if isinstance(step, RuleStep) and any(top.cut not in frozen for top in step.tops)
        )

    def rules(self) -> list[Any]:
        """The rules as plain values: what a decision's id is made from beside fingerprints and cuts."""
        return [
            {"reason": step.reason, "rule": step.predicate.to_dict()} if isinstance(step, RuleStep) else step.name
            for step in self.steps
        ]


def compile_recipe(recipe: Recipe, role_types: Mapping[str, pa.DataType]) -> Program:
    """Checks a recipe and resolves its names.

    Args:
        recipe: pool and stages.
        role_types: Arrow type of every role and readable pool column.

    Raises:
        PlanError: for an unknown role, column or score, a name or reason given twice, or a type that a rule can't use.
    """
    builder = _Builder(recipe, role_types)
    for position, stage in enumerate(recipe.stages, 1):
        builder.add(position, stage)
    if not any(isinstance(step, RuleStep) for step in builder.steps) and not builder.steps:
        raise PlanError("the recipe has no stages: add at least one, as `pool | Keep(col('text').word_count() <= 64)`")
    return Program(tuple(builder.hoisted()), builder.edited)


class _Builder:
    """Collects steps while names become known."""

    def __init__(self, recipe: Recipe, role_types: Mapping[str, pa.DataType]) -> None:
        self.recipe, self.role_types = recipe, dict(role_types)
        self.steps: list[Step] = []
        self.types: dict[str, pa.DataType] = {}
        self.scorer_of: dict[str, str] = {}
        self.whole_pool: set[str] = set()
        self.reasons: dict[str, int] = {}
        self.recipe_roles = frozenset(role_types)
        self.edited: dict[str, Derived] = {}
        self.edits: dict[str, int] = {}
        self.implicit: set[str] = set()
        self.implied: dict[str, str] = {}

    def add(self, position: int, stage: Any) -> None:
        where = f"stage {position}"
        if isinstance(stage, Score):
            for name, scorer in stage.scorers.items():
                self.add_scorer(f"{where}, Score({name}=...)", name, scorer)
        elif isinstance(stage, Edit):
            for role, editor in stage.editors.items():
                self.add_edit(f"{where}, Edit({role}=...)", role, editor)
        elif isinstance(stage, Rule):
            self.add_rule(f"{where} ({stage.reason})", position, stage)
        else:
            raise PlanError(f"{where}: {stage!r} is not a stage")

    def add_edit(self, where: str, role: str, editor: Editor) -> None:
        """From here on `role` is what the editor makes."""
        known = self.role_types.get(role, pa.string())
        if not (pa.types.is_string(known) or pa.types.is_large_string(known)):
            raise PlanError(f"{where}: the role is {known}, and an edit makes a text; give the new role another name")
        if role.startswith(POOL):
            raise PlanError(f"{where}: {role!r} names the pool's own value, which no edit changes")
        count = self.edits[role] = self.edits.get(role, 0) + 1
        label = f"{role}.edited{count if count > 1 else ''}"
        self.edited[role] = Derived(label, editor, {name: self.input(where, name) for name in editor.reads})
        self.role_types[role] = pa.string()

    def input(self, where: str, role: str) -> Input:
        """Where a role comes from at this point of the recipe."""
        if role in self.edited:
            return self.edited[role]
        own = role if role in self.recipe_roles else role.removeprefix(POOL)
        if own not in self.recipe_roles:
            raise PlanError(f"{where} reads role {role!r}, which the pool has not" + nearest(role, self.role_types))
        return own

    def add_scorer(self, where: str, name: str, scorer: Scorer) -> None:
        inputs = {role: self.input(where, role) for role in scorer.reads}
        columns = score_names(name, scorer)
        taken = [column for column in columns if column in self.types]
        if taken:
            raise PlanError(f"{where}: a score named {taken[0]!r} exists already; give this one another name")
        self.steps.append(ScoreStep(name, scorer, columns, inputs))
        self.types.update(columns)
        self.scorer_of.update(dict.fromkeys(columns, name))

    def add_rule(self, where: str, position: int, rule: Rule) -> None:
        if rule.reason in self.reasons:
            first = self.reasons[rule.reason]
            raise PlanError(
                f"{where}: stage {first} has the same reason; give one of them another, as reason='my.what'"
            )
        self.reasons[rule.reason] = position
        predicate = renamed(rule.predicate, self.edited_names(rule.predicate.names()))
        for role, help_text in rule.needs.items():
            if role not in self.recipe.pool.roles:
                raise PlanError(f"{where}: the pool declares no role {role!r}. {help_text}")
        tops = tuple(part for part in predicate.parts() if isinstance(part, Ranked))
        for name in dict.fromkeys(predicate.names()):
            self.resolve(where, name)
        self.check_types(where, predicate)
        for top in tops:
            self.check_top(where, top)
        self.steps.append(RuleStep(predicate, rule.reason, tops))

    def edited_names(self, names: Iterable[str]) -> dict[str, str]:
        """Names in a rule that mean an edited role or a statistic of one -> what is stored under a name of its own."""
        found = {}
        for name in names:
            statistic = statistic_of(name)
            role = name if name in self.edited else statistic.role if statistic else ""
            if role in self.edited and (name not in self.types or name in self.implicit):
                label = self.edited[role].label
                found[name] = label if name == role else f"{label}.{name.rpartition('.')[2]}"
                self.implied.setdefault(found[name], name)
        return found

    def resolve(self, where: str, name: str) -> None:
        if name in self.types:
            return
        asked = self.implied.get(name, name)
        own = asked if asked in self.role_types else asked.removeprefix(POOL)
        statistic = statistic_of(asked)
        self.implicit.add(name)
        if own in self.role_types:
            self.add_scorer(where, name, pool_column(asked, self.role_types[own]))
        elif statistic is not None:
            self.add_scorer(where, name, statistic)
        else:
            known = [*self.types, *self.role_types]
            raise PlanError(
                f"{where} reads {name!r}, which is no score made before it and no column of the pool"
                + nearest(name, known)
            )

    def check_types(self, where: str, predicate: Predicate) -> None:
        for part in predicate.parts():
            if isinstance(part, Compare):
                kind = node_type(part.left, self.types)
                wants_text = isinstance(part.limit, str)
                if kind is not None and wants_text != pa.types.is_string(kind):
                    raise PlanError(f"{where} compares {', '.join(part.names())} ({kind}) with {part.limit!r}")
            if isinstance(part, IsIn):
                kind = node_type(part.left, self.types)
                _castable(where, part, kind)

    def check_top(self, where: str, top: Ranked) -> None:
        for name in filter(None, (top.name, top.weight)):
            try:
                key_bits(self.types[name])
            except PlanError as error:
                raise PlanError(f"{where}: score {name!r}: {error}") from error
        if top.rank == "pool" or (top.of == "pool" and top.by):
            self.whole_pool.update(self.scorer_of[name] for name in top.names())

    def hoisted(self) -> list[Step]:
        return [
            replace(step, whole_pool=True) if isinstance(step, ScoreStep) and step.name in self.whole_pool else step
            for step in self.steps
        ]


def _castable(where: str, part: IsIn, kind: pa.DataType | None) -> None:
    try:
        pa.array(part.values, type=kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise PlanError(
            f"{where}: {list(part.values)!r} are no values of {', '.join(part.names())} ({kind})"
        ) from error


def node_type(node: Node, types: Mapping[str, pa.DataType]) -> pa.DataType | None:
    """Arrow type of a node's values; None where arithmetic decides."""
    if isinstance(node, ColumnNode):
        return types[node.name]
    if isinstance(node, (Arithmetic, Literal)):
        return pa.float64()
    return None


def nearest(name: str, known: Iterable[str]) -> str:
    """`; nearest: 'x', 'y'` for a message, or what there is."""
    names: Sequence[str] = list(dict.fromkeys(known))
    close = difflib.get_close_matches(name, names, 3, 0.5)
    if close:
        return "; nearest: " + ", ".join(map(repr, close))
    return "; there is " + (", ".join(map(repr, names[:12])) or "none") + (", ..." if len(names) > 12 else "")
