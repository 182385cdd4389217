"""One part of a run: an ordinary plan over the whole pool, of which some shards are scored, up to the next cut."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from poolsieve.dataflow.parts import notes
from poolsieve.dataflow.parts.numbers import Share
from poolsieve.dataflow.parts.spread import shards_of
from poolsieve.dataflow.passes.plan import Plan
from poolsieve.dataflow.passes.submit import score_part
from poolsieve.dataflow.recipes.program import Program
from poolsieve.dataflow.recipes.schedule import Schedule
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.runners.supervise import Watch
from poolsieve.dataflow.store.lacking import read_lacking
from poolsieve.dataflow.store.summary import Work


@dataclass(frozen=True)
class Part:
    """Some parts of a run, ready to be scored.

    Attributes:
        plan: over the shards of these parts alone.
        share: the parts.
        mark: of the run, see `notes.run_of_parts`.
        number: of the pass that scores, from 1; `passes` of them read the pool.
        warnings: for people.
    """

    plan: Plan
    share: Share
    mark: str
    number: int
    passes: int
    warnings: tuple[str, ...] = ()


def part_of(plan: Plan, share: Share) -> Part:
    """Some parts of a run, at the pass that its cuts allow.

    Args:
        plan: over the whole pool, from `prepare`.
        share: the parts.

    Raises:
        PoolsieveError: if what `finish` left is damaged.
    """
    job, mark = plan.job, notes.run_of_parts(plan.job)
    found = read_lacking(job.out, mark)
    cuts = {} if found is None else found.cuts
    number, passes = which_pass(job.program, job.frozen, cuts)
    scored = replace(job, part=True, frozen={**cuts, **job.frozen})
    shards = shards_of(plan.shards, share)
    return Part(replace(plan, job=scored, shards=shards), share, mark, number, passes, _warnings(job.out, mark, share))


def which_pass(program: Program, given: Iterable[str], found: Iterable[str]) -> tuple[int, int]:
    """(number of the pass that scores next, from 1; number of passes that score).

    Args:
        program: the recipe.
        given: names of the cuts that the user gave.
        found: names of those that were found.
    """
    whole = Schedule.of(program, given)
    stop = Schedule.of(program, {*given, *found}).stops[0]
    at, reading = whole.stops.index(stop), [i for i in range(len(whole.stops)) if whole.reads(i)]
    return sum(i <= at for i in reading), len(reading)


def _warnings(out: str, mark: str, share: Share) -> tuple[str, ...]:
    others = [of for of in notes.parts_of(out, mark) if of != share.of]
    if others:
        return (
            f"other parts of this run are of {max(others)}, and this is of {share.of}: all shards are scored if all of "
            "either have been run, but what both have under way at once is scored twice",
        )
    if notes.marks(out) and mark not in notes.marks(out):
        return ("parts in OUT so far had another recipe, or another listing of the pool: this one begins a new run",)
    return ()


def score(part: Part, *, engine: Engine = Engine(), watch: Watch | None = None) -> Work:
    """Scores what is missing of the part's shards; returns what was done.

    Killed at any time and repeated, or run beside others that have the same shards, it gives the same files.

    Raises:
        PoolsieveError: whatever stopped it.
    """
    job = part.plan.job
    where = (job.out, part.mark, part.share, part.number)
    notes.begin(job, *where[1:])
    try:
        what = f"poolsieve run --part {part.share}"
        work = score_part(part.plan, what, engine=engine, watch=watch) if part.plan.shards else Work()
    except BaseException as error:
        notes.note(*where, notes.failed(error))
        raise
    notes.note(*where, notes.Note(state="scored", work=work))
    return work
