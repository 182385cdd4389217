"""A user's own function as a scorer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from poolsieve.scoring_models.base.arrow import type_named
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from poolsieve.scoring_models.base.scorer import Resources, Scored, ScorerConfig


@dataclass(frozen=True, eq=False)
class FunctionScorer(ScorerConfig):
    """A user's own function as a scorer; made by `scorer(...)`.

    The function takes one `pyarrow.Array` for each role it reads, in order, and returns an array (or a sequence) of
    the same length; with several columns a mapping of column -> array.
    """

    fn: Callable[..., Any] = field(metadata={"runtime": True})
    reads: tuple[str, ...]
    columns: Mapping[str, pa.DataType]
    version: int = 1
    name: str = ""
    resources: Resources = field(default=Resources(holds_gil=True), metadata={"runtime": True})

    def score(self, batch: pa.RecordBatch) -> Scored:
        """Calls the function and casts what it returns to the declared types."""
        result = self.fn(*(batch.column(role) for role in self.reads))
        if len(self.columns) == 1 and not isinstance(result, Mapping):
            result = {next(iter(self.columns)): result}
        columns = {name: _as_array(result[name], kind) for name, kind in self.columns.items()}
        for name, array in columns.items():
            if len(array) != batch.num_rows:
                raise PoolsieveError(f"{self.name} returned {len(array)} values in {name!r} for {batch.num_rows} rows")
        return Scored(columns)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.fn, self.reads, dict(self.columns), self.version, self.name, self.resources))


def _as_array(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array):
        return values.cast(kind)
    return pa.array(values, type=kind)


def scorer(
    fn: Callable[..., Any],
    *,
    reads: Sequence[str],
    columns: Mapping[str, str | pa.DataType],
    version: int = 1,
    holds_gil: bool = True,
) -> FunctionScorer:
    """Makes a scorer of a plain function: `scorer(sharpness, reads=("image",), columns={"sharp": "float32"})`.

    Raise `version` whenever the function gives other numbers: stored scores are looked up by it.

    >>> def shouting(text):
    ...     return [sum(map(str.isupper, value)) / len(value) for value in text.to_pylist()]
    >>> made = scorer(shouting, reads=("text",), columns={"share": "float32"})
    >>> made.score(pa.record_batch({"text": ["LOUD", "or Not"]})).columns["share"].to_pylist()
    [1.0, 0.1666666716337204]

    Raises:
        PlanError: for a lambda or a nested function, which can't be sent to a worker.
    """
    qualified = top_level_name(fn, "scorer")
    types = {name: kind if isinstance(kind, pa.DataType) else type_named(kind) for name, kind in columns.items()}
    if not types:
        raise PlanError(f"scorer({qualified}) needs at least one column, as columns={{'x': 'float32'}}")
    return FunctionScorer(fn, tuple(reads), types, version, qualified, Resources(holds_gil=holds_gil))


def top_level_name(fn: Callable[..., Any], what: str) -> str:
    """The name by which a worker finds a function again.

    Raises:
        PlanError: for a lambda or a nested function, which has none.
    """
    qualified: str = getattr(fn, "__qualname__", "")
    if "<lambda>" in qualified or "<locals>" in qualified or not qualified:
        raise PlanError(
            f"{what}({qualified or fn!r}) can't be sent to a worker: lambdas and nested functions have no name that a "
            "worker could import. Write a function with `def` at the top level of the recipe file."
        )
    return qualified
