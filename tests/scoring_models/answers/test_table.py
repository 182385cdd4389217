"""The index of stored answers against a plain loop over dictionaries."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolsieve.scoring_models import Answers
from poolsieve.scoring_models.answers.keys import keys_of
from poolsieve.scoring_models.answers.table import collapsed, index
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.outcomes import OUTCOMES
from tests.scoring_models.answers.builder import by_loop, line, rows_of, write

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), min_size=1, max_size=4).filter(
    lambda text: text.strip() == text and not text.startswith("\ufeff")
)
MARKS = st.one_of(st.none(), st.booleans(), st.sampled_from([0, 1]), st.floats(0, 1))


@st.composite
def stored(draw: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Lines of which every model has an answer, in any order, and uids of rows, some of which have none."""
    items = draw(st.lists(st.one_of(NAMES, st.integers(-5, 200)), min_size=1, max_size=8, unique_by=str))
    models = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    lines = [line(item, model, image, draw(MARKS)) for item in items for model in models for image in (False, True)]
    lines = [one for one in lines if draw(st.integers(0, 3))] + [line("always", model, True, 1) for model in models]
    random.Random(draw(st.integers(0, 99))).shuffle(lines)
    uids = draw(st.lists(st.one_of(NAMES, st.sampled_from([str(item) for item in items])), max_size=12))
    return lines, uids


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=stored(), kind=st.sampled_from(["parquet", "csv", "tsv", "jsonl"]))
def test_any_lines_give_what_a_plain_loop_gives(tmp_path: Path, case: Any, kind: str) -> None:
    lines, uids = case
    if kind == "parquet":  # where a column has one type
        lines = [{**one, "item": str(one["item"]), "correct": _float(one["correct"])} for one in lines]
    scorer = Answers(write(tmp_path / f"a.{kind}", lines))
    made = scorer.score(pa.record_batch({"uid": pa.array(uids, pa.string())}))
    assert not made.errors
    assert rows_of(made.columns) == by_loop(lines, uids)
    assert {name: column.type for name, column in made.columns.items()} == scorer.columns
    assert scorer.models == tuple(sorted({one["model"] for one in lines}))


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def test_rows_do_not_depend_on_their_batch() -> None:
    dice = np.random.default_rng(3)
    lines = [line(f"i{n}", f"m{k}", bool(s), dice.random()) for n in range(300) for k in range(5) for s in (0, 1)]
    table = index(pa.Table.from_pylist(lines), "here")
    uids = [f"i{n}" for n in dice.permutation(330)]
    whole = rows_of(table.outcomes(pa.array(uids)))
    assert whole == by_loop(lines, uids)
    parts = [row for uid in uids for row in rows_of(table.outcomes(pa.array([uid])))]
    assert parts == whole
    assert table.outcomes(pa.array([], pa.string()))["answers"].type == OUTCOMES


def test_names_with_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    names, calls = pa.array(["a", "b", "c", "d"]), pa.array(["d", "a", "e", "c", "b"])
    keys = keys_of(names)
    assert keys.find(calls).tolist() == [3, 0, -1, 2, 1]
    assert keys.find(pa.array([], pa.string())).tolist() == []
    monkeypatch.setattr("poolsieve.scoring_models.answers.keys._hashes", lambda some: np.full(len(some), 7))
    assert keys_of(names).find(calls).tolist() == [3, 0, -1, 2, 1]


QUESTIONS = [
    {"item": "0", "model": "m", "image": True, "correct": 1.0, "question": "What  is\n it? "},
    {"item": "0", "model": "n", "image": True, "correct": 1.0, "question": "Who is it?"},
    {"item": "0", "model": "o", "image": True, "correct": 1.0, "question": None},
    {"item": "1", "model": "m", "image": False, "correct": 0.0, "question": "Why?"},
]


def test_answers_to_another_question_do_not_count() -> None:
    table = index(pa.Table.from_pylist(QUESTIONS), "here")
    uids = pa.array(["0", "0", "1", "1"])
    asked = table.outcomes(uids, pa.array(["\u00a0What is it?", "what is it?", None, "Why?"]))
    assert [[one["model"] for one in row] for row in asked["answers"].to_pylist()] == [["m", "o"], ["o"], [], ["m"]]
    assert asked["asked"].to_pylist() == [2, 1, 0, 0] and asked["blind_asked"].to_pylist() == [0, 0, 0, 1]
    assert table.outcomes(uids)["asked"].to_pylist() == [3, 3, 0, 0]


