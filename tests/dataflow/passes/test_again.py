"""A run again where nothing has changed opens nothing of the pool, of rows or of scores; any change has it made anew."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow.recipes.recipe import Recipe
from tests.dataflow.passes.small import SHARDS, recipe

_opened: list[str] = []
"""What this process opens while a test counts; an audit hook stays for good."""


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(args[0], str):
        _opened.append(args[0])


sys.addaudithook(_hook)


def opened_by(recipe: Recipe, out: Path, pool: Path) -> Counter[str]:
    """Files that a run opened, by their folder in OUT; "pool" for the pool's."""
    _opened.clear()
    poolsieve.run(recipe, out, samples=False)
    found = Counter[str]()
    for name in list(_opened):
        if name.startswith(f"{out}/"):
            found[name.removeprefix(f"{out}/").partition("/")[0]] += 1
        elif name.startswith(f"{pool}/"):
            found["pool"] += 1
    return found


def contents(out: Path) -> dict[str, bytes]:
    """The files that say what was decided."""
    decided = [*out.glob("decisions/*/ledger/*"), *out.glob("decisions/*/*.npy"), *out.glob("decisions/*/*.parquet")]
    return {str(file): file.read_bytes() for file in [*decided, *out.glob("rows/*"), *out.glob("scores/*/*.parquet")]}


def test_nothing_is_opened_again(tmp_path: Path, pool: Path) -> None:
    out = tmp_path / "out"
    first = opened_by(recipe(pool), out, pool)
    before, manifest = contents(out), json.loads((out / "manifest.json").read_bytes())
    again = opened_by(recipe(pool), out, pool)
    assert first["rows"] >= SHARDS and first["scores"] >= SHARDS
    assert again["rows"] == 0 and not any("/ledger/" in name for name in _opened)
    assert again["scores"] <= 2, "no more than scorer.json"
    assert again["pool"] <= 3, "no more than a schema, as for a plan"
    assert contents(out) == before
    assert json.loads((out / "manifest.json").read_bytes()) == manifest
    assert poolsieve.open(out).summary.work.rows == 4 * SHARDS


def _lose(file: Path) -> None:
    file.unlink()


def _alter(file: Path) -> None:
    """Another file of the same size."""
    file.write_bytes(file.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize(
    ("pattern", "spoil"),
    [
        ("rows/*", _lose),
        ("scores/*/*.parquet", _lose),
        ("decisions/*/ledger/*", _lose),
        ("decisions/*/ledger/*", _alter),
    ],
)
def test_what_is_lost_is_made_anew(tmp_path: Path, pool: Path, pattern: str, spoil: Any) -> None:
    out = tmp_path / "out"
    poolsieve.run(recipe(pool), out, samples=False)
    before = contents(out)
    spoil(sorted(out.glob(pattern))[2])
    poolsieve.run(recipe(pool), out, samples=False)
    assert contents(out) == before


def test_a_changed_rule_and_a_changed_file_are_seen(tmp_path: Path, pool: Path) -> None:
    out = tmp_path / "out"
    kept = poolsieve.run(recipe(pool), out, samples=False).counts
    assert poolsieve.run(recipe(pool, most=1), out, samples=False).counts != kept
    assert poolsieve.run(recipe(pool), out, samples=False).counts == kept
    table = pq.read_table(pool / "p0.parquet")
    pq.write_table(table.slice(0, 3), pool / "p0.parquet")
    assert poolsieve.run(recipe(pool), out, samples=False).counts.rows_in == kept.rows_in - 1
