"""A decision as a whole, once every shard is decided: everything adds up, and the summary for manifest and report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.decisions.decide import decision_of
from poolsieve.dataflow.decisions.record import Record
from poolsieve.dataflow.decisions.subset import merge_subset
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.program import ScoreStep
from poolsieve.dataflow.recipes.walk import QUARANTINE, Cuts
from poolsieve.dataflow.store.fingerprints import files_of
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import cuts_url
from poolsieve.dataflow.store.manifest import read_manifest
from poolsieve.dataflow.store.shard_lines import lines_in, pool_id_of, write_shards
from poolsieve.dataflow.store.stored import StoredScores, open_stored
from poolsieve.dataflow.store.summary import Summary, Unmatched, Work, cuts_to_json, dumps
from poolsieve.filters.dsl.cuts import only_cuts
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError


class ErrorRateExceeded(PoolsieveError):
    """More rows were quarantined than `--max-error-rate` allows."""


def finish_decision(
    record: Record, job: Job, cuts: Cuts, content: int | None, work: Work, *, write: bool = True
) -> Summary:
    """Checks that everything adds up and writes what belongs to the decision as a whole; `content`: see `decision_of`.

    Returns:
        The summary that manifest and report are made from.

    Raises:
        PoolsieveError: if a shard is missing or doubled, or rows don't add up.
        ErrorRateExceeded: if too many rows were quarantined.
    """
    shards = check_whole(job, record)
    decision, subset = decision_of(job, cuts, content), None
    if write:
        write_shards(job.out, decision, record.shards, record.repeated is not None)
        fs.write_bytes(cuts_url(job.out, decision), dumps(cuts_to_json(cuts)))
        if record.hex_uids:
            subset = merge_subset(job.out, decision, record, job.run_id)
    found = summary_of(record, shards, cuts, decision, work, sorted(job.frozen))
    found.unmatched, found.subset = unmatched(job, record), subset
    return found


def unmatched(job: Job, record: Record) -> dict[str, Unmatched]:
    """What scorers have stored of items that are not in the pool, and of which rows they have nothing.

    One worker looks at the uids of all rows, which pools of the size of a benchmark allow. A decision takes what the
    manifest says of the same scores and rows: the scorers' files may be gone, or others by now.
    """
    asked = [step for step in job.program.scorers if hasattr(step.scorer, "unmatched")]
    known = _told(job) if job.compare else {}
    missing = [step for step in asked if step.name not in known and not (job.compare and _changed(job, step))]
    found = {**known, **{step.name: _unmatched(job, record, step) for step in missing}}
    return {step.name: _of_asked(step, found[step.name]) for step in asked if step.name in found}


def _told(job: Job) -> dict[str, Unmatched]:
    """What the current manifest says of scores that are the job's, if its rows are as well."""
    there = read_manifest(job.out)
    if there.pool.id != job.pool_id or there.unmatched is msgspec.UNSET:
        return {}
    marks = job.fingerprints
    return {name: one for name, one in there.unmatched.items() if there.fingerprints.get(name) == marks.get(name)}


def _changed(job: Job, step: ScoreStep) -> bool:
    """Whether a scorer's files are no longer those that its scores were made with."""
    try:
        return files_of(step.scorer) != job.scorer_parts[step.name].files
    except PlanError:
        return True


def _unmatched(job: Job, record: Record, step: ScoreStep) -> Unmatched:
    scorer: Any = step.scorer
    # Of each shard no more is kept than this: its single answers may be many.
    rows = [_answered(step, open_stored(job, line.shard, "Unmatched")) for line in lines_in(record.shards)]
    known = [[mask for _, mask in rows]] if any(mask is not None for _, mask in rows) else []
    return msgspec.convert(scorer.unmatched([uids for uids, _ in rows], *known), Unmatched)


def _of_asked(step: ScoreStep, found: Unmatched) -> Unmatched:
    """What only some rows are asked for says nothing of the others."""
    return found if step.where is None else msgspec.structs.replace(found, rows=0, first_rows=())


def _answered(step: ScoreStep, source: StoredScores) -> tuple[pa.Array, np.ndarray[Any, Any] | None]:
    """A shard's uids, and which rows have an answer where the step counts them: to know a name may not be enough.

    Of rows that were out before nobody looked at the answers; for them the name must do.
    """
    counts = [name for name in step.columns if name.endswith("asked")]
    if not counts:
        return source.uid, None
    found = source.load(step).columns
    return source.uid, np.any([np.asarray(found[name].fill_null(1)) > 0 for name in counts], axis=0)


def check_whole(job: Job, record: Record) -> int:
    """Conservation over the run: every shard once, and rows in = kept + dropped + quarantined; how many shards."""
    counts = list[int]()
    found = pool_id_of(_counted(record, counts), job.files.marks)
    shards, dropped = len(counts), sum(counts)
    if found != job.pool_id:
        raise PoolsieveError(
            f"the run's {shards} shard records are not the shards that were planned: one was lost, doubled "
            "or changed. Run again; if it stays, please report it"
        )
    if record.rows != record.kept + dropped + record.quarantined:
        raise PoolsieveError(
            f"{record.rows} rows in are not {record.kept} kept + {dropped} dropped + {record.quarantined}"
        )
    _check_errors(job, record)
    return shards


def _counted(record: Record, dropped: list[int]) -> Iterator[Shard]:
    """The shards of the lines, which are unpacked once; `dropped` gets the rows that each dropped."""
    for line in lines_in(record.shards):
        dropped.append(line.dropped)
        yield line.shard


def _check_errors(job: Job, record: Record) -> None:
    rate, most = record.quarantined / max(record.rows, 1), job.options.max_error_rate
    if most is not None and rate > most:
        worst = {k: v for k, v in record.reasons.items() if k.startswith(QUARANTINE)}
        raise ErrorRateExceeded(
            f"{record.quarantined} of {record.rows} rows ({rate:.2%}) were quarantined, over --max-error-rate {most}: "
            f"{worst}. Their scores' errors are kept; `--retry-quarantined` tries them again"
        )


def summary_of(record: Record, shards: int, cuts: Cuts, decision: str, work: Work, frozen: list[str]) -> Summary:
    """The sums of a decision over so many shards."""
    shared = [name for name in Record.__dataclass_fields__ if name not in ("shards", "uids", "histograms")]
    return Summary(
        decision=decision,
        shard_count=shards,
        dropped=record.rows - record.kept - record.quarantined,
        cuts=cuts,
        work=work,
        frozen=frozen,
        histograms={
            score: {digit: (kept, dropped) for digit, (kept, dropped) in bins.items()}
            for score, bins in record.histograms.items()
        },
        **{name: getattr(record, name) for name in shared},
    )


def empty_budgets(cuts: Cuts) -> list[str]:
    """What to tell the user of budgets that keep no row of a group (or of all rows, without groups).

    Nothing is said of a budget of 0, which asks for that, nor of a group of which no row had come as far as the cut.
    """
    return [
        f"the cut {name!r} keeps no row{f' of group {group!r}' if group else ''}: every row that has a score weighs "
        f"more than the whole budget of {cut.k:,}; give a larger one"
        for name, groups in only_cuts(cuts).items()
        for group, cut in groups.items()
        if cut.kind == "none" and not cut.inclusive and cut.k and cut.of
    ]
