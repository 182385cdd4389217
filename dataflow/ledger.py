"""The decision for one shard: its ledger file, its kept uids, and a record of counts for the manifest and report."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import fs, progress
from poolsieve.dataflow.evaluate import Cuts, State, quarantined, reasons_count, walk
from poolsieve.dataflow.job import Job
from poolsieve.dataflow.records import Shard
from poolsieve.dataflow.scoring import StoredSource
from poolsieve.dataflow.selection import require_scored, stored_source
from poolsieve.dataflow.store import read_table, write_table
from poolsieve.filters.cuts import order_keys, tie_hashes
from poolsieve.filters.lists import hex_pairs, sort_pairs
from poolsieve.scoring_models.protocol import PoolsieveError, digest

Ints = np.ndarray[Any, np.dtype[np.int64]]
SAMPLES = 8
"""Rows kept for the report on each side of a cut and for each reason."""


@dataclass
class Record:
    """What one shard (or a sum of shards) says of a decision.

    `shards` holds one line a shard for `shards.parquet`; `funnel` one dict a step; `tokens` counts those of the rows
    that were tokenised, None without a score for them; `histograms` score -> key digit -> [kept, dropped]; `samples`
    group -> best-ranked few rows, each `[order, shard name, row, uid, reason, scores]`.
    """

    rows: int = 0
    kept: int = 0
    quarantined: int = 0
    nbytes: int = 0
    kept_bytes: int = 0
    tokens: int | None = None
    kept_tokens: int | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    funnel: list[dict[str, int]] = field(default_factory=list)
    histograms: dict[str, dict[int, list[int]]] = field(default_factory=dict)
    samples: dict[str, list[list[Any]]] = field(default_factory=dict)
    nulls: dict[str, int] = field(default_factory=dict)
    hex_uids: bool = True
    overlap: dict[str, int] = field(default_factory=dict)
    shards: list[dict[str, Any]] = field(default_factory=list)

    def add(self, other: Record) -> Record:
        """Adds another record; the order of adding does not matter once `shards` is sorted."""
        for name in ("rows", "kept", "quarantined", "nbytes", "kept_bytes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("tokens", "kept_tokens"):
            setattr(self, name, _sum(getattr(self, name), getattr(other, name)))
        add_counts(self.reasons, other.reasons)
        add_counts(self.nulls, other.nulls)
        add_counts(self.overlap, other.overlap)
        self.funnel = [
            {key: a.get(key, 0) + b.get(key, 0) for key in {**a, **b}}
            for a, b in zip(
                self.funnel or [{}] * len(other.funnel), other.funnel or [{}] * len(self.funnel), strict=True
            )
        ]
        for score, bins in other.histograms.items():
            _add_bins(self.histograms.setdefault(score, {}), bins)
        for group, rows in other.samples.items():
            self.samples[group] = sorted([*self.samples.get(group, []), *rows])[:SAMPLES]
        self.hex_uids = self.hex_uids and other.hex_uids
        self.shards.extend(other.shards)
        return self


def _sum(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else a + b


def add_counts(into: dict[str, int], counts: Mapping[str, int]) -> None:
    """Adds counts by key."""
    for key, count in counts.items():
        into[key] = into.get(key, 0) + count


def _add_bins(into: dict[int, list[int]], bins: Mapping[int, list[int]]) -> None:
    for digit, (kept, dropped) in bins.items():
        found = into.setdefault(digit, [0, 0])
        found[0] += kept
        found[1] += dropped


def decision_of(job: Job, cuts: Cuts) -> str:
    """A decision's id: a hash of the rules, the cuts, the fingerprints and the pool's listing."""
    return digest([job.program.rules(), cuts_json(cuts), dict(job.fingerprints), job.pool_id], 8)


def cuts_json(cuts: Cuts) -> dict[str, dict[str, Any]]:
    """Cuts as plain values: name -> group -> cut."""
    return {name: {group: cut.to_dict() for group, cut in groups.items()} for name, groups in sorted(cuts.items())}


def decision_url(out: str, decision: str, *parts: str) -> str:
    """A path in a decision's folder."""
    return fs.join(out, "decisions", decision, *parts)


