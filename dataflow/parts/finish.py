"""The end of a run in parts: decides once every score is there, else says what to run."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections import Counter
from dataclasses import replace

from poolsieve.dataflow import fs
from poolsieve.dataflow.parts import notes
from poolsieve.dataflow.parts.numbers import Share, spelled
from poolsieve.dataflow.parts.score import which_pass
from poolsieve.dataflow.parts.spread import part_of_each
from poolsieve.dataflow.passes.plan import Plan
from poolsieve.dataflow.passes.submit import BeforeManifest, carry_out
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.runners.supervise import Watch
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.lacking import Lacking, read_lacking
from poolsieve.dataflow.store.layout import part_folder, parts_folder
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.dataflow.store.stored import NotScored
from poolsieve.scoring_models.base.errors import PoolsieveError

_SHOWN_PARTS = 3
"""Parts that failed whose errors are told."""


class PartsLacking(NotScored):
    """Parts are to be run, once more or for the first time, before a run can be finished.

    Attributes:
        pass_number, passes: the pass that scores next, from 1, and how many there are.
        share: the parts to run; None where nobody has said how many there are.
    """

    status = 3

    def __init__(self, text: str, pass_number: int = 1, passes: int = 1, share: Share | None = None) -> None:
        super().__init__(text)
        self.pass_number, self.passes, self.share = pass_number, passes, share


def finish(
    plan: Plan,
    *,
    engine: Engine = Engine(),
    watch: Watch | None = None,
    before_manifest: BeforeManifest | None = None,
) -> OutFolder:
    """Decides from what parts have scored: the same files as a run of one piece, and no score is computed.

    Cuts are searched anew each time, so that what a part scored again, or for a longer pool, counts.

    Args:
        plan: over the whole pool, from `prepare`.
        engine, watch, before_manifest: as for `carry_out`.

    Raises:
        PartsLacking: if scores are lacking; it says which parts to run. The cuts so far are kept for these.
        PoolsieveError: whatever else stopped it.
    """
    mark = notes.run_of_parts(plan.job)
    job = replace(plan.job, parts=mark)
    try:
        found = carry_out(
            replace(plan, job=job),
            score=False,
            engine=engine,
            watch=watch,
            before_manifest=before_manifest,
            done=notes.work_of(job.out, mark),
        )
    except PoolsieveError as error:
        lacking = read_lacking(job.out, mark)
        if lacking is None or lacking.run != job.run_id:
            raise
        raise _lacking(plan, mark, lacking) from error
    with contextlib.suppress(OSError):  # what can't be removed now, `prune` removes
        _forget(job.out, mark)
    return found


def _forget(out: str, mark: str) -> None:
    """Removes what the parts left: nobody needs it any more."""
    fs.remove(part_folder(out, mark))
    system, path = fs.connect(parts_folder(out))
    if fs.is_local(system):
        os.rmdir(path)  # if no other run has parts here


def _lacking(plan: Plan, mark: str, found: Lacking) -> PartsLacking:
    job = plan.job
    number, passes = which_pass(job.program, job.frozen, found.cuts)
    share = _share(plan, mark, found)
    what = f"{found.shards:,} of {len(plan.shards):,} shards lack scores of pass {number} of {passes}"
    detail = [f"{found.unread:,} were never read"] * (found.unread > 0) + [f"{found.rows:,} rows"] * (found.rows > 0)
    again = "run the array again: " if number > 1 and share is not None and len(share.numbers) == share.of else "run "
    text = f"{what} ({', '.join(detail)}): {again}{_command(job, share)}{_why(job, mark, share, number)}"
    return PartsLacking(text, number, passes, share)


def _share(plan: Plan, mark: str, found: Lacking) -> Share | None:
    """The parts whose shards lack something, of as many as most of the run's parts were of."""
    out = plan.job.out
    seen = notes.parts_of(out, mark) or Counter(of for one in notes.marks(out) for of in notes.parts_of(out, one))
    if not seen:
        return None
    of = max(seen, key=lambda count: (seen[count], count))
    if found.shards > len(found.names):
        return Share(tuple(range(of)), of)
    names = set(found.names)
    parts = {part for shard, part in part_of_each(plan.shards, of).items() if shard.name in names}
    return Share(tuple(sorted(parts)), of)


def _command(job: Job, share: Share | None) -> str:
    """What to type, or to submit."""
    every = share is not None and len(share.numbers) == share.of > 1
    part = None if share is None else f"I/{share.of}" if every else str(share)
    each = f" for each I from 0 to {share.of - 1}" if share is not None and every else ""
    if job.source is None:
        return f"poolsieve.run(recipe, {job.out!r}{'' if part is None else f', part={part!r}'}){each}"
    words = ["poolsieve", "run", job.source.path]
    words += [word for name, text in job.source.parameters.items() for word in ("-p", f"{name}={text}")]
    words += [word for path in job.source.includes for word in ("--include", path)]
    words += ["--out", job.out, *(() if part is None else ("--part", part))]
    return f"`{shlex.join(words)}`{each}"


def _why(job: Job, mark: str, share: Share | None, number: int) -> str:
    """What is known of the parts that did not come to their end."""
    if share is None:
        return ""
    said = {part: notes.read_note(job.out, mark, part, share.of, number) for part in share.numbers}
    errors = [f"part {part}: {one.error}" for part, one in said.items() if one is not None and one.state == "failed"]
    begun = [part for part, one in said.items() if one is not None and one.state == "begun"]
    lines = errors[:_SHOWN_PARTS] + ([f"and {len(errors) - _SHOWN_PARTS} more failed"] if errors[_SHOWN_PARTS:] else [])
    if begun:
        lines.append(f"parts {spelled(begun)} began and did not end, or are still at work")
    return f". {'; '.join(lines)}" if lines else ""
