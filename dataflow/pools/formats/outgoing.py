"""What every format shares when it is written: the rows that leave, what goes along, and what became of them.

A *copier* writes a format's own files into files of that format, loss-free. A *builder* writes rows of any pool.
Neither knows where the choice of rows came from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.pools.casts import is_bytes, one_piece
from poolsieve.dataflow.pools.formats.base import Ints, Location
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.scoring_models.base.config import digest


class Sink(Protocol):
    """The file that is being written."""

    def write(self, data: Any) -> int:
        """Takes bytes."""
        ...

    def tell(self) -> int:
        """Bytes taken so far."""
        ...


@dataclass(frozen=True, kw_only=True)
class Picked:
    """The rows of one shard that leave.

    Attributes:
        row: int64 (n,), positions in the file, ascending.
        copies: int64 (n,), how often each leaves, at least once.
        uid: string array, length n.
        lines: what the reader recorded of each row (offset, length, key), n rows; without rows where nobody asked.
        scores: the score columns that go along, n rows.
        unreadable: rows that were asked for, but could not be read when they were scored.
    """

    row: Ints
    copies: Ints
    uid: pa.Array
    lines: pa.Table
    scores: pa.Table
    unreadable: int = 0

    def column(self, name: str) -> Ints:
        """A numeric column of the rows' lines."""
        return np.asarray(self.lines.column(name).to_numpy(), dtype=np.int64)

    def score(self, name: str) -> pa.Array:
        """A score of every row."""
        return one_piece(self.scores.column(name))

    def scores_of(self, i: int) -> dict[str, Any]:
        """The scores of one row, by its place here."""
        return {name: self.scores.column(name)[i].as_py() for name in self.scores.column_names}


class EditedTexts(Protocol):
    """Edited texts of one shard, asked for in ascending order of rows."""

    @property
    def lost(self) -> Mapping[str, int]:
        """Column -> rows that have no text, because it could not be made."""
        ...

    def take(self, rows: Ints) -> Mapping[str, pa.Array]:
        """Column -> the texts of these rows (positions in the file)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Added:
    """What goes along with every row: scores with their types, and names of columns that hold edited texts."""

    scores: Mapping[str, pa.DataType] = field(default_factory=dict)
    edited: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether rows leave as they are."""
        return not self.scores and not self.edited


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """One shard on its way into a file; the shard's file has been checked.

    Attributes:
        shard: the shard.
        rows: rows that leave, copies counted; 0 where only the shard's schema is wanted.
        whole: whether it is a whole file of which every row leaves once, alone into a file.
        pick: which rows leave.
        edited: their edited texts; None for none.
    """

    shard: Shard
    rows: int
    whole: bool = False
    pick: Callable[[], Picked]
    edited: Callable[[Picked], EditedTexts | None] = lambda picked: None


@dataclass
class Written:
    """What became of one file's rows.

    Attributes:
        rows: rows written, copies counted.
        unreadable: rows that could not be read any more, and were left out.
        renamed: samples that got another key.
        empty: column -> values that could not be read, and were left out.
    """

    rows: int = 0
    unreadable: int = 0
    renamed: int = 0
    empty: dict[str, int] = field(default_factory=dict)

    def count_empty(self, counts: Mapping[str, int]) -> None:
        """Adds values that were left out."""
        for name, count in counts.items():
            self.empty[name] = self.empty.get(name, 0) + count


@dataclass(frozen=True, kw_only=True)
class Look:
    """What decides beside which other shards of its format a shard may stand.

    Attributes:
        schema: a hash; shards of different schemas don't go into one file, nor into one folder.
        rows: of the shard, where it is a whole file that could be copied as it is.
        keyed: whether two rows of one key must not become neighbours.
    """

    schema: str = ""
    rows: int | None = None
    keyed: bool = False


