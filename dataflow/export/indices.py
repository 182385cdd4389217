"""`--format indices`: the numbers of the kept rows, as trainers count them, in one file ordered by a score.

That is `selected_indices.npy` of CoLoR-Filter (davidbrandfonbrener/color-filter-olmo, `scripts/select_index_np.py`,
`olmo/data/index_memmap_dataset.py`): uint32 without a header; ids of instances over the files in sorted order; in
ascending order of the reference's score, so that the best is the last. Its score is larger where a row is better, ours
may be the other way round (`Top(..., lowest=True)`); equal scores stand in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import fs, leases, progress
from poolsieve.dataflow.export.index import INDICES, About, ExportIndex, FileRecord
from poolsieve.dataflow.export.parts import OutputFile
from poolsieve.dataflow.export.plan import Wishes
from poolsieve.dataflow.export.sink import Sink, sink
from poolsieve.dataflow.export.target import Target
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.formats import FORMATS
from poolsieve.dataflow.store.layout import check_export_folder, export_folder
from poolsieve.dataflow.store.manifest import repeats_of, versions
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.dataflow.store.shard_lines import ShardLine
from poolsieve.dataflow.store.tables import one_array
from poolsieve.filters.dsl.cuts import key_bits, order_keys
from poolsieve.filters.repeat import REPEAT
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError

FILE = "selected_indices.npy"

_LAYOUT = 1
"""Raised when the same decision would give another file."""

_IDS = 1 << 32
"""So many instances have ids that fit into uint32."""

_BLOCK = 1 << 20
"""Ids that are written at once."""

Words = np.ndarray[Any, np.dtype[np.uint64]]


@dataclass(frozen=True)
class IndicesPlan:
    """Everything that was checked before work starts.

    Attributes:
        run: whose kept rows are numbered.
        target: the folder.
        about: what tells the export from another.
        score: name of the score that orders them.
        lowest: whether the smallest is the best.
        warnings: none.
    """

    run: OutFolder
    target: Target
    about: About
    score: str
    lowest: bool
    warnings: tuple[str, ...] = ()


def prepare_indices(out: str, wishes: Wishes) -> IndicesPlan:
    """Checks an export of indices.

    Raises:
        PlanError: if rows have no numbers or no order, or another choice of rows was asked for.
    """
    run = OutFolder(out)
    _nothing_else(wishes)
    _numbered(run.manifest.pool.pool().located(), run)
    url = export_folder(run.url) if wishes.target is None else fs.absolute(wishes.target)
    check_export_folder(run.url, url)
    score, lowest = _order(run)
    about = About(
        decision=run.decision,
        pool=run.manifest.pool.id,
        format=INDICES,
        select=None,
        uids=None,
        scores=(score,),
        target_bytes=0,
    )
    return IndicesPlan(run, Target(url, digest([_LAYOUT, about.to_json()], 8)), about, score, lowest)


def _nothing_else(wishes: Wishes) -> None:
    asked = {
        "--reason": wishes.select,
        "--uids": wishes.uids,
        "--scores": wishes.scores,
        "--column": wishes.columns,
        "--target-mb": wishes.target_bytes,
    }
    given = [name for name, value in asked.items() if value]
    if given:
        raise PlanError(f"--format {INDICES} writes the ids of all kept rows into one file: leave out {given[0]}")


def _numbered(files: PoolFiles, run: OutFolder) -> None:
    if files.own.instances is None:
        able = " and ".join(format.title for format in FORMATS.values() if format.instances is not None)
        raise PlanError(f"--format {INDICES} numbers the rows of {able}; this pool is {files.own.title}")
    check_ids(sum(files.instances(line.shard for line in run.shards).values()))


def check_ids(total: int) -> None:
    """Refuses more instances than uint32 can number.

    Raises:
        PlanError: with their count.
    """
    if total > _IDS:
        raise PlanError(
            f"--format {INDICES}: the pool's files have {total:,} chunks, and ids of 32 bits end at {_IDS:,}"
        )


def _order(run: OutFolder) -> tuple[str, bool]:
    """The score of the recipe's last `Top`, and whether its smallest values are the best."""
    facts = run.summary.facts
    if facts is None or not facts.tops:
        raise PlanError(
            f"--format {INDICES} puts the best row last, and this recipe ranks by no score: add Top(...) to it, as "
            "Top('color', tau=16, lowest=True), and decide again"
        )
    last = facts.tops[-1]
    return last.score, last.lowest


