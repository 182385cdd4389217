"""The last steps of a run, once every shard is decided: shards.parquet, subset.npy, cuts.json, then the manifest."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.evaluate import Cuts
from poolsieve.dataflow.job import Job
from poolsieve.dataflow.ledger import Record, cuts_json, decision_of, decision_url
from poolsieve.dataflow.records import Shard
from poolsieve.dataflow.store import read_table, write_table
from poolsieve.filters.lists import PAIR, sort_pairs
from poolsieve.scoring_models.protocol import PlanError, PoolsieveError, digest

SHARDS_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("first", pa.int32()),
        ("row_groups", pa.int32()),
        ("start", pa.int64()),
        ("size", pa.int64()),
        ("tag", pa.string()),
        ("name", pa.string()),
        ("rows", pa.int64()),
        ("kept", pa.int64()),
        ("dropped", pa.int64()),
        ("quarantined", pa.int64()),
        ("nbytes", pa.int64()),
        ("kept_bytes", pa.int64()),
        ("first_key", pa.string()),
        ("last_key", pa.string()),
        ("ledger_sha256", pa.string()),
    ]
)
"""`shards.parquet`: one line a shard, in pool order."""


class ErrorRateExceeded(PoolsieveError):
    """More rows were quarantined than `--max-error-rate` allows."""


def pool_id(shards: Sequence[Mapping[str, Any] | Shard]) -> str:
    """Hash of a pool's listing: paths, ranges, sizes and tags of all shards, in order."""
    made = [shard if isinstance(shard, Shard) else shard_of(shard) for shard in shards]
    return digest([shard.identity for shard in sorted(made)], 8)


def shard_of(line: Mapping[str, Any]) -> Shard:
    """The shard of a line of `shards.parquet`."""
    names = [field.name for field in dataclasses.fields(Shard)]
    return Shard(**{name: line[name] for name in names})


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


def dumps(value: Any) -> bytes:
    """JSON as files have it: sorted keys, indented, one line end."""
    return (json.dumps(value, indent=1, sort_keys=True, default=str) + "\n").encode()


def merge_subset(out: str, decision: str, record: Record, budget: int = 64 << 20) -> None:
    """Merges the shards' sorted uid files into one sorted `subset.npy`, range by range, in about `budget` bytes."""
    named = [line["name"] for line in record.shards if line["kept"]]
    with tempfile.TemporaryDirectory(prefix=fs.TEMPORARY) as folder:
        parts = [
            _local_copy(decision_url(out, decision, "uids", f"{name}.npy"), folder, i) for i, name in enumerate(named)
        ]
        with fs.atomic_write(decision_url(out, decision, "subset.npy")) as file:
            np.lib.format.write_array_header_1_0(file, _header(record.kept))
            for low, high in _ranges(record.kept, budget):
                file.write(_merged(parts, low, high).tobytes())
    fs.remove(decision_url(out, decision, "uids"))


def _header(n: int) -> dict[str, Any]:
    return {"descr": PAIR.descr, "fortran_order": False, "shape": (n,)}


def _local_copy(url: str, folder: str, i: int) -> Any:
    path = os.path.join(folder, f"{i}.npy")
    with open(path, "wb") as file:
        file.write(fs.read_bytes(url))
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _ranges(n: int, budget: int) -> list[tuple[int, int]]:
    """Ranges of the high half that split uids, which are uniform, into pieces of about `budget` bytes."""
    pieces = max(1, -(-n * PAIR.itemsize // budget))
    edges = [(1 << 64) * i // pieces for i in range(pieces + 1)]
    return list(itertools.pairwise(edges))


def _merged(parts: Sequence[Any], low: int, high: int) -> np.ndarray[Any, Any]:
    cut = [_slice(part, low, high) for part in parts]
    merged = np.concatenate(cut) if cut else np.zeros(0, PAIR)
    return sort_pairs(merged)


def _slice(part: Any, low: int, high: int) -> Any:
    first = np.searchsorted(part["f0"], np.uint64(low))
    last = len(part) if high == 1 << 64 else np.searchsorted(part["f0"], np.uint64(high))
    return part[first:last]


def manifest(job: Job, found: Mapping[str, Any], files: Mapping[str, Any], gaps: Sequence[str] = ()) -> dict[str, Any]:
    """The truth of a run, as `manifest.json` has it."""
    return {
        "format": 1,
        "decision": found["decision"],
        "ledger": f"decisions/{found['decision']}/ledger",
        "rows": {
            "in": found["rows"],
            "kept": found["kept"],
            "dropped": found["dropped"],
            "quarantined": found["quarantined"],
        },
        "bytes": {"in": found["nbytes"], "kept": found["kept_bytes"]},
        **tokens(found),
        "reasons": found["reasons"],
        "cuts": found["cuts"],
        "recipe": job.recipe.to_dict(),
        "source": dataclasses.asdict(job.source) if job.source else None,
        "pool": {
            **job.pool.to_dict(),
            "root": job.pool.root,
            "id": job.pool_id,
            "shards": found["shard_count"],
            "gaps": list(gaps),
        },
        "role_types": {name: str(kind) for name, kind in job.role_types.items()},
        "models": files,
        "fingerprints": dict(job.fingerprints),
        "versions": versions(),
    }


def tokens(found: Mapping[str, Any]) -> dict[str, Any]:
    """`tokens` for manifest and report: of the rows whose tokens were counted, and of those kept; empty without."""
    if found.get("tokens") is None:
        return {}
    return {"tokens": {"counted": found["tokens"], "kept": found["kept_tokens"]}}


def versions() -> dict[str, str]:
    """Versions of what a score may depend on, as far as it is installed."""
    names = ["poolsieve", "apache-beam", "pyarrow", "numpy", "pillow", "torch", "open_clip_torch", "transformers"]
    out = {"python": platform.python_version()}
    for name in names:
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return out


def write_manifest(job: Job, found: Mapping[str, Any], files: Mapping[str, Any], gaps: Sequence[str] = ()) -> None:
    """Replaces OUT/manifest.json: from now on the decision is the current one, and the run is whole."""
    fs.write_bytes(fs.join(job.out, "manifest.json"), dumps(manifest(job, found, files, gaps)))


def read_manifest(out: str) -> dict[str, Any]:
    """The manifest of a whole run.

    Raises:
        PlanError: if OUT has none, saying what to do.
    """
    try:
        data = json.loads(fs.read_bytes(fs.join(out, "manifest.json")))
    except FileNotFoundError as error:
        raise PlanError(
            f"{out} has no manifest.json: the run there is not whole yet. Finish it with `poolsieve run`"
        ) from error
    except ValueError as error:
        raise PlanError(f"{out}/manifest.json is damaged: {error}") from error
    if not isinstance(data, dict) or "decision" not in data:
        raise PlanError(f"{out}/manifest.json is not a poolsieve manifest")
    return data


def read_shards(out: str, decision: str) -> list[dict[str, Any]]:
    """The lines of a decision's `shards.parquet`, in pool order."""
    found: list[dict[str, Any]] = read_table(decision_url(out, decision, "shards.parquet")).to_pylist()
    return found
