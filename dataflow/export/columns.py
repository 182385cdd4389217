"""Columns that an export adds to the pool's own: scores from the ledger, and edited texts."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.export.edited import EditedColumns
from poolsieve.dataflow.export.rows import ExportPlan
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.store.layout import ledger_url, scorer_folder, scores_folder
from poolsieve.dataflow.store.manifest import Manifest, ShardLine
from poolsieve.dataflow.store.settings import stored_scorers
from poolsieve.dataflow.store.tables import read_table
from poolsieve.scoring_models.base.errors import PlanError


def score_columns(
    out: str,
    manifest: Manifest,
    lines: Sequence[ShardLine],
    asked: bool | Sequence[str],
    kinds: tuple[str, str],
) -> dict[str, pa.DataType]:
    """The score columns that go along, with their types.

    Raises:
        PlanError: for a score that the ledger has not.
    """
    if not asked or not lines:
        return {}
    first = read_table(ledger_url(out, manifest.decision, lines[0].name))
    types = {item.name: item.type for item in first.schema if item.name not in ("row", "uid", "keep", "reason")}
    if asked is True:
        own = _pool_columns(out, manifest) if kinds == ("parquet", "parquet") else set()
        return {name: kind for name, kind in types.items() if name not in own}
    unknown = [name for name in asked if name not in types]
    if unknown:
        near = difflib.get_close_matches(unknown[0], types, n=3, cutoff=0.3)
        guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise PlanError(f"the ledger has no score {unknown[0]!r}.{guess} It has: {', '.join(types) or 'none'}")
    return {name: types[name] for name in asked}


def edited_columns(
    made: ExportPlan,
    manifest: Manifest,
    lines: Sequence[ShardLine],
    columns: Mapping[str, str],
    recipe: Recipe | None,
) -> EditedColumns:
    """The columns of edited texts, once the recipe is known to have them.

    Raises:
        PlanError: if it has not, or the format can't hold them.
    """
    if (made.files.format, made.format) not in (("parquet", "parquet"), ("jsonl", "jsonl")):
        raise PlanError(
            f"--column goes from Parquet to Parquet and from JSON lines to JSON lines, not to {made.format}"
        )
    source = None if recipe is not None else manifest.recipe_source(made.out)
    types = made.files.all_types([line.shard for line in lines])
    edits = EditedColumns(columns=dict(columns), role_types=types, source=source, given=recipe)
    edits.derived(made.files)
    return edits


def _pool_columns(out: str, manifest: Manifest) -> set[str]:
    """Scores that are nothing but a column of the pool: they leave with the row as it is."""
    found = {fs.join(scores_folder(out), item.folder): item.scorer for item in stored_scorers(out)}
    marks = manifest.fingerprints.items()
    return {name for name, mark in marks if _is_column(found.get(scorer_folder(out, name, mark)))}


def _is_column(scorer: Any) -> bool:
    return isinstance(scorer, Mapping) and scorer.get("type") == "PoolColumn"
