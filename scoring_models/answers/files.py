"""Tables that somebody has stored: Parquet, CSV and JSON lines, the wanted columns alone, and where a row stands.

Text stays text in CSV, so that an item `007` is no number.
"""

from __future__ import annotations

import bisect
import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from poolsieve.scoring_models.answers import json_lines
from poolsieve.scoring_models.answers.values import Tell
from poolsieve.scoring_models.base.config import absolute_path
from poolsieve.scoring_models.base.errors import PlanError, unknown_name
from poolsieve.scoring_models.base.kinds import short

_BLOCK = 16 << 20
"""Bytes of CSV that Arrow takes at a time; a line must fit."""

_CATEGORY = pa.dictionary(pa.int32(), pa.string())


class _Kind(NamedTuple):
    """How one kind of file is read. `load(path, names, wanted)` gives exactly the columns `names` of it."""

    names: Callable[[Path, Sequence[str]], Sequence[str]]
    load: Callable[[Path, Sequence[str]], pa.Table]
    place: Callable[[Path, int], str]


def checked_paths(what: str, given: Any) -> tuple[str, ...]:
    """One path or several, made absolute.

    Raises:
        PlanError: for anything else, for no path, one that is given twice, a URL, and for an unknown ending.
    """
    paths = (given,) if isinstance(given, (str, Path)) else tuple(given) if isinstance(given, (list, tuple)) else ()
    if not paths or not all(isinstance(path, (str, Path)) and str(path) for path in paths):
        raise PlanError(f"{what}({short(given)}): expected the path of a file, or a list of paths")
    made = tuple(absolute_path(str(path)) for path in paths)
    for path in made:
        if "://" in path:
            raise PlanError(f"{what}({short(path)}): the file must be on this machine; copy it here first")
        if made.count(path) > 1:
            raise PlanError(f"{what}: {path} is given twice")
        _kind_of(path)
    return made


def there(what: str, paths: Sequence[str]) -> list[Path]:
    """The paths of files.

    Raises:
        PlanError: naming one that is none.
    """
    for path in paths:
        if not Path(path).is_file():
            raise PlanError(f"{what}: there is no file {path}")
    return [Path(path) for path in paths]


def read(what: str, path: Path, wanted: Mapping[str, str]) -> tuple[pa.Table, Tell]:
    """Some columns of a file, and where its rows stand.

    Args:
        what: who asks, for messages.
        path: of the file; its ending says what it is.
        wanted: name in the table -> name in the file.

    Raises:
        PlanError: for a file that can't be read, an unknown column (with the nearest names), and one that stands twice.
    """
    kind = _kind_of(str(path))
    try:
        _check_names(what, path, wanted, kind.names(path, list(wanted.values())))
        table = kind.load(path, list(dict.fromkeys(wanted.values())))
    except PlanError:
        raise
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise PlanError(f"{what}: can't read {path}: {error}") from error
    columns = {name: table.column(source) for name, source in wanted.items()}
    return pa.table(columns), lambda row: kind.place(path, row)


def stamps_of(found: Mapping[str, Path]) -> tuple[tuple[str, str, int, int], ...]:
    """When files were written, and their sizes: what is in memory is of these."""
    stats = [(name, path, path.stat()) for name, path in found.items()]
    return tuple((name, str(path), stat.st_mtime_ns, stat.st_size) for name, path, stat in stats)


class Places:
    """Where the rows of several tables stand, once they are one behind the other."""

    def __init__(self) -> None:
        self.ends: list[int] = []
        self.tells: list[Tell] = []

    def add(self, rows: int, tell: Tell) -> None:
        """Takes the next table."""
        self.ends.append(self.rows + rows)
        self.tells.append(tell)

    @property
    def rows(self) -> int:
        """How many rows they have."""
        return self.ends[-1] if self.ends else 0

    def __call__(self, row: int) -> str:
        """The place of a row of them all."""
        at = bisect.bisect_right(self.ends, row)
        return self.tells[at](row - (self.ends[at - 1] if at else 0))