def decide_shard(job: Job, shard: Shard, cuts: Cuts, label: str, write: bool = True) -> Record:
    """Decides every row of a shard; with `write`, writes its ledger (and kept uids, for `subset.npy`).

    Raises:
        NotScored: if rows need scores that are not stored.
        PoolsieveError: if rows in are not rows kept, dropped and quarantined.
    """
    progress.check()
    source = stored_source(job, shard, label)
    state = walk(job.program, source, cuts)
    require_scored(state.unknown, shard)
    record = _record(job, shard, source, state, cuts)
    if write:
        _write(job, shard, source, state, cuts, record)
    elif job.compare:
        record.overlap = _overlap(job, shard, state)
    progress.add("decide", len(source.rows))
    return record


def _overlap(job: Job, shard: Shard, state: State) -> dict[str, int]:
    """Rows kept by both, only by the new rules, only by the decision that `job.compare` names."""
    table = read_table(decision_url(job.out, job.compare, "ledger", f"{shard.name}.parquet"))
    old = np.asarray(table.column("keep").to_numpy(), dtype=bool)
    new = state.alive
    return {"both": int((old & new).sum()), "new": int((new & ~old).sum()), "old": int((old & ~new).sum())}


def _record(job: Job, shard: Shard, source: StoredSource, state: State, cuts: Cuts) -> Record:
    nbytes = source_column(source, "nbytes")
    kept, out = state.alive, quarantined(state)
    line: dict[str, Any] = {
        **shard.to_dict(),
        "name": shard.name,
        "rows": len(kept),
        "kept": int(kept.sum()),
        "dropped": int((~kept).sum()) - out,
        "quarantined": out,
        "nbytes": int(nbytes.sum()),
        "kept_bytes": int(nbytes[kept].sum()),
    }
    if line["kept"] + line["dropped"] + line["quarantined"] != line["rows"] or (state.reason[kept] >= 0).any():
        raise PoolsieveError(f"{shard.path} does not add up: {line}; this is a bug, please report it")
    line |= _ends(source, kept)
    tokens = _tokens(job, state)
    return Record(
        rows=line["rows"],
        kept=line["kept"],
        quarantined=out,
        nbytes=line["nbytes"],
        kept_bytes=line["kept_bytes"],
        reasons=reasons_count(state),
        funnel=_funnel(job, state, nbytes, tokens),
        tokens=None if tokens is None else int(tokens.sum()),
        kept_tokens=None if tokens is None else int(tokens[kept].sum()),
        histograms=_histograms(state),
        samples=_samples(job, shard, source, state, cuts),
        nulls={name: int(values.null_count) for name, values in state.scores.items()},
        shards=[line],
    )


def _tokens(job: Job, state: State) -> Ints | None:
    """int64 (n,): tokens of each row, 0 where they were not counted; None without a score that counts them."""
    if job.program.tokens is None:
        return None
    values = state.scores[job.program.tokens[1]].cast(pa.int64(), safe=False).fill_null(0)
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.int64)


def _funnel(job: Job, state: State, nbytes: Ints, tokens: Ints | None) -> list[dict[str, int]]:
    """The walk's funnel with the bytes that are left after each step and, once they are counted, the tokens."""
    steps = len(job.program.steps)
    made = [{**line, "bytes": left} for line, left in zip(state.funnel, _left(state, nbytes, steps), strict=True)]
    if tokens is not None and job.program.tokens is not None:
        counted = job.program.tokens[0]
        for line, left in zip(made[counted:], _left(state, tokens, steps)[counted:], strict=True):
            line["tokens"] = left
    return made


def _left(state: State, amounts: Ints, steps: int) -> list[int]:
    """The sum over the rows that are alive after each step."""
    by_step = np.zeros(steps + 1, dtype=np.int64)
    np.add.at(by_step, state.passed, amounts)
    return [int(by_step[i + 1 :].sum()) for i in range(steps)]


def source_column(source: StoredSource, name: str) -> np.ndarray[Any, Any]:
    """A numeric column of the shard's rows as NumPy."""
    return np.asarray(source.lines.column(name).to_numpy(zero_copy_only=False))


def _ends(source: StoredSource, kept: np.ndarray[Any, Any]) -> dict[str, str | None]:
    """Keys of the first and last kept samples of a tar: equal keys must not meet in an exported file."""
    rows = np.flatnonzero(kept)
    keys = source.lines.column("key")
    if not len(rows):
        return {"first_key": None, "last_key": None}
    return {"first_key": keys[int(rows[0])].as_py(), "last_key": keys[int(rows[-1])].as_py()}


