"""Rows of multiple choice as open questions and as rotations, in DatBench's layout."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.marking.rewritten import Rewritten, layout, rewritten

ROWS = pa.record_batch(
    {
        "uid": ["q1", "q2", "q3", "q4"],
        "image": [b"1", b"2", b"3", None],
        "question": ["What?\nA. a car\nB. a dog", "What is written?", "Which?", "How many?"],
        "answer": ["B", "STOP", "z", "4"],
        "options": pa.array([["a car", "a dog"], None, ["x", "y"], ["3", "4", "5"]], pa.list_(pa.string())),
        "source": ["AI2D", "TextVQA", "AI2D", None],
        "capability": ["document", "scene", "document", None],
        "suffix": ["\nAnswer with the letter of the option.", "\nBe brief.", None, None],
    }
)


def rows_of(made: Rewritten) -> dict[str, dict[str, Any]]:
    rows = made.rows.to_pylist()
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row | {"metadata": json.loads(row["metadata"])} for row in rows}


def test_as_open_questions() -> None:
    made = rewritten(ROWS, "generative")
    rows = rows_of(made)
    assert list(rows) == ["q1", "q2", "q4"] and made.unchanged == [1]
    assert made.errors[2].kind == "answer_not_an_option" and list(made.errors) == [2]
    assert rows["q1"] == {
        "id": "q1",
        "image": b"1",
        "question": "What?",
        "prompt_format": {"prefix": "", "suffix": ""},
        "answer": "a dog",
        "all_answers": ["a dog"],
        "eval_mode": "judge",
        "judge_prompt": "",
        "is_circular": False,
        "metadata": {"capability": "document", "mcq_conversion": {"options": ["a car", "a dog"], "letter": "B"}},
        "source_info": {"dataset": "AI2D", "original_idx": "q1", "rotation": None},
        "eval_metrics": None,
    }
    assert (rows["q2"]["answer"], rows["q2"]["eval_mode"]) == ("STOP", "direct")
    assert rows["q2"]["prompt_format"]["suffix"] == "\nBe brief."
    assert rows["q4"]["answer"] == "4"


def test_as_rotations() -> None:
    made = rewritten(ROWS, "circular")
    rows = rows_of(made)
    assert list(rows) == ["q1-r0", "q1-r1", "q2", "q4-r0", "q4-r1", "q4-r2"] and made.unchanged == [1]
    assert [rows[f"q4-r{k}"]["answer"] for k in range(3)] == ["B", "A", "C"]
    turned = rows["q1-r1"]
    assert (turned["image"], turned["question"], turned["answer"], turned["is_circular"]) == (b"1", "What?", "A", True)
    assert turned["prompt_format"]["suffix"] == "\nA. a dog\nB. a car\nAnswer with the letter of the option."
    assert turned["source_info"] == {"dataset": "AI2D", "original_idx": "q1", "rotation": 1}
    assert turned["metadata"]["index2ans"] == {"A": "a dog", "B": "a car"}


@pytest.mark.parametrize("how", ["generative", "circular"])
def test_options_in_the_suffix_are_taken_out_as_datbench_has_them(how: str) -> None:
    row = {"uid": "x", "question": "Which?", "answer": "B", "suffix": "\nA. alpha\nB. beta\nAnswer:"}
    rows = rows_of(rewritten(pa.RecordBatch.from_pylist([row]), how))
    suffixes = [made["prompt_format"]["suffix"] for made in rows.values()]
    expected = {
        "generative": ["\nAnswer:"],
        "circular": [f"\nA. {a}\nB. {b}\nAnswer:" for a, b in (("alpha", "beta"), ("beta", "alpha"))],
    }
    assert suffixes == expected[how]
    assert next(iter(rows.values()))["answer"] == {"generative": "beta", "circular": "B"}[how]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"question": None}, "no_question"),
        ({"uid": None}, "no_uid"),
        ({"question": "  "}, "no_question"),
        ({"answer": None}, "no_answer"),
        ({"options": ["a", "a"]}, "double_options"),
        ({"options": ["a", None]}, "bad_options"),
        ({"options": ["a"]}, "bad_options"),
        ({"answer": "c"}, "answer_not_an_option"),
    ],
)
@pytest.mark.parametrize("how", ["generative", "circular"])
def test_a_bad_row_costs_one_row(how: str, change: dict[str, Any], kind: str) -> None:
    good: dict[str, Any] = {"uid": "good", "question": "Which?", "answer": "a", "options": ["a", "b"]}
    schema = pa.schema(
        {"uid": pa.string(), "question": pa.string(), "answer": pa.string(), "options": pa.list_(pa.string())}
    )
    made = rewritten(pa.RecordBatch.from_pylist([good | {"uid": "bad"} | change, good], schema), how)
    assert {place: wrong.kind for place, wrong in made.errors.items()} == {0: kind}
    assert {row["source_info"]["original_idx"] for row in made.rows.to_pylist()} == {"good"}


def test_no_rows_have_the_layout_all_the_same() -> None:
    made = rewritten(ROWS.slice(0, 0), "circular")
    assert made.rows.num_rows == 0 and made.rows.schema == layout(pa.binary())


def test_columns_by_other_names_and_options_as_a_number() -> None:
    batch = pa.record_batch({"key": [7], "q": ["What? (A) a car (B) a dog"], "gt": ["A"], "n": [2]})
    made = rewritten(batch, "generative", {"uid": "key", "question": "q", "answer": "gt", "options": "n"})
    (row,) = made.rows.to_pylist()
    assert (row["id"], row["question"], row["answer"], row["image"]) == ("7", "What?", "a car", None)


def test_what_cant_work_is_refused() -> None:
    with pytest.raises(PlanError, match="rewritten as 'circle'"):
        rewritten(ROWS, "circle")
    with pytest.raises(PlanError, match="no column 'gold', for answer"):
        rewritten(ROWS, "circular", {"answer": "gold"})
    with pytest.raises(PlanError, match="'source' as options"):
        rewritten(ROWS, "circular", {"options": "source"})


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 2, 3]), max_size=8), st.integers(0, 8), st.sampled_from(["generative", "circular"])
)
def test_a_row_is_rewritten_by_itself(places: list[int], cut: int, how: str) -> None:
    """Whatever stands beside it in its batch."""
    batch = ROWS.take(pa.array(places, pa.int64()))
    parts = (
        [rewritten(part, how).rows for part in (batch.slice(0, cut), batch.slice(cut))] if cut <= len(places) else []
    )
    whole = rewritten(batch, how).rows
    assert not parts or pa.Table.from_batches(parts).to_pylist() == whole.to_pylist()
