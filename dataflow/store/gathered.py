"""What derived values gathered or joined: OUT/derived, files named by what they say, so that no run can meet another's.

Gathered lines are one file. Those of joined values are many, with a list (`leaves`), so that nobody reads all of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import derived_url
from poolsieve.dataflow.store.leaves import (
    LISTED,
    Leaf,
    places_by_path,
    read_list,
    sorted_lines,
    table_for,
    write_leaf,
    write_list,
    write_once,
)
from poolsieve.dataflow.store.tables import read_promised
from poolsieve.filters.dsl.cuts import Table
from poolsieve.scoring_models.base.derived import PATH, ROW
from poolsieve.scoring_models.base.errors import PoolsieveError


def write_gathered(job: Job, name: str, made: pa.Table) -> Table:
    """Keeps a gathered table under a hash of what it says.

    Raises:
        PoolsieveError: if it does not say which row each line is of, or has two lines of one.
    """
    made = sorted_lines(name, made)
    return Table(file=write_once(job.derived_in, made), rows=made.num_rows)


def write_joined(job: Job, name: str, columns: Mapping[str, pa.DataType], leaves: Sequence[Leaf]) -> Table:
    """Keeps the list of the homes' lines under a hash of what it says; of no lines at all their columns.

    Args:
        job: what is run.
        name: of the derived value.
        columns: its own, beside the rows' keys.
        leaves: those of homes that have lines, in any order.
    """
    schema = pa.schema([(PATH, pa.string()), (ROW, pa.int64()), *columns.items()])  # type: ignore[arg-type]
    found = list(leaves) or [write_leaf(job.derived_in, name, schema.empty_table())]
    return Table(file=write_list(job.derived_in, found), rows=sum(leaf.lines for leaf in found))


def lines_of(job: Job, table: Table, path: str, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.Table:
    """What was gathered of some rows of a file: one line for each, null where there is none.

    Args:
        job: what is run.
        table: as `cuts.json` names it.
        path: of the file, relative to the pool.
        rows: int64 (n,), ascending positions in it.

    Raises:
        PoolsieveError: if the file of the table is missing, as with cuts of another OUT.
    """
    here = (_listed if table.file.endswith(LISTED) else _whole)(job, table, path, rows)
    there = here.column(ROW).to_numpy()
    at = np.searchsorted(there, rows)
    found = at < len(there)
    found[found] = there[at[found]] == rows[found]
    return here.take(pa.array(np.where(found, at, 0), pa.int64(), mask=~found))


def _whole(job: Job, table: Table, path: str, rows: object) -> pa.Table:
    whole = job.session.once(("gathered", table.file), lambda: _by_path(job, table))
    if path in whole:
        return whole[path]
    return next(iter(whole.values())).slice(0, 0) if whole else _read(job, table)


def _listed(job: Job, table: Table, path: str, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.Table:
    with _of_this_out():
        place = _place(job, table)
        leaves = job.session.once(("gathered", table.file), lambda: read_list(place, table.file))
        return table_for(place, leaves, path, rows)


def _read(job: Job, table: Table) -> pa.Table:
    with _of_this_out():
        return read_promised(derived_url(_place(job, table), table.file))


def _place(job: Job, table: Table) -> str:
    """Where a file of `cuts.json` is: a trial has its own beside those of decisions. Looked for once a process."""

    def found() -> str:
        own = job.trial and fs.exists(derived_url(job.derived_in, table.file))
        return job.derived_in if own else job.out

    return job.session.once(("derived in", table.file), found)


@contextlib.contextmanager
def _of_this_out() -> Iterator[None]:
    try:
        yield
    except PoolsieveError as error:
        raise PoolsieveError(f"{error}. What an earlier run gathered is good in its own OUT alone") from error


def _by_path(job: Job, table: Table) -> dict[str, pa.Table]:
    whole = _read(job, table)
    return {path: whole.slice(at.start, at.stop - at.start) for path, at in places_by_path(whole).items()}
