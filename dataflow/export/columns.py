"""Columns that an export adds to the pool's own: scores from the ledger, and edited texts."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.export.edited import EditedColumns, ScoreFiles
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.formats import FORMATS
from poolsieve.dataflow.pools.formats.format import Format
from poolsieve.dataflow.recipes.derived import score_steps
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.store.layout import scorer_folder, scores_folder
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.dataflow.store.scores import FolderListing
from poolsieve.dataflow.store.settings import stored_scorers
from poolsieve.dataflow.store.summary import ScorerFacts
from poolsieve.scoring_models.base.errors import PlanError


def score_types(run: OutFolder, asked: bool | Sequence[str], *, beside: bool) -> dict[str, pa.DataType]:
    """The scores that go along, with their types.

    Args:
        run: whose ledger has them.
        asked: all scores, or their names.
        beside: whether scores stand among the pool's own columns, where those that are such columns stand already.

    Raises:
        PlanError: for a score that the ledger has not.
    """
    if not asked or not run.shards:
        return {}
    first = run.ledger_of(run.shards[0])
    types = {item.name: item.type for item in first.schema if item.name not in ("row", "uid", "keep", "reason")}
    if asked is True:
        own = _pool_columns(run) if beside and run.manifest.pool.pool().located().reader.has_columns else set()
        return {name: kind for name, kind in types.items() if name not in own}
    if isinstance(asked, str):
        raise PlanError(f"scores={asked!r}: give a list of names, as [{asked!r}], or True for all")
    unknown = [name for name in asked if name not in types]
    if unknown:
        near = difflib.get_close_matches(unknown[0], types, n=3, cutoff=0.3)
        guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise PlanError(f"the ledger has no score {unknown[0]!r}.{guess} It has: {', '.join(types) or 'none'}")
    return {name: types[name] for name in asked}


def edited_columns(
    run: OutFolder,
    files: PoolFiles,
    format: Format | None,
    columns: Mapping[str, str],
    recipe: Recipe | None,
    *,
    trust: bool = False,
) -> EditedColumns | None:
    """The columns of edited texts, once the recipe is known to have them; None for none.

    Args:
        run: whose recipe it is.
        files: the pool's, where they are now.
        format: that is written; None for a kind of export that has seen to it that it can hold the columns.
        columns: column -> role.
        recipe: an object, in place of the recipe that OUT holds.
        trust: whether what OUT holds may be run whatever its file on this machine says.

    Raises:
        PlanError: if it has not, the format can't hold them, or the recipe is not to be trusted.
    """
    if not columns:
        return None
    if format is not None and (format is not files.own or not format.copier.takes_edits):
        able = [other.title for other in FORMATS.values() if other.copier.takes_edits]
        ways = " and ".join(f"from {title} to {title}" for title in able)
        raise PlanError(f"--column goes {ways}, not from {files.own.title} to {format.title}")
    source = None if recipe is not None else run.manifest.recipe_source(run.url, trust=trust)
    types = files.all_types([line.shard for line in run.shards])
    edits = EditedColumns(columns=dict(columns), role_types=types, source=source, given=recipe)
    return dataclasses.replace(edits, score_files=_score_files(run, edits, files))


def _score_files(run: OutFolder, edits: EditedColumns, files: PoolFiles) -> dict[str, ScoreFiles]:
    """Where the scores stand that edits read, as the decision has them.

    Raises:
        PlanError: if it has not.
    """
    steps = sorted(set(score_steps(edits.derived(files))))
    if not steps:
        return {}
    facts = run.summary.facts
    known = {one.name: one for one in facts.scorers} if facts is not None else {}
    lost = [step for step in steps if step not in known]
    if lost:
        raise PlanError(f"--column needs the scores of {lost[0]!r}, which {run.url} does not have: run it again")
    types = edits.program(files).types
    return {step: ScoreFiles(_listing(run.url, known[step]), types) for step in steps}


def _listing(out: str, found: ScorerFacts) -> FolderListing:
    return FolderListing.of(scorer_folder(out, found.name, found.fingerprint), dict(found.readings))


def _pool_columns(run: OutFolder) -> set[str]:
    """Scores that are nothing but a column of the pool: they leave with the row as it is."""
    found = {fs.join(scores_folder(run.url), item.folder): item.scorer for item in stored_scorers(run.url)}
    marks = run.manifest.fingerprints.items()
    return {name for name, mark in marks if _is_column(found.get(scorer_folder(run.url, name, mark)))}


def _is_column(scorer: Any) -> bool:
    return isinstance(scorer, Mapping) and scorer.get("type") == "PoolColumn"
