"""The decision for some shards: their ledger files, their kept uids, and a record of counts for manifest and report."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import numpy as np
import pyarrow as pa

from poolsieve.dataflow import fs, progress
from poolsieve.dataflow.decisions.record import Record, add_counts
from poolsieve.dataflow.decisions.samples import samples_of
from poolsieve.dataflow.decisions.selection import counts_of
from poolsieve.dataflow.decisions.tables import Counts, add_sums, plain_sums
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.program import DeriveStep
from poolsieve.dataflow.recipes.walk import (
    Cuts,
    Mask,
    State,
    gathered_of,
    is_quarantined,
    quarantined,
    reasons_count,
    walk,
)
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import ledger_url, uids_url
from poolsieve.dataflow.store.neighbours import Neighbours, open_neighbours
from poolsieve.dataflow.store.shard_lines import LedgerHashes, ShardLine, packed, shard_lines
from poolsieve.dataflow.store.stored import StoredScores, open_stored, require_scored
from poolsieve.dataflow.store.summary import FunnelLine, cuts_to_json
from poolsieve.dataflow.store.tables import read_promised, write_table
from poolsieve.filters.dsl.cuts import order_keys
from poolsieve.filters.lists import Pairs, hex_pairs, sort_pairs
from poolsieve.scoring_models.base.arrow import stands_in_ledger
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.derived import Reported, Sums
from poolsieve.scoring_models.base.errors import PoolsieveError

Ints = np.ndarray[Any, np.dtype[np.int64]]


def decision_of(job: Job, cuts: Cuts, content: int | None) -> str:
    """A decision's id: a hash of the rules, the cuts, the fingerprints and the pool's listing.

    These say what is in the ledger, but for failures that were tried again. Where some were, `content` is the sum of
    the shards' `ledger_hash`; else it is None, which costs nothing.
    """
    parts = [job.program.rules(), cuts_to_json(cuts), dict(job.fingerprints), job.pool_id]
    return digest(parts if content is None else [*parts, content % 2**64], 8)


def ledger_hash(shard: Shard, job: Job, cuts: Cuts, *, label: str) -> int:
    """64-bit hash of what the ledger of a shard will say.

    Raises:
        NotScored: if rows need scores that are not stored.
    """
    progress.check()
    source = open_stored(job, shard, label)
    state = walk(job.program, source, cuts)
    require_scored(state.unknown, shard)
    table, sink = ledger_table(source, state), io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return int.from_bytes(hashlib.blake2b(shard.name.encode() + sink.getbuffer(), digest_size=8).digest(), "little")


def decide_shards(
    shards: Sequence[Shard],
    job: Job,
    cuts: Cuts,
    content: int | None,
    *,
    label: str,
    write: bool = True,
    left_by: str = "",
) -> Record:
    """Decides every row of some shards; with `write`, writes their ledgers (and kept uids, for `subset.npy`).

    Args:
        shards: neighbours; they are walked as one.
        job, cuts: what is run, and all cuts.
        content: what `decision_of` takes.
        label: of the phase.
        write: whether anything is.
        left_by: the pass that scored last, whose copies of what is stored are read where there are any.

    Raises:
        NotScored: if rows need scores that are not stored.
        PoolsieveError: if rows in are not rows kept, dropped and quarantined.
    """
    progress.check()
    source = open_neighbours(job, shards, label, left_by)
    state = walk(job.program, source, cuts)
    source.require_scored(state.unknown)
    record, lines = record_of(job, source, state, cuts)
    if write:
        with fs.together():
            lines = _write(job, source, state, decision_of(job, cuts, content), record, lines)
    elif job.compare:
        record.overlap = _overlaps(job, source, state)
    record.shards = [packed(lines)]
    progress.add("decide", len(source.rows))
    return record


def _overlaps(job: Job, source: Neighbours, state: State) -> dict[str, int]:
    """Rows kept by both, only by the new rules, only by the decision that `job.compare` names."""
    total: dict[str, int] = {}
    for shard, here in source.parts():
        progress.check()
        add_counts(total, _overlap(job, shard, state.alive[here]))
    return total


def _overlap(job: Job, shard: Shard, new: Mask) -> dict[str, int]:
    hashes = job.session.once(("ledgers", job.compare), lambda: LedgerHashes(shard_lines(job.out, job.compare)))
    url = ledger_url(job.out, job.compare, shard.name)
    table = read_promised(url, ["keep"], sha256=hashes.of(shard.name))
    old = np.asarray(table.column("keep").to_numpy(), dtype=bool)
    return {"both": int((old & new).sum()), "new": int((new & ~old).sum()), "old": int((old & ~new).sum())}


def record_of(job: Job, source: Neighbours, state: State, cuts: Cuts) -> tuple[Record, list[ShardLine]]:
    """What some shards say of the decision, once they add up, and the line of each."""
    nbytes = source_column(source, "nbytes")
    tokens, times = _tokens(job, state), times_of(job, state)
    lines = _lines(source, state, nbytes, times)
    record = Record(
        rows=len(state.alive),
        kept=int(state.alive.sum()),
        quarantined=quarantined(state),
        nbytes=int(nbytes.sum()),
        kept_bytes=int(nbytes[state.alive].sum()),
        repeated=None if times is None else int(times.sum()),
        reasons=reasons_count(state),
        funnel=_funnel(job, state, nbytes, tokens),
        tokens=None if tokens is None else int(tokens.sum()),
        kept_tokens=None if tokens is None else int(tokens[state.alive].sum()),
        histograms=_histograms(state),
        samples=samples_of(job, source, state, cuts),
        tallies=_tallies(job, source, state, cuts),
        nulls={name: int(values.null_count) for name, values in state.scores.items()},
    )
    return record, lines


def times_of(job: Job, state: State) -> Ints | None:
    """int64 (n,): how often each row leaves, 0 for those that are not kept; None where each kept one leaves once."""
    if job.program.repeats is None:
        return None
    values = state.scores[job.program.repeats].fill_null(0).to_numpy(zero_copy_only=False)
    return np.where(state.alive, values, 0)


def _lines(source: Neighbours, state: State, nbytes: Ints, times: Ints | None) -> list[ShardLine]:
    """A line for each shard.

    Raises:
        PoolsieveError: if one does not add up.
    """
    kept, out = state.alive, is_quarantined(state)
    sums = [_sums(source, values) for values in (kept, ~kept & ~out, out, nbytes, np.where(kept, nbytes, 0))]
    wrong = _sums(source, kept & (state.reason >= 0))
    repeated = [None] * len(source.lengths) if times is None else _sums(source, times)
    lines = [
        ShardLine(
            **shard.to_dict(),
            name=shard.name,
            rows=n,
            kept=counts[0],
            dropped=counts[1],
            quarantined=counts[2],
            nbytes=counts[3],
            kept_bytes=counts[4],
            repeated=many,
            first_key=first_key,
            last_key=last_key,
        )
        for shard, n, (first_key, last_key), many, *counts in zip(
            source.shards, source.lengths, _ends(source, kept), repeated, *sums, strict=True
        )
    ]
    for line, kept_with_reason in zip(lines, wrong, strict=True):
        if line.kept + line.dropped + line.quarantined != line.rows or kept_with_reason:
            raise PoolsieveError(f"{line.path} does not add up: {line}; this is a bug, please report it")
    return lines


def _sums(source: Neighbours, values: np.ndarray[Any, Any]) -> list[int]:
    """The sum over each shard's rows."""
    sums = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])[source.starts]
    return [int(value) for value in np.diff(sums)]


