"""Training a fastText classifier from two pools, by fastText itself."""

from __future__ import annotations

import gzip
import json
import random
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, col
from poolsieve.jobs.cli import main
from poolsieve.jobs.train.fasttext import pool_of, train_fasttext
from poolsieve.scoring_models import FastText
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from poolsieve.scoring_models.base.provenance import record_path
from tests.conftest import run

COMMON = [f"word{i}" for i in range(200)]
SMALL = {"dim": 8, "bucket": 1000, "epoch": 8, "wordNgrams": 2, "lr": 0.5}


def texts(kind: str, n: int, seed: int = 0) -> list[str]:
    dice = random.Random(f"{kind}{seed}")
    own = [f"{kind}{i}" for i in range(100)]
    return [" ".join(dice.choices(own, k=6) + dice.choices(COMMON, k=20)) for _ in range(n)]


def jsonl(path: Path, given: list[str | None]) -> str:
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps({"text": text, "n": i}) + "\n" for i, text in enumerate(given))
    return str(path)


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pool, Pool]:
    folder = tmp_path_factory.mktemp("pools")
    jsonl(folder / "good.jsonl.gz", [*texts("good", 300), None, " \n", "a __label__bad b"])
    pq.write_table(pa.table({"text": texts("bad", 300)}), folder / "bad.parquet")
    return pool_of(f"{folder}/*.jsonl.gz", None), pool_of(f"{folder}/bad.parquet", "text")


def test_a_model_tells_the_pools_apart_and_scores_in_a_recipe(pools: tuple[Pool, Pool], tmp_path: Path) -> None:
    made = train_fasttext(*pools, str(tmp_path / "q.bin"), labels=("good", "bad"), **SMALL)
    good, bad = made.counts["good"], made.counts["bad"]
    assert good.trained + good.held_out == 301 and good.empty == 2 and bad.trained + bad.held_out == 300
    assert 20 < good.held_out < 45 and 20 < bad.held_out < 45
    assert made.quality.precision is not None and made.quality.precision > 0.9
    assert made.quality.recall is not None and made.quality.recall > 0.9
    mixed = [*texts("good", 40, 1), *texts("bad", 60, 1)]
    pq.write_table(pa.table({"text": mixed}), tmp_path / "a.parquet")
    scorer = FastText(str(tmp_path / "q.bin"), label="good")
    rule = Keep(col("quality") >= 0.5, reason="quality.low")
    found = run(Pool.parquet(f"{tmp_path}/a.parquet", text="text") | Score(quality=scorer) | rule, tmp_path / "out")
    assert 36 <= found.kept <= 44


def test_the_same_pools_give_the_same_model(pools: tuple[Pool, Pool], tmp_path: Path) -> None:
    for name in ("one.bin", "two.bin"):
        train_fasttext(*pools, str(tmp_path / name), **SMALL)
    train_fasttext(*pools, str(tmp_path / "other.bin"), seed=1, **SMALL)
    one, two, other = ((tmp_path / f"{name}.bin").read_bytes() for name in ("one", "two", "other"))
    assert one == two != other
    models = [f"{name}.bin" for name in ("one", "other", "two")]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*models, *(record_path(m).name for m in models)])


def test_the_command_trains_and_says_how_well(tmp_path: Path) -> None:
    good = jsonl(tmp_path / "good.jsonl.gz", list(texts("good", 100)))
    bad = tmp_path / "bad.jsonl"
    lines = [json.dumps({"text": text}) for text in texts("bad", 100)]
    bad.write_text("\n".join([*lines, "{broken"]) + "\n")
    model = str(tmp_path / "m.bin")
    given = ["train", "fasttext", model, "--positive", good, "--negative", str(bad), "--bucket", "1000", "--dim", "8"]
    done = CliRunner().invoke(main, [*given, "--epoch", "20", "--lr", "0.5"])
    assert done.exit_code == 0, done.output
    assert re.search(r"lq: (8|9)\d texts, \d+ held out, 1 unreadable", done.output)
    assert "precision" in done.output and "label='hq'" in done.output
    again = CliRunner().invoke(main, given)
    assert again.exit_code == 2 and "is there already; say --replace" in again.output
    assert CliRunner().invoke(main, [*given, "--replace", "--holdout", "0"]).exit_code == 0


def test_what_can_not_work_is_refused(pools: tuple[Pool, Pool], tmp_path: Path) -> None:
    (tmp_path / "numbers.jsonl").write_text('{"text": 1}\n')
    with pytest.raises(PlanError, match="the role 'text' is double, not text"):
        train_fasttext(Pool.jsonl(f"{tmp_path}/numbers.jsonl", text="text"), pools[1], str(tmp_path / "m.bin"))
    with pytest.raises(PlanError, match=r"can't tell what 'a.csv' holds"):
        pool_of("a.csv", None)
    for labels in (("a", "a"), ("", "b"), ("a b", "c")):
        with pytest.raises(PlanError, match="two different words"):
            train_fasttext(*pools, str(tmp_path / "m.bin"), labels=labels)
    with pytest.raises(PlanError, match=r"no folder"):
        train_fasttext(*pools, str(tmp_path / "no" / "m.bin"))
    empty = pool_of(jsonl(tmp_path / "empty.jsonl.gz", [None, ""]), None)
    with pytest.raises(PlanError, match="no text to train with"):
        train_fasttext(pools[0], empty, str(tmp_path / "m.bin"))
    with pytest.raises(PoolsieveError, match="could not train"):
        train_fasttext(*pools, str(tmp_path / "m.bin"), **{**SMALL, "lr": 1e30})
    assert not (tmp_path / "m.bin").exists()
