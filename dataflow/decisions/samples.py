"""Rows for the report: the nearest on both sides of each cut, a few for each reason, a few that are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.decisions.record import SAMPLED_GROUPS, SAMPLES
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.walk import Cuts, State
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.stored import StoredScores
from poolsieve.dataflow.store.summary import Sample
from poolsieve.filters.dsl.cuts import Cut, only_cuts, tie_hashes
from poolsieve.filters.dsl.top import Ranked
from poolsieve.scoring_models.base.arrow import stands_in_ledger

Ints = np.ndarray[Any, np.dtype[np.int64]]


def samples_of(job: Job, shard: Shard, source: StoredScores, state: State, cuts: Cuts) -> dict[str, list[Sample]]:
    """Rows for the report: the nearest on both sides of each cut, a hash-chosen few for each reason and the kept."""
    out: dict[str, list[Sample]] = {}
    hashes = None
    for code, reason in [*enumerate(state.reasons), (-1, "kept")]:
        rows = np.flatnonzero(state.reason == code)[: SAMPLES * 64]
        if len(rows):
            hashes = tie_hashes(source.uid.take(pa.array(rows, pa.int64())), 0)
            best = rows[np.argsort(hashes, kind="stable")[:SAMPLES]]
            out[f"reason/{reason}"] = [
                _sample(int(h), shard, source, state, i) for h, i in zip(np.sort(hashes), best, strict=False)
            ]
    for top in job.program.tops:
        out |= _beside_cuts(top, only_cuts(cuts).get(top.cut, {}), shard, source, state)
    return out


def _beside_cuts(
    top: Ranked, cuts: Mapping[str, Cut], shard: Shard, source: StoredScores, state: State
) -> dict[str, list[Sample]]:
    assert state.env is not None
    out: dict[str, list[Sample]] = {}
    first = set(list(cuts)[:SAMPLED_GROUPS])
    # Rows of another group are judged by another cut, and may be kept far below this one.
    for group, rows in top.grouped(state.env).rows():
        value = cuts[group].value if group in first else None
        if value is not None:
            out |= _beside(top, group, rows, value, shard, source, state)
    return out


def _beside(
    top: Ranked, group: str, inside: Ints, value: float, shard: Shard, source: StoredScores, state: State
) -> dict[str, list[Sample]]:
    values = state.scores[top.name].cast(pa.float64()).to_numpy(zero_copy_only=False)
    known = inside[~np.isnan(values[inside])]
    step = f"{top.cut}/{group}"
    out = {}
    code = state.reasons.index(top.cut) if top.cut in state.reasons else -2
    for side, mask in (("kept", state.alive), ("dropped", state.reason == code)):
        rows = known[mask[known]]
        distance = np.abs(values[rows] - value)
        best = np.argpartition(distance, SAMPLES)[:SAMPLES] if len(distance) > SAMPLES else np.arange(len(distance))
        out[f"cut/{step}/{side}"] = [_sample(float(distance[b]), shard, source, state, rows[b]) for b in best]
    return out


def _sample(rank: float, shard: Shard, source: StoredScores, state: State, i: Any) -> Sample:
    scores = {name: values[int(i)].as_py() for name, values in state.scores.items() if stands_in_ledger(values.type)}
    reason = state.reasons[state.reason[i]] if state.reason[i] >= 0 else ""
    uid = source.uid[int(i)].as_py()
    return Sample(rank, shard.name, int(source.rows[i]), uid, reason, json.dumps(scores))
