"""What joined values come to: OUT/derived, a file for the lines of each home, and a list of these files.

All are named by what they say, so that no run can meet another's, whoever wrote them and in which order. Whoever wants
the lines of a shard reads the list, and those files in which its rows may be.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.dataflow import fs
from poolsieve.dataflow.store.layout import derived_url
from poolsieve.dataflow.store.tables import read_promised, write_table
from poolsieve.scoring_models.base.derived import PATH, ROW
from poolsieve.scoring_models.base.errors import PoolsieveError

LISTED = "-files.parquet"
"""What the name of a list ends with."""

_LIST = pa.schema(
    [  # type: ignore[arg-type]  # pyarrow-stubs: pairs with types of one class alone
        ("file", pa.string()),
        ("lines", pa.int64()),
        ("first_path", pa.string()),
        ("first_row", pa.int64()),
        ("last_path", pa.string()),
        ("last_row", pa.int64()),
    ]
)


class Leaf(NamedTuple):
    """A file of lines, and the rows of its first and its last one."""

    file: str
    lines: int
    first_path: str = ""
    first_row: int = -1
    last_path: str = ""
    last_row: int = -1


def content_name(table: pa.Table, ending: str = ".parquet") -> str:
    """A name made from what a table says."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return f"{hashlib.blake2b(sink.getvalue(), digest_size=12).hexdigest()}{ending}"


def write_once(out: str, table: pa.Table, ending: str = ".parquet") -> str:
    """Keeps a table under a name made from what it says, which is given back."""
    file = content_name(table, ending)
    url = derived_url(out, file)
    if not fs.exists(url):
        write_table(url, table)
    return file


def sorted_lines(name: str, made: pa.Table) -> pa.Table:
    """Lines in the order of (path, row).

    Raises:
        PoolsieveError: if it does not say which row each line is of, or has two lines of one.
    """
    missing = {PATH, ROW} - set(made.column_names)
    if missing:
        raise PoolsieveError(f"{name} gathered a table without {', '.join(sorted(missing))}: no row has its line")
    made = made.sort_by([(PATH, "ascending"), (ROW, "ascending")]).replace_schema_metadata().combine_chunks()
    keys = made.select([PATH, ROW])
    if keys.group_by([PATH, ROW]).aggregate([]).num_rows != keys.num_rows:
        raise PoolsieveError(f"{name} gathered two lines of one row")
    return made


def places_by_path(lines: pa.Table) -> dict[str, slice]:
    """File of the pool -> where its lines are in a sorted table."""
    counts = pc.value_counts(lines.column(PATH))
    lengths = {item["values"].as_py(): item["counts"].as_py() for item in counts}
    paths = sorted(lengths, key=lambda one: one.encode())
    ends = itertools.accumulate(lengths[path] for path in paths)
    return {path: slice(end - lengths[path], end) for path, end in zip(paths, ends, strict=True)}


def write_leaf(out: str, name: str, made: pa.Table) -> Leaf:
    """Keeps the lines of one home. Raises as `sorted_lines`."""
    made = sorted_lines(name, made)
    file = write_once(out, made)
    if not made.num_rows:
        return Leaf(file, 0)
    ends = (made.column(key)[at].as_py() for at in (0, -1) for key in (PATH, ROW))
    return Leaf(file, made.num_rows, *ends)


def write_list(out: str, leaves: Iterable[Leaf]) -> str:
    """Keeps the list of all homes' files, and gives back its name."""
    found = sorted(leaves, key=lambda leaf: leaf[2:])
    columns = [pa.array(list(values), kind.type) for values, kind in zip(zip(*found, strict=True), _LIST, strict=True)]
    return write_once(out, pa.table(columns, schema=_LIST), LISTED)


def read_list(out: str, file: str) -> list[Leaf]:
    """The files of a list, in the order of their rows.

    Raises:
        PoolsieveError: if the list is missing or damaged.
    """
    return [Leaf(*line.values()) for line in read_promised(derived_url(out, file)).to_pylist()]


def files_named(out: str, file: str) -> list[str]:
    """All files that a name in `cuts.json` stands for; the name alone where the list that it names is gone."""
    if not file.endswith(LISTED) or not fs.exists(derived_url(out, file)):
        return [file]
    return [file, *(leaf.file for leaf in read_list(out, file))]


def table_for(
    out: str, leaves: Sequence[Leaf], path: str, rows: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> pa.Table:
    """The lines of a file of the pool, of those leaves where some rows may have theirs; maybe none."""
    parts = [_leaf(derived_url(out, leaf.file)) for leaf in _met(leaves, path, rows)]
    own = [part.filter(pc.equal(part.column(PATH), pa.scalar(path))) for part in parts]
    whole = pa.concat_tables(own) if own else _leaf(derived_url(out, leaves[0].file)).slice(0, 0)
    return whole.combine_chunks()


def _met(leaves: Sequence[Leaf], path: str, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Iterator[Leaf]:
    if not len(rows):
        return
    first = bisect.bisect_left(leaves, (path, int(rows[0])), key=lambda leaf: (leaf.last_path, leaf.last_row))
    for leaf in leaves[first:]:
        if (leaf.first_path, leaf.first_row) > (path, int(rows[-1])):
            return
        yield leaf


@functools.lru_cache(maxsize=4)
def _leaf(url: str) -> pa.Table:
    """Shards that are worked on together have their lines in one file, whose name says what is in it."""
    return read_promised(url)
