"""`Unique` and `Cap`: rules over clusters, decided again and again from one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow import Pool
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.filters import Cap, Keep, Repeat, Unique, col, dedup
from poolsieve.filters.dsl.stages import Stage
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import decide, fingerprint_of, ledger, run

SIZES = {"a": 1, "b": 2, "c": 5}
"""Text -> how often it is in the pool."""

OTHER = [0.5, None, 0.9, float("nan"), 0.9, 0.1, 0.2, 0.3]
"""A second score of the pool's rows, in their order."""


def pool(folder: Path) -> Pool:
    folder.mkdir()
    texts = [text for text, n in SIZES.items() for _ in range(n)]
    rows = pa.table({"text": texts, "quality": list(range(8)), "other": OTHER})
    for i, n in enumerate((3, 0, 5)):
        pq.write_table(rows.slice(3 * (i > 0), n), folder / f"p{i}.parquet")
    return Pool.parquet(f"{folder}/*.parquet", text="text")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    folder = tmp_path_factory.mktemp("unique")
    source = pool(folder / "pool")
    run(source | dedup.clusters(best="quality") | Keep(col("other") >= 0, reason="other.none"), folder / "out")
    return Recipe(source), folder / "out"


def decided(out: tuple[Recipe, Path], *stages: Stage) -> list[dict[str, Any]]:
    recipe = out[0] | dedup.clusters(best="quality")
    for stage in stages:
        recipe = recipe | stage
    decide(recipe, out[1])
    return ledger(out[1]).to_pylist()


def test_one_row_of_each_cluster_stays(out: tuple[Recipe, Path]) -> None:
    lines = decided(out, Unique("dup"))
    assert [i for i, line in enumerate(lines) if line["keep"]] == [0, 2, 7]
    assert {line["reason"] for line in lines} == {None, "dup.exact"}


@pytest.mark.parametrize(("most", "kept"), [(1, [0, 2, 7]), (2, [0, 1, 2, 6, 7]), (9, list(range(8)))])
def test_the_first_rows_of_each_cluster_stay(out: tuple[Recipe, Path], most: int, kept: list[int]) -> None:
    lines = decided(out, Cap("dup", most))
    assert [i for i, line in enumerate(lines) if line["keep"]] == kept
    assert {line["reason"] for line in lines} <= {None, "dup.above_cap"}


def test_rows_may_be_ranked_by_another_score_of_those_alive(out: tuple[Recipe, Path]) -> None:
    lines = decided(out, Unique("dup", best="other"))
    assert [i for i, line in enumerate(lines) if line["keep"]] == [0, 2, 4]
    assert [line["dup.by.other"] for line in lines] == [0, 1, 0, 4, 0, 3, 2, 1]
    known = Keep(col("quality") != 4, reason="quality.four")
    alive = decided(out, known, Cap("dup", 2, best="other"))
    assert [i for i, line in enumerate(alive) if line["keep"]] == [0, 1, 2, 6, 7]
    assert alive[4]["reason"] == "quality.four" and alive[4]["dup.by.other"] is None


def test_minhash_is_clusters_and_unique(out: tuple[Recipe, Path]) -> None:
    decided(out, Unique("dup"))
    apart = fingerprint_of(out[1])
    decide(out[0] | dedup.minhash(best="quality"), out[1])
    assert fingerprint_of(out[1]) == apart


def test_clusters_of_copies_alone_have_no_sketches() -> None:
    names = [name for stage in dedup.clusters(near=False).flat() for name in getattr(stage, "scorers", {})]
    assert names == ["dup.hash"]


def test_yaml_knows_the_rules(tmp_path: Path) -> None:
    made = pool(tmp_path / "pool")
    file = tmp_path / "recipe.yaml"
    file.write_text(
        f"pool: {{parquet: ['{made.urls[0]}'], text: text}}\n"
        "stages: [{dedup.clusters: {near: false}}, {cap: {by: dup, most: 2}}, {unique: {best: quality}}]\n"
    )
    summary = run(RecipeSource.read(str(file), {}), tmp_path / "out")
    assert summary.kept == 3


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Cap("dup", 0), "1 or more"),
        (lambda: Cap("dup", True), "1 or more"),
        (lambda: Cap("", 1), "name of the clusters"),
        (lambda: Unique(3), "name of the clusters"),  # type: ignore[arg-type]
        (lambda: Unique("dup", best=""), "name of a score"),
    ],
)
def test_what_means_nothing_is_refused(make: Any, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        make()


def test_names_that_are_no_clusters_are_refused_when_planned(out: tuple[Recipe, Path], tmp_path: Path) -> None:
    found = out[0] | dedup.clusters(near=False)
    stages: list[tuple[Stage, str]] = [
        (Unique("dub"), "'dub.copy'.*dup"),
        (Unique("dup", best="text"), "numbers are needed"),
        (Unique("dup", best="qualty"), "quality"),
        (Unique("dup", best="other") | Repeat("dup", {2: 2}), "give Repeat best='other' too"),
    ]
    for stage, said in stages:
        with pytest.raises(PlanError, match=said):
            prepare(found | stage, str(tmp_path / "out"))
