"""Copies of a model on several devices, here all of them the CPU: the same bits as one copy."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.store.job import Options
from poolsieve.filters import Keep, Score, col
from poolsieve.scoring_models import Clip
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from poolsieve.scoring_models.devices.replicas import Replicas, devices_of, load_on, takes_devices
from poolsieve.scoring_models.feeding.driver import score_rows

torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")

from tests.conftest import fingerprint_of, ledger, run  # noqa: E402
from tests.dataflow.passes.test_fed_runs import MODEL, jpeg, tar  # noqa: E402

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
CONFIG = Clip(MODEL, batch_size=4, embeddings=True)


def recipe_of(pool: Path, batch_size: int | None = None) -> Recipe:
    return (
        Pool.webdataset(f"{pool}/*.tar", text="txt", image="jpg")
        | Score(clip=Clip(MODEL, batch_size=batch_size))
        | Keep(col("clip") >= 0)
    )


def pairs(n: int = 30) -> pa.RecordBatch:
    images = [jpeg(i) if i % 7 else jpeg(i)[:50] for i in range(n)]
    return pa.record_batch({"image": pa.array(images, pa.binary()), "text": [f"a picture of {i}" for i in range(n)]})


class Watched:
    """Counts the batches of a loaded model, and how many are in it at a time."""

    def __init__(self, loaded: Any, at_once: int, fails: bool = False) -> None:
        self.loaded, self.at_once, self.fails = loaded, at_once, fails
        self.lock, self.calls, self.inside, self.most = threading.Lock(), 0, 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loaded, name)

    def infer(self, prepared: Any) -> Any:
        with self.lock:
            self.calls, self.inside = self.calls + 1, self.inside + 1
            self.most = max(self.most, self.inside)
        try:
            if self.fails:
                raise PoolsieveError("this one has failed")
            return self.loaded.infer(prepared)
        finally:
            with self.lock:
                self.inside -= 1


def test_scores_are_those_of_one_copy_to_the_bit() -> None:
    batch, one = pairs(), CONFIG.load()
    alone = score_rows(one, batch, CONFIG.columns, threads=2)
    copies = [Watched(CONFIG.load(), 2), Watched(CONFIG.load(), 1)]
    both = Replicas(copies)  # type: ignore[arg-type]
    assert both.at_once == 3
    assert both.settings == one.settings
    for _ in range(3):
        made = score_rows(both, batch, CONFIG.columns, threads=4)
        assert made.errors == alone.errors
        assert all(made.columns[name].equals(alone.columns[name]) for name in CONFIG.columns)
    assert min(copy.calls for copy in copies) > 0
    assert copies[0].most <= 2
    assert copies[1].most == 1


def test_a_copy_that_fails_fails_the_batch_and_gives_its_place_back() -> None:
    both = Replicas([Watched(CONFIG.load(), 1, fails=True)])  # type: ignore[list-item]
    for _ in range(3):
        with pytest.raises(PoolsieveError, match="this one has failed"):
            score_rows(both, pairs(), CONFIG.columns, threads=2)


def test_devices_of_another_kind_are_refused() -> None:
    loaded = [CONFIG.load(), Clip(MODEL, batch_size=8, embeddings=True).load()]
    with pytest.raises(PoolsieveError, match=r"would give other scores \(shape: \[4, \d+\] and \[8, \d+\]\)"):
        Replicas(loaded)


def test_a_model_goes_where_it_is_told_unless_it_says_where_itself() -> None:
    assert isinstance(load_on(CONFIG, ("cpu", "cpu")), Replicas)
    assert not isinstance(load_on(CONFIG, ("cpu",)), Replicas)
    assert not isinstance(load_on(CONFIG, ()), Replicas)
    assert not isinstance(load_on(Clip(MODEL, device="cpu"), ("cpu", "cpu")), Replicas)
    assert takes_devices(CONFIG)
    assert not takes_devices(Clip(MODEL, device="cpu"))
    assert not takes_devices(object())


@pytest.mark.parametrize("wanted", ["", "a", "0,", "-1", "0;1", "cuda:0", "ALL", "0, 1", "9" * 5000, [], "²", True])
def test_what_is_no_list_of_devices_is_refused(wanted: Any) -> None:
    with pytest.raises(PlanError, match="write numbers of GPUs"):
        devices_of(wanted)


@no_gpu
@pytest.mark.parametrize("wanted", ["0", "0,1", "all", 0, [0, 1]])
def test_devices_that_are_not_there_are_refused_before_work(wanted: Any, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="has no GPU that torch can use"):
        poolsieve.run(recipe_of(tmp_path), tmp_path / "out", devices=wanted)
    assert not (tmp_path / "out").exists()


def test_devices_are_this_machines(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"--devices is for --runner local.*CUDA_VISIBLE_DEVICES"):
        poolsieve.run(
            recipe_of(tmp_path), tmp_path / "out", devices="all", runner="portable", beam_flags=["--job_endpoint=x:1"]
        )


def test_a_run_on_two_devices_is_a_run_on_one(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    for shard in range(3):
        tar(tmp_path / "pool" / f"{shard}.tar", [(f"{shard}{i:03d}", jpeg(i)) for i in range(40)])
    recipe = recipe_of(tmp_path / "pool")
    run(recipe, tmp_path / "one")
    run(recipe, tmp_path / "two", devices=("cpu", "cpu"), workers=2)
    assert fingerprint_of(tmp_path / "one") == fingerprint_of(tmp_path / "two")


def test_devices_for_a_recipe_without_a_model_are_refused(pool: Path, tmp_path: Path) -> None:
    recipe = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Keep(col("text").word_count() < 9, reason="x")
    made = prepare(recipe, str(tmp_path / "out"), options=Options(devices=("cuda:0",)))
    with pytest.raises(PlanError, match="no scorer of this recipe has a model that leaves its device open"):
        made.check_devices()


def test_a_later_worker_takes_the_batches_that_scores_were_made_with(tmp_path: Path) -> None:
    """As where the first worker's GPU had less room than its kind: `scorer.json` holds what worked."""
    (tmp_path / "pool").mkdir()
    tar(tmp_path / "pool" / "0.tar", [(f"0{i:03d}", jpeg(i)) for i in range(40)])
    recipe = recipe_of(tmp_path / "pool", None)
    run(recipe, tmp_path / "out")
    (path,) = (tmp_path / "out" / "scores").glob("*/scorer.json")
    found = json.loads(path.read_text())
    assert found["settings"]["shape"][0] == 32
    found["settings"]["shape"][0] = 64
    path.write_text(json.dumps(found))
    tar(tmp_path / "pool" / "1.tar", [(f"1{i:03d}", jpeg(i)) for i in range(40)])
    run(recipe, tmp_path / "out")
    assert json.loads(path.read_text())["settings"]["shape"][0] == 64
    assert np.isfinite(ledger(tmp_path / "out").column("clip").to_numpy()).sum() == 80
    tar(tmp_path / "pool" / "2.tar", [("2000", jpeg(1))])
    with pytest.raises(PoolsieveError, match=r"shape: stored \[64, \d+\], here \[32, \d+\]"):
        run(recipe_of(tmp_path / "pool", 32), tmp_path / "out")


def test_encoders_have_copies_too(tmp_path: Path) -> None:
    from poolsieve.scoring_models import Classifier
    from tests.scoring_models.encoders.tiny_classifier import WORDS, make

    config = Classifier(str(make(tmp_path / "model")), label="LABEL_1", backend="torch")
    texts = pa.record_batch({"text": [" ".join(WORDS[i : i + 1 + i % 90]) for i in range(60)]})
    alone = score_rows(config.load(), texts, config.columns, threads=2)
    made = score_rows(load_on(config, ("cpu", "cpu")), texts, config.columns, threads=4)
    assert alone.errors == made.errors == {}
    assert made.columns[""].equals(alone.columns[""])
