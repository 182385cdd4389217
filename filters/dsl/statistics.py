"""Model-free statistics of one role: `col("text").word_count()` and its like. Each is a scorer of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.scoring_models.base.arrow import is_float_list, type_named
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.scorer import Resources, Scored, ScorerConfig


def word_count(text: pa.Array) -> pa.Array:
    """int32 number of whitespace words, exactly `len(text.split())`; null stays null.

    Python's own `split`, since Arrow's kernels differ from it (\\x1c to \\x1f, U+0085) or are no faster.
    """
    counts = [None if value is None else len(value.split()) for value in text.to_pylist()]
    return pa.array(counts, pa.int32())


def char_count(text: pa.Array) -> pa.Array:
    """int32 number of code points, exactly `len(text)`; null stays null."""
    return pc.utf8_length(text).cast(pa.int32())  # type: ignore[call-overload]  # pyarrow-stubs: no bare `Array`


def byte_count(value: pa.Array) -> pa.Array:
    """int64 number of bytes (of the UTF-8 form, for text); null stays null."""
    return pc.binary_length(value).cast(pa.int64())  # type: ignore[call-overload]  # pyarrow-stubs: no bare `Array`


STATISTICS: Mapping[str, tuple[Callable[[pa.Array], pa.Array], pa.DataType]] = {
    "word_count": (word_count, pa.int32()),
    "char_count": (char_count, pa.int32()),
    "byte_count": (byte_count, pa.int64()),
}


@dataclass(frozen=True, eq=False)
class Statistic(ScorerConfig):
    """One statistic of one role, stored as `<role>.<statistic>`."""

    role: str
    statistic: str
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The one role."""
        return (self.role,)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """One column of the statistic's type."""
        return {"": STATISTICS[self.statistic][1]}

    @property
    def resources(self) -> Resources:
        """Python string work holds the interpreter lock."""
        return Resources(holds_gil=self.statistic == "word_count")

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The statistic of each row."""
        return Scored({"": STATISTICS[self.statistic][0](batch.column(self.role))})


@dataclass(frozen=True, eq=False)
class PoolColumn(ScorerConfig):
    """A column of the pool, stored as a score of the same name and type; lists of floats as lists of any length."""

    role: str
    kind: str
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The column."""
        return (self.role,)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """One column of the pool's own type."""
        return {"": type_named(self.kind)}

    @property
    def resources(self) -> Resources:
        """Next to nothing."""
        return Resources()

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The column as it is."""
        column = batch.column(self.role)
        return Scored({"": column.cast(self.columns[""]) if pa.types.is_nested(column.type) else column})


def statistic_of(name: str) -> Statistic | None:
    """The statistic that a dotted score name such as `text.word_count` stands for, if it does."""
    role, _, statistic = name.rpartition(".")
    return Statistic(role, statistic) if role and statistic in STATISTICS else None


def pool_column(name: str, kind: pa.DataType, lists: bool = False) -> PoolColumn:
    """A pool column as a scorer. `lists`: one of lists of floats will do, which no rule can read.

    Raises:
        PlanError: if its values are neither numbers, strings nor booleans.
    """
    if pa.types.is_large_string(kind):
        kind = pa.string()
    if lists and is_float_list(kind):
        return PoolColumn(name, f"list<{kind.value_type}>")  # type: ignore[attr-defined]
    simple = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_string(kind)
    if not (simple or pa.types.is_boolean(kind)):
        raise PlanError(f"column {name!r} is {kind}: a rule needs a number, a string or a boolean")
    return PoolColumn(name, str(kind))
