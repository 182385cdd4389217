"""A fastText classifier of the best and the worst rows of a ledger."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.filters import Keep, Score, Top, col
from poolsieve.jobs.cli import main
from poolsieve.jobs.train.ledger import _pool, _Ranks, train_from_ledger
from poolsieve.scoring_models import FastText
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests.jobs.train.test_fasttext import SMALL, texts

N = 300


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> poolsieve.Run:
    """900 texts of three kinds, whose scores say how good they are: 0 to 1 good, 1 to 2 neither, 2 to 3 bad."""
    folder = tmp_path_factory.mktemp("ledger")
    rows = [
        (text, at + random.Random(text).random())
        for at, kind in enumerate(("good", "mid", "bad"))
        for text in texts(kind, N)
    ]
    random.Random(0).shuffle(rows)
    for part in range(3):
        words, scores = zip(*rows[part::3], strict=True)
        table = pa.table(
            {"text": words, "loss": pa.array(scores, pa.float32()), "n": [float("nan")] * 3 + [0.0] * (N - 3)}
        )
        pq.write_table(table, folder / f"{part}.parquet")
    pool = Pool.parquet(f"{folder}/*.parquet", text="text").sample(0.9)
    return poolsieve.run(
        pool | Keep(col("n") <= 1, reason="n") | Top("loss", fraction=0.2, lowest=True), folder / "out"
    )


def lines(made: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(made.with_name(f"{made.name}.training.json").read_text())
    return found


def test_best_and_worst_are_the_ledgers_own(run: poolsieve.Run, tmp_path: Path) -> None:
    made = train_from_ledger(run.url, str(tmp_path / "q.bin"), score="loss", top=0.1, bottom="0.5", **SMALL)
    scores = np.sort(np.array([one for one in run.ledger(["loss"])["loss"].to_pylist() if one is not None]))
    assert 700 < len(scores) < 860
    counted = {label: counts.trained + counts.held_out for label, counts in made.counts.items()}
    assert counted == {"hq": len(scores) // 10, "lq": len(scores) // 2}
    said = lines(tmp_path / "q.bin")["made_from"]
    assert isinstance(said, dict) and said["decision"] == run.decision and said["lowest"] is True
    assert said["best"]["cut"]["value"] == scores[len(scores) // 10 - 1]
    assert said["worst"]["beyond"]["value"] == scores[-(len(scores) // 2) - 1]
    assert said["pool"]["fraction"] == "0.9"


def test_rows_that_tie_are_at_one_end_alone_and_not_all_held_out(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": texts("good", 400), "x": [1.0] * 400}), tmp_path / "a.parquet")
    made = poolsieve.run(Pool.parquet(f"{tmp_path}/a.parquet", text="text") | Top("x", fraction=0.5), tmp_path / "out")
    kind = pa.float64()
    ends = [
        _Ranks(OutFolder(made.url), "x", kind, False, "0.25"),
        _Ranks(OutFolder(made.url), "x", kind, False, "0.75", worst=True),
    ]
    pool = _pool(OutFolder(made.url), None)
    found = [[uid for batch in end.texts(pool, "a").batches() for uid in batch.uid.to_pylist()] for end in ends]
    assert [len(uids) for uids in found] == [100, 300] and not set(found[0]) & set(found[1])
    counts = train_from_ledger(made.url, str(tmp_path / "q.bin"), score="x", top=0.25, bottom=0.75, **SMALL).counts
    assert 2 < counts["hq"].held_out < 25


def test_the_model_scores_and_its_record_goes_on(run: poolsieve.Run, tmp_path: Path) -> None:
    model = tmp_path / "q.bin"
    made = train_from_ledger(run.url, str(model), score="loss", top=0.3, bottom=0.3, **SMALL)
    assert made.quality.precision is not None and made.quality.precision > 0.9
    pq.write_table(pa.table({"text": [*texts("good", 40, 1), *texts("bad", 60, 1)]}), tmp_path / "a.parquet")
    recipe = (
        Pool.parquet(f"{tmp_path}/a.parquet", text="text")
        | Score(quality=FastText(str(model), label="hq"))
        | Keep(col("quality") >= 0.5, reason="quality.low")
    )
    used = poolsieve.run(recipe, tmp_path / "out")
    assert 36 <= used.counts.kept <= 44
    assert used.manifest.training == {"quality": {"q.bin.training.json": lines(model)}}
    assert used.decide(recipe).manifest.training == used.manifest.training
    stored = json.loads(next((tmp_path / "out/scores").glob("quality-*/scorer.json")).read_text())
    assert stored["training"] == used.manifest.training["quality"]
    model.with_name("q.bin.training.json").unlink()
    bare = poolsieve.run(recipe, tmp_path / "bare")
    assert bare.manifest.fingerprints == used.manifest.fingerprints
    assert "training" not in json.loads((tmp_path / "bare/manifest.json").read_text())


def test_the_command(run: poolsieve.Run, tmp_path: Path) -> None:
    given = [
        "train",
        "fasttext",
        str(tmp_path / "m.bin"),
        "--dim",
        "8",
        "--bucket",
        "1000",
        "--epoch",
        "8",
        "--lr",
        "0.5",
    ]
    ranks = ["--from-ledger", run.url, "--score", "loss", "--top", "0.2", "--bottom", "0.4"]
    done = CliRunner().invoke(main, [*given, *ranks, "--lowest"])
    assert done.exit_code == 0, done.output
    assert "the best" in done.output and "precision" in done.output
    for wrong, message in (
        ([*ranks, "--positive", "a.jsonl"], "goes without --positive"),
        (ranks[:-2], "needs --bottom"),
        (["--positive", "a.jsonl"], "say --positive and --negative, or --from-ledger"),
        (["--positive", "a.jsonl", "--negative", "b.jsonl", "--top", "0.1"], "goes without --top"),
        ([*ranks, "--highest", "--replace"], "--highest is not what the recipe says"),
        ([*ranks], "is there already; say --replace"),
    ):
        assert message in CliRunner().invoke(main, [*given, *wrong]).output


def test_what_can_not_work_is_refused(run: poolsieve.Run, tmp_path: Path) -> None:
    def refused(message: str, **given: object) -> None:
        how = {"score": "loss", "top": 0.1, "bottom": 0.5, **SMALL, **given}
        with pytest.raises(PlanError, match=message):
            train_from_ledger(run.url, str(tmp_path / "m.bin"), **how)  # type: ignore[arg-type]

    refused("no score 'los'", score="los")
    refused("no score 'keep'", score="keep")
    refused(r"has no Top of it\): say|has no Top of it: say", score="n")
    refused("at most 1 together", top=0.6)
    refused("at most 1 together", top=0)
    refused("shares of the rows", top="x")
    refused("the role 'text' is float, not text", text="loss")
    refused("no text to train with", score="n", lowest=True, top="0.0001")
    with pytest.raises(PlanError, match="no manifest"):
        train_from_ledger(str(tmp_path), str(tmp_path / "m.bin"), score="loss", top=0.1, bottom=0.1)
    assert not list(tmp_path.iterdir())


def test_a_pool_that_changed_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": texts("good", 50), "x": np.arange(50.0)}), tmp_path / "a.parquet")
    made = poolsieve.run(Pool.parquet(f"{tmp_path}/a.parquet", text="text") | Top("x", fraction=0.5), tmp_path / "out")
    pq.write_table(pa.table({"text": texts("bad", 51), "x": np.arange(51.0)}), tmp_path / "a.parquet")
    with pytest.raises(PoolsieveError, match="has changed"):
        train_from_ledger(made.url, str(tmp_path / "m.bin"), score="x", top=0.2, bottom=0.2, **SMALL)
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(PoolsieveError, match="gone"):
        train_from_ledger(made.url, str(tmp_path / "m.bin"), score="x", top=0.2, bottom=0.2, **SMALL)
    assert not (tmp_path / "m.bin").exists()
