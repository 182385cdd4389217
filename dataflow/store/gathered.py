"""What derived values gathered: OUT/derived, one file for each content, so that no run can meet another's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.dataflow import fs
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import derived_url
from poolsieve.dataflow.store.tables import read_promised, write_table
from poolsieve.filters.dsl.cuts import Table
from poolsieve.scoring_models.base.derived import PATH, ROW
from poolsieve.scoring_models.base.errors import PoolsieveError


def write_gathered(job: Job, name: str, made: pa.Table) -> Table:
    """Keeps a gathered table under a hash of what it says.

    Raises:
        PoolsieveError: if it does not say which row each line is of, or has two lines of one.
    """
    made = _sorted(name, made)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, made.schema) as stream:
        stream.write_table(made)
    file = f"{hashlib.blake2b(sink.getvalue(), digest_size=12).hexdigest()}.parquet"
    url = derived_url(job.out, file)
    if not fs.exists(url):
        write_table(url, made)
    return Table(file=file, rows=made.num_rows)


def _sorted(name: str, made: pa.Table) -> pa.Table:
    missing = {PATH, ROW} - set(made.column_names)
    if missing:
        raise PoolsieveError(f"{name} gathered a table without {', '.join(sorted(missing))}: no row has its line")
    made = made.sort_by([(PATH, "ascending"), (ROW, "ascending")]).replace_schema_metadata().combine_chunks()
    keys = made.select([PATH, ROW])
    if keys.group_by([PATH, ROW]).aggregate([]).num_rows != keys.num_rows:
        raise PoolsieveError(f"{name} gathered two lines of one row")
    return made


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
    whole = job.session.once(("gathered", table.file), lambda: _by_path(job, table))
    here = whole.get(path)
    if here is None:
        here = next(iter(whole.values())).slice(0, 0) if whole else _read(job, table)
    there = here.column(ROW).to_numpy()
    at = np.searchsorted(there, rows)
    found = at < len(there)
    found[found] = there[at[found]] == rows[found]
    return here.take(pa.array(np.where(found, at, 0), pa.int64(), mask=~found))


def _read(job: Job, table: Table) -> pa.Table:
    try:
        return read_promised(derived_url(job.out, table.file))
    except PoolsieveError as error:
        raise PoolsieveError(f"{error}. What an earlier run gathered is good in its own OUT alone") from error


def _by_path(job: Job, table: Table) -> dict[str, pa.Table]:
    return dict(_runs(_read(job, table)))


def _runs(whole: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Each file's lines; the table is sorted by path."""
    counts = pc.value_counts(whole.column(PATH))
    lengths = {item["values"].as_py(): item["counts"].as_py() for item in counts}
    start = 0
    for path in sorted(lengths, key=lambda one: one.encode()):
        yield path, whole.slice(start, lengths[path])
        start += lengths[path]