def _histograms(state: State) -> dict[str, dict[int, list[int]]]:
    """Score -> high 16 bits of the order key -> [kept, dropped], for numeric scores."""
    out = {}
    for name, values in state.scores.items():
        if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
            continue
        keys, valid = order_keys(values.cast(pa.float32(), safe=False), lowest=True)
        digits = (keys >> np.uint64(16)).astype(np.int64)
        kept = _bins(digits[valid & state.alive])
        dropped = _bins(digits[valid & ~state.alive])
        out[name] = {d: [kept.get(d, 0), dropped.get(d, 0)] for d in sorted({*kept, *dropped})}
    return out


def _bins(digits: np.ndarray[Any, Any]) -> dict[int, int]:
    counts = np.bincount(digits, minlength=1)
    return {int(digit): int(counts[digit]) for digit in np.flatnonzero(counts)}


def _samples(job: Job, shard: Shard, source: StoredSource, state: State, cuts: Cuts) -> dict[str, list[list[Any]]]:
    """Rows for the report: the nearest on both sides of each cut, a hash-chosen few for each reason and the kept."""
    out: dict[str, list[list[Any]]] = {}
    hashes = None
    for code, reason in [*enumerate(state.reasons), (-1, "kept")]:
        rows = np.flatnonzero(state.reason == code)[: SAMPLES * 64]
        if len(rows):
            hashes = tie_hashes(source.uid.take(pa.array(rows)), 0)
            best = rows[np.argsort(hashes, kind="stable")[:SAMPLES]]
            out[f"reason/{reason}"] = [
                _sample(int(h), shard, source, state, i) for h, i in zip(np.sort(hashes), best, strict=False)
            ]
    for top in job.program.tops:
        for group, cut in cuts.get(top.cut, {}).items():
            if cut.value is not None:
                out |= _beside(top.cut, group, cut.value, top.name, shard, source, state)
    return out


def _beside(
    cut: str, group: str, value: float, score: str, shard: Shard, source: StoredSource, state: State
) -> dict[str, list[list[Any]]]:
    values = state.scores[score].cast(pa.float64()).to_numpy(zero_copy_only=False)
    step = f"{cut}/{group}"
    out = {}
    code = state.reasons.index(cut) if cut in state.reasons else -2
    for side, mask in (("kept", state.alive), ("dropped", state.reason == code)):
        rows = np.flatnonzero(mask & ~np.isnan(values))
        distance = np.abs(values[rows] - value)
        best = np.argpartition(distance, SAMPLES)[:SAMPLES] if len(distance) > SAMPLES else np.arange(len(distance))
        out[f"cut/{step}/{side}"] = [_sample(float(distance[b]), shard, source, state, rows[b]) for b in best]
    return out


def _sample(order: float, shard: Shard, source: StoredSource, state: State, i: Any) -> list[Any]:
    scores = {
        name: values[int(i)].as_py() for name, values in state.scores.items() if not pa.types.is_nested(values.type)
    }
    reason = state.reasons[state.reason[i]] if state.reason[i] >= 0 else ""
    return [order, shard.name, int(source.rows[i]), source.uid[int(i)].as_py(), reason, json.dumps(scores)]


def ledger_table(source: StoredSource, state: State) -> pa.Table:
    """The ledger of a shard: row, uid, keep, reason, then every score but embeddings, in recipe order."""
    scores = {name: values for name, values in state.scores.items() if not pa.types.is_nested(values.type)}
    arrays = [pa.array(source.rows), source.uid, pa.array(state.alive), state.reason_strings(), *scores.values()]
    return pa.Table.from_arrays(arrays, names=["row", "uid", "keep", "reason", *scores])


def _write(job: Job, shard: Shard, source: StoredSource, state: State, cuts: Cuts, record: Record) -> None:
    decision = decision_of(job, cuts)
    url = decision_url(job.out, decision, "ledger", f"{shard.name}.parquet")
    sha256 = write_table(url, ledger_table(source, state), {"poolsieve.path": shard.path})
    record.shards[0]["ledger_sha256"] = sha256
    kept = source.uid.filter(pa.array(state.alive))
    pairs, valid = hex_pairs(kept)
    record.hex_uids = bool(valid.all())
    if record.hex_uids and len(pairs):
        sink = io.BytesIO()
        np.save(sink, sort_pairs(pairs), allow_pickle=False)
        fs.write_bytes(decision_url(job.out, decision, "uids", f"{shard.name}.npy"), sink.getvalue())
