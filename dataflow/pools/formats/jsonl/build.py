"""Rows of any pool as JSON lines: one object a row, with every field that JSON can hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
import pyarrow as pa

from poolsieve.dataflow import progress
from poolsieve.dataflow.pools.formats.jsonl.packed import SCORES, packed
from poolsieve.dataflow.pools.formats.outgoing import Build, Rows, Sink, Source, Written, names
from poolsieve.dataflow.pools.json_text import dump, plain
from poolsieve.dataflow.pools.json_types import from_arrow
from poolsieve.scoring_models.base.errors import PlanError


class JsonlBuilder:
    """Makes an object of each row. Text that is JSON becomes what it spells, NaN and the infinities null.

    Bytes stay behind. Times are ISO 8601; other types that JSON has not (decimals) are text.
    """

    def plan(self, source: Source, scores: Mapping[str, pa.DataType]) -> Build:
        """Every field without bytes; see `Builder.plan`."""
        fields = source.without_bytes()
        left = tuple(name for name in source.fields if name not in fields)
        if left and not set(fields) - {"__key__", "uid"}:
            raise PlanError(
                f"JSON lines hold no bytes, and this pool has nothing else ({names(left)}): declare a text in the "
                "recipe's pool, or export as parquet"
            )
        if scores and SCORES in fields:
            raise PlanError(f"the pool has a column {SCORES!r} already, from an earlier export: export without scores")
        return Build(columns={name: name for name in fields}, types=fields, scores=scores, left_out=left)

    def build(self, made: Build, rows: Iterable[Rows], sink: Sink) -> Written:
        """One file."""
        done = Written()
        with packed(sink) as file:
            for some in rows:
                for line, copies in zip(_lines(some, made), some.copies.tolist(), strict=True):
                    file.write(line * copies)
                done.rows += int(some.copies.sum())
                progress.add("export", int(some.copies.sum()))
        return done


def _lines(some: Rows, made: Build) -> Iterator[bytes]:
    columns = [_values(some.values.column(name), kind) for name, kind in made.types.items()]
    scores: list[dict[str, Any]] = some.scores.select(list(made.scores)).to_pylist() if made.scores else []
    for i, values in enumerate(zip(*columns, strict=True)):
        row = dict(zip(made.types, values, strict=True))
        yield _line({**row, SCORES: scores[i]} if scores else row)


def _values(column: pa.Array, kind: pa.DataType) -> list[Any]:
    change = from_arrow(kind)
    return column.to_pylist() if change is None else [change(value) for value in column.to_pylist()]


def _line(row: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(row, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # numbers beyond 64 bits, which orjson does not write
        return dump(plain(row)) + b"\n"
