"""Derived roles at work: where a scorer's input comes from, and its value for the rows of a batch that ask for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.filters.dsl.edits import Editor
from poolsieve.scoring_models.base.arrow import without_columns
from poolsieve.scoring_models.base.errors import RowError
from poolsieve.scoring_models.base.scorer import Scored
from poolsieve.scoring_models.feeding.driver import score_rows

Rows = np.ndarray[Any, np.dtype[np.int64]]
Errors = dict[int, RowError]


@dataclass(frozen=True)
class DerivedRole:
    """A role that an editor makes. `inputs` says where the editor's own roles come from."""

    label: str
    editor: Editor
    inputs: Mapping[str, RoleSource] = field(default_factory=dict)

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The edited texts as a scorer's only column, so that one bad row costs one row here as well."""
        return Scored({"": self.editor.edit(batch).cast(pa.string())})


@dataclass(frozen=True)
class FromScore:
    """A role that is a score: `name` in full, and the step that makes it."""

    name: str
    step: str


@dataclass(frozen=True)
class NoRole:
    """A role that a scorer can do without, and the pool has not: null in every row."""


RoleSource = str | DerivedRole | FromScore | NoRole
"""Where a role comes from: the pool's role of that name, an edit, an earlier score, or nowhere."""


def pool_roles(inputs: Mapping[str, RoleSource]) -> Iterator[str]:
    """The roles of the pool that some inputs are made from."""
    for source in inputs.values():
        if isinstance(source, DerivedRole):
            yield from pool_roles(source.inputs)
        elif isinstance(source, str):
            yield source


def score_steps(inputs: Mapping[str, RoleSource]) -> Iterator[str]:
    """The steps whose scores some inputs are made from."""
    return (source.step for source in scores_read(inputs))


def scores_read(inputs: Mapping[str, RoleSource]) -> Iterator[FromScore]:
    """The scores that some inputs are made from."""
    for source in inputs.values():
        if isinstance(source, DerivedRole):
            yield from scores_read(source.inputs)
        elif isinstance(source, FromScore):
            yield source


def editors(inputs: Mapping[str, RoleSource]) -> Iterator[Editor]:
    """Every editor that some inputs come through."""
    for source in inputs.values():
        if isinstance(source, DerivedRole):
            yield source.editor
            yield from editors(source.inputs)


class RoleValues:
    """The roles of one batch, those of the pool and derived ones; an edit runs once for a row that needs it.

    Args:
        roles: the pool's roles, n rows.
        errors: role -> row -> what is wrong with the value.

    `scores` are those made so far, which a scorer may read as well.
    """

    def __init__(self, roles: pa.RecordBatch, errors: Mapping[str, Mapping[int, RowError]]) -> None:
        self.roles, self.errors = roles, errors
        self.scores: Mapping[str, pa.Array] = {}
        self.made: dict[str, tuple[pa.Array, Errors, np.ndarray[Any, np.dtype[np.bool_]]]] = {}

    def batch(self, inputs: Mapping[str, RoleSource], rows: Rows) -> tuple[pa.RecordBatch, Rows, Errors]:
        """(batch, good, failed): the inputs of `good`, the rows of `rows` whose every value could be had."""
        columns = {role: self._column(source, rows) for role, source in inputs.items()}
        failed = {row: error for _, found in columns.values() for row, error in found.items()}
        good = np.array([i for i in rows if int(i) not in failed], dtype=np.int64) if failed else rows
        arrays = [array for array, _ in columns.values()]
        if not arrays:
            return without_columns(len(good)), good, failed
        whole = pa.RecordBatch.from_arrays(arrays, names=list(inputs))
        return (whole if len(good) == len(whole) else whole.take(pa.array(good, pa.int64()))), good, failed

    def _column(self, source: RoleSource, rows: Rows) -> tuple[pa.Array, Errors]:
        """A column of the whole batch (right for `rows`), and the failures among `rows`."""
        if isinstance(source, FromScore):
            return self.scores[source.name], {}
        if isinstance(source, NoRole):
            return pa.nulls(self.roles.num_rows), {}
        if isinstance(source, DerivedRole):
            values, errors = self._derived(source, rows)
        else:
            values, errors = self.roles.column(source), dict(self.errors.get(source, {}))
        if not errors:
            return values, {}
        inside = set(rows.tolist())
        return values, {row: error for row, error in errors.items() if row in inside}

    def _derived(self, source: DerivedRole, rows: Rows) -> tuple[pa.Array, Errors]:
        n = self.roles.num_rows
        values, errors, done = self.made.get(source.label) or (pa.nulls(n, pa.string()), {}, np.zeros(n, dtype=bool))
        todo = rows[~done[rows]]
        if len(todo):
            batch, good, failed = self.batch(source.inputs, todo)
            made = score_rows(source, batch, {"": pa.string()}, threads=1)  # type: ignore[arg-type]
            errors = errors | failed | {int(good[i]): error for i, error in made.errors.items()}
            values = _placed(values, good, made.columns[""])
            done = done.copy()
            done[todo] = True
            self.made[source.label] = (values, errors, done)
        return values, errors


def spread(values: pa.Array, good: Rows, rows: Rows) -> pa.Array:
    """Values of the rows `good`, laid out over all of `rows` (both ascending, `good` among `rows`); null elsewhere."""
    if len(rows) == len(good):
        return values
    lost = ~np.isin(rows, good)
    return values.take(pa.array(np.where(lost, 0, np.searchsorted(good, rows)), pa.int64(), mask=lost))


def _placed(values: pa.Array, rows: Sequence[int] | Rows, new: pa.Array) -> pa.Array:
    """`values` with `new` at `rows`."""
    if len(rows) == len(values):
        return new
    index = np.arange(len(values))
    index[rows] = len(values) + np.arange(len(rows))
    return pa.concat_arrays([values, new]).take(pa.array(index, pa.int64()))
