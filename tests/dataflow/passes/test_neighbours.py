"""Shards that are walked as one give what each gives by itself, from the copy that a pass left or from their own files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow import progress
from poolsieve.dataflow.decisions import samples
from poolsieve.dataflow.decisions.record import SAMPLES
from poolsieve.dataflow.passes import items as items_module
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.passes.steps import count_item, decide_item, score_item
from poolsieve.dataflow.recipes.recipe import Pool, Recipe
from poolsieve.dataflow.store.stored import NotScored
from poolsieve.filters import Keep, Score, Top, col, scorer
from tests.dataflow.passes.small import SHARDS, recipe


def halves(text: pa.Array) -> list[float]:
    """Few values, so that rows of several shards tie; a word of it fails."""
    if "w7" in text.to_pylist():
        raise ValueError("w7")
    return [float(len(value) // 2) for value in text.to_pylist()]


def ties(pool: Path, count: int) -> Recipe:
    return (
        Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text", kind="kind")
        | Keep(col("text").word_count() >= 1)
        | Score(half=scorer(halves, reads=("text",), columns={"half": "float32"}))
        | Top("half", count={"a": count, "b": 2}, by="kind")
    )


@pytest.fixture
def tied(tmp_path: Path) -> Path:
    """Shards of 0 to 8 rows; uids stand twice, in different shards too."""
    folder = tmp_path / "tied"
    folder.mkdir()
    for shard in range(9):
        n = range(shard)
        texts = [f"w{(shard * row) % 9}" for row in n]
        kinds = ["a" if row % 3 else "b" for row in n]
        uids = [f"{row % 2:032x}" for row in n]
        table = pa.table({"uid": pa.array(uids, pa.string()), "text": pa.array(texts, pa.string()), "kind": kinds})
        pq.write_table(
            table.cast(pa.schema([(name, pa.string()) for name in table.schema.names])), folder / f"s{shard}.parquet"
        )
    return folder


def _files(out: Path) -> dict[str, bytes]:
    found = [path for path in out.rglob("*") if path.is_file() and path.suffix in (".parquet", ".npy")]
    return {str(path.relative_to(out)): path.read_bytes() for path in (*found, *out.glob("decisions/*/cuts.json"))}


@pytest.mark.parametrize("count", [1, 5, 9, 100])
def test_grouped_shards_give_the_files_of_single_ones(
    tmp_path: Path, tied: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    single = poolsieve.run(ties(tied, count), tmp_path / "single", samples=False)
    monkeypatch.setattr(items_module, "LEAST_ITEMS", 2)  # 4 shards in an item
    grouped = poolsieve.run(ties(tied, count), tmp_path / "grouped", samples=False)
    assert _files(tmp_path / "grouped") == _files(tmp_path / "single")
    assert grouped.summary.quarantined > 0
    assert grouped.summary.samples == single.summary.samples
    assert grouped.summary.histograms == single.summary.histograms
    assert grouped.summary.funnel == single.summary.funnel
    assert not list((tmp_path / "grouped" / "runs").glob("*")), "copies go with the run"
    again = grouped.decide(ties(tied, 2), samples=False)
    monkeypatch.undo()
    assert again.decision == single.decide(ties(tied, 2), samples=False).decision
    assert _files(tmp_path / "grouped") == _files(tmp_path / "single")


def test_later_steps_read_the_copy_else_the_files_of_the_shards(tmp_path: Path, pool: Path) -> None:
    out = tmp_path / "out"
    job = prepare(recipe(pool), str(out)).job
    shards = sorted(job.files.listing().shards)
    assert len(shards) == SHARDS
    item = tuple((s.path, s.first, s.extent, s.start, s.size, s.tag) for s in shards)
    top = job.program.tops[0]
    score_item(item, job, {}, stop=2, label="Pass1", top=top)
    read = [count_item(item, job, {}, None, at=2, top=top, left_by=left) for left in ("", "Pass1")]
    assert read[0] == read[1] != {}
    (copy,) = (out / "runs" / job.run_id / "at-hand" / "Pass1").iterdir()
    shutil.rmtree(out / "rows")
    assert count_item(item, job, {}, None, at=2, top=top, left_by="Pass1") == read[0]
    copy.unlink()
    with pytest.raises(NotScored, match="has not been read yet"):
        count_item(item, job, {}, None, at=2, top=top, left_by="Pass1")


def test_rows_of_cuts_and_decisions_are_counted(tmp_path: Path, pool: Path) -> None:
    job = prepare(recipe(pool), str(tmp_path / "out")).job
    shards = sorted(job.files.listing().shards)
    item = tuple((s.path, s.first, s.extent, s.start, s.size, s.tag) for s in shards)
    top = job.program.tops[0]
    score_item(item, job, {}, stop=2, label="Pass1", top=top)
    rows = progress.of(job.run_id).counts()
    assert rows[top.cut] == rows["read"] > 0
    count_item(item, job, {}, None, at=2, top=top, left_by="Pass1")
    assert progress.of(job.run_id).counts()[top.cut] == 2 * rows["read"]
    decide_item(item, job, {top.cut: {}}, None, label="Decide", write=False)
    assert progress.of(job.run_id).counts()["decide"] == rows["read"]


def test_few_lines_are_made_of_many_rows_that_tie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name and row, whichever shards are walked together."""
    (tmp_path / "pool").mkdir()
    for name in ("b", "a", "c"):
        table = pa.table({"uid": [f"{name}{row}" for row in range(500)], "text": ["x y"] * 500})
        pq.write_table(table, tmp_path / "pool" / f"{name}.parquet")
    made: list[int] = []
    asked = samples._sample
    monkeypatch.setattr(samples, "_sample", lambda *args: made.append(1) or asked(*args))
    tied = Pool.parquet(f"{tmp_path}/pool/*.parquet", uid="uid", text="text") | Top("text.word_count", count=20)
    alone = poolsieve.run(tied, tmp_path / "alone", samples=False)
    monkeypatch.setattr(items_module, "LEAST_ITEMS", 1)
    grouped = poolsieve.run(tied, tmp_path / "grouped", samples=False)
    assert grouped.summary.samples == alone.summary.samples
    assert len(made) <= 4 * 4 * SAMPLES
    (beside,) = (rows for group, rows in grouped.summary.samples.items() if group.endswith("/dropped"))
    assert [(row.shard[0], row.row) for row in beside] == sorted((row.shard[0], row.row) for row in beside)
