"""Checks a recipe against its pool and resolves every name in it.

A rule's name is a score made earlier, else a statistic of a role (`text.word_count`), else a
pool column, which becomes a scorer of its own just before the rule that first reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from poolsieve.dataflow.pools.casts import is_bytes
from poolsieve.dataflow.pools.formats.base import UID
from poolsieve.dataflow.recipes.derived import DerivedRole, FromScore, NoRole, RoleSource
from poolsieve.dataflow.recipes.program import DeriveStep, Program, RuleStep, ScoreStep, Step
from poolsieve.dataflow.recipes.walk import Cuts
from poolsieve.filters.dsl.cuts import Cut, Table, key_bits
from poolsieve.filters.dsl.derive import Derive
from poolsieve.filters.dsl.edits import Edit, Editor, FunctionEditor
from poolsieve.filters.dsl.expr import Arithmetic, Compare, IsIn, Literal, Node, Predicate, renamed
from poolsieve.filters.dsl.expr import Column as ColumnNode
from poolsieve.filters.dsl.limits import typed_limit
from poolsieve.filters.dsl.stages import Rule, Score, Stage, not_a_stage
from poolsieve.filters.dsl.statistics import PoolColumn, pool_column, statistic_of
from poolsieve.filters.dsl.top import Ranked
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.derived import Composite, Derived
from poolsieve.scoring_models.base.errors import PlanError, unknown_name
from poolsieve.scoring_models.base.functions import FunctionScorer
from poolsieve.scoring_models.base.kinds import short
from poolsieve.scoring_models.base.outcomes import BLIND, SIGHTED
from poolsieve.scoring_models.base.scorer import Scorer, TextScorer, is_scorer, knows_facts, score_names

LEDGER = ("path", "row", "uid", "keep", "reason")
"""Columns that a ledger has, or is given when it is read, whatever the recipe: no score is called so."""

POOL = "pool."
"""`pool.text` is the pool's own text, whatever edits there are."""


Facts = Callable[[str, Scorer], JsonObject]
"""(name of a score, its scorer) -> what is known of its files; empty where they must be looked at."""


def _no_facts(name: str, scorer: Scorer) -> JsonObject:
    return {}


def compile_recipe(
    stages: Sequence[Stage],
    roles: Collection[str],
    role_types: Mapping[str, pa.DataType],
    facts: Facts = _no_facts,
) -> Program:
    """Checks a recipe and resolves its names.

    Args:
        stages: the recipe's.
        roles: the roles that the pool declares.
        role_types: Arrow type of every role and readable pool column.
        facts: what is known of scorers' files; see `KnowsFacts`.

    Raises:
        PlanError: for an unknown role, column or score, a name or reason given twice, or a type that a rule can't use.
    """
    builder = _Builder(roles, role_types, facts)
    for position, stage in enumerate(stages, 1):
        builder.add(position, stage)
    if not builder.steps:
        raise PlanError("the recipe has no stages: add at least one, as `pool | Keep(col('text').word_count() <= 64)`")
    return Program(tuple(builder.marked()), builder.edited)


