"""A decision as a whole, once every shard is decided: everything adds up, and the summary for manifest and report."""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.decisions.decide import decision_of
from poolsieve.dataflow.decisions.record import Record
from poolsieve.dataflow.decisions.subset import merge_subset
from poolsieve.dataflow.recipes.walk import Cuts
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import decision_url
from poolsieve.dataflow.store.manifest import SHARDS_SCHEMA, cuts_json, dumps, pool_id
from poolsieve.dataflow.store.tables import write_table
from poolsieve.scoring_models.base.errors import PoolsieveError


class ErrorRateExceeded(PoolsieveError):
    """More rows were quarantined than `--max-error-rate` allows."""


def finish_decision(job: Job, record: Record, cuts: Cuts, write: bool = True) -> dict[str, Any]:
    """Checks that everything adds up and writes what belongs to the decision as a whole.

    Returns:
        The summary that manifest and report are made from.

    Raises:
        PoolsieveError: if a shard is missing or doubled, or rows don't add up.
        ErrorRateExceeded: if too many rows were quarantined.
    """
    record.shards.sort(key=lambda line: (line["path"], line["start"]))
    check_whole(job, record)
    decision = decision_of(job, cuts)
    if write:
        table = pa.Table.from_pylist(record.shards, schema=SHARDS_SCHEMA)
        write_table(decision_url(job.out, decision, "shards.parquet"), table)
        fs.write_bytes(decision_url(job.out, decision, "cuts.json"), dumps(cuts_json(cuts)))
        if record.hex_uids:
            merge_subset(job.out, decision, record)
    return summary(job, record, cuts, decision)


def check_whole(job: Job, record: Record) -> None:
    """Conservation over the run: every shard once, and rows in = kept + dropped + quarantined."""
    if pool_id(record.shards) != job.pool_id:
        raise PoolsieveError(
            f"the run's {len(record.shards)} shard records are not the shards that were planned: one was lost, doubled "
            "or changed. Run again; if it stays, please report it"
        )
    dropped = sum(line["dropped"] for line in record.shards)
    if record.rows != record.kept + dropped + record.quarantined:
        raise PoolsieveError(
            f"{record.rows} rows in are not {record.kept} kept + {dropped} dropped + {record.quarantined}"
        )
    rate, most = record.quarantined / max(record.rows, 1), job.options.max_error_rate
    if most is not None and rate > most:
        worst = {k: v for k, v in record.reasons.items() if k.startswith("quarantine.")}
        raise ErrorRateExceeded(
            f"{record.quarantined} of {record.rows} rows ({rate:.2%}) were quarantined, over --max-error-rate {most}: "
            f"{worst}. Their scores' errors are kept; `--retry-quarantined` tries them again"
        )


def summary(job: Job, record: Record, cuts: Cuts, decision: str) -> dict[str, Any]:
    """Counts, funnel, histograms and samples of a decision, as JSON values."""
    steps = [step.label for step in job.program.steps]
    data = dataclasses.asdict(record)
    data["funnel"] = [{"step": label, **counts} for label, counts in zip(steps, record.funnel, strict=False)]
    del data["shards"]
    return {
        "decision": decision,
        "shard_count": len(record.shards),
        "dropped": sum(line["dropped"] for line in record.shards),
        "cuts": cuts_json(cuts),
        **data,
    }