class Copier(Protocol):
    """How rows leave in the format that they are in, as they came."""

    @property
    def takes_edits(self) -> bool:
        """Whether edited texts can stand in the place of a row's own."""
        ...

    @property
    def takes_scores(self) -> bool:
        """Whether scores can stand beside a row's own values."""
        ...

    @property
    def needs_lines(self) -> bool:
        """Whether `Picked.lines` is needed to find the rows."""
        ...

    @property
    def copies_unread(self) -> bool:
        """Whether a row that could not be read can leave all the same, where nothing is added to it."""
        ...

    def schema(self, files: Location, shard: Shard) -> str:
        """A hash of the columns of a shard; empty where files have no schema.

        Raises:
            PoolsieveError: if the shard can't be read.
        """
        ...

    def look(self, files: Location, shard: Shard, pick: Callable[[], Picked], added: Added) -> Look:
        """Looks at a shard of which rows leave, before a byte is written.

        Raises:
            PlanError: if scores or edited texts can't be added to it.
        """
        ...

    def copy(
        self, files: Location, shards: Iterable[Outgoing], added: Added, sink: Sink, *, threads: bool = True
    ) -> Written:
        """Writes one file of these shards' rows, in this order.

        Raises:
            ShardChanged: if a pool file is not the one that was scored.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the rows of a pool hold, as far as another format may take it.

    Attributes:
        fields: name -> type (`pa.json_()`: JSON text), each a source of the pool; `uid` may be the rows' label.
        image, text: the sources of these roles, None where the pool has none.
        types: the types of these two.
        images: names in `fields` that hold images as bytes.
        format: how the pool's format is called in messages.
    """

    fields: Mapping[str, pa.DataType]
    image: str | None = None
    text: str | None = None
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    format: str = ""

    def without_bytes(self) -> dict[str, pa.DataType]:
        """The fields that JSON can hold."""
        return {name: kind for name, kind in self.fields.items() if json_able(kind)}


@dataclass(frozen=True, kw_only=True)
class Build:
    """What a builder reads of each row, and writes.

    Attributes:
        columns: name of a column in the batches -> source in the pool.
        types: its type.
        images: names of columns that hold images as bytes.
        scores: score columns that go along, with their types.
        left_out: fields of the pool that the format can't hold.
    """

    columns: Mapping[str, str]
    types: Mapping[str, pa.DataType]
    images: tuple[str, ...] = ()
    scores: Mapping[str, pa.DataType] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of one batch on their way into another format.

    Attributes:
        values: the build's columns, n rows.
        uid, key: string arrays, length n; `key` is null where the pool has none.
        copies: int64 (n,), how often each leaves.
        scores: n rows.
    """

    values: pa.RecordBatch
    uid: pa.Array
    key: pa.Array
    copies: Ints
    scores: pa.Table

    def repeated(self) -> pa.Array:
        """Places of the rows, each as often as it leaves."""
        return pa.array(np.repeat(np.arange(len(self.copies)), self.copies))


class Builder(Protocol):
    """How rows of any pool are written in a format: values stay, containers change."""

    def plan(self, source: Source, scores: Mapping[str, pa.DataType]) -> Build:
        """What is read of the pool's rows.

        Raises:
            PlanError: if nothing of them could be written, or a score's name is taken; says why and what works.
        """
        ...

    def build(self, made: Build, rows: Iterable[Rows], sink: Sink) -> Written:
        """Writes one file."""
        ...


def json_able(kind: pa.DataType) -> bool:
    """Whether JSON can hold values of a type: everything but bytes, at any depth."""
    if pa.types.is_nested(kind):
        return all(json_able(kind.field(i).type) for i in range(kind.num_fields))
    return not is_bytes(kind)


def names(found: Sequence[str], most: int = 5) -> str:
    """The first of some names, for messages."""
    return ", ".join(map(repr, found[:most])) + (f" and {len(found) - most} more" if len(found) > most else "")


_UNSAFE = re.compile("[^A-Za-z0-9_-]")


def safe_key(uid: str) -> str:
    """A uid as a WebDataset key: dots and slashes would end it early. What was changed gets a hash of the original."""
    safe = _UNSAFE.sub("_", uid)[:120]
    return safe if safe == uid and not safe.startswith("__") and safe else f"{safe.strip('_')}-{digest(uid, 4)}"


def copy_keys(uid: str, copies: int) -> list[str]:
    """The keys of a sample that a list names several times, as DataComp's resharder has them: `{uid}-{j}`."""
    return [f"{safe_key(uid)}-{j}" for j in range(copies)]


def distinct(key: str, previous: str | None) -> str:
    """`key`, or `key-1` beside a neighbour of the same key: the two would be read as one sample."""
    return key if key != previous else f"{key}-1"