def _tokens(job: Job, state: State) -> Ints | None:
    """int64 (n,): tokens of each row, 0 where they were not counted; None without a score that counts them."""
    if job.program.tokens is None:
        return None
    values = state.scores[job.program.tokens[1]].cast(pa.int64(), safe=False).fill_null(0)
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.int64)


def _funnel(job: Job, state: State, nbytes: Ints, tokens: Ints | None) -> list[FunnelLine]:
    """The walk's funnel with the bytes that are left after each step and, once they are counted, the tokens."""
    steps = job.program.steps
    left, left_tokens = _left(state, nbytes, len(steps)), _tokens_left(job, state, tokens)
    return [
        FunnelLine(step=step.label, **counts._asdict(), bytes=left[i], tokens=left_tokens[i])
        for i, (step, counts) in enumerate(zip(steps, state.funnel, strict=True))
    ]


def _tokens_left(job: Job, state: State, tokens: Ints | None) -> list[int | None]:
    """Tokens left after each step; None before the step that counts them."""
    n = len(job.program.steps)
    if tokens is None or job.program.tokens is None:
        return [None] * n
    counted = job.program.tokens[0]
    return [None if i < counted else left for i, left in enumerate(_left(state, tokens, n))]


def _left(state: State, amounts: Ints, steps: int) -> list[int]:
    """The sum over the rows that are alive after each step."""
    by_step = np.zeros(steps + 1, dtype=np.int64)
    np.add.at(by_step, state.passed, amounts)
    return [int(by_step[i + 1 :].sum()) for i in range(steps)]


