"""Rows for the report: the nearest on both sides of each cut, a few for each reason, a few that are kept."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.dataflow.decisions.record import SAMPLED_GROUPS, SAMPLES
from poolsieve.dataflow.recipes.walk import Cuts, Mask, State
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.neighbours import Neighbours
from poolsieve.dataflow.store.summary import Sample
from poolsieve.filters.dsl.cuts import Cut, only_cuts, tie_hashes
from poolsieve.filters.dsl.top import Ranked
from poolsieve.filters.duplicates.families import COLUMNS
from poolsieve.filters.words.mixing import mixed
from poolsieve.scoring_models.base.arrow import stands_in_ledger

Ints = np.ndarray[Any, np.dtype[np.int64]]


MOST_LOOKED_AT = SAMPLES * 64
"""Rows of a shard that are hashed for each reason: the first ones."""

FAMILY_ROWS = 4
"""Rows of a family of duplicates that a report shows: the one that is kept, and the best of the others."""


def samples_of(job: Job, source: Neighbours, state: State, cuts: Cuts) -> dict[str, list[Sample]]:
    """Rows for the report: the nearest on both sides of each cut, a hash-chosen few for each reason and the kept."""
    out: dict[str, list[Sample]] = {}
    for code, reason in [*enumerate(state.reasons), (-1, "kept")]:
        rows = _first_rows(source, state.reason == code)
        if len(rows):
            ranks = tie_hashes(source.uid.take(pa.array(rows, pa.int64())), 0)
            out[f"reason/{reason}"] = _best(ranks, rows, source, state)
    for top in job.program.tops:
        out |= _beside_cuts(top, only_cuts(cuts).get(top.cut, {}), source, state)
    for step in job.program.derived:
        if COLUMNS.items() <= step.derived.columns.items():
            out |= _of_families(step.label.rpartition(".")[0], source, state)
    return out


def _of_families(name: str, source: Neighbours, state: State) -> dict[str, list[Sample]]:
    """Members of the largest families of duplicates, by their places in them, and the rows least like the one kept.

    Ties of size are broken by the cluster, so that the same families are chosen for each place.
    """
    size, rank, copy = (state.scores[f"{name}.{column}"].fill_null(0).to_numpy() for column in ("size", "rank", "copy"))
    out = {}
    for place in range(FAMILY_ROWS):
        rows = _largest(size, np.flatnonzero((size > 1) & (rank == place)))
        ranks = _tie(state.scores[f"{name}.cluster"].take(pa.array(rows, pa.int64()))) - size[rows]
        out[f"family/{name}/{place}"] = _best(ranks, rows, source, state) if len(rows) else []
    alike = state.scores[f"{name}.similarity"].to_numpy(zero_copy_only=False)
    rows = np.flatnonzero((rank > 0) & (copy == 0) & ~np.isnan(alike))
    out[f"near/{name}"] = _best(alike[rows].astype(np.float64), rows, source, state) if len(rows) else []
    return {group: found for group, found in out.items() if found}


def _largest(size: Ints, rows: Ints) -> Ints:
    """Those of the rows that are in the largest clusters, and all that tie with the last of them."""
    if len(rows) <= SAMPLES:
        return rows
    return np.asarray(rows[size[rows] >= np.partition(size[rows], -SAMPLES)[-SAMPLES]], dtype=np.int64)


def _tie(clusters: pa.Array) -> np.ndarray[Any, np.dtype[np.float64]]:
    """float64 (n,) from 0 to 1: a hash of the last digits of a cluster's name, which others may share."""
    digits = pc.replace_substring_regex(clusters, r"[^0-9]+", "")
    last = pc.utf8_slice_codeunits(pc.utf8_lpad(digits, 18, "0"), -18)
    return (mixed(last.cast(pa.uint64()).to_numpy(zero_copy_only=False)) >> np.uint64(48)) / 65536.0


def _first_rows(source: Neighbours, mask: Mask) -> Ints:
    """The first rows of each shard that are in the mask."""
    rows = np.flatnonzero(mask)
    if len(rows) <= MOST_LOOKED_AT:
        return rows
    first = np.searchsorted(rows, source.starts)
    return np.concatenate([rows[low : min(low + MOST_LOOKED_AT, high)] for low, high in itertools.pairwise(first)])


def _best(ranks: np.ndarray[Any, Any], rows: Ints, source: Neighbours, state: State) -> list[Sample]:
    """The rows with the lowest ranks; of those that tie, the first ones by shard's name and row."""
    near = np.arange(len(rows))
    if len(rows) > SAMPLES:
        near = np.flatnonzero(ranks <= np.partition(ranks, SAMPLES - 1)[SAMPLES - 1])
    # Any number of rows may tie, so that they are put in order before a line is made of one.
    names = np.argsort(np.argsort([shard.name for shard in source.shards]))
    order = np.lexsort((names[_shard_at(source, rows[near])], ranks[near]))[:SAMPLES]
    return [_sample(float(ranks[i]), source, state, int(rows[i])) for i in near[order]]


def _shard_at(source: Neighbours, rows: Ints) -> Ints:
    """int64 (m,): the number of the shard that each row is in."""
    return np.asarray(np.searchsorted(source.starts, rows, side="right") - 1, dtype=np.int64)


def _beside_cuts(top: Ranked, cuts: Mapping[str, Cut], source: Neighbours, state: State) -> dict[str, list[Sample]]:
    assert state.env is not None
    out: dict[str, list[Sample]] = {}
    first = set(list(cuts)[:SAMPLED_GROUPS])
    # Rows of another group are judged by another cut, and may be kept far below this one.
    for group, rows in top.grouped(state.env).rows():
        value = cuts[group].value if group in first else None
        if value is not None:
            out |= _beside(top, group, rows, value, source, state)
    return out


def _beside(
    top: Ranked, group: str, inside: Ints, value: float, source: Neighbours, state: State
) -> dict[str, list[Sample]]:
    values = state.scores[top.name].cast(pa.float64()).to_numpy(zero_copy_only=False)
    known = inside[~np.isnan(values[inside])]
    step = f"{top.cut}/{group}"
    out = {}
    code = state.reasons.index(top.cut) if top.cut in state.reasons else -2
    for side, mask in (("kept", state.alive), ("dropped", state.reason == code)):
        rows = known[mask[known]]
        out[f"cut/{step}/{side}"] = _best(np.abs(values[rows] - value), rows, source, state) if len(rows) else []
    return out


def _sample(rank: float, source: Neighbours, state: State, i: int) -> Sample:
    scores = {name: values[i].as_py() for name, values in state.scores.items() if stands_in_ledger(values.type)}
    reason = state.reasons[state.reason[i]] if state.reason[i] >= 0 else ""
    shard = source.shards[int(_shard_at(source, np.array([i]))[0])]
    return Sample(rank, shard.name, int(source.rows[i]), source.uid[i].as_py(), reason, json.dumps(scores))
