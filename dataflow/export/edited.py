"""Edited texts in an export: `--column text=text` writes what the recipe's edits made of a role, computed again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.shards import Batch, Shard
from poolsieve.dataflow.recipes.compile import compile_recipe
from poolsieve.dataflow.recipes.derived import DerivedRole, RoleValues, editors, pool_roles
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError, unknown_name

Ints = np.ndarray[Any, np.dtype[np.int64]]


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

    def derived(self, files: PoolFiles) -> dict[str, DerivedRole]:
        """Column -> the edited role as it is at the end of the recipe.

        Raises:
            PlanError: for a role that the recipe does not edit.
        """
        recipe = self.source.recipe() if self.source is not None else self.given
        if recipe is None:
            raise PlanError("edited columns need the recipe")
        edited = compile_recipe(recipe.stages, files.roles, self.role_types).edited
        for column, role in self.columns.items():
            if role not in edited:
                raise unknown_name(f"--column {column}={role}: the recipe edits no role {role!r}", role, edited)
        return {column: edited[role] for column, role in self.columns.items()}

    def about(self, files: PoolFiles) -> dict[str, Any]:
        """What `export.json` says: for each column its role and the editors that it comes through, the last first."""
        made = {}
        for column, derived in self.derived(files).items():
            chain = [{**one.to_dict(), "version": one.version} for one in editors({"": derived})]
            made[column] = {"role": self.columns[column], "editors": chain}
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
    """The edited columns of one shard, asked for in ascending order of rows; texts of one chunk are held at a time."""

    edits: EditedColumns
    files: PoolFiles
    shard: Shard
    rows: Ints
    lost: dict[str, int] = field(default_factory=dict)
    """Column -> rows that have no edited text, because it could not be made."""

    def __post_init__(self) -> None:
        self.derived = self.edits.derived(self.files)
        self.chunks = self._chunks()
        self.start = self.stop = 0
        self.columns: list[pa.Array] = []

    def take(self, rows: Ints) -> list[pa.Array]:
        """A string array for each column."""
        parts: list[list[pa.Array]] = []
        while len(rows):
            while self.stop <= rows[0]:
                self._next()
            inside = int(np.searchsorted(rows, self.stop))
            index = pa.array(rows[:inside] - self.start)
            parts.append([column.take(index) for column in self.columns])
            rows = rows[inside:]
        return [pa.concat_arrays(list(column)) for column in zip(*parts, strict=True)] if parts else self._none()

    def _none(self) -> list[pa.Array]:
        return [pa.array([], pa.string()) for _ in self.derived]

    def _next(self) -> None:
        chunk = next(self.chunks, None)
        if chunk is None:
            raise PoolsieveError(f"{self.shard.path} has fewer rows than its ledger: run `poolsieve run` again")
        self.start, self.stop = chunk.start, chunk.start + chunk.num_rows
        low, high = np.searchsorted(self.rows, (self.start, self.stop))
        local = np.unique(self.rows[low:high] - self.start)
        readable = np.array([i for i in local if int(i) not in chunk.read_errors], dtype=np.int64)
        self.columns = [self._column(name, chunk, readable) for name in self.derived]

    def _column(self, name: str, chunk: Batch, rows: Ints) -> pa.Array:
        values = RoleValues(chunk.roles, chunk.role_errors)
        batch, good, failed = values.batch({name: self.derived[name]}, rows)
        if failed:
            self.lost[name] = self.lost.get(name, 0) + len(failed)
        index = np.full(chunk.num_rows, -1, dtype=np.int64)
        index[good] = np.arange(len(good))
        return batch.column(0).take(pa.array(index, mask=index < 0))

    def _chunks(self) -> Iterator[Batch]:
        roles = tuple(dict.fromkeys(role for one in self.derived.values() for role in pool_roles({"": one})))
        types = {role: self.edits.role_types[role] for role in roles}

        def want(start: int, n: int) -> bool:
            low, high = np.searchsorted(self.rows, (start, start + n))
            return bool(high > low)

        yield from self.files.batches(self.shard, roles, types, want)


def with_text(line: bytes, key: str, text: str | None) -> bytes:
    """A JSON object's own bytes with another value of one key; the key comes last if it is new."""
    value = json.dumps(text, ensure_ascii=False)
    whole = line.decode("utf-8-sig").rstrip()
    span = _value_span(whole, key)
    if span is not None:
        return f"{whole[: span[0]]}{value}{whole[span[1] :]}".encode()
    body = whole[:-1].rstrip()
    comma = "" if body.endswith("{") else ","
    return f"{body}{comma}{json.dumps(key, ensure_ascii=False)}:{value}}}".encode()


_DECODER = json.JSONDecoder(strict=False)
_SPACES = " \t\r\n"


def _value_span(whole: str, key: str) -> tuple[int, int] | None:
    """Where the value of an object's key stands (of the last one, which is the one that counts)."""
    found, at = None, _skip(whole, _skip(whole, 0) + 1)
    while whole[at] == '"':
        name, at = _DECODER.raw_decode(whole, at)
        start = _skip(whole, _skip(whole, at) + 1)
        _, stop = _DECODER.raw_decode(whole, start)
        found = (start, stop) if name == key else found
        at = _skip(whole, stop)
        at = _skip(whole, at + 1) if whole[at] == "," else at
    return found


def _skip(whole: str, at: int) -> int:
    """The next place that is no whitespace."""
    while whole[at] in _SPACES:
        at += 1
    return at