class _Builder:
    """Collects steps while names become known.

    Attributes:
        declared: roles that the pool declares.
        pool_types: role or column of the pool -> type; never changes.
        role_types: the same with edited roles as they are at this point of the recipe.
        steps: so far.
        types: score -> type, of the steps so far; `scorer_of` says which step makes it.
        whole_pool: score steps that must score every readable row.
        reasons: reason -> place of the stage that has it.
        edited: edited role -> what makes it, as it is at this point; `edits` counts how often it was edited.
        implicit: scores that nobody asked for by `Score(...)`: a rule named a statistic or a column. When its role is
            edited later, the same name in a later rule means the edited one.
        asked: name of such a score over an edited role (`text.edited.word_count`) -> the name in the rule.
    """

    def __init__(self, roles: Collection[str], role_types: Mapping[str, pa.DataType], facts: Facts) -> None:
        self.declared, self.role_types, self.facts = roles, dict(role_types), facts
        self.steps: list[Step] = []
        self.types: dict[str, pa.DataType] = {}
        self.scorer_of: dict[str, str] = {}
        self.whole_pool: set[str] = set()
        self.reasons: dict[str, str] = {}
        self.pool_types = dict(role_types)
        self.edited: dict[str, DerivedRole] = {}
        self.edits: dict[str, int] = {}
        self.implicit: set[str] = set()
        self.asked: dict[str, str] = {}

    def add(self, position: int, stage: Any) -> None:
        """Takes the next stage."""
        where = getattr(stage, "place", "") or f"stage {position}"
        if isinstance(stage, Score):
            for name, scorer in stage.scorers.items():
                self.add_scored(f"{where}, Score({name}=...)", name, scorer, stage)
        elif isinstance(stage, Derive):
            for name, derived in stage.values.items():
                self.add_derived(f"{where}, Derive({name}=...)", name, derived)
        elif isinstance(stage, Edit):
            for role, editor in stage.editors.items():
                self.add_edit(f"{where}, Edit({role}=...)", role, editor)
        elif isinstance(stage, Rule):
            self.add_rule(f"{where} ({stage.reason})", where, stage)
        else:
            raise not_a_stage(f"{where}:", stage)

    def add_edit(self, where: str, role: str, editor: Editor) -> None:
        """From here on `role` is what the editor makes."""
        known = self.role_types.get(role, pa.string())
        if not (pa.types.is_string(known) or pa.types.is_large_string(known)):
            raise PlanError(f"{where}: the role is {known}, and an edit makes a text; give the new role another name")
        if role.startswith(POOL):
            raise PlanError(f"{where}: {role!r} names the pool's own value, which no edit changes")
        self.check_inputs(where, editor)
        count = self.edits[role] = self.edits.get(role, 0) + 1
        label = f"{role}.edited{count if count > 1 else ''}"
        self.edited[role] = DerivedRole(label, editor, {name: self.input(where, name) for name in editor.reads})
        self.role_types[role] = pa.string()

    def input_of(self, where: str, scorer: Scorer, role: str) -> RoleSource:
        """Where a scorer's role comes from; nowhere, if there is none and the scorer can do without it."""
        known = role in self.edited or role in self.types or role.removeprefix(POOL) in self.pool_types
        return self.input(where, role) if known or role not in getattr(scorer, "optional_reads", ()) else NoRole()

    def input(self, where: str, role: str) -> RoleSource:
        """Where a role comes from at this point of the recipe."""
        if not isinstance(role, str):
            raise PlanError(f"{where} reads {short(role)}, which is no name of a role")
        if role in self.edited:
            return self.edited[role]
        own = role if role in self.pool_types else role.removeprefix(POOL)
        if own in self.pool_types or (own == UID and role not in self.types):
            return own  # a uid is derived where the pool has none
        if role not in self.types:
            raise unknown_name(
                f"{where} reads role {role!r}, which the pool has not", role, [*self.role_types, *self.types]
            )
        return self.earlier(where, role)

    def earlier(self, where: str, name: str) -> FromScore:
        """An earlier score as a role of a scorer."""
        if name not in self.scorer_of:
            raise PlanError(f"{where} reads {name!r}, a derived value: a score made from it would not last")
        return FromScore(name, self.scorer_of[name])

    def add_scored(self, where: str, name: str, made: Scorer | Composite, stage: Score) -> None:
        """One more score, or those of which a composite is made."""
        only = None if stage.where is None else self.resolved(where, stage.where)
        given: Any = made
        parts: Mapping[str, Any] = {name: made} if is_scorer(made) else given.parts(name)
        for part, one in parts.items():
            if is_scorer(one):
                self.add_scorer(where, part, one, only, stage.optional)
            else:
                self.add_derived(where, part, one)

    def add_derived(self, where: str, name: str, derived: Derived) -> None:
        """One more derived value, after score steps for the pool columns that it reads."""
        for score in derived.reads:
            self.resolve(where, score, lists=True)
        if hasattr(derived, "check_types"):
            derived.check_types(where, self.types)
        columns = self.new_names(where, name, derived.columns)
        self.steps.append(DeriveStep(derived, columns))
        self.types.update(columns)

    def add_scorer(
        self, where: str, name: str, scorer: Scorer, only: Predicate | None = None, optional: bool = False
    ) -> None:
        """One more score step."""
        if knows_facts(scorer) and (known := self.facts(name, scorer)):
            scorer = scorer.with_facts(known)
        inputs = {role: self.input_of(where, scorer, role) for role in scorer.reads}
        self.check_inputs(where, scorer)
        columns = self.new_names(where, name, scorer.columns)
        self.steps.append(ScoreStep(name, scorer, columns, inputs, where=only, optional=optional))
        self.types.update(columns)
        self.scorer_of.update(dict.fromkeys(columns, name))

    def new_names(self, where: str, name: str, columns: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
        """Full names of columns, which nobody has yet."""
        named = score_names(name, columns)
        own = [column for column in named if column in LEDGER]
        if own:
            raise PlanError(
                f"{where}: the ledger has a column {own[0]!r} of its own; give the score another name (a column of the "
                f"pool is {POOL + own[0]!r})"
            )
        taken = [column for column in named if column in self.types]
        if taken:
            raise PlanError(f"{where}: a score named {taken[0]!r} exists already; give this one another name")
        return named

    def check_inputs(self, where: str, made: Scorer | Editor) -> None:
        """Refuses roles without text or bytes, on which ours would fail row by row. A user's own may read any.

        A scorer that reads something else has a method `check_role` of its own.
        """
        anything = isinstance(made, (PoolColumn, FunctionScorer, FunctionEditor))
        if anything or not type(made).__module__.startswith("poolsieve."):
            return
        for role in made.reads:
            own = self.role_types.get(role, self.role_types.get(role.removeprefix(POOL)))
            kind = self.types.get(role, pa.null()) if own is None else own
            if hasattr(made, "check_role"):
                made.check_role(where, role, kind)
                continue
            if pa.types.is_struct(kind):
                example = f"{role}=<column>.{kind.field(0).name}" if kind.num_fields else "another column"
                raise PlanError(f"{where} reads {role!r} as text, but it is {kind}: name a field in it, as {example}")
            if pa.types.is_nested(kind) or pa.types.is_primitive(kind):
                raise PlanError(f"{where} reads {role!r} as text, but it is {kind}: name a column of text")
            if isinstance(made, TextScorer) and is_bytes(kind):
                raise PlanError(
                    f"{where} reads {role!r} as text, but it is {kind}: declare the column as the pool's text, as "
                    "text='<column>', which reads UTF-8 and says which rows have none"
                )

    def add_rule(self, where: str, place: str, rule: Rule) -> None:
        """One more rule step, after score steps for what it names and nobody has scored yet."""
        if rule.reason in self.reasons:
            first = self.reasons[rule.reason]
            raise PlanError(f"{where}: {first} has the same reason; give one of them another, as reason='my.what'")
        self.reasons[rule.reason] = place
        for role, help_text in rule.needs.items():
            if role not in self.declared:
                raise PlanError(f"{where}: the pool declares no role {role!r}. {help_text}")
        predicate = self.resolved(where, rule.predicate)
        tops = tuple(part for part in predicate.parts() if isinstance(part, Ranked))
        for top in tops:
            self.check_top(where, top)
        self.steps.append(RuleStep(predicate, rule.reason, tops))

    def resolved(self, where: str, given: Predicate) -> Predicate:
        """A predicate, once there is a score for each name in it, of a type that it can compare."""
        predicate = renamed(given, self.edited_names(given.names()))
        for name in dict.fromkeys(predicate.names()):
            self.resolve(where, name)
        self.check_types(where, predicate)
        return predicate

    def edited_names(self, names: Iterable[str]) -> dict[str, str]:
        """Names in a rule that mean an edited role or a statistic of one -> what is stored under a name of its own."""
        found = {}
        for name in names:
            if name in LEDGER and name in self.pool_types and name not in self.edited:
                found[name] = POOL + name  # the ledger has a column of that name
                continue
            statistic = statistic_of(name)
            role = name if name in self.edited else statistic.role if statistic else ""
            if role in self.edited and (name not in self.types or name in self.implicit):
                label = self.edited[role].label
                found[name] = label if name == role else f"{label}.{name.rpartition('.')[2]}"
                self.asked.setdefault(found[name], name)
        return found

    def resolve(self, where: str, name: str, lists: bool = False) -> None:
        """Makes sure that a score of this name exists; for a derived value one of lists of floats will do."""
        if name in self.types:
            return
        asked = self.asked.get(name, name)
        own = asked if asked in self.role_types else asked.removeprefix(POOL)
        statistic = statistic_of(asked)
        self.implicit.add(name)
        if own in self.role_types:
            try:
                made = pool_column(asked, self.role_types[own], lists)
            except PlanError as error:
                raise PlanError(f"{where}: {error}") from error
            self.add_scorer(where, name, made)
        elif statistic is not None:
            self.add_scorer(where, name, statistic)
        else:
            known = [*self.types, *self.role_types]
            said = f"{where} reads {name!r}, which is no score made before it and no column of the pool"
            raise unknown_name(said, name, known, _of_answers(name, self.types))

    def check_types(self, where: str, predicate: Predicate) -> None:
        """Refuses comparisons of text with numbers, which would be false for every row, and sums of texts."""
        for part in predicate.parts():
            try:
                part.check()
            except PlanError as error:
                raise PlanError(f"{where}: {error}") from error
            if not isinstance(part, (Compare, IsIn)):
                continue
            _numeric(where, part.left, self.types)
            kind = node_type(part.left, self.types)
            if isinstance(part, IsIn):
                _castable(where, part, kind)
            elif kind is not None and not _comparable(part, kind):
                raise PlanError(f"{where} compares {', '.join(part.names())} ({kind}) with {part.limit!r}")

    def check_top(self, where: str, top: Ranked) -> None:
        """Refuses cuts of what has no order, and marks scorers that a cut needs of rows that are out by then."""
        for name in filter(None, (top.name, top.weight)):
            try:
                key_bits(self.types[name])
            except PlanError as error:
                raise PlanError(f"{where}: score {name!r}: {error}") from error
        if top.rank == "pool" or (top.of == "pool" and top.by):
            for name in top.names():
                self.whole_pool.add(self.of_every_row(where, name))

    def of_every_row(self, where: str, name: str) -> str:
        """The step of a score that every row of the pool must have."""
        step = next((step for step in self.steps if isinstance(step, ScoreStep) and name in step.columns), None)
        if step is None or step.where is not None or any(isinstance(one, FromScore) for one in step.inputs.values()):
            raise PlanError(
                f"{where}: a cut over the whole pool needs {name!r} of every row, and it is made of those alive alone; "
                "take of='alive' and rank='alive'"
            )
        return step.name

    def marked(self) -> list[Step]:
        """The steps, those that must score the whole pool marked so."""
        return [
            replace(step, whole_pool=True) if isinstance(step, ScoreStep) and step.name in self.whole_pool else step
            for step in self.steps
        ]


def _of_answers(name: str, types: Collection[str]) -> str:
    """What to do where a count of models' answers is missing; empty for another name."""
    panel, _, column = name.rpartition(".")
    if not panel or column not in (*BLIND, *SIGHTED, "answers"):
        return ""
    if f"{panel}.answers" in types:
        setting = "without the image" if column in BLIND else "with the image"
        return f"No model in {panel!r} was asked {setting}: add such answers, or leave out what needs them"
    return f"Before it must stand a score {panel!r} of answers, as Answers(...) and Panel(...) make it"


def _comparable(part: Compare, kind: pa.DataType) -> bool:
    """Whether a limit is of a column's kind: text with text, true or false with booleans, numbers with the rest."""
    if isinstance(part.limit, str):
        return pa.types.is_string(kind)
    if isinstance(part.limit, bool):
        return pa.types.is_boolean(kind)
    try:
        typed_limit(part.limit, kind)
    except (pa.ArrowException, OverflowError):
        return False  # a number beyond 64 bits
    return _is_number(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _numeric(where: str, node: Node, types: Mapping[str, pa.DataType]) -> None:
    """Refuses to compute with anything but numbers."""
    if not isinstance(node, Arithmetic):
        return
    for side in (node.left, node.right):
        _numeric(where, side, types)
        if isinstance(side, ColumnNode) and not _is_number(types[side.name]):
            raise PlanError(f"{where} computes with {side.name} ({types[side.name]}), which is no number")
        if isinstance(side, Literal) and isinstance(side.value, str):
            raise PlanError(f"{where} computes with {side.value!r}, which is no number")


def _castable(where: str, part: IsIn, kind: pa.DataType | None) -> None:
    try:
        pa.array(part.values, type=kind)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise PlanError(
            f"{where}: {short(list(part.values))} are no values of {', '.join(part.names())} ({kind})"
        ) from error


def node_type(node: Node, types: Mapping[str, pa.DataType]) -> pa.DataType | None:
    """Arrow type of a node's values; None where arithmetic decides."""
    if isinstance(node, ColumnNode):
        return types[node.name]
    if isinstance(node, (Arithmetic, Literal)):
        return pa.float64()
    return None


def check_frozen(program: Program, cuts: Cuts) -> None:
    """Refuses given cuts that were made for another rule of the same name.

    Raises:
        PlanError: naming the cut and what differs.
    """
    for top in program.tops:
        for group, cut in cuts.get(top.cut, {}).items():
            kind = program.types[top.name]
            where = f"--cuts: the cut {top.cut!r}"
            if not isinstance(cut, Cut):
                raise PlanError(f"{where} is a table there, and a cut in the recipe")
            if cut.kind != "none" and cut.bits != key_bits(kind):
                raise PlanError(f"{where} was made for scores of {cut.bits} bits, and {top.name!r} is {kind}")
            if cut.lowest != top.lowest:
                raise PlanError(f"{where} was made with lowest={cut.lowest}, and the recipe's has lowest={top.lowest}")
            if top.by is None and group:
                raise PlanError(f"{where} has groups ({group!r}), and the recipe's has none: say by=...")
    for step in program.derived:
        if any(not isinstance(found, Table) for found in cuts.get(step.label, {}).values()):
            raise PlanError(f"--cuts: {step.label!r} is a cut there, and a derived value in the recipe")
