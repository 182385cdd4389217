"""`plan --pool-rows`: what a run over many more rows would take, from rates that were measured."""

from __future__ import annotations

import json
import random
from pathlib import Path

import apache_beam as beam
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from poolsieve.dataflow.passes import pipeline
from poolsieve.dataflow.passes.growth import Growth, growth_of
from poolsieve.dataflow.passes.items import LISTED
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.passes.projection import (
    WHOLE,
    Machine,
    Projection,
    Rates,
    StageRate,
    project,
    reached,
)
from poolsieve.dataflow.passes.trial import tried
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.recipe import Pool, Recipe
from poolsieve.filters import Keep, Score, Top, col, dedup, scorer
from poolsieve.jobs import api, scaling
from poolsieve.jobs.cli import main
from poolsieve.jobs.scaling import prices_of, rows_of
from poolsieve.scoring_models import Endpoint, Panel
from poolsieve.scoring_models.base.errors import PlanError

SHARDS, ROWS = 12, 50
MACHINE = Machine(memory=10**9, resident=10**8, descriptors=1024, open_files=10)


def weight(text: pa.Array) -> list[float]:
    return [float(sum(value.encode())) for value in text.to_pylist()]


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    (tmp_path / "pool").mkdir()
    for i in range(SHARDS):
        texts = [f"a b c {j}" if j % 2 else "a" for j in range(ROWS)]
        table = pa.table({"uid": [f"{i:016x}{j:016x}" for j in range(ROWS)], "text": texts})
        pq.write_table(table, tmp_path / "pool" / f"{i:04d}.parquet")
    return tmp_path / "pool"


def recipe(pool: Path) -> Recipe:
    made = Score(weight=scorer(weight, reads=("text",), columns={"weight": "float32"}))
    few = Keep(col("text").word_count() >= 2, reason="short")
    return Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | few | made | Top("weight", fraction=0.3)


def ahead(pool: Path, out: Path, rows: float = 1e6, **how: object) -> Projection:
    found = api.plan(recipe(pool), out, pool_rows=rows, **how).projection  # type: ignore[arg-type]
    assert found is not None
    return found


def test_a_trial_measures_every_stage_and_leaves_nothing_in_out(pool: Path, tmp_path: Path) -> None:
    found = ahead(pool, tmp_path / "out", sample_rows=80)
    assert "a trial of 80 rows" in found.source and not (tmp_path / "out" / "rows").exists()
    assert [stage.step for stage in found.stages] == ["read", "text.word_count", "weight", "write", "decide"]
    assert found.shards == 20_000 and found.rows_per_shard == ROWS  # a whole shard was counted, not the rows tried
    assert {stage.step: stage.rows for stage in found.stages} == dict.fromkeys(
        ("read", "text.word_count", "write", "decide"), 1_000_000
    ) | {"weight": 500_000}
    assert all(stage.seconds_per_row > 0 and stage.measured_rows for stage in found.stages)
    assert found.cost is None and set(found.hours) == {"cpu"}


def test_a_run_that_is_there_gives_its_own_rates(pool: Path, tmp_path: Path) -> None:
    api.run(recipe(pool), tmp_path / "out")
    for _ in range(2):  # the second run did nothing, and has no rates of its own
        found = ahead(pool, tmp_path / "out", sample_rows=0)
        assert f"over {SHARDS * ROWS} rows" in found.source
        by_step = {stage.step: stage for stage in found.stages}
        assert by_step["weight"].measured_rows == SHARDS * ROWS // 2 and by_step["weight"].rows == 500_000
        assert api.run(recipe(pool), tmp_path / "out").summary.work.scored == {}
    # Of another recipe it has none.
    other = recipe(pool) | Score(longer=scorer(weight, reads=("text",), columns={"longer": "float32"}))
    with pytest.raises(PlanError, match="no rates of this recipe"):
        api.plan(other | Top("longer", fraction=0.5), tmp_path / "out", pool_rows=1e6, sample_rows=0)


