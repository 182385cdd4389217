"""What is noted of a recipe for its reports."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.decisions.facts import facts_of, pool_files
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.dataflow.store.summary import LimitFacts, StepFacts
from poolsieve.filters import Keep, Top, all_of, col
from poolsieve.scoring_models.base.errors import PoolsieveError
from tests.conftest import run


def recipe_of(pool: Path) -> Recipe:
    wide = all_of(
        Keep(col("original_width") >= np.float64(80.5), reason="a.b"),
        Keep(col("original_height") < 10**6, reason="c.d"),
        reason="size.small",
    )
    source = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text", z="clip", a="original_width")
    return (
        source
        | Keep(col("text").word_count() >= 3, reason="text.short")
        | wide
        | Top("clip", fraction="0.5", lowest=True)
    )


def test_they_come_back_from_the_file_as_they_were_noted_in_their_order(pool: Path, tmp_path: Path) -> None:
    recipe = recipe_of(pool)
    plan = prepare(recipe, str(tmp_path / "out"))
    run(recipe, tmp_path / "out")
    made, read = facts_of(plan.job, plan.gaps), OutFolder(str(tmp_path / "out")).summary.facts
    assert read == made
    assert [name for name, _ in made.pool.roles] == ["uid", "text", "z", "a"]
    assert list(json.loads(made.recipe)) == list(plan.job.recipe.to_dict())
    assert [scorer.name for scorer in made.scorers] == list(plan.job.fingerprints)


def test_steps_cuts_and_limits(pool: Path, tmp_path: Path) -> None:
    plan = prepare(recipe_of(pool), str(tmp_path / "out"))
    made = facts_of(plan.job)
    assert [step.label for step in made.steps if step.kind == "rule"] == ["text.short", "size.small", "clip.above_cut"]
    assert made.steps[-1] == StepFacts(kind="rule", label="clip.above_cut", cuts=("clip.above_cut",))
    assert (made.tops[0].score, made.tops[0].lowest, made.tops[0].by) == ("clip", True, None)
    assert made.limits[0] == LimitFacts(score="text.word_count", op="greater_equal", limit=3.0)
    assert LimitFacts(score="original_width", op="greater_equal", limit=80.5) in made.limits
    assert all(type(limit.limit) is float for limit in made.limits)
    assert made.read == plan.job.program.roles() and made.role_types["text"] == "string"


def test_secrets_are_not_noted_and_given_again(pool: Path, tmp_path: Path) -> None:
    recipe = Pool.parquet(f"{pool}/*.parquet", text="text", storage_options={"auto_mkdir": "s3cret"}) | Top(
        "clip", count=5
    )
    plan = prepare(recipe, str(tmp_path / "out"))
    made = facts_of(plan.job)
    assert "s3cret" not in repr(made)
    files = pool_files(made, plan.job.files.storage_options)
    assert files.storage_options == {"auto_mkdir": "s3cret"} and files.root == plan.job.files.root == str(pool)
    for wrong, message in (({"kind": "evil"}, "no kind of pool"), ({"urls": ("reference://a::b",)}, "no URL of plain")):
        with pytest.raises(PoolsieveError, match=message):
            pool_files(msgspec.structs.replace(made, pool=msgspec.structs.replace(made.pool, **wrong)))


def test_the_pool_of_the_facts_has_the_limit_of_its_documents(tmp_path: Path) -> None:
    """Rows are looked up by it: a report said nothing of why they were quarantined."""
    lines = [json.dumps({"text": "a b c " * n}) for n in (1, 100, 2)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    pool = Pool.jsonl(f"{tmp_path}/a.jsonl", text="text", max_document_bytes=200)
    made = poolsieve.run(pool | Keep(col("text").word_count() >= 1, reason="text.short"), tmp_path / "out")
    assert made.reasons == {"quarantine.too_large": 1}
    assert made.summary.facts is not None and pool_files(made.summary.facts).max_document_bytes == 200
    said = json.loads(Path(made.report).with_suffix(".json").read_text())["samples"]
    rows = next(group["rows"] for group in said["reasons"] if group["reason"] == "quarantine.too_large")
    assert "612 bytes" in rows[0]["message"] and not said["notes"]
