"""Questions of multiple choice as open ones, as a recipe derives them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.filters import Edit, Keep, OpenEnded, RightText, Score, col, scorer
from poolsieve.filters.open_ended import BadOptions
from poolsieve.scoring_models.base.errors import PlanError

ROWS = {
    "uid": ["a", "b", "c", "d", "e"],
    "question": ["What?\nA. a car\nB. a dog", "How many?", "Which?", "Open?", None],
    "choices": [["a car", "a dog"], ["3", "4"], ["x", "x"], None, None],
    "answer": ["B", "4", "A", "yes", "no"],
}


def batch(*rows: int) -> pa.RecordBatch:
    return pa.record_batch(ROWS).take(pa.array(rows)).rename_columns(["uid", "question", "options", "answer"])


def test_options_leave_the_question_and_the_answer_is_a_text() -> None:
    assert OpenEnded().edit(batch(0, 1, 3, 4)).to_pylist() == ["What?", "How many?", "Open?", None]
    assert RightText().edit(batch(0, 1, 3, 4)).to_pylist() == ["a dog", "4", "yes", "no"]


def test_without_a_role_for_options_those_of_the_text_count() -> None:
    given = batch(0, 1, 3).select(["question", "answer"])
    assert OpenEnded(options=None).reads == ("question",)
    assert OpenEnded(options=None).edit(given).to_pylist() == ["What?", "How many?", "Open?"]
    assert RightText(options=None).edit(given).to_pylist() == ["a dog", "4", "yes"]


@pytest.mark.parametrize("editor", [OpenEnded(), RightText()])
def test_bad_options_are_the_rows_fault(editor: OpenEnded | RightText) -> None:
    with pytest.raises(BadOptions, match="options A and B are the same: 'x'"):
        editor.edit(batch(2))


def test_options_of_another_kind_are_refused_in_the_plan(tmp_path: Path) -> None:
    pq.write_table(pa.table({"question": ["What?"], "options": [{"A": "x"}]}), tmp_path / "pool.parquet")
    pool = Pool.parquet(str(tmp_path / "pool.parquet"), question="question", options="options")
    with pytest.raises(PlanError, match=r"reads 'options' as options .* but it is struct"):
        poolsieve.run(
            pool | Edit(question=OpenEnded()) | Keep(col("question").word_count() > 1, reason="x"),
            str(tmp_path / "out"),
        )


def lengths(question: pa.Array, answer: pa.Array) -> dict[str, list[int | None]]:
    read = {"question": question.to_pylist(), "answer": answer.to_pylist()}
    return {role: [None if text is None else len(text) for text in texts] for role, texts in read.items()}


def test_a_recipe_reads_what_was_derived_and_one_bad_row_costs_one_row(tmp_path: Path) -> None:
    pq.write_table(pa.table(ROWS), tmp_path / "pool.parquet")
    pool = Pool.parquet(
        str(tmp_path / "pool.parquet"), uid="uid", question="question", answer="answer", choices="choices"
    )
    made = Edit(question=OpenEnded(options="choices"), answer=RightText(options="choices"))
    columns = {"question": "int32", "answer": "int32"}
    recipe = (
        pool
        | made
        | Score(n=scorer(lengths, reads=("question", "answer"), columns=columns))
        | Keep(col("n.answer") > 0, reason="x")
    )
    out = poolsieve.run(recipe, str(tmp_path / "out"), workers=1)
    ledger = out.ledger(columns=["uid", "keep", "reason", "n.question", "n.answer"]).to_pylist()
    found = {row["uid"]: (row["keep"], row["n.question"], row["n.answer"]) for row in ledger}
    assert found == {
        "a": (True, 5, 5),
        "b": (True, 9, 1),
        "c": (False, None, None),
        "d": (True, 5, 3),
        "e": (True, None, 2),
    }
    assert next(row["reason"] for row in ledger if row["uid"] == "c") == "quarantine.bad_options"