def _check_names(what: str, path: Path, wanted: Mapping[str, str], known: Sequence[str]) -> None:
    for name, source in wanted.items():
        said = f"{what}({name}={source!r})" if name != source else what
        if source not in known:
            raise unknown_name(f"{said}: {path} has no column {source!r}", source, known)
        if list(known).count(source) > 1:
            raise PlanError(f"{said}: {path} has two columns {source!r}")


def _parquet_names(path: Path, _: Sequence[str]) -> Sequence[str]:
    with pq.ParquetFile(path) as file:
        return list(file.schema_arrow.names)


def _parquet(path: Path, names: Sequence[str]) -> pa.Table:
    """Texts as dictionaries: an item's name stands in the file once for every model."""
    with pq.ParquetFile(path) as file:
        texts = [name for name in names if pa.types.is_string(file.schema_arrow.field(name).type)]
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        return file.read(columns=list(names))


def _parquet_place(path: Path, row: int) -> str:
    return f"{path}, row {row}"


def _opened(path: Path) -> io.TextIOWrapper:
    # Arrow's stream takes .gz, .zst and others by the ending, as its readers do.
    return io.TextIOWrapper(pa.input_stream(str(path), compression="detect"), "utf-8-sig", newline="")  # type: ignore[arg-type]


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The line on which each record of a CSV file begins, from 1, and the record; empty lines are none."""
    with _opened(path) as file:
        reader = csv.reader(file, delimiter=_delimiter(path))
        before = 0
        for record in reader:
            if record:
                yield before + 1, record
            before = reader.line_num


def _delimiter(path: Path) -> str:
    return "\t" if ".tsv" in path.suffixes else ","


def _csv_names(path: Path, _: Sequence[str]) -> Sequence[str]:
    header = next(_records(path), None)
    if header is None:
        raise PlanError(f"{path} is empty: its first line must name the columns")
    return header[1]


def _csv(path: Path, names: Sequence[str]) -> pa.Table:
    convert = pa.csv.ConvertOptions(
        include_columns=list(names),
        column_types=dict.fromkeys(names, _CATEGORY),
        null_values=[""],  # and no other: NA and None are what a model may say
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    parse = pa.csv.ParseOptions(delimiter=_delimiter(path), newlines_in_values=True)
    return pa.csv.read_csv(str(path), pa.csv.ReadOptions(block_size=_BLOCK), parse, convert)


def _csv_place(path: Path, row: int) -> str:
    """The line of a record; its number, if Python's reader stumbles over the file."""
    try:
        for number, (line, _) in enumerate(_records(path)):
            if number == row + 1:
                return f"{path}, line {line}"
    except (csv.Error, ValueError, OSError):
        pass
    return f"{path}, record {row + 1}"


_CSV = _Kind(_csv_names, _csv, _csv_place)
_LINES = _Kind(json_lines.names, json_lines.load, json_lines.place)

_KINDS: Mapping[str, _Kind] = {
    ".parquet": _Kind(_parquet_names, _parquet, _parquet_place),
    ".csv": _CSV,
    ".tsv": _CSV,
    ".jsonl": _LINES,
    ".ndjson": _LINES,
    ".json": _LINES,
}

_PACKED = (".gz", ".zst")


def _kind_of(path: str) -> _Kind:
    """By the ending of the name.

    Raises:
        PlanError: for another one.
    """
    name = path.lower()
    packed = next((ending for ending in _PACKED if name.endswith(ending)), "")
    found = _KINDS.get(Path(name.removesuffix(packed)).suffix)
    if found is None or (packed and not _is_lines(found)):
        raise PlanError(f"{path}: expected a file .parquet, .csv, .tsv or .jsonl (the last three also .gz or .zst)")
    return found


def _is_lines(kind: _Kind) -> bool:
    return kind in (_CSV, _LINES)
