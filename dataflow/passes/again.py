"""Run again where nothing has changed: what OUT holds is what would be made, which listings tell.

A decision's id says which rules, scores and shards it is of. Beside that its files, and those of rows and scores, must
be the ones that were there when it was closed: by name, size and tag (ETag or mtime), as a pool's files are known.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from poolsieve.dataflow import fs
from poolsieve.dataflow.decisions.decide import decision_of
from poolsieve.dataflow.pools.packed import hash_of, mark_of
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import decision_folder, derived_folder, ledger_folder, rows_folder
from poolsieve.dataflow.store.leaves import files_named
from poolsieve.dataflow.store.manifest import Manifest
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.dataflow.store.scores import FolderListing, prefix_of
from poolsieve.dataflow.store.summary import Summary, Work
from poolsieve.filters.dsl.cuts import Table
from poolsieve.scoring_models.base.errors import PoolsieveError
from poolsieve.scoring_models.base.groups import in_groups

DECIDED = ("shards.parquet", "cuts.json", "subset.npy")
"""Files of a decision beside its ledger that no closing writes anew."""

_AT_ONCE = 8192
"""Files of a folder that are held at a time."""


def files_of(job: Job, shards: Sequence[Shard], found: Summary) -> dict[str, str]:
    """Folder of OUT -> hash of the files in it that the decision over these shards stands on; one listing for each."""
    tables = [one.file for groups in found.cuts.values() for one in groups.values() if isinstance(one, Table)]
    gathered = {one for file in tables if file for one in files_named(job.out, file)}
    rows = (job.rows_url(shard).rsplit("/", 1)[-1] for shard in shards)
    made = {
        "rows": _state(rows_folder(job.out), rows),
        "ledger": _state(ledger_folder(job.out, found.decision), (f"{shard.name}.parquet" for shard in shards)),
        "decision": _state(decision_folder(job.out, found.decision), DECIDED),
        "derived": _state(derived_folder(job.out), gathered),
    }
    for step in job.program.scorers:
        names = FolderListing(job.folder(step), (), job.readings(step))
        made[f"scores/{step.name}"] = _state(job.folder(step), map(names.prefix, shards), prefix_of)
    return made


def _state(folder: str, wanted: Iterable[str], known_by: Callable[[str], str] = str) -> str:
    """Hash of the names, sizes and tags of the files in a folder that are `known_by` what is wanted, in any order.

    Neither names nor files are held: of a name 8 bytes stay, and the files' hashes are added up (Bellare and Micciancio
    1997, "A new paradigm for collision-free hashing").
    """
    marks, total, n = np.sort(np.fromiter(map(mark_of, wanted), np.uint64)), 0, 0
    for some in in_groups(fs.files(folder), _AT_ONCE):
        known = np.isin(np.fromiter((mark_of(known_by(name)) for name, _ in some), np.uint64), marks)
        for name, stat in itertools.compress(some, known):
            total, n = total + hash_of(f"{name}\0{stat}", 16), n + 1
    return f"{n} {total % 2**128:032x}"


def unchanged(job: Job, shards: Sequence[Shard]) -> Summary | None:
    """The summary of the current decision, if the job would come to it and all of its files are there; else None."""
    if job.retried or job.options.retry_quarantined:
        return None  # what fails again, or not, is not known before
    if any(hasattr(step.scorer, "unmatched") for step in job.program.scorers):
        return None  # their files say what is told of them
    with contextlib.suppress(PoolsieveError, OSError):  # what is not whole is made anew
        there = OutFolder(job.out)
        found = there.summary
        if _same(job, there.manifest, found) and found.files == files_of(job, shards, found):
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
