"""Edited texts in an export: `--column text=text` writes what the recipe's edits made of a role, computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.export.index import ColumnRecord
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.formats.base import UID, Ints, wanted
from poolsieve.dataflow.pools.shards import Batch, Shard
from poolsieve.dataflow.recipes.compile import compile_recipe
from poolsieve.dataflow.recipes.derived import DerivedRole, RoleSource, RoleValues, editors, pool_roles, scores_read
from poolsieve.dataflow.recipes.program import Program
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.store.scores import FolderListing, read_scores
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError, unknown_name


class ScoreFiles(NamedTuple):
    """Where the scores of a step are stored, and their types by full name."""

    listing: FolderListing
    types: Mapping[str, pa.DataType]


@dataclass(frozen=True, kw_only=True)
class EditedColumns:
    """Columns of an export that hold edited roles. The recipe travels as its source, as in a job.

    Attributes:
        columns: column of the export -> role of the recipe.
        role_types: as the recipe is compiled with.
        source, given: the recipe, as text or as an object.
    """

    columns: Mapping[str, str]
    role_types: Mapping[str, pa.DataType]
    source: RecipeSource | None = None
    given: Recipe | None = None
    score_files: Mapping[str, ScoreFiles] = field(default_factory=dict)

    def scores(self, derived: Mapping[str, RoleSource], shard: Shard, rows: Ints) -> dict[str, pa.Array]:
        """The stored scores that edits read, for some rows of a shard: int64 (n,), ascending.

        Raises:
            PoolsieveError: where they are not stored any more.
        """
        made: dict[str, pa.Array] = {}
        for source in scores_read(derived):
            where = self.score_files[source.step]
            stored = read_scores(where.listing, shard, rows, {source.name: where.types[source.name]})
            made[source.name] = stored.columns[source.name]
        return made

    def derived(self, files: PoolFiles) -> dict[str, DerivedRole]:
        """Column -> the edited role as it is at the end of the recipe.

        Raises:
            PlanError: for a role that the recipe does not edit.
        """
        edited = self.program(files).edited
        for column, role in self.columns.items():
            if role not in edited:
                raise unknown_name(f"--column {column}={role}: the recipe edits no role {role!r}", role, edited)
        return {column: edited[role] for column, role in self.columns.items()}

    def program(self, files: PoolFiles) -> Program:
        """The recipe, compiled."""
        recipe = self.source.recipe() if self.source is not None else self.given
        if recipe is None:
            raise PlanError("edited columns need the recipe")
        return compile_recipe(recipe.stages, files.roles, self.role_types)

    def about(self, files: PoolFiles) -> dict[str, ColumnRecord]:
        """What the index says: for each column its role and the editors that it comes through, the last first."""
        made = {}
        for column, derived in self.derived(files).items():
            chain = tuple({**one.to_dict(), "version": one.version} for one in editors({"": derived}))
            made[column] = ColumnRecord(role=self.columns[column], editors=chain)
        return made


def parse_columns(given: tuple[str, ...]) -> dict[str, str]:
    """`("text=text",)` -> {"text": "text"}.

    Raises:
        PlanError: for what is not COLUMN=ROLE, a column given twice or a nested one.
    """
    made: dict[str, str] = {}
    for item in given:
        column, equals, role = item.partition("=")
        if not column or not equals or not role:
            raise PlanError(f"--column {item!r}: write COLUMN=ROLE, as text=text")
        if column in made:
            raise PlanError(f"--column {column} is given twice")
        if "." in column:
            raise PlanError(f"--column {column}: an edited text goes to a column or key of its own, not into a field")
        made[column] = role
    return made


@dataclass
class EditedRows:
    """The edited columns of one shard, asked for in ascending order of rows; texts of one batch are held at a time."""

    edits: EditedColumns
    files: PoolFiles
    shard: Shard
    rows: Ints
    lost: dict[str, int] = field(default_factory=dict)
    """Column -> rows that have no edited text, because it could not be made."""

    def __post_init__(self) -> None:
        self.derived = self.edits.derived(self.files)
        self.scores = self.edits.scores(self.derived, self.shard, self.rows)
        self.batches = self._batches()
        self.start = self.stop = 0
        self.columns: list[pa.Array] = []

    def take(self, rows: Ints) -> dict[str, pa.Array]:
        """Column -> a string array."""
        parts: list[list[pa.Array]] = []
        while len(rows):
            while self.stop <= rows[0]:
                self._next()
            inside = int(np.searchsorted(rows, self.stop))
            index = pa.array(rows[:inside] - self.start, pa.int64())
            parts.append([column.take(index) for column in self.columns])
            rows = rows[inside:]
        columns = [pa.concat_arrays(list(some)) for some in zip(*parts, strict=True)] if parts else self._none()
        return dict(zip(self.derived, columns, strict=True))

    def _none(self) -> list[pa.Array]:
        return [pa.array([], pa.string()) for _ in self.derived]

    def _next(self) -> None:
        batch = next(self.batches, None)
        if batch is None:
            raise PoolsieveError(f"{self.shard.path} has fewer rows than its ledger: run `poolsieve run` again")
        self.start, self.stop = batch.start, batch.start + batch.num_rows
        low, high = np.searchsorted(self.rows, (self.start, self.stop))
        local = np.unique(self.rows[low:high] - self.start)
        readable = np.array([i for i in local if int(i) not in batch.read_errors], dtype=np.int64)
        self.columns = [self._column(name, batch, readable) for name in self.derived]

    def _column(self, name: str, batch: Batch, rows: Ints) -> pa.Array:
        values = RoleValues(batch.roles, batch.role_errors)
        values.scores = scores_of(self.scores, self.rows, batch)
        made, good, failed = values.batch({name: self.derived[name]}, rows)
        if failed:
            self.lost[name] = self.lost.get(name, 0) + len(failed)
        index = np.full(batch.num_rows, -1, dtype=np.int64)
        index[good] = np.arange(len(good))
        return made.column(0).take(pa.array(index, pa.int64(), mask=index < 0))

    def _batches(self) -> Iterator[Batch]:
        roles = tuple(dict.fromkeys(role for one in self.derived.values() for role in pool_roles({"": one})))
        types = {role: pa.string() if role == UID else self.edits.role_types[role] for role in roles}
        yield from self.files.batches(self.shard, roles, types, wanted(self.rows))


def scores_of(scores: Mapping[str, pa.Array], rows: Ints, batch: Batch) -> dict[str, pa.Array]:
    """Scores of some `rows` of a shard, laid out by the rows of a batch; null for the others."""
    at = np.minimum(np.searchsorted(rows, batch.rows), max(len(rows) - 1, 0))
    absent = rows[at] != batch.rows if len(rows) else np.ones(batch.num_rows, dtype=bool)
    return {name: values.take(pa.array(at, pa.int64(), mask=absent)) for name, values in scores.items()}
