"""Run again where nothing has changed: what OUT holds is what would be made, which listings and hashes tell.

A decision's id says which rules, scores and shards it is of. Beside that the files must be there: those of rows and
scores by number and size, as they were counted when the decision was closed, and the ledger by its hashes.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence

from poolsieve.dataflow import fs, progress
from poolsieve.dataflow.decisions.decide import decision_of
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import derived_url, ledger_url, rows_folder
from poolsieve.dataflow.store.manifest import Manifest, ShardLine
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.dataflow.store.scores import FolderListing
from poolsieve.dataflow.store.summary import FileCount, Summary, Work
from poolsieve.filters.dsl.cuts import Table
from poolsieve.scoring_models.base.errors import PoolsieveError

MOST_BYTES = 4 << 30
"""Of a ledger that is compared in one process: a minute's work. Larger ones are made again by all workers."""

ROWS = ""
"""Where scorers have their names, what stands for `rows/`."""


def counted(job: Job, shards: Sequence[Shard]) -> dict[str, FileCount]:
    """Files of rows and of each scorer's scores that are these shards', by one listing each."""
    rows = fs.sizes(rows_folder(job.out))
    found = {ROWS: _sum(rows, (job.rows_url(shard).rsplit("/", 1)[-1] for shard in shards))}
    for step in job.program.scorers:
        sizes = fs.sizes(job.folder(step))
        listing = FolderListing.over(job.folder(step), sizes, job.readings(step))
        found[step.name] = _sum(sizes, (name for shard in shards for name in listing.names(shard)))
    return found


def _sum(sizes: dict[str, int], names: Iterator[str]) -> FileCount:
    there = [sizes[name] for name in names if name in sizes]
    return FileCount(files=len(there), bytes=sum(there))


def unchanged(job: Job, shards: Sequence[Shard]) -> Summary | None:
    """The summary of the current decision, if the job would come to it and all of its files are there; else None."""
    if job.retried or job.options.retry_quarantined:
        return None  # what fails again, or not, is not known before
    if any(hasattr(step.scorer, "unmatched") for step in job.program.scorers):
        return None  # their files say what is told of them
    with contextlib.suppress(PoolsieveError, OSError):  # what is not whole is made anew
        there = OutFolder(job.out)
        found = there.summary
        if _same(job, there.manifest, found) and found.files == counted(job, shards) and _whole(there):
            found.work = Work(rows=found.rows)
            return found
    return None


def _same(job: Job, manifest: Manifest, found: Summary) -> bool:
    """Whether the job's decision is the current one: a search over the same scores comes to the same cuts."""
    cuts, most = manifest.cuts, job.options.max_error_rate
    return (
        manifest.pool.id == job.pool_id
        and manifest.fingerprints == dict(job.fingerprints)
        and found.frozen == sorted(job.frozen)
        and all(cuts.get(name) == groups for name, groups in job.frozen.items())
        and decision_of(job, cuts, None) == manifest.decision
        and (most is None or found.quarantined <= most * found.rows)
    )


def _whole(out: OutFolder) -> bool:
    """Whether the ledger is the one that was closed, and what was gathered for it is there."""
    gathered = (one.file for groups in out.cuts.values() for one in groups.values() if isinstance(one, Table))
    if not all(fs.exists(derived_url(out.url, file)) for file in gathered if file):
        return False
    if sum(line.ledger_bytes or 0 for line in out.shards) > MOST_BYTES:
        return False
    return all(_is_kept(out, line) for line in out.shards)


def _is_kept(out: OutFolder, line: ShardLine) -> bool:
    progress.check()
    data = fs.read_bytes(ledger_url(out.url, out.decision, line.name))
    return hashlib.sha256(data).hexdigest() == line.ledger_sha256
