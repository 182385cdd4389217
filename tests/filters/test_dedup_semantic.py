"""`dedup.semantic`: runs over pools of embeddings, whatever their shards and history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow import Pool
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.filters import dedup
from poolsieve.filters.near_vectors import NearVectors
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import decide, fingerprint_of, ledger, run
from tests.filters.duplicates.test_meanings import embeddings

COUNT = 150


def table() -> pa.Table:
    """Embeddings, a third of them near to that of another row, and five rows without any direction."""
    values = embeddings(1, COUNT)
    lists: list[Any] = [*values.tolist(), None, [0.0] * 24, [float("nan")] * 24, [1.0], []]
    order = np.random.default_rng(0).permutation(len(lists))
    columns = {
        "embedding": pa.array(lists, pa.list_(pa.float32())),
        "number": pa.array(range(len(lists))),
        "quality": pa.array([(7 * i) % 31 for i in range(len(lists))], pa.float32()),
        "word": pa.array(["x"] * len(lists)),
    }
    return pa.table(columns).take(pa.array(order))


def write(folder: Path, sizes: list[int]) -> Path:
    folder.mkdir()
    whole, start = table(), 0
    for i, size in enumerate(sizes):
        pq.write_table(whole.slice(start, size), folder / f"p{i}.parquet", row_group_size=20)
        start += size
    assert start == len(whole)
    return folder


def recipe(folder: Path, embedding: str = "embedding", **given: Any) -> Recipe:
    pool = Pool.parquet(f"{folder}/*.parquet", text="word")
    return pool | dedup.semantic(embedding=embedding, **given)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("semantic") / "pool", [60, 0, COUNT + 5 - 60])


@pytest.fixture(scope="module")
def out(pool: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("semantic") / "out"
    run(recipe(pool, best="quality"), made)
    return made


def test_a_row_goes_if_a_better_one_means_the_same(out: Path) -> None:
    rows, lines = table().to_pylist(), ledger(out).to_pylist()
    keys = [f"p0.parquet:{i}" for i in range(60)] + [f"p2.parquet:{i}" for i in range(len(rows) - 60)]
    named = dict(zip(keys, rows, strict=True))
    kept = {key for key, line in zip(keys, lines, strict=True) if line["keep"]}
    assert 5 + COUNT / 2 < len(kept) < COUNT
    for row, line in zip(rows, lines, strict=True):
        if row["number"] >= COUNT:
            assert line["keep"] and line["dup.size"] == 1 and line["dup.of"] is None
        elif not line["keep"]:
            leader = named[line["dup.of"]]
            cosine = float(np.dot(row["embedding"], leader["embedding"]))
            assert line["reason"] == "dup.near" and line["dup.of"] in kept and leader["quality"] >= row["quality"]
            assert cosine > 0.949 and abs(cosine - line["dup.similarity"]) < 0.002


def test_the_same_rows_for_any_shards(out: Path, tmp_path: Path) -> None:
    run(recipe(write(tmp_path / "other", [5, 100, COUNT - 100]), best="quality"), tmp_path / "out")
    few = ["keep", "reason", "dup.size", "dup.rank", "dup.copy", "dup.similarity"]
    assert ledger(tmp_path / "out").select(few) == ledger(out).select(few)


def test_another_threshold_and_other_clusters_are_decisions_without_the_pool(tmp_path: Path) -> None:
    pool = write(tmp_path / "pool", [COUNT + 5])
    run(recipe(pool), tmp_path / "out")
    before = ledger(tmp_path / "out").column("reason").null_count
    pool.rename(tmp_path / "gone")
    decide(recipe(pool, threshold="0.985", clusters=5), tmp_path / "out")
    assert ledger(tmp_path / "out").column("reason").null_count > before
    (tmp_path / "gone").rename(pool)
    run(recipe(pool, threshold="0.985", clusters=5), tmp_path / "fresh")
    assert fingerprint_of(tmp_path / "fresh") == fingerprint_of(tmp_path / "out")


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0},
        {"threshold": 1.01},
        {"threshold": "much"},
        {"threshold": True},
        {"clusters": 0},
        {"clusters": 2.0},
        {"cap": None},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=rf"NearVectors\({next(iter(wrong))}="):
        NearVectors(embedding="e", **wrong)


def test_columns_of_another_kind_are_refused_when_planned(pool: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="'quality' is float, and lists of floats are needed"):
        prepare(recipe(pool, "quality"), str(tmp_path / "out"))
    with pytest.raises(PlanError, match="best='word' is string, and numbers are needed"):
        prepare(recipe(pool, best="word"), str(tmp_path / "out"))
    with pytest.raises(PlanError, match="reads 'nothing', which is no score"):
        prepare(recipe(pool, "nothing"), str(tmp_path / "out"))


def test_an_embedding_that_is_too_wide_is_refused_when_planned() -> None:
    with pytest.raises(PlanError, match=r"stage 2: 'e' has 9,000 numbers; 1 to 8,192 are taken"):
        NearVectors(embedding="e").check_types("stage 2", {"e": pa.list_(pa.float32(), 9000)})
