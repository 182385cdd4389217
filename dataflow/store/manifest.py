"""`manifest.json`, `cuts.json` and `shards.parquet`: the truth of a run, typed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.pools.shards import DOCUMENT_BYTES
from poolsieve.dataflow.recipes.derived import editors
from poolsieve.dataflow.recipes.program import Program
from poolsieve.dataflow.recipes.recipe import UNSAID_SPLIT_BYTES, Pool
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.recipes.walk import Cuts
from poolsieve.dataflow.store import layout
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.shard_lines import ShardLine, shard_lines
from poolsieve.dataflow.store.summary import FileMark, PoolPart, Summary, Unmatched, WithCuts, cuts_from_json, dumps
from poolsieve.dataflow.store.tables import one_array, read_promised
from poolsieve.filters.repeat import REPEAT
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from poolsieve.scoring_models.base.packages import package_versions

Ints = np.ndarray[Any, np.dtype[np.int64]]

_DECISION = re.compile(r"[0-9a-f]{16}")


class RowCounts(msgspec.Struct, kw_only=True, frozen=True, rename={"rows_in": "in"}):
    """Rows in = kept + dropped + quarantined; `repeated`: those kept, each as often as it leaves, if some do so twice.

    Unset where a recipe repeats none.
    """

    rows_in: int
    kept: int
    dropped: int
    quarantined: int
    repeated: int | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def of(cls, found: Summary) -> RowCounts:
        """Those of a decision."""
        return cls(
            rows_in=found.rows,
            kept=found.kept,
            dropped=found.dropped,
            quarantined=found.quarantined,
            repeated=msgspec.UNSET if found.repeated is None else found.repeated,
        )


class ByteCounts(msgspec.Struct, kw_only=True, frozen=True, rename={"bytes_in": "in"}):
    """Payload bytes of all rows, and of those kept."""

    bytes_in: int
    kept: int


class TokenCounts(msgspec.Struct, kw_only=True, frozen=True):
    """Tokens of the rows whose tokens were counted, and of those kept."""

    counted: int
    kept: int


class PoolRecord(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The pool as the recipe has it, and its listing: `id` is the hash of all shards, `gaps` names without a file."""

    type: str
    kind: str
    urls: tuple[str, ...]
    roles: dict[str, str] = msgspec.field(default_factory=dict)
    allow_gaps: bool = False
    split_bytes: int = UNSAID_SPLIT_BYTES
    max_document_bytes: int = DOCUMENT_BYTES
    fraction: str | None = None
    seed: int = 0
    parts: dict[str, PoolPart] = msgspec.field(default_factory=dict)
    root: str
    id: str
    shards: int
    gaps: tuple[str, ...]

    def pool(self) -> Pool:
        """The pool, without storage options, which are never stored.

        Raises:
            PoolsieveError: for URLs that are not of plain files, and for parts that are no pools.
        """
        for url in self.urls:
            layout.check_pool_url(url)
        return Pool(
            parts={name: part.pool() for name, part in self.parts.items()},
            kind=self.kind,
            urls=self.urls,
            roles=self.roles,
            allow_gaps=self.allow_gaps,
            split_bytes=self.split_bytes,
            max_document_bytes=self.max_document_bytes,
            fraction=self.fraction,
            seed=self.seed,
        )