class IndicesWork:
    """The export itself; `index` is what `_export.json` says, once it is called."""

    def __init__(self, made: IndicesPlan, lease: leases.Lease | None) -> None:
        self.made, self.lease = made, lease
        self.index: ExportIndex | None = None

    def __call__(self) -> None:
        """Collects, sorts and writes, unless the file is there already; closes with the index."""
        target = self.made.target
        self._still_ours()
        target.claim([FILE])
        part = OutputFile(name=FILE, inputs=())
        if FILE not in target.whole([part]):
            with sink(target.path(FILE)) as file:
                rows = _write(_ordered(self.made), file)
            target.done(_record(file, rows))
        record = target.whole([part]).get(FILE)
        if record is None:
            raise PoolsieveError(f"{target.path(FILE)} vanished while the export went on: run the same export again")
        self.index = _index(self.made, record)
        self._still_ours()
        target.finish(self.index)

    def _still_ours(self) -> None:
        """Before what would undo another export: this process may have been stopped for longer than a lease lasts."""
        if self.lease is not None:
            self.lease.check()


def _write(ids: Words, file: Sink) -> int:
    for start in range(0, len(ids), _BLOCK):
        progress.check()
        file.write(ids[start : start + _BLOCK].astype("<u4").tobytes())
    return len(ids)


def _ordered(made: IndicesPlan) -> Words:
    """uint64 (leaving,): ids of the kept rows, each as often as it leaves, the best last.

    Takes 16 bytes a row, where scores have 64 bits 32.
    """
    found = list(_kept(made))
    if not found:
        return np.empty(0, np.uint64)
    ids = np.concatenate([some for _, some, _ in found])
    keys = np.concatenate([some for some, _, _ in found])
    if found[0][2] == 64:
        return ids[np.argsort(keys, kind="stable")]
    # One sort of (key, id) in one word, without an order beside it.
    keys <<= np.uint64(32)
    keys |= ids
    keys.sort()
    keys &= np.uint64(_IDS - 1)
    return keys


def _kept(made: IndicesPlan) -> Iterator[tuple[Words, Words, int]]:
    """Of each shard: order keys of its kept rows (the worst first), their ids, ascending, and the keys' bits."""
    run = made.run
    first = run.manifest.pool.pool().located().numbered(line.shard for line in run.shards).firsts
    for line in run.shards:
        progress.check()
        if line.kept:
            table = _leaving(made, line)
            scores, rows = one_array(table, made.score), one_array(table, "row").to_numpy()
            keys, known = order_keys(scores, not made.lowest)
            if not known.all():
                raise _no_score(line, int(rows[int(np.argmin(known))]), made.score)
            progress.add("export", len(rows))
            yield keys, rows.astype(np.uint64) + np.uint64(first[line.path]), key_bits(scores.type)


def _leaving(made: IndicesPlan, line: ShardLine) -> pa.Table:
    """The ledger's lines of kept rows, each as often as it leaves."""
    if not made.run.counts.repeated:
        table = made.run.ledger_of(line, ["row", "keep", made.score])
        return table.filter(table.column("keep"))
    table = made.run.ledger_of(line, ["row", "keep", made.score, *([REPEAT] if made.score != REPEAT else [])])
    return table.take(pa.array(np.repeat(np.arange(len(table)), repeats_of(table)), pa.int64()))


def _no_score(line: ShardLine, row: int, score: str) -> PoolsieveError:
    return PoolsieveError(
        f"row {row} of {line.path} was kept without a score {score!r}, so it has no place in the order: let the "
        "recipe's Top decide of every row (not inside any_of)"
    )


def _record(file: Sink, rows: int) -> FileRecord:
    return FileRecord(
        name=FILE, bytes=file.tell(), sha256=file.sha256, inputs=(), rows=rows, unreadable=0, renamed=0, empty={}
    )


def _index(made: IndicesPlan, record: FileRecord) -> ExportIndex:
    return ExportIndex(
        **{name: getattr(made.about, name) for name in About.__struct_fields__},
        export=made.target.id,
        out=made.run.url,
        target=made.target.url,
        rows=record.rows,
        bytes=record.bytes,
        unreadable=0,
        renamed=0,
        missing=0,
        warnings=() if record.rows else ("no row was exported",),
        files=(record,),
        also=(),
        versions=versions(),
    )
