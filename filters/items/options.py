"""How many options an item has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.scorer import Resources, Scored, ScorerConfig

TURNS = "turns"
"""Field of a panel's item: how often it was asked, each time with its options turned."""

MOST = (1 << 31) - 1


@dataclass(frozen=True, eq=False)
class OptionCount(ScorerConfig):
    """The number of an item's options, int32; null where none are known, or where the pool has no such role.

    Where an item was asked in all turns of its options, and every answer has to be right, it is the number of ways to
    answer them all (4 options: 4^4 = 256), of which one is right: what a guesser chooses from.

    Args:
        role: a number, a list of options, or a text that is a JSON list (or number).
        item: score of a live panel that says in how many turns it asked; none for stored answers.
    """

    role: str = "options"
    item: str = "panel.item"
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The role, and the panel's word on the item."""
        return (self.role, self.item)

    @property
    def optional_reads(self) -> tuple[str, ...]:
        """A pool need not have the role: its questions are open then."""
        return (self.role, self.item)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """The count."""
        return {"": pa.int32()}

    @property
    def resources(self) -> Resources:
        """Next to nothing."""
        return Resources()

    def check_role(self, where: str, role: str, kind: pa.DataType) -> None:
        """Refuses what can't say how many options there are.

        Raises:
            PlanError: naming the role's type.
        """
        if role == self.item and pa.types.is_struct(kind):
            return
        fits = pa.types.is_integer(kind) or _is_list(kind) or pa.types.is_string(kind) or pa.types.is_null(kind)
        if not fits:
            raise PlanError(f"{where} reads {role!r} as options, but it is {kind}: name a list, or their number")

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The count of each row."""
        counts = option_count(batch.column(self.role))
        item: Any = batch.column(self.item)
        turns = item.field(TURNS) if _has_turns(item.type) else None
        return Scored({"": counts if turns is None else _ways(counts, turns)})


def _has_turns(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and kind.get_field_index(TURNS) >= 0


def _ways(counts: pa.Array, turns: pa.Array) -> pa.Array:
    """Ways to answer all turns, at most 2^31 - 1: of so many guessers one in a hundred hits one in any case."""
    pairs = zip(counts.to_pylist(), turns.to_pylist(), strict=True)
    return pa.array([n and min(n ** min(turn or 1, 31), MOST) for n, turn in pairs], pa.int32())


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def option_count(values: Any) -> pa.Array:
    """int32 (n,): from lists, numbers or JSON texts; null for an empty list, a negative number or another text."""
    if _is_list(values.type):
        counts = pc.list_value_length(values).cast(pa.int32())
    elif pa.types.is_integer(values.type):
        fits = pc.and_(pc.greater(values, pa.scalar(0)), pc.less(values, pa.scalar(1 << 31)))
        counts = pc.if_else(fits, values, pa.scalar(None, values.type)).cast(pa.int32())
    else:
        counts = pa.array([_of_text(value) for value in values.to_pylist()], pa.int32())
    some = pc.greater(counts, pa.scalar(0, pa.int32()))
    return pc.if_else(some, counts, pa.scalar(None, pa.int32()))


def _of_text(value: Any) -> int | None:
    try:
        found = json.loads(value) if value else None
    except (ValueError, RecursionError):
        return None
    if isinstance(found, list):
        return len(found)
    return found if type(found) is int and 0 < found < 1 << 31 else None
