"""Tables as VLMEvalKit writes them: `.xlsx`, `.tsv` or a JSON list of records, row by row."""

from __future__ import annotations

import csv
import io
import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.csv

from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.packages import need

MOST_UNPACKED = 4 << 30
"""Bytes that an `.xlsx` may hold once it is unpacked: far more than Excel's 1,048,576 rows of answers take."""


class Record(NamedTuple):
    """One row of a sheet: its number, from 1 with the header as row 1 (in JSON the record's, from 1), and its cells."""

    number: int
    cells: Mapping[str, str | None]
    """Name of the column -> text; None where the cell is empty."""


def records(path: Path) -> list[Record]:
    """The rows of a sheet.

    Raises:
        PlanError: for a file that can't be read, or is cut short.
    """
    try:
        return list(KINDS[path.suffix](path))
    except (OSError, ValueError, RecursionError, csv.Error, zipfile.BadZipFile, pa.ArrowException) as error:
        raise PlanError(f"can't read {path}: it is no {path.suffix} file, or cut short: {error}") from error


def _xlsx(path: Path) -> Iterator[Record]:
    need("Answers.vlmevalkit", "python-calamine", extra="suites")
    from python_calamine import CalamineError, CalamineWorkbook

    with zipfile.ZipFile(path) as packed:
        size = sum(part.file_size for part in packed.infolist())
    if size > MOST_UNPACKED:
        raise ValueError(f"it unpacks to {size:,} bytes")
    try:
        with CalamineWorkbook.from_path(path) as book:
            rows: list[list[Any]] = book.get_sheet_by_index(0).to_python(skip_empty_area=False)
    except CalamineError as error:
        raise ValueError(str(error)) from error
    if not rows:
        raise ValueError("it has no rows")
    yield from _rows([str(name) for name in rows[0]], rows[1:])


def _tsv(path: Path) -> Iterator[Record]:
    """Every cell is quoted, so that a file that ends inside one has an odd number of quotes, which Arrow overlooks."""
    data = path.read_bytes()
    if data.count(b'"') % 2 or not data.endswith(b"\n"):
        raise ValueError("it ends in the middle of a row")
    with path.open(encoding="utf-8", newline="") as file:
        names = next(csv.reader(file, delimiter="\t"), [])
    read = pa.csv.ReadOptions(block_size=min(len(data) + 1, (1 << 31) - 1))
    parse = pa.csv.ParseOptions(delimiter="\t", newlines_in_values=True)
    kinds = dict.fromkeys(names, pa.string())
    texts = pa.csv.ConvertOptions(column_types=kinds, null_values=[""], strings_can_be_null=True)
    table = pa.csv.read_csv(io.BytesIO(data), read, parse, texts)
    yield from _rows(names, zip(*(column.to_pylist() for column in table.columns), strict=True))


def _json(path: Path) -> Iterator[Record]:
    made = json.loads(path.read_bytes())
    if not isinstance(made, list) or not all(isinstance(record, dict) for record in made):
        raise ValueError("expected a list of records")
    for number, record in enumerate(made, 1):
        yield Record(number, {name: text(value) for name, value in record.items()})


def _rows(names: Sequence[str], rows: Any) -> Iterator[Record]:
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"it has two columns {twice!r}")
    for number, row in enumerate(rows, 2):
        yield Record(number, dict(zip(names, map(text, row), strict=False)))


def text(cell: Any) -> str | None:
    """A cell as text; whole numbers without a fraction, as sheets hold no other integers. None where it is empty."""
    if cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return cell if isinstance(cell, str) else str(cell)


KINDS: Mapping[str, Callable[[Path], Iterator[Record]]] = {".xlsx": _xlsx, ".tsv": _tsv, ".json": _json}