def test_the_part_of_a_run_that_was_killed_counts_as_a_part(pool: Path, tmp_path: Path) -> None:
    whole = ahead(pool, _run_without(pool, tmp_path / "whole", 0), sample_rows=0)
    half = ahead(pool, _run_without(pool, tmp_path / "half", SHARDS // 2), sample_rows=0)
    measured = [{stage.step: stage.measured_rows for stage in found.stages} for found in (whole, half)]
    assert measured[0]["read"] == SHARDS * ROWS and measured[1]["read"] == SHARDS * ROWS // 2
    assert [stage.rows for stage in half.stages] == [stage.rows for stage in whole.stages]


def _run_without(pool: Path, out: Path, kept: int) -> Path:
    """A run that found the files of so many shards there, as after a kill."""
    api.run(recipe(pool), out)
    for folder in (out / "rows", *(out / "scores").iterdir()):
        for file in sorted(folder.glob("*.parquet"))[kept:] if kept else ():
            file.unlink()
    if kept:
        (out / "manifest.json").unlink()
        for file in (out / "decisions").rglob("*.json"):
            file.unlink()
        api.run(recipe(pool), out)
    return out


def test_endpoints_are_not_asked_for_a_plan(pool: Path, tmp_path: Path) -> None:
    asked = Pool.parquet(f"{pool}/*.parquet", uid="uid", question="text", answer="text", image="text") | Score(
        panel=Panel([Endpoint("http://127.0.0.1:9", "m")])
    )
    with pytest.raises(PlanError, match=r"panel.* would ask an endpoint"):
        api.plan(asked | Keep(col("panel.asked") >= 0), tmp_path / "out", pool_rows=1e6)


def test_the_request_that_is_told_is_the_one_that_would_be_sent(pool: Path, tmp_path: Path) -> None:
    plan = prepare(recipe(pool), str(tmp_path / "out"))
    with tried(plan, 40) as trial:
        growth = growth_of(trial.plan.job, trial.plan.shards, trial.summary)
    sent = {}
    for count in (100, 1100):
        # Big ones, so that each is an item; files that were written one after the other have other tags.
        numbers = [random.Random(i).randrange(10**17, 10**18) for i in range(count)]
        shards = [Shard(path=f"{n % 10**4:04}.parquet", size=9 << 20, tag=str(n)) for n in numbers]
        made = beam.Pipeline(runner="apache_beam.runners.runner.PipelineRunner")
        pipeline.build(made, plan.job, shards)
        sent[count] = len(made.to_runner_api().SerializeToString())
    assert (sent[1100] - sent[100]) / 1000 == pytest.approx(growth.item, rel=0.3)
    assert sent[1100] == pytest.approx(growth.request + 1100 * growth.item, rel=0.2)


RATES = Rates(
    source="a test",
    rows_per_shard=1000.0,
    shard_bytes=2e6,
    stages=(
        StageRate(step="read", rows=10, seconds=0.001),
        StageRate(step="clip", rows=10, seconds=0.01, share=0.5, device="NVIDIA L4"),
        StageRate(step="judge", rows=10, seconds=0.1, share=0.1, cost=0.002),
    ),
)
GROWTH = Growth(shuffled=100, request=50_000, item=60, listed=8, driver=1000, worker=100)


def projected(pool: Path, tmp_path: Path, rows: int, **prices: float) -> Projection:
    program = prepare(recipe(pool), str(tmp_path / "out")).job.program
    return project(rows, RATES, GROWTH, program, MACHINE, prices)


def test_amounts_are_rates_times_rows(pool: Path, tmp_path: Path) -> None:
    one, two = (projected(pool, tmp_path, rows, cpu=0.1, gpu=2.0) for rows in (3_600_000, 7_200_000))
    assert one.hours == pytest.approx({"cpu": 1 + 10, "gpu": 5})
    assert one.cost == pytest.approx(0.1 * 11 + 2.0 * 5 + 360_000 * 0.002)
    assert two.hours == pytest.approx({kind: 2 * hours for kind, hours in one.hours.items()})
    assert one.shards == 3600 and one.bytes == 7.2e9 and one.shuffle_bytes == 360_000
    assert one.driver_bytes == 10**8 + 3600 * 1000
    unpriced = projected(pool, tmp_path, 3_600_000, cpu=0.1)
    assert unpriced.cost is None  # of the GPU nobody said what it costs
    assert [stage.cost is None for stage in unpriced.stages] == [False, True, False]


def test_what_is_reached_first_ends_the_scaling(pool: Path, tmp_path: Path) -> None:
    found = projected(pool, tmp_path, 10**9)
    assert found.ends.startswith("driver memory comes first, at about 900,000,000 rows")
    first, *_, last = found.limits
    assert first.rows == pytest.approx(900_000_000, rel=0.02) and first.value > first.most
    assert last.what == "open files" and last.rows is None
    assert [one.rows for one in found.limits[:-1]] == sorted(one.rows or 0 for one in found.limits[:-1])


def test_rows_that_one_worker_must_see_at_once_bound_a_pool(pool: Path, tmp_path: Path) -> None:
    made = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | dedup.minhash()

    plan = prepare(made, str(tmp_path / "out"))
    here, elsewhere = (scaling.projected(plan, 10**9, {}, 1000, in_memory).limits for in_memory in (True, False))
    (whole,) = (one for one in here if one.what == WHOLE)
    assert 272 * 10**9 < whole.value < 10**13 and whole.rows is not None and whole.rows < 10**9
    assert WHOLE not in {one.what for one in elsewhere}


def test_a_list_in_files_makes_the_request_smaller(pool: Path, tmp_path: Path) -> None:
    inside, outside = (projected(pool, tmp_path, rows) for rows in ((LISTED - 1) * 1000, LISTED * 1000))
    sizes = [next(one.value for one in found.limits if one.what == "job request") for found in (inside, outside)]
    assert sizes[0] - GROWTH.request > 5 * (sizes[1] - GROWTH.request)


def test_reached_is_the_first_row_above() -> None:
    assert reached(lambda rows: 10 + 2 * rows, 210) == pytest.approx(101, rel=0.02)
    assert reached(lambda rows: 5, 210) is None


@pytest.mark.parametrize(("text", "rows"), [("12.8e9", 12_800_000_000), ("1000", 1000), ("1e3", 1000)])
def test_rows_as_people_write_them(text: str, rows: int) -> None:
    assert rows_of(text) == rows


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "nan", "inf", "1e99", "many", ""])
def test_what_is_no_number_of_rows(text: str) -> None:
    with pytest.raises(PlanError, match="--pool-rows"):
        rows_of(text)