def source_column(source: Neighbours, name: str) -> np.ndarray[Any, Any]:
    """A numeric column of the rows as NumPy."""
    return np.asarray(source.lines.column(name).to_numpy(zero_copy_only=False))


def _ends(source: Neighbours, kept: Mask) -> list[tuple[str | None, str | None]]:
    """Keys of the first and last kept samples of each tar: equal keys must not meet in an exported file."""
    keys = source.lines.column("key")
    if keys.null_count == len(keys):
        return [(None, None)] * len(source.shards)
    rows = [np.flatnonzero(kept[here]) + here.start for _, here in source.parts()]
    return [(keys[int(r[0])].as_py(), keys[int(r[-1])].as_py()) if len(r) else (None, None) for r in rows]


def _histograms(state: State) -> dict[str, dict[int, list[int]]]:
    """Score -> high 16 bits of the order key -> [kept, dropped], for numeric scores."""
    out = {}
    for name, values in state.scores.items():
        if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
            continue
        keys, valid = order_keys(values.cast(pa.float32(), safe=False), lowest=True)
        digits = (keys >> np.uint64(16)).astype(np.int64)
        kept = counts_of(digits[valid & state.alive])
        dropped = counts_of(digits[valid & ~state.alive])
        out[name] = {d: [kept.get(d, 0), dropped.get(d, 0)] for d in sorted({*kept, *dropped})}
    return out


def _tallies(job: Job, source: Neighbours, state: State, cuts: Cuts) -> dict[str, Counts]:
    """What derived values add up for the report; see `derived.report` and `derived.told`."""
    steps = [step for step in job.program.derived if hasattr(step.derived, "report")]
    return {step.label: add_sums(plain_sums(reported(step, state)), _told(step, source, cuts)) for step in steps}


def _told(step: DeriveStep, source: Neighbours, cuts: Cuts) -> Counts:
    """The sums over what was gathered of the rows and stands in no column."""
    told = getattr(step.derived, "told", None)
    return {} if told is None else plain_sums(told(gathered_of(source, step, cuts)))


def reported(step: DeriveStep, state: State) -> Sums:
    """The sums of one derived value: it sees what it read, and its own columns under their short names."""
    derived = cast("Reported", step.derived)
    own = {column: state.scores[name] for column, name in zip(derived.columns, step.columns, strict=True)}
    return derived.report({**{name: state.scores[name] for name in derived.reads}, **own}, state.alive)


def ledger_table(source: StoredScores | Neighbours, state: State) -> pa.Table:
    """The ledger of some rows: row, uid, keep, reason, every score but embeddings and sketches, in recipe order."""
    scores = {name: values for name, values in state.scores.items() if stands_in_ledger(values.type)}
    arrays = [pa.array(source.rows), source.uid, pa.array(state.alive), state.reason_strings(), *scores.values()]
    return pa.Table.from_arrays(arrays, names=["row", "uid", "keep", "reason", *scores])


def _write(
    job: Job, source: Neighbours, state: State, decision: str, record: Record, counted: Sequence[ShardLine]
) -> list[ShardLine]:
    """Writes the shards' ledgers, and their kept uids; the lines, with what is known of the files."""
    whole, lines = ledger_table(source, state), []
    for line, (shard, here) in zip(counted, source.parts(), strict=True):
        url, table = ledger_url(job.out, decision, line.name), whole.slice(here.start, here.stop - here.start)
        file = write_table(url, table, {"poolsieve.path": shard.path})
        lines.append(msgspec.structs.replace(line, ledger_sha256=file.sha256, ledger_bytes=file.size))
    pairs, valid = hex_pairs(source.uid.filter(pa.array(state.alive)))
    record.hex_uids = bool(valid.all())
    if record.hex_uids and record.kept:
        times = times_of(job, state)
        pairs = pairs if times is None else np.repeat(pairs, times[state.alive])
        record.uids = [_write_uids(job, lines[0].name, pairs)]
    return lines


def _write_uids(job: Job, name: str, pairs: Pairs) -> str:
    """Keeps the uids of some shards until they are merged, under the name of the first; that name."""
    sink = io.BytesIO()
    np.save(sink, sort_pairs(pairs), allow_pickle=False)
    fs.write_bytes(uids_url(job.out, job.run_id, name), sink.getvalue())
    return name
