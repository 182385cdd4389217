"""Options in questions, the right one, and rotations."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.scoring_models.base.errors import RowError
from poolsieve.scoring_models.marking import Gold, mark, options
from poolsieve.scoring_models.marking.letters import LETTERS
from poolsieve.scoring_models.marking.options import (
    Choice,
    Listed,
    choice_of,
    credit,
    lettered,
    listed_in,
    listing,
    rotations,
    unlabelled,
)

CAR_DOG_CAT = ("a car", "a dog", "a cat")
WORDS = st.from_regex(r"[a-z]{3,8}( [a-z]{3,8})?", fullmatch=True)
LISTS = st.lists(WORDS, min_size=2, max_size=26, unique=True).map(tuple)


def test_examples_give_what_they_say() -> None:
    found = doctest.testmod(options)
    assert found.attempted and not found.failed


@pytest.mark.parametrize(
    "text",
    [
        "What is it?\nA. a car\nB. a dog\nC. a cat",
        "What is it?\n\n(A) a car\n(B) a dog\n(C) a cat\n",
        "What is it?\r\nA) a car\r\nB) a dog\r\nC) a cat",
        "What is it?\n  A: a car\n  B: a dog\n  C: a cat",
        "What is it?\n- (a) a car\n- (b) a dog\n- (c) a cat",
        "What is it? (A) a car (B) a dog (C) a cat",
        "What is it? (A)a car (B)a dog (C)a cat",
        "What is it? A. a car, B. a dog, or C. a cat",
        "What is it? [A] a car; [B] a dog; [C] a cat",
        "What is it?\nOptions:\nA. a car\nB. a dog\nC. a cat",
        "What is it? Answer choices: A. a car B. a dog C. a cat",
        "What is it?\nA. a car\nB. a dog\nC. a cat\nAnswer with the option's letter from the given choices directly.",
        "Please provide the correct option letter at the end.\nWhat is it?\nChoices:\n(A) a car\n(B) a dog\n(C) a cat",
    ],
)
def test_options_are_found_and_taken_out(text: str) -> None:
    assert listed_in(text) == Listed("What is it?", CAR_DOG_CAT)
    assert listed_in(text, CAR_DOG_CAT) == Listed("What is it?", CAR_DOG_CAT)
    assert listed_in(text, ("a car", "a dog")) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is it?",
        "Who wrote it, A. Smith or B. Jones?",
        "Compare figures (a) and (b).",
        "What is vitamin A. Is it B. C. or D?",
        "A. alone",
        "B. b\nC. c",
        "A.\nB.\nC.",
        "A.a B.b C.c",
    ],
)
def test_what_is_no_list_of_options(text: str) -> None:
    assert listed_in(text) is None


def test_the_last_list_counts_unless_the_options_are_known() -> None:
    text = "Facts:\nA. one\nB. two\nWhich?\nA. three\nB. four"
    assert listed_in(text) == Listed("Facts:\nA. one\nB. two\nWhich?", ("three", "four"))
    assert listed_in(text, ("one", "two")) == Listed("Facts:\nWhich?\nA. three\nB. four", ("one", "two"))


def test_what_stands_behind_the_options_stays() -> None:
    text = "Look.\nA. yes\nB. no\n\nThe picture is dark.\nAnswer with a letter."
    assert listed_in(text) == Listed("Look.\nThe picture is dark.", ("yes", "no"))


@settings(deadline=None)
@given(WORDS, LISTS)
def test_what_is_listed_is_found_again(stem: str, listed: tuple[str, ...]) -> None:
    text = f"{stem}?\n{lettered(listed)}"
    assert listed_in(text) == Listed(f"{stem}?", listed)


@settings(deadline=None)
@given(st.text(alphabet="AB(.) \nab:c", max_size=60), st.lists(st.text(max_size=5), max_size=4))
def test_any_text_is_read(text: str, given_options: list[str]) -> None:
    found = listing(text, given_options)
    assert found is None or isinstance(found, RowError) or 2 <= len(found.options) <= 26
    assert unlabelled(given_options) is not None


@pytest.mark.parametrize(
    ("given_options", "plain"),
    [
        (["(A) a car", "(B) a dog"], ("a car", "a dog")),
        (["A. a car", "B. a dog"], ("a car", "a dog")),
        (["A. Smith", "C. Jones"], ("A. Smith", "C. Jones")),
        (["A. Smith"], ("A. Smith",)),
        ([" a car", "a dog "], ("a car", "a dog")),
    ],
)
def test_letters_before_options(given_options: list[str], plain: tuple[str, ...]) -> None:
    assert unlabelled(given_options) == plain


@pytest.mark.parametrize("answer", ["B", "b", "(B)", "a dog", "A dog.", "B. a dog"])
def test_the_right_option_by_letter_or_text(answer: str) -> None:
    made = choice_of("What is it?", CAR_DOG_CAT, Gold(answer))
    assert made == Choice("What is it?", CAR_DOG_CAT, 1)
    assert (made.letter, made.answer) == ("B", "a dog")


@pytest.mark.parametrize(
    ("question", "given_options", "answer", "kind", "words"),
    [
        ("What?", ["a", "a"], "A", "double_options", "options A and B are the same: 'a'"),
        ("What?", ["one"], "A", "bad_options", "1 options: from 2 to 26"),
        ("What?", [str(n) for n in range(27)], "A", "bad_options", "27 options: from 2 to 26"),
        ("What?", ["one", " "], "A", "bad_options", "option B is empty"),
        ("What?", ["one", "two"], "three", "answer_not_an_option", "'three' is not one of the options ('one', 'two')"),
        ("What?", ["one", "two"], "C", "answer_not_an_option", "'C' is not one"),
        ("What?", ["one", "two"], None, "answer_not_an_option", "None is not one"),
        ("What?", ["B", "A"], "A", "answer_not_an_option", "'A' is not one"),
        ("What?", 4, "A", "no_options", "has 4 options, but its question does not list them"),
        ("What?\nA. one\nB. two", 4, "A", "bad_options", "has 4 options, but its question lists 2"),
        ("What?\nA. one\nB. two", ["x", "y"], "A", "bad_options", "lists other options than the item has"),
        ("A. one\nB. two", None, "A", "no_question", "empty without its options"),
        ("What?\nA. one\nB. One", None, "A", "answer_not_an_option", ""),
    ],
)
def test_bad_items_say_what_is_wrong(
    question: str, given_options: list[str] | int | None, answer: str | None, kind: str, words: str
) -> None:
    if question.endswith("One"):  # texts that are the same once normalised can still be told apart by letter
        assert isinstance(choice_of(question, given_options, Gold("A")), Choice)
        return
    found = choice_of(question, given_options, Gold(answer))
    assert isinstance(found, RowError)
    assert found.kind == kind and words in found.message


def test_two_right_options_are_no_choice() -> None:
    found = choice_of("What?", CAR_DOG_CAT, Gold("A", ("A", "B")))
    assert isinstance(found, RowError) and found.kind == "several_answers"


@pytest.mark.parametrize("given_options", [None, [], 0])
def test_an_open_question_is_none(given_options: list[str] | int | None) -> None:
    assert choice_of("What letter is this?", given_options, Gold("B")) is None


@settings(deadline=None)
@given(LISTS, st.data())
def test_rotations_move_the_letter_and_not_the_answer(listed: tuple[str, ...], data: st.DataObject) -> None:
    right = data.draw(st.integers(0, len(listed) - 1))
    choice = Choice("Which?", listed, right)
    turns = rotations(choice)
    assert turns[0] == choice and len(turns) == len(set(turns)) == len(listed)
    assert {turn.answer for turn in turns} == {listed[right]}
    assert sorted(turn.letter for turn in turns) == sorted(LETTERS[: len(listed)])
    assert all(mark("letter", turn.letter, Gold(turn.answer, options=turn.options)) == 1 for turn in turns)
    always_a = [mark("letter", "A", Gold(turn.letter, options=turn.options)) for turn in turns]
    assert sum(always_a) == 1 and credit(always_a, len(turns)) == 0


def test_credit_is_for_all_rotations() -> None:
    marks = {(1.0, 1.0): 1, (1.0, 0.5): 1, (1.0, 0.4): 0, (1.0,): 0, (1.0, 1.0, 1.0): 0, (): 0}
    assert {given_marks: credit(given_marks, 2) for given_marks in marks} == marks
    assert credit((), 0) == 0
