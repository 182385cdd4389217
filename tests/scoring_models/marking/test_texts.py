"""Final answers, texts, numbers, counts, soft accuracy, similarity and boxes, one by one."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.scoring_models.marking import Gold, final_answer, mark
from poolsieve.scoring_models.marking.boxes import box_in, overlap
from poolsieve.scoring_models.marking.letters import letter_named
from poolsieve.scoring_models.marking.numbers import count_in, number_in
from poolsieve.scoring_models.marking.similar import LONGEST
from poolsieve.scoring_models.marking.texts import normal

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["boxes", "final", "numbers", "texts"])
def test_examples_give_what_they_say(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"poolsieve.scoring_models.marking.{name}"))
    assert found.attempted and not found.failed


def test_the_page_says_what_is_so() -> None:
    found = doctest.testfile(str(ROOT / "docs" / "suites.md"), module_relative=False)
    assert found.attempted and not found.failed


@pytest.mark.parametrize(
    ("said", "final"),
    [
        ("Paris", "Paris"),
        ("It is in France.\r\nParis\r\n", "Paris"),
        ("Answer: Rome\nAnswer: Paris\nas I said", "Paris"),
        ("**Answer:** Paris", "Paris"),
        ("ANSWER:\n\n Paris  is it", "Paris is it"),
        ("The answerer: Rome\nParis", "Paris"),
        ("\\boxed{Rome} or \\boxed{Paris} and Lyon", "Paris"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{Paris} \\boxed{}", "Paris"),
        ("\\boxed{Paris} \\boxed{Rome", "Paris"),
        ("\\boxed{Rome", "\\boxed{Rome"),
        ("<|begin_of_box|>Paris<|end_of_box|> \\boxed{Rome}", "Paris"),
        ("<answer> Paris </answer>", "Paris"),
        ("<final_answer>Paris</final_answer>", "Paris"),
        ("<answer>", ""),
        ('"Paris"', "Paris"),
        ("", ""),
        ("\n \n", ""),
    ],
)
def test_final_answers(said: str, final: str) -> None:
    assert final_answer(said) == final


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("The Cat.", "cat", True),
        ("3.5", "35", False),
        ("-5", "5", False),
        ("−5", "-5", True),
        ("1/2", "12", False),
        ("1,234", "1234", True),
        ("1,5", "15", False),
        ("two", "2", True),
        ("none", "zero", True),
        ("+", "-", False),
        ("a", "the", False),
        ("“Yes”", "yes", True),
        ("١٢", "12", True),
        ("", "", False),
    ],
)
def test_normalised(one: str, other: str, same: bool) -> None:
    assert mark("normalised", one, Gold(other)) == same


def test_exact_keeps_case_and_punctuation_and_takes_the_text_or_its_final_answer() -> None:
    gold = Gold("a\nb", ("“x”",))
    assert [mark("exact", said, gold) for said in (" a\nb ", "“x”", "so\n“x”", "A\nb", "x")] == [1, 1, 1, 0, 0]


@settings(deadline=None)
@given(st.text(max_size=50))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = normal(text)
    assert normal(once) in (once, normal(normal(once)))


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-inf", "1e", "", ".", "-", "1_000", "12,34", "0x10", "9" * 101, "1 2", "1e9999", "½"]
)
def test_what_is_no_number(text: str) -> None:
    assert number_in(text) is None


@pytest.mark.parametrize(
    ("how", "said", "gold", "right"),
    [
        ("numeric", "105", "100", True),
        ("numeric", "105.0000000001", "100", False),
        ("numeric", "95", "100", True),
        ("numeric:0.01", "105", "100", False),
        ("numeric:0", "0.30", "0.3", True),
        ("numeric", "0", "0.0", True),
        ("numeric", "0.0001", "0", False),
        ("numeric", "50%", "0.5", True),
        ("numeric", "50", "50%", True),
        ("numeric", "1%", "0.01", False),  # neither is at least 2 %: a share is not told from a percentage
        ("numeric", "$1,234.00", "1234", True),
        ("numeric", "1,00,000", "100000", True),
        ("numeric", "nan", "nan", True),  # the same text, not a number
        ("numeric", "inf", "1", False),
        ("numeric", "9" * 200, "9" * 199 + "8", False),  # too long for a number: compared as texts
        ("numeric", "9" * 60, "9" * 59 + "8", True),
        ("numeric", "-100", "100", False),
        ("count", "I see 2 cats and 3 dogs", "3", True),
        ("count", "twenty-one", "21", True),
        ("count", "٣", "3", True),
        ("count", "", "0", False),
    ],
)
def test_numbers(how: str, said: str, gold: str, right: bool) -> None:
    assert mark(how, said, Gold(gold)) == right


def test_counts_in_words() -> None:
    words = {"ninety nine": 99, "twenty": 20, "thirteen": 13, "no idea": None, "twenty ten": 10, "someone": None}
    assert {word: count_in(word) for word in words} == words


def test_soft_accuracy_leaves_one_out() -> None:
    for agree, expected in [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)]:
        people = ("cat",) * agree + ("dog",) * (10 - agree)
        assert mark("vqa", "the cat.", Gold("cat", people)) == pytest.approx(expected)


def test_all_full_stops_of_a_long_answer_go() -> None:
    """VQA's own evaluation stops after the first 32."""
    people = ("x " * 40,) * 4
    assert mark("vqa", "x. " * 40, Gold(None, people)) == 1