class Manifest(WithCuts, kw_only=True):
    """What `manifest.json` says of a whole run; it names the current decision.

    Attributes:
        format: of this file.
        ledger: folder of the ledger, below OUT.
        recipe: as `Recipe.to_dict` has it; `source` is its text, None for a recipe made in Python.
        role_types: role -> Arrow type.
        models: scorer -> file -> SHA-256.
        training: scorer -> name of a record -> how a model was made, of models that say so.
        fingerprints: scorer -> fingerprint.
        pools: scorer -> pool that its artefact was made from -> URLs at their commits, of those on the Hub.
        subset: `subset.npy` of the decision, where it has one; not in an OUT of an older version.
        tallies: what derived values add up, as a panel's items that no judge spoke of.
        unmatched: scorer -> items that it has and no row is, and rows that it does not know.
        versions: of what scores may depend on.
    """

    format: int = 1
    decision: str
    ledger: str
    rows: RowCounts
    bytes: ByteCounts
    tokens: TokenCounts | msgspec.UnsetType = msgspec.UNSET
    reasons: dict[str, int]
    recipe: JsonObject
    source: RecipeSource | None
    pool: PoolRecord
    role_types: dict[str, str]
    models: dict[str, dict[str, str]]
    fingerprints: dict[str, str]
    training: dict[str, JsonObject] | msgspec.UnsetType = msgspec.UNSET
    pools: dict[str, dict[str, list[str]]] | msgspec.UnsetType = msgspec.UNSET
    subset: FileMark | msgspec.UnsetType = msgspec.UNSET
    tallies: dict[str, dict[str, dict[str, int]]] | msgspec.UnsetType = msgspec.UNSET
    unmatched: dict[str, Unmatched] | msgspec.UnsetType = msgspec.UNSET
    versions: dict[str, str]

    def recipe_source(self, out: str, *, trust: bool = False) -> RecipeSource:
        """The recipe that the run was made from, to be run: code that OUT holds, and OUT may be anybody's.

        Args:
            out: OUT.
            trust: whether it may be run whatever its file on this machine says.

        Raises:
            PlanError: if it was made from Python objects, not from a file; without `trust`, if it is not what that file
                says.
        """
        if self.source is None:
            raise PlanError(
                f"the run in {out} was made from Python, not from a recipe file: name the recipe to decide by"
            )
        unlike = None if trust else self.source.unlike_files(out)
        if unlike is not None:
            raise PlanError(
                f"the recipe that {out} holds is not run, since it may be anybody's: {unlike}. Name the recipe "
                "(`poolsieve decide RECIPE --out OUT`; from Python recipe=), or have the text that OUT holds run with "
                "--trust-recipe (from Python trust_recipe=True)"
            )
        return self.source


def versions(program: Program | None = None) -> dict[str, str]:
    """Versions of what a ledger depends on: Python, our own, and those that scorers, edits and derived values name."""
    if program is None:
        return package_versions(())
    scored = [made for step in program.scorers for made in (step.scorer, *editors(step.inputs))]
    return package_versions([*scored, *(step.derived for step in program.derived)])


def manifest_of(job: Job, found: Summary, gaps: Sequence[str] = ()) -> Manifest:
    """The truth of a run."""
    counted = found.tokens is not None and found.kept_tokens is not None
    pool = {**job.pool.to_dict(), "root": job.files.root, "id": job.pool_id, "shards": found.shard_count}
    return Manifest(
        decision=found.decision,
        ledger=layout.ledger_name(found.decision),
        rows=RowCounts.of(found),
        bytes=ByteCounts(bytes_in=found.nbytes, kept=found.kept_bytes),
        tokens=TokenCounts(counted=found.tokens or 0, kept=found.kept_tokens or 0) if counted else msgspec.UNSET,
        reasons=found.reasons,
        cuts=found.cuts,
        recipe=job.recipe.to_dict(),
        source=job.source,
        pool=msgspec.convert({**pool, "gaps": list(gaps)}, PoolRecord),
        role_types={name: str(kind) for name, kind in job.role_types.items()},
        models=job.model_files(),
        fingerprints=dict(job.fingerprints),
        training=job.training() or msgspec.UNSET,
        pools=job.pools_on_hub() or msgspec.UNSET,
        subset=found.subset or msgspec.UNSET,
        tallies=_told(job, found) or msgspec.UNSET,
        unmatched=found.unmatched or msgspec.UNSET,
        versions=versions(job.program),
    )


def _told(job: Job, found: Summary) -> dict[str, dict[str, dict[str, int]]]:
    """Sums of derived values that are few enough, and say enough, to stand in the manifest."""
    told = {step.label for step in job.program.derived if getattr(step.derived, "in_manifest", False)}
    return {name: sums for name, sums in found.tallies.items() if name in told}


