"""Items: what is read of a row, what is asked, and what is wrong with one."""

from __future__ import annotations

import io
import re
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.feeding.driver import score_rows
from poolsieve.scoring_models.marking import Gold, Scoring
from poolsieve.scoring_models.panels.items import LONGEST, Item, Items, fault, image_fault, wording
from poolsieve.scoring_models.panels.prompts import CHOICE, check_prompt
from tests.scoring_models.panels import tiny_panel

EXACT = Scoring.of("exact")
COLOURS = ("red", "green", "blue")


def item(**changes: Any) -> Item:
    gold = Gold(changes.pop("answer", "red"), changes.pop("answers", ()), changes.pop("options", COLOURS))
    return Item(changes.pop("question", "What colour?"), gold, **changes)


def png(width: int, height: int) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (width, height)).save(made, "PNG")
    return made.getvalue()


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"question": "  "}, "no_question", "empty"),
        ({"answer": None}, "no_answer", "no right answer"),
        ({"answer": None, "options": ()}, "no_answer", "no right answer"),
        ({"answer": "pink"}, "answer_not_an_option", "pink.*not one of the 3"),
        ({"answer": "D"}, "answer_not_an_option", "not one of the 3"),
        ({"options": ("red", "green", " red ")}, "double_options", "A and C"),
        ({"options": ("red",)}, "bad_options", "1 options"),
        ({"options": ("red", "")}, "bad_options", "B is empty"),
        ({"options": tuple(map(str, range(27)))}, "bad_options", "27 options"),
        ({"question": "x" * (LONGEST + 1)}, "too_long", "100,001|100,0"),
    ],
)
def test_an_item_that_nobody_could_answer_is_said(changes: dict[str, Any], kind: str, said: str) -> None:
    found = fault(item(**changes), EXACT)
    assert found is not None and found.kind == kind
    assert re.search(said, found.message)


@pytest.mark.parametrize(
    "changes", [{}, {"answer": "B"}, {"answer": None, "answers": ("blue",)}, {"answer": "pink", "options": ()}]
)
def test_a_good_item_has_no_fault(changes: dict[str, Any]) -> None:
    assert fault(item(**changes), EXACT) is None


def test_options_need_a_right_one_even_where_a_judge_marks() -> None:
    found = fault(item(answer="pink"), Scoring.of("judge"))
    assert found is not None and found.kind == "answer_not_an_option"


@pytest.mark.parametrize(
    ("data", "kind"),
    [(None, "no_image"), (b"", "no_image"), (b"garbage", "image_decode"), (png(2001, 10), "image_thin")],
)
def test_an_image_that_can_not_be_shown_is_said(data: bytes | None, kind: str) -> None:
    found = image_fault(data)
    assert found is not None and found.kind == kind
    assert image_fault(png(2000, 10)) is None


def test_our_words_stand_where_the_item_brings_none() -> None:
    assert wording(item(), None, None) == CHOICE.format(question="What colour?", options="A. red\nB. green\nC. blue")
    assert wording(item(), None, None, turn=1).split("\n")[1:4] == ["A. green", "B. blue", "C. red"]
    assert wording(item(options=()), None, None).startswith("What colour?\nAnswer with a word")
    own = item(prefix="Look.\n", suffix="\nSay a letter.")
    assert wording(own, None, None) == "Look.\nWhat colour?\nA. red\nB. green\nC. blue\nSay a letter."
    assert wording(own._replace(gold=Gold("red")), None, None) == "Look.\nWhat colour?\nSay a letter."


def test_braces_in_an_item_are_text() -> None:
    strange = item(question="What is {options} in {x}?", options=("{question}", "b"))
    assert wording(strange, None, "{question}|{options}") == "What is {options} in {x}?|A. {question}\nB. b"


@pytest.mark.parametrize(
    ("template", "said"), [("no place", "{question} is missing"), ("{question}{optoins}", "Did you mean 'options'")]
)
def test_a_template_is_checked(template: str, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        check_prompt("prompt", template, ["question"])
    check_prompt("prompt", 'Say {"answer": ...} to {question}', ["question"])


def test_options_that_the_question_lists_are_shown_once() -> None:
    """Else their turns would stand behind a list that does not turn."""
    step = Items(scoring=EXACT, image=None)
    question = "What colour?\nA. red\nB. green\nC. blue\nAnswer with the letter."
    for options in (list(COLOURS), ["A. red", "B. green", "C. blue"]):
        columns = {"question": [question], "answer": ["B"], "options": pa.array([options], pa.list_(pa.string()))}
        found = step.item(pa.record_batch(columns), 0)
        assert (found.question, found.gold.options) == ("What colour?", COLOURS)
        assert wording(found, None, None, turn=2).count("red") == 1
    columns = {"question": ["What?"], "answer": ["B. green"], "options": pa.array([["A. red", "B. green"]])}
    assert fault(step.item(pa.record_batch(columns), 0), EXACT) is None


def test_the_step_reads_what_is_there_and_one_bad_row_costs_one_row() -> None:
    images = [tiny_panel.picture(0), tiny_panel.picture(1), b"no image", None]
    batch = pa.record_batch({"image": images, "question": ["a?", None, "c?", "d?"], "answer": ["1"] * 4})
    step = Items(scoring=EXACT)
    made = score_rows(step, batch, step.columns, threads=1)
    assert made.columns[""].to_pylist() == [{"options": 0, "turns": 1}, None, None, None]
    assert {row: error.kind for row, error in made.errors.items()} == {
        1: "no_question",
        2: "image_decode",
        3: "no_image",
    }
    blind = Items(scoring=EXACT, sighted=False)
    assert "image" not in blind.reads
    made = score_rows(blind, batch, blind.columns, threads=1)
    assert set(made.errors) == {1}


def test_lists_of_nulls_are_no_answers() -> None:
    step = Items(scoring=EXACT, image=None)
    kind = pa.list_(pa.string())
    batch = pa.record_batch(
        {
            "question": ["a?"] * 3,
            "answer": pa.array([None] * 3, pa.string()),
            "answers": pa.array([[None], [None, "x"], None], kind),
            "options": pa.array([[], None, ["x", None]], kind),
        }
    )
    errors = score_rows(step, batch, step.columns, threads=1).errors
    assert {row: error.kind for row, error in errors.items()} == {0: "no_answer", 2: "bad_options"}


@pytest.mark.parametrize(
    ("role", "kind", "good"),
    [
        ("options", pa.int64(), True),
        ("options", pa.list_(pa.large_string()), True),
        ("options", pa.string(), False),
        ("answers", pa.list_(pa.string()), True),
        ("answers", pa.list_(pa.int64()), False),
        ("question", pa.string(), True),
        ("question", pa.int64(), False),
        ("answer", pa.list_(pa.string()), False),
        ("image", pa.binary(), True),
        ("image", pa.struct([("bytes", pa.binary())]), False),
        ("answer", pa.null(), True),
    ],
)
def test_a_role_of_another_type_is_refused_before_work_starts(role: str, kind: pa.DataType, good: bool) -> None:
    step = Items(scoring=EXACT)
    if good:
        step.check_role("here", role, kind)
    else:
        with pytest.raises(PlanError, match=f"here reads '{role}'"):
            step.check_role("here", role, kind)