def test_similarity_is_cut_at_a_half_and_bounded_in_length() -> None:
    assert mark("anls", "ab", Gold("ac")) == 0
    assert mark("anls:0", "ab", Gold("ac")) == 0.5
    assert mark("anls", "abc", Gold("abd")) == pytest.approx(2 / 3)
    assert mark("anls", "abd", Gold("xyz", ("abc", "abd"))) == 1
    long = "x" * (LONGEST + 1)
    assert [mark("anls:0", said, Gold(long)) for said in (long, long[1:])] == [1, 0]
    assert mark("anls:0", long[2:], Gold(long[1:])) == pytest.approx(1 - 1 / LONGEST)


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("[1, 2, 3, 4]", (1, 2, 3, 4)),
        ("it is at [[-1,2,3.5,4]].", (-1, 2, 3.5, 4)),
        ('[{"bbox_2d": [1, 2, 3, 4], "label": "x"}]', (1, 2, 3, 4)),
        ("(1,2),(3,4)", (1, 2, 3, 4)),
        ("[1, 2] [5, 6, 7, 8]", (5, 6, 7, 8)),
        ("\\boxed{[1, 2, 3, 4]} not [5, 6, 7, 8]", (1, 2, 3, 4)),
        ("[1, 2, 3]", None),
        ("1 2 3 4 5", None),
        (f"[1, 2, 3, {'9' * 31}]", None),
        ("", None),
    ],
)
def test_boxes_in_texts(text: str, box: tuple[float, ...] | None) -> None:
    assert box_in(text) == box


@settings(deadline=None)
@given(st.tuples(*[st.floats(-1e9, 1e9)] * 4), st.tuples(*[st.floats(-1e9, 1e9)] * 4))
def test_overlap_is_a_share_and_the_same_from_both_sides(one: tuple, other: tuple) -> None:
    assert 0 <= overlap(one, other) <= 1
    assert overlap(one, other) == overlap(other, one)


def test_a_box_in_thousandths_is_one_in_shares() -> None:
    gold = Gold("[0.1, 0.2, 0.5, 0.6]")
    assert mark("iou", "[100, 200, 500, 600]", gold) == 1
    assert mark("iou", "[100, 200, 500, 600]", Gold("[200, 400, 1000, 1200]")) == pytest.approx(0.125, abs=0.05)
    assert mark("iou:0.5", "[0.1, 0.2, 0.5, 0.5]", gold) == 1
    assert mark("iou:0.9", "[0.1, 0.2, 0.5, 0.5]", gold) == 0


OPTIONS = ("a blue car", "a red car", "a bicycle", "a dog")


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        ("B", "B"),
        ("(b)", "B"),
        ("B.", "B"),
        ("**B**", "B"),
        ("The answer is B", "B"),
        ("the answer is b.", "B"),
        ("Answer: (B) a red car", "B"),
        ("I'd say option B", "B"),
        ("a red car", "B"),
        ("It is the red car, surely", "B"),
        ("Because.\nThe answer is B\nsince it is so", "B"),
        ("A is wrong. The answer is B", "B"),
        ("Option A is far away.\nI cannot tell", None),
        ("A dog", "D"),
        ("A cat", None),
        ("I do not know", None),
        ("E", None),
        ("A or B", None),
        ("B and C", None),
        ("a red car or a dog", None),
        ("car", None),
        ("", None),
    ],
)
def test_the_option_that_is_named(said: str, letter: str | None) -> None:
    assert letter_named(said, OPTIONS) == letter


def test_an_option_within_a_longer_one_is_not_named_by_it() -> None:
    assert letter_named("It shows north east of it", ("north", "north east")) == "B"


@pytest.mark.parametrize(
    ("gold", "right"),
    [
        (Gold("B", options=OPTIONS), True),
        (Gold("(b)", options=OPTIONS), True),
        (Gold("A red car", options=OPTIONS), True),
        (Gold("B"), True),
        (Gold("A", ("B",), OPTIONS), True),
        (Gold("A", options=OPTIONS), False),
        (Gold("E", options=OPTIONS), False),
        (Gold("x", options=("x", "x")), False),  # the text of two options
        (Gold("A", options=("B", "A")), False),  # the letter of one option, and the text of another
    ],
)
def test_the_right_letter(gold: Gold, right: bool) -> None:
    assert mark("letter", "B", gold) == right


def test_more_than_26_options_have_no_letters() -> None:
    options = tuple(f"no. {n}" for n in range(30))
    assert letter_named("no. 29", options) is None
    assert letter_named("no. 25", options) == "Z"
