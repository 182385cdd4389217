"""Work items: every shard once and in order, whether they travel with the job or in files of OUT."""

from __future__ import annotations

from pathlib import Path

import pytest

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.passes import handed
from poolsieve.dataflow.passes.items import (
    LEAST_ITEMS,
    MOST_BYTES,
    MOST_SHARDS,
    items_in,
    items_of,
    listed_of,
    shards_of,
)
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.passes.submit import carry_out
from poolsieve.dataflow.pools.packed import Shards
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.store.job import Job, Options
from poolsieve.filters import Keep, col, dedup
from poolsieve.scoring_models.base.errors import PoolsieveError
from tests.dataflow.passes.small import recipe


@pytest.fixture
def job(tmp_path: Path, pool: Path) -> Job:
    return prepare(recipe(pool), str(tmp_path / "out")).job


@pytest.mark.parametrize("in_files", [False, True])
def test_every_shard_once_and_in_order(job: Job, in_files: bool) -> None:
    sizes = [1, MOST_BYTES + 1, 5, MOST_BYTES // 2, MOST_BYTES // 2, 1] + [3] * 9000
    shards = [
        Shard(path=f"ä{i:05d}", size=size, tag=str(i), extent=2 if i == 7 else None) for i, size in enumerate(sizes)
    ]
    items = items_of(job, shards)
    if in_files:
        files = listed_of(job, Shards.of(shards))
        assert len(files) == 5
        found = [one for file in files for one in items_in(file, job)]
        assert [number for number, _ in found] == list(range(len(items)))
        items = [item for _, item in found]
    there = [shards_of(item, job) for item in items]
    assert [shard for some in there for shard in some] == shards
    assert all(len(some) <= MOST_SHARDS for some in there)
    assert all(len(some) == 1 or sum(shard.size for shard in some) <= MOST_BYTES for some in there)
    assert LEAST_ITEMS <= len(items) < len(shards) / 30


def test_a_small_pool_goes_shard_by_shard(job: Job) -> None:
    shards = [Shard(path=f"{i}", size=1) for i in range(LEAST_ITEMS)]
    assert len(items_of(job, shards)) == LEAST_ITEMS


def test_a_listed_pool_gives_the_same_ledger(
    tmp_path: Path,
    pool: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = poolsieve.run(recipe(pool), tmp_path / "plain", samples=False)
    monkeypatch.setattr(
        "poolsieve.dataflow.passes.pipeline.given_of", lambda job, shards: handed.given_of(job, shards, 1)
    )
    listed = poolsieve.run(recipe(pool), tmp_path / "listed", samples=False)
    assert listed.decision == plain.decision
    assert listed.ledger().equals(plain.ledger())
    assert not list((tmp_path / "listed" / "runs").glob("*")), "the list goes with the run"


def test_what_is_scored_in_groups_is_committed_shard_by_shard(tmp_path: Path, pool: Path) -> None:
    """A shard that can't be read stops the run; what was whole before it is kept."""
    words = Keep(col("text").word_count() <= 3)
    found = poolsieve.Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | words
    job = prepare(found, str(tmp_path / "out")).job
    from poolsieve.dataflow.passes.steps import score_item

    shards = sorted(job.files.listing().shards)
    bad = [*shards[:2], Shard(path="gone.parquet", size=1)]
    item = tuple((s.path, s.first, s.extent, s.start, s.size, s.tag) for s in bad)
    with pytest.raises(PoolsieveError, match="gone"):
        score_item(item, job, {}, stop=None, label="Pass1", top=None)
    assert len(list((tmp_path / "out" / "rows").glob("*.parquet"))) == 2
    assert not list((tmp_path / "out").rglob(".poolsieve-tmp-*"))


def test_rounds_are_held_over_a_listed_pool(tmp_path: Path, pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Homes of a joined value have the numbers that they have in a job that lists its shards itself."""
    made = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | dedup.minhash()
    plain = carry_out(prepare(made, str(tmp_path / "plain"), options=Options(at_once=0)))
    monkeypatch.setattr(
        "poolsieve.dataflow.passes.pipeline.given_of", lambda job, shards: handed.given_of(job, shards, 1)
    )
    listed = carry_out(prepare(made, str(tmp_path / "listed"), options=Options(at_once=0)))
    names = [sorted(path.name for path in (tmp_path / one / "derived").rglob("*.*")) for one in ("plain", "listed")]
    assert names[0] == names[1] and any(names[0])
    assert listed.decision == plain.decision and listed.ledger().equals(plain.ledger())