def write_manifest(job: Job, found: Summary, gaps: Sequence[str] = ()) -> Manifest:
    """Replaces OUT/manifest.json: from now on the decision is the current one, and the run is whole.

    Raises:
        PoolsieveError: if its ledger is not.
    """
    check_ledger(job.out, found.decision)
    made = manifest_of(job, found, gaps)
    fs.write_bytes(layout.manifest_url(job.out), dumps(made.to_json()))
    return made


def read_manifest(out: str) -> Manifest:
    """The manifest of a whole run.

    Raises:
        PlanError: if OUT has none, saying what to do, or something else in its place.
    """
    url = layout.manifest_url(out)
    try:
        data = json.loads(fs.read_bytes(url))
    except FileNotFoundError as error:
        raise PlanError(
            f"{out} has no manifest.json: the run there is not whole yet. Finish it with `poolsieve run`"
        ) from error
    except NotADirectoryError as error:
        raise PlanError(f"{out} is a file: OUT is the folder of a run") from error
    except PlanError:  # which is a ValueError too
        raise
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{url} is damaged: {error}") from error
    if not isinstance(data, dict) or "decision" not in data:
        raise PlanError(f"{url} is not a poolsieve manifest")
    try:
        return _checked(Manifest.from_json(data))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlanError(f"{url} is damaged or of another version: {error}") from error


def _checked(found: Manifest) -> Manifest:
    """Refuses a decision whose name leads elsewhere: what it names is read, and what it doesn't name may be removed."""
    if not _DECISION.fullmatch(found.decision) or found.ledger != layout.ledger_name(found.decision):
        raise ValueError(f"{found.decision!r} with the ledger {found.ledger!r} is no decision")
    return found


def check_ledger(out: str, decision: str) -> None:
    """Compares a decision's ledger with its list of shards, by names and sizes: one listing.

    Raises:
        PoolsieveError: if a shard's file is missing or of another size.
    """
    there = fs.sizes(layout.ledger_folder(out, decision))
    wrong, shards = list[str](), 0
    for line in shard_lines(out, decision):
        shards += 1
        if there.get(f"{line.name}.parquet") != line.ledger_bytes:
            wrong.append(line.path)
    if wrong:
        raise PoolsieveError(
            f"the ledger in {layout.ledger_folder(out, decision)} lacks the lines of {len(wrong):,} of {shards:,} "
            f"shards, the first {wrong[0]}: somebody removed or changed files there. Run again"
        )


def read_ledger(out: str, decision: str, line: ShardLine, columns: Sequence[str] | None = None) -> pa.Table:
    """The ledger of one shard, or some of its columns, once it is known to be the one that was written.

    Raises:
        PoolsieveError: if it is missing, damaged or another.
    """
    return read_promised(layout.ledger_url(out, decision, line.name), columns, sha256=line.ledger_sha256)


def repeats_of(ledger: pa.Table) -> Ints:
    """int64 (n,): how often each row of a ledger with the column `repeat` leaves, 0 for those that are not kept."""
    keep = np.asarray(ledger.column("keep").to_numpy(), dtype=bool)
    times = one_array(ledger, REPEAT).fill_null(1).to_numpy(zero_copy_only=False)
    return np.where(keep, times.astype(np.int64), 0)


def read_cuts(url: str | os.PathLike[str]) -> Cuts:
    """Cuts frozen by an earlier run, from its `cuts.json`.

    Raises:
        PlanError: if there is no such file or it is something else.
    """
    where = fs.absolute(url)
    try:
        return cuts_from_json(json.loads(fs.read_bytes(where)))
    except FileNotFoundError as error:
        raise PlanError(f"no cuts file {url}: give OUT/decisions/<id>/cuts.json of an earlier run") from error
    except (ValueError, RecursionError, IsADirectoryError, PermissionError) as error:
        raise PlanError(f"{url} is not a cuts.json: {error}") from error
