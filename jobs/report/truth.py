"""Precision and recall of a decision, where it is known which rows are good (the demo's pool says so)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from poolsieve.dataflow import fs
from poolsieve.dataflow.store.manifest import read_ledger
from poolsieve.dataflow.store.shard_lines import shard_lines
from poolsieve.dataflow.store.summary import Facts
from poolsieve.scoring_models.base.errors import PlanError

Mask = np.ndarray[Any, np.dtype[np.bool_]]


def read_truth(url: str | os.PathLike[str]) -> pa.Table:
    """uid and matches, one line a uid.

    Raises:
        PlanError: if the file is missing, has other columns, or contradicts itself.
    """
    try:
        system, path = fs.connect(fs.absolute(url))
        with system.open(path, "rb") as file:
            table = pq.read_table(file, columns=["uid", "matches"])
    except (OSError, pa.ArrowException) as error:
        raise PlanError(f"--truth {url}: can't be read ({error}); give a Parquet file") from error
    if set(table.column_names) != {"uid", "matches"} or not pa.types.is_boolean(table.schema.field("matches").type):
        raise PlanError(
            f"--truth {url}: expected columns uid (string) and matches (boolean), found {table.schema.names}"
        )
    table = table.filter(table["matches"].is_valid()).group_by(["uid", "matches"]).aggregate([])
    if len(table) != len(pc.unique(table["uid"])):
        raise PlanError(f"--truth {url}: some uids are said to match and not to match")
    return table.combine_chunks()


class TruthStage(msgspec.Struct, kw_only=True, frozen=True):
    """Rows at one place of the recipe.

    Attributes:
        rows: that are there, of those that the file names; `matching` of them are good.
        precision: matching of rows; None without rows.
        recall: matching of all that match anywhere; None where none does.
    """

    stage: str
    rows: int
    matching: int
    precision: float | None
    recall: float | None


class Truth(msgspec.Struct, kw_only=True, frozen=True):
    """What the file says of all rows, of those before the last cut, and of those kept; `unknown` rows it lacks."""

    file: str
    unknown: int
    stages: list[TruthStage]


def truth_of(out: str, decision: str, facts: Facts, url: str | os.PathLike[str]) -> Truth:
    """How many rows match, of all, of those that reached the last cut, and of those kept; and what follows from it.

    Rows whose uid the file does not name are left out of every figure, and counted.
    """
    table = read_truth(url)
    stages = _stages(facts)
    counts: dict[str, list[int]] = {name: [0, 0] for name in stages}
    unknown = 0
    for uid, keep, reason in _ledger(out, decision):
        matches, known = _looked_up(table, uid)
        unknown += int((~known).sum())
        for name, reasons in stages.items():
            here = known & (keep | _one_of(reason, reasons))
            counts[name][0] += int(here.sum())
            counts[name][1] += int((here & matches).sum())
    return Truth(file=os.fspath(url), unknown=unknown, stages=_figures(counts))


def _stages(facts: Facts) -> dict[str, set[str] | None]:
    """Name -> reasons of rows that count as well as the kept ones (None: any reason)."""
    out: dict[str, set[str] | None] = {"all rows": None}
    rules = [step for step in facts.steps if step.kind == "rule"]
    cuts = [i for i, step in enumerate(rules) if step.cuts]
    if cuts and cuts[-1] > 0:
        out[f"before {rules[cuts[-1]].label}"] = {step.label for step in rules[cuts[-1] :]}
    return {**out, "kept rows": set()}


def _ledger(out: str, decision: str) -> Iterator[tuple[pa.ChunkedArray, Mask, pa.ChunkedArray]]:
    for line in shard_lines(out, decision):
        table = read_ledger(out, decision, line, ["uid", "keep", "reason"]).combine_chunks()
        keep = np.asarray(table.column("keep").to_numpy(), dtype=bool)
        yield table.column("uid"), keep, table.column("reason")


def _looked_up(truth: pa.Table, uid: pa.ChunkedArray) -> tuple[Mask, Mask]:
    """(matches, known) for each uid."""
    index = pc.index_in(uid, value_set=truth.column("uid"))
    known = np.asarray(pc.is_valid(index).to_numpy(), dtype=bool)
    matches = truth.column("matches").take(index).fill_null(False)  # type: ignore[arg-type]  # pyarrow-stubs: bare chunks
    return np.asarray(matches.to_numpy(), dtype=bool), known


def _one_of(reason: pa.ChunkedArray, reasons: set[str] | None) -> Mask:
    if reasons is None:
        return np.ones(len(reason), dtype=bool)
    found = pc.is_in(reason, value_set=pa.array(sorted(reasons), pa.string()))
    return np.asarray(found.to_numpy(), dtype=bool)


def _figures(counts: Mapping[str, list[int]]) -> list[TruthStage]:
    all_matching = counts["all rows"][1]
    return [
        TruthStage(
            stage=name,
            rows=rows,
            matching=matching,
            precision=matching / rows if rows else None,
            recall=matching / all_matching if all_matching else None,
        )
        for name, (rows, matching) in counts.items()
    ]