def test_prices() -> None:
    assert prices_of(["cpu=0.05", "gpu=2.5"]) == {"cpu": 0.05, "gpu": 2.5}
    assert prices_of(["0.5"]) == {"cpu": 0.5, "gpu": 0.5}
    for wrong in (["cpu=1", "cpu=2"], ["1", "gpu=2"], ["tpu=1"], ["cpu=-1"], ["cpu=nan"], ["cpu="], ["much"]):
        with pytest.raises(PlanError, match="--price-per-hour"):
            prices_of(wrong)


def test_the_command_prints_it_and_gives_it_as_json(pool: Path, tmp_path: Path) -> None:
    (tmp_path / "r.py").write_text(
        "from poolsieve.dataflow import Pool\nfrom poolsieve.filters import Keep, col\n"
        f"recipe = Pool.parquet('{pool}/*.parquet', uid='uid', text='text') | Keep(col('text').word_count() >= 2)\n"
    )
    common = ["plan", str(tmp_path / "r.py"), "--out", str(tmp_path / "out"), "--sample", "40"]
    asked = [*common, "--pool-rows", "12.8e9", "--price-per-hour", "0.05"]
    said = CliRunner().invoke(main, asked)
    assert said.exit_code == 0, said.output
    for word in ("12,800,000,000 rows: 256,000,000 shards of 50 rows", "shuffle", "memory", "hours", "scaling"):
        assert word in said.output
    made = json.loads(CliRunner().invoke(main, [*asked, "--json"]).output)["projection"]
    found = msgspec.convert(made, Projection)
    assert found.rows == 12_800_000_000 and found.cost == pytest.approx(found.hours["cpu"] * 0.05)
    alone = CliRunner().invoke(main, [*common, "--price-per-hour", "0.05"])
    assert alone.exit_code and "give pool_rows (--pool-rows)" in str(alone.exception) + alone.output
