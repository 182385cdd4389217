"""Verdicts that a judge gave, as somebody has stored them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow import Pool
from poolsieve.dataflow.transforms import program_for
from poolsieve.filters import Drop, Score, col
from poolsieve.scoring_models import Verdicts
from poolsieve.scoring_models.answers.verdicts import VERDICTS
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import ledger, run
from tests.scoring_models.answers.builder import write


def verdict(item: Any, *said: Any) -> dict[str, Any]:
    return {"item": item, **dict(zip(VERDICTS, said, strict=True))}


LINES = [verdict("a", True, False, None), verdict("7", False, None, True), verdict("c", None, None, None)]


def scored(scorer: Verdicts, *uids: str) -> list[tuple[Any, ...]]:
    made = scorer.score(pa.record_batch({"uid": pa.array(uids, pa.string())}))
    assert not made.errors and {column.type for column in made.columns.values()} == {pa.bool_()}
    return list(zip(*(made.columns[name].to_pylist() for name in VERDICTS), strict=True))


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_verdicts_are_found_by_item(tmp_path: Path, kind: str) -> None:
    scorer = Verdicts(write(tmp_path / f"v.{kind}", LINES))
    assert scored(scorer, "7", "b", "a", "a", "c") == [
        (False, None, True),
        (None, None, None),
        (True, False, None),
        (True, False, None),
        (None, None, None),
    ]
    assert scored(scorer) == []


def test_any_verdicts_are_those_of_a_plain_loop(tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    lines = [verdict(f"i{n}", *dice.choice([True, False, None], 3)) for n in dice.permutation(500)]
    half = [write(tmp_path / f"{n}.jsonl", some) for n, some in enumerate([lines[:200], lines[200:]])]
    uids = [f"i{n}" for n in dice.integers(0, 700, 300)]
    stored = {one["item"]: tuple(one[name] for name in VERDICTS) for one in lines}
    assert scored(Verdicts(half), *uids) == [stored.get(uid, (None, None, None)) for uid in uids]


def test_a_file_may_have_other_names_or_fewer_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "v.csv", [{"id": 3, "wrong": 1}, {"id": 4, "wrong": "FALSE"}])
    scorer = Verdicts(path, "id", "wrong", None, None)
    assert scored(scorer, "3", "4") == [(True, None, None), (False, None, None)]
    with pytest.raises(PlanError, match=r"has no column 'question_is_ambiguous'"):
        Verdicts(path, "id", "wrong").files()
    with pytest.raises(PlanError, match="name one of the three columns"):
        Verdicts(path, "id", None, None, None)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([*LINES, verdict("a", None, None, True)], "line 4: the item is judged in .*v.jsonl, line 1 already"),
        ([verdict("a", 0.5, None, None)], "line 1: ground_truth_wrong is 0.5: it must be true or false"),
        ([verdict("a", "perhaps", None, None)], "line 1: ground_truth_wrong is 'perhaps'"),
        ([verdict(None, True, None, None), verdict("a", True, None, None)], "line 1: item is null"),
        ([verdict(1.5, True, None, None)], "line 1: item is double|row 0: item is double|item is double"),
    ],
)
def test_verdicts_that_can_not_be_right_are_refused_in_the_plan(tmp_path: Path, lines: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Verdicts(write(tmp_path / "v.jsonl", lines)).files()


def test_no_verdicts_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(LINES).slice(0, 0), tmp_path / "v.parquet")
    with pytest.raises(PlanError, match=r"v\.parquet has no lines"):
        Verdicts(str(tmp_path / "v.parquet")).files()


def test_a_run_drops_what_is_judged_wrong(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a", "b", "7"]}), tmp_path / "p.parquet")
    scorer = Verdicts(write(tmp_path / "v.csv", LINES))
    recipe = Pool.parquet(f"{tmp_path}/p.parquet", uid="id") | Score(verdict=scorer)
    run(recipe | Drop(col("verdict.ground_truth_wrong"), reason="suite.wrong_label"), tmp_path / "out")
    rows = ledger(tmp_path / "out").to_pylist()
    assert [row["verdict.ground_truth_wrong"] for row in rows] == [True, None, False]
    assert rows[0]["reason"] == "suite.wrong_label" and rows[2]["keep"]
    assert scorer.unmatched([pa.array(["a", "b", "7"])]) == {
        "items": 1,
        "first": ["c"],
        "rows": 1,
        "first_rows": ["b"],
    }


def test_batches_of_a_pipeline_may_have_integers_and_nothing_else(tmp_path: Path) -> None:
    scorer = Verdicts(write(tmp_path / "v.csv", LINES))
    made = scorer.score(pa.record_batch({"uid": pa.array([7, None, 70])}))
    assert made.columns["needs_high_resolution"].to_pylist() == [True, None, None]
    batch = pa.record_batch({"uid": [0.5]})
    with pytest.raises(PlanError, match="reads 'uid' as names of items, but it is double"):
        program_for(Score(verdict=scorer), batch.schema)
