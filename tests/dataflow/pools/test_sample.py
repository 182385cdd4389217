"""`Pool.sample`: a share of a pool's rows by the hash of their uid, in every format and every way on from there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.pools.sample import Sample
from poolsieve.dataflow.recipes.yaml import recipe_from_yaml
from poolsieve.filters import Keep, Score, Top, col, scorer
from poolsieve.filters.dsl.cuts import tie_hashes
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import text_table


def whole(pool: Path) -> Pool:
    return Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text")


def letters(text: pa.Array) -> pa.Array:
    return pa.array([float(len(one.as_py() or "")) for one in text], pa.float32())


def uids(pool: Path) -> list[str]:
    return [uid for path in sorted(pool.glob("*.parquet")) for uid in pq.read_table(path)["uid"].to_pylist()]


def test_the_ledger_has_the_rows_of_the_sample_alone(pool: Path, tmp_path: Path) -> None:
    full = poolsieve.run(whole(pool) | Keep(col("text").word_count() >= 5), tmp_path / "full").ledger()
    part = poolsieve.run(whole(pool).sample(0.2) | Keep(col("text").word_count() >= 5), tmp_path / "part").ledger()
    inside = Sample("0.2").takes(pa.array(uids(pool)))
    assert 150 < inside.sum() < 330 and part.num_rows == inside.sum()
    assert part.to_pylist() == full.filter(pa.array(inside)).to_pylist()


def test_a_larger_share_holds_the_smaller_and_another_seed_is_another_sample() -> None:
    names = pa.array([f"{i:032x}" for i in range(20_000)])
    small, large = Sample("0.05").takes(names), Sample("0.1").takes(names)
    assert 850 < small.sum() < 1150 and not (small & ~large).any()
    assert 20 < (small & Sample("0.05", 1).takes(names)).sum() < 90
    assert Sample("1").takes(names).all()
    # Ties and held-out texts hash uids too: within a sample those hashes are as even as ever.
    assert 0.45 < (tie_hashes(names.filter(pa.array(small)), 0) >> np.uint64(63)).mean() < 0.55


def test_it_grows_with_the_pool(pool: Path, tmp_path: Path) -> None:
    recipe = whole(pool).sample(0.1) | Keep(col("text").word_count() >= 0)
    before = poolsieve.run(recipe, tmp_path / "one").ledger(["uid"])["uid"].to_pylist()
    pq.write_table(text_table(500, 77), pool / "another.parquet")
    after = poolsieve.run(recipe, tmp_path / "one").ledger(["path", "uid"]).to_pylist()
    assert [row["uid"] for row in after if row["path"] != "another.parquet"] == before
    assert len(after) > len(before)


def test_scores_of_a_sample_are_taken_over(pool: Path, tmp_path: Path) -> None:
    def recipe(source: Pool) -> poolsieve.Recipe:
        return source | Score(n=scorer(letters, reads=("text",), columns={"": "float32"})) | Top("n", fraction=0.3)

    def run(source: Pool) -> tuple[poolsieve.Run, int]:
        made = poolsieve.run(recipe(source), out)
        return made, made.summary.work.scored.get("n", 0)

    out, fresh = tmp_path / "out", tmp_path / "fresh"
    tenth, first = run(whole(pool).sample(0.1))
    half, second = run(whole(pool).sample(0.5))
    everything, third = run(whole(pool))
    again, fourth = run(whole(pool).sample(0.1))
    assert [first, first + second, first + second + third, fourth] == [
        tenth.counts.rows_in,
        half.counts.rows_in,
        1200,
        0,
    ]
    assert again.decision == tenth.decision != half.decision != everything.decision
    for source, made in ((whole(pool).sample(0.1), again), (whole(pool), everything)):
        assert poolsieve.run(recipe(source), fresh).decision == made.decision
    assert poolsieve.open(fresh).ledger().equals(everything.ledger())


def test_it_is_exported_decided_and_reported(pool: Path, tmp_path: Path) -> None:
    run = poolsieve.run(whole(pool).sample(0.3) | Keep(col("text").word_count() >= 0), tmp_path / "out")
    assert run.counts.kept == run.counts.rows_in < 1200
    run.export(to=tmp_path / "export")
    left = [
        uid for path in sorted((tmp_path / "export/data").iterdir()) for uid in pq.read_table(path)["uid"].to_pylist()
    ]
    assert left == run.ledger(["uid"])["uid"].to_pylist()
    assert run.manifest.pool.pool().fraction == "0.3"
    said: list[str] = []
    looser = whole(pool) | Keep(col("text").word_count() >= 3)
    decided = poolsieve.decide(looser, tmp_path / "out", say=said.append)
    assert decided.counts.rows_in == run.counts.rows_in and "a sample of 0.3" in said[0]
    assert decided.decide(what_if=True, say=said.append).overlap["both"] == decided.counts.kept
    shown = json.loads(next((tmp_path / "out").glob(f"decisions/{run.decision}/report.json")).read_text())
    assert all(row["caption"] is not None for row in shown["samples"]["kept"]) and not shown["samples"]["notes"]


@pytest.mark.parametrize("kind", ["jsonl", "webdataset"])
def test_other_formats_and_derived_uids(kind: str, pool: Path, tmp_path: Path) -> None:
    poolsieve.run(whole(pool) | Keep(col("text").word_count() >= 0), tmp_path / "first").export(
        to=tmp_path / kind, format=kind
    )
    text = {"jsonl": "text", "webdataset": "txt"}[kind]
    source: Pool = getattr(Pool, kind)(f"{tmp_path}/{kind}/data/*", text=text)
    full = poolsieve.run(source | Keep(col("text").word_count() >= 0), tmp_path / "full").ledger()
    part = poolsieve.run(source.sample(0.25) | Keep(col("text").word_count() >= 0), tmp_path / "part")
    assert part.ledger().to_pylist() == full.filter(pa.array(Sample("0.25").takes(full["uid"]))).to_pylist()
    part.export(to=tmp_path / "export")
    assert 200 < part.counts.kept < 400


def test_a_tiny_share_may_leave_shards_without_rows(pool: Path, tmp_path: Path) -> None:
    run = poolsieve.run(whole(pool).sample("0.002") | Top("clip", fraction=0.5), tmp_path / "out")
    assert any(line.rows == 0 for line in run.shards) and run.counts.rows_in < 12


def test_damaged_rows_are_in_by_their_derived_uid(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"word {i}"}) if i % 3 else "{broken" for i in range(300)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    source = Pool.jsonl(f"{tmp_path}/a.jsonl", text="text")
    full = poolsieve.run(source | Keep(col("text").word_count() >= 0), tmp_path / "full").ledger()
    part = poolsieve.run(source.sample(0.5) | Keep(col("text").word_count() >= 0), tmp_path / "part")
    assert part.ledger().to_pylist() == full.filter(pa.array(Sample("0.5").takes(full["uid"]))).to_pylist()
    assert 30 < part.counts.quarantined < 70


def test_yaml_has_it_too(pool: Path) -> None:
    def made(sample: str) -> Pool:
        text = f"pool:\n  parquet: ['{pool}/*.parquet']\n  text: text\n  sample: {sample}\nstages: []\n"
        return recipe_from_yaml(text, "r.yaml", {}).pool

    base = Pool.parquet(f"{pool}/*.parquet", text="text")
    assert made("0.05") == base.sample(0.05) and made("{fraction: 0.5, seed: 3}") == base.sample(0.5, seed=3)
    assert made("clip").roles["sample"] == "clip"
    for wrong in ("5", "{seed: 1}", "[1]", "{fraction: 0.1, speed: 1}"):
        with pytest.raises(PlanError, match="sample"):
            made(wrong)


def test_shares_that_can_not_be_are_refused() -> None:
    base = Pool.jsonl("a.jsonl", text="text")
    for wrong in (0, -0.1, 1.5, "a", None, True, float("nan"), float("inf")):
        with pytest.raises(PlanError, match="fraction"):
            base.sample(wrong)  # type: ignore[arg-type]
    with pytest.raises(PlanError, match=r"for 5 % write fraction=0.05"):
        base.sample(5)
    with pytest.raises(PlanError, match="seed"):
        base.sample(0.5, seed=1 << 64)
    with pytest.raises(PlanError, match=r"a sample of 0.5 already"):
        base.sample(0.5).sample(0.5)
    assert base.sample(0.5) == base.sample("0.50") != base and "0.5 of the rows" in str(
        base.sample(0.5) | Top("a", count=1)
    )
