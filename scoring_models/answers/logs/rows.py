"""What every reader of logs gives: answers as rows, and the table of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import pyarrow as pa

from poolsieve.scoring_models.base.errors import PlanError

_TYPES: Mapping[str, pa.DataType] = {
    "item": pa.string(),
    "model": pa.string(),
    "image": pa.bool_(),
    "correct": pa.float32(),
    "answer": pa.string(),
    "question": pa.string(),
    "file": pa.string(),
    "line": pa.int64(),
}

SCHEMA = pa.schema(_TYPES)
"""`correct`: the mark, from 0 to 1, null where no answer was given. `answer`: its text, null where there is none.

`question`: null where the log has none. `file` and `line`, from 1, say where it stands (in a sheet the row, in a JSON
list the record), for messages.
"""

_CHUNK = 65_536


class Row(NamedTuple):
    """One answer, as `SCHEMA` has it."""

    item: str
    model: str
    image: bool
    correct: float | None
    answer: str | None
    question: str | None
    file: str
    line: int

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"{self.file}, line {self.line}"


def table_of(rows: Iterable[Row]) -> pa.Table:
    """Rows as a table.

    Raises:
        PlanError: for a text that is no Unicode (half of a surrogate pair, which JSON can spell), with its place.
    """
    batches: list[pa.RecordBatch] = []
    for some in _chunks(rows):
        try:
            columns = [
                pa.array(values, kind) for values, kind in zip(zip(*some, strict=True), SCHEMA.types, strict=True)
            ]
        except UnicodeEncodeError:
            _refuse_halves(some)
            raise
        batches.append(pa.record_batch(columns, schema=SCHEMA))
    return pa.Table.from_batches(batches, SCHEMA)


def once(rows: Iterable[Row]) -> Iterator[Row]:
    """The answers of one model in one setting, as they come.

    Raises:
        PlanError: for a second answer to an item, with both places.
    """
    seen: dict[str, Row] = {}
    for row in rows:
        first = seen.setdefault(row.item, row)
        if first is not row:
            raise PlanError(
                f"{row.place}: model {row.model!r} answers item {row.item!r} a second time, after line {first.line}: "
                "two runs stand in one file; keep one of them"
            )
        yield row


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    some: list[Row] = []
    for row in rows:
        some.append(row)
        if len(some) >= _CHUNK:
            yield some
            some = []
    if some:
        yield some


def _refuse_halves(rows: Iterable[Row]) -> None:
    for row in rows:
        for name, value in zip(row._fields, row, strict=True):
            if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
                raise PlanError(f"{row.place}: the {name} is no Unicode text (half of a surrogate pair)")
