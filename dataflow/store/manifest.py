"""`manifest.json`, `cuts.json` and `shards.parquet`: the JSON truth of a run."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.recipes.walk import Cuts
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import decision_url
from poolsieve.dataflow.store.tables import read_table
from poolsieve.filters.dsl.cuts import Cut
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.errors import PlanError


def cuts_json(cuts: Cuts) -> dict[str, dict[str, Any]]:
    """Cuts as plain values: name -> group -> cut."""
    return {name: {group: cut.to_dict() for group, cut in groups.items()} for name, groups in sorted(cuts.items())}


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


def pool_id(shards: Sequence[Mapping[str, Any] | Shard]) -> str:
    """Hash of a pool's listing: paths, ranges, sizes and tags of all shards, in order."""
    made = [shard if isinstance(shard, Shard) else shard_of(shard) for shard in shards]
    return digest([shard.identity for shard in sorted(made)], 8)


def shard_of(line: Mapping[str, Any]) -> Shard:
    """The shard of a line of `shards.parquet`."""
    names = [field.name for field in dataclasses.fields(Shard)]
    return Shard(**{name: line[name] for name in names})


def dumps(value: Any) -> bytes:
    """JSON as files have it: sorted keys, indented, one line end."""
    return (json.dumps(value, indent=1, sort_keys=True, default=str) + "\n").encode()


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
            "root": job.files.root,
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


def recipe_in_manifest(manifest: Mapping[str, Any], out: str) -> RecipeSource:
    """The recipe file that a manifest holds.

    Raises:
        PlanError: if the run was made from Python objects, not from a file.
    """
    source = manifest.get("source")
    if not source:
        raise PlanError(f"the run in {out} was made from Python, not from a recipe file: name the recipe to decide by")
    return RecipeSource(source["path"], source["text"], source["parameters"], source["includes"], source["base"])


def read_cuts(url: str) -> dict[str, dict[str, Cut]]:
    """Cuts frozen by an earlier run, from its `cuts.json` (or its OUT).

    Raises:
        PlanError: if there is no such file or it is something else.
    """
    try:
        data = json.loads(fs.read_bytes(fs.absolute(url)))
        return {name: {group: Cut.from_dict(cut) for group, cut in groups.items()} for name, groups in data.items()}
    except FileNotFoundError as error:
        raise PlanError(f"no cuts file {url}: give OUT/decisions/<id>/cuts.json of an earlier run") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise PlanError(f"{url} is not a cuts.json: {error}") from error