@given(
    st.text(
        st.one_of(
            st.sampled_from(" \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2028\u2029\u3000a"),
            st.characters(exclude_categories=["Cs"]),
        )
    )
)
def test_blanks_collapse_as_in_python(text: str) -> None:
    assert collapsed(pa.array([text])).to_pylist() == [" ".join(text.split())]


def test_a_log_says_where_its_lines_stand() -> None:
    lines = [{**one, "file": f"{one['model']}.jsonl", "line": 4 + n} for n, one in enumerate(QUESTIONS)]
    doubled = pa.Table.from_pylist([*lines, {**lines[0], "line": 99}])
    with pytest.raises(
        PlanError, match=r"m\.jsonl, line 99: model 'm' answers item '0' with the image.* m\.jsonl, line 4 "
    ):
        index(doubled, "here")
    with pytest.raises(PlanError, match="here, row 4: model 'm' answers item '0' with"):
        index(doubled.drop_columns(["file", "line"]), "here")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("item", ["0", None], "row 1: item is null"),
        ("item", ["", "1"], "row 0: item is empty"),
        ("item", [0.5, 1.0], "item is double: it must be a text or an integer"),
        ("item", [None, None], "row 0: item is null"),
        ("model", ["m", None], "row 1: model is null"),
        ("image", [True, None], "row 1: image is null: it must be true or false"),
        ("image", [0, 2], "row 1: image is 2: a mark"),
        ("image", ["yes", "true"], "row 0: image is 'yes'"),
        ("correct", [0.4, 1.5], "row 1: correct is 1.5: a mark is a number from 0 to 1"),
        ("correct", [-1, 1], "row 0: correct is -1"),
        ("correct", [float("inf"), 1], "row 0: correct is inf"),
        ("correct", ["right", "wrong"], "row 0: correct is 'right'"),
        ("correct", [[1], [0]], "correct is list"),
        ("correct", [None, float("nan")], "holds no answer"),
        ("correct", [None, 1.0], "model 'm' has lines, but no answer in any of them"),
    ],
)
def test_what_can_not_be_right_is_refused(column: str, values: list[Any], message: str) -> None:
    lines: dict[str, Any] = {"item": ["0", "1"], "model": ["m", "n"], "image": [True, False], "correct": [1.0, 0.0]}
    table = pa.table({**lines, column: pa.array(values)})
    with pytest.raises(PlanError, match=message):
        index(table, "here")


def test_a_dictionary_with_a_value_twice_and_some_unused_is_no_trap() -> None:
    items = pa.DictionaryArray.from_arrays(pa.array([1, 3, 1, 3]), pa.array(["unused", "a", None, "a"]))
    table = pa.table({"item": items, "model": list("mnop"), "image": [True] * 4, "correct": [1, 0, 1, 1]})
    made = index(table, "here")
    assert made.keys.names.to_pylist() == ["a"]
    assert made.outcomes(pa.array(["a", "unused"]))["right"].to_pylist() == [3, 0]
    nulls = pa.DictionaryArray.from_arrays(pa.array([1, 2, 1, 3]), pa.array(["unused", "a", None, "a"]))
    with pytest.raises(PlanError, match="row 1: item is null"):
        index(table.set_column(0, "item", nulls), "here")


def test_no_lines_are_refused() -> None:
    with pytest.raises(PlanError, match="here has no lines"):
        index(pa.Table.from_pylist(QUESTIONS).slice(0, 0), "here")


def test_first_lines_agree_with_questions_of_several() -> None:
    table = index(pa.Table.from_pylist(QUESTIONS[1:]), "here", first_lines=True)
    uids = pa.array(["0", "0", "1"])
    asked = table.outcomes(uids, pa.array(["\n Who  is it?\r\nA. a\nB. b", "Who is\nit?", "Why?\n"]))
    assert asked["asked"].to_pylist() == [2, 1, 0] and asked["blind_asked"].to_pylist() == [0, 0, 1]
