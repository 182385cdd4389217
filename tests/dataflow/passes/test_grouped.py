"""Small shards that are walked as one batch: files, ledger and failures are those of shards scored one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow.passes.grouped import score_shards
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.passes.scoring import score_shard
from poolsieve.dataflow.pools.shards import BATCH_ROWS, Shard
from poolsieve.dataflow.recipes.recipe import Pool, Recipe
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.neighbours import Neighbours
from poolsieve.filters import Keep, Score, col, scorer
from poolsieve.scoring_models.base.errors import PoolsieveError


def picky(texts: pa.Array) -> dict[str, pa.Array]:
    """Fails where it meets a certain word, so that it is asked again for fewer rows."""
    if any("bad" in text for text in texts.to_pylist()):
        raise ValueError("can't stand it")
    return {"x": pa.array([float(len(text)) for text in texts.to_pylist()], pa.float32())}


def short(texts: pa.Array) -> dict[str, pa.Array]:
    """Breaks its promise where it meets a certain word, which is no row's fault."""
    some = [float(len(text)) for text in texts.to_pylist() if "three" not in text]
    return {"x": pa.array(some, pa.float32())}


def hungry(texts: pa.Array) -> dict[str, pa.Array]:
    """Has memory for a few rows alone, and for none of a certain word."""
    if len(texts) > 3 or any("three" in text for text in texts.to_pylist()):
        raise MemoryError(f"of {len(texts)} rows")
    return {"x": pa.array([0.0] * len(texts), pa.float32())}


def recipe(pool: Path, asked: Callable[[pa.Array], dict[str, pa.Array]] = picky) -> Recipe:
    return (
        Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text")
        | Keep(col("text").word_count() >= 2, reason="short")
        | Score(s=scorer(asked, reads=("text",), columns={"x": "float32"}))
    )


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Shards with rows that fail, that nothing asks for, none at all, and more than fit into a batch with others."""
    texts = [["one two", "a bad one", "x"], ["x", "y"], [], ["three words here"], ["many words"] * BATCH_ROWS, ["a b"]]
    folder = tmp_path / "mixed"
    folder.mkdir()
    for i, some in enumerate(texts):
        uids = [f"{i:016x}{row:016x}" for row in range(len(some))]
        table = pa.table({"uid": pa.array(uids, pa.string()), "text": pa.array(some, pa.string())})
        pq.write_table(table, folder / f"part-{i}.parquet")
    return folder


def job_of(pool: Path, out: Path, asked: Callable[[pa.Array], dict[str, pa.Array]] = picky) -> tuple[Job, list[Shard]]:
    job = prepare(recipe(pool, asked), str(out)).job
    return job, sorted(job.files.listing().shards)


def files_of(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.parquet")}


def test_the_files_are_those_of_shards_one_by_one(tmp_path: Path, mixed: Path) -> None:
    job, shards = job_of(mixed, tmp_path / "single")
    alone = [score_shard(shard, job, {}, stop=None, label="Pass1")[0] for shard in shards]
    job, shards = job_of(mixed, tmp_path / "grouped")
    work, found = score_shards(shards, job, {}, stop=None, label="Pass1")
    assert files_of(tmp_path / "grouped") == files_of(tmp_path / "single")
    assert work.rows == sum(one.rows for one in alone) == BATCH_ROWS + 7
    assert work.scored["s"] == sum(one.scored.get("s", 0) for one in alone)
    covered = [one for some in found for one in ([some] if isinstance(some, Shard) else some.shards)]
    assert covered == shards
    assert any(isinstance(some, Neighbours) and len(some.shards) > 1 for some in found)


def test_what_is_at_hand_is_what_is_stored(tmp_path: Path, mixed: Path) -> None:
    job, shards = job_of(mixed, tmp_path / "out")
    _, found = score_shards(shards[:2], job, {}, stop=None, label="Pass1")
    (source,) = (some for some in found if isinstance(some, Neighbours))
    again = Neighbours(job, shards[:2], "Pass2", source.lines, source.lengths, {})
    for step in job.program.scorers:
        made, read = source.load(step), again.load(step)
        assert made.present.tolist() == read.present.tolist()
        assert made.errors.equals(read.errors)
        assert all(made.columns[name].equals(read.columns[name]) for name in step.columns)


def test_a_shard_that_is_stored_in_part_goes_by_itself(tmp_path: Path, mixed: Path) -> None:
    job, shards = job_of(mixed, tmp_path / "out")
    score_shard(shards[1], job, {}, stop=None, label="Pass1")
    before = files_of(tmp_path / "out")
    work, _ = score_shards(shards[:4], job, {}, stop=None, label="Pass2")
    after = files_of(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    assert work.scored["s"] == 3


@pytest.mark.parametrize(
    ("asked", "said"), [(short, "short returned 0 values in 'x' for 1 rows"), (hungry, "of 1 rows")]
)
def test_a_scorer_that_fails_at_one_shard_costs_those_before_it_nothing(
    asked: Callable[[pa.Array], dict[str, pa.Array]], said: str, tmp_path: Path, mixed: Path
) -> None:
    job, shards = job_of(mixed, tmp_path / "single", asked)
    for shard in shards[:3]:
        score_shard(shard, job, {}, stop=None, label="Pass1")
    job, shards = job_of(mixed, tmp_path / "grouped", asked)
    with pytest.raises((PoolsieveError, MemoryError), match=said):
        score_shards([*shards[:4], shards[5]], job, {}, stop=None, label="Pass1")
    assert files_of(tmp_path / "grouped") == files_of(tmp_path / "single") != {}
