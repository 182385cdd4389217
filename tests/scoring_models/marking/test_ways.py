"""The ways of marking by name, their parameters, and which holds for a source."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.marking import HOWS, Gold, Scoring, lacking, mark

MARKED = [name for name in HOWS if name != "judge"]
TEXTS = st.text(max_size=60) | st.sampled_from(
    ["B", "(b)", "[1, 2, 3, 4]", "1,234.5%", "\\boxed{", "Answer: ", "-", "1e999"]
)
GOLDS = st.builds(
    Gold, st.none() | TEXTS, st.lists(TEXTS, max_size=10).map(tuple), st.lists(TEXTS, max_size=30).map(tuple)
)


@settings(deadline=None)
@given(st.sampled_from(MARKED), TEXTS, GOLDS)
@example("numeric", "1e999", Gold("-1e999"))
@example("iou", f"[{'9' * 400}, 1, 2, 3]", Gold("[1, 2, 3, 4]"))
@example("count", "9" * 5000, Gold("9" * 5000))
@example("numeric", "٣٫٥", Gold("NaN"))
def test_any_text_has_a_mark_from_0_to_1(how: str, said: str, gold: Gold) -> None:
    found = mark(how, said, gold)
    assert isinstance(found, float)
    assert 0 <= found <= 1
    assert lacking(how, gold) is None or isinstance(lacking(how, gold), str)


@settings(deadline=None)
@given(st.sampled_from(["exact", "normalised", "numeric", "anls"]), TEXTS.filter(str.strip))
def test_the_right_answer_to_the_letter_is_right(how: str, gold: str) -> None:
    assert mark(how, f" {gold}\n", Gold("x", (gold,))) == 1


@settings(deadline=None)
@given(st.sampled_from(["exact", "normalised", "numeric", "anls"]), st.from_regex(r"[b-z0-9]{1,9}", fullmatch=True))
def test_the_final_answer_is_what_counts(how: str, gold: str) -> None:
    for said in (f"Answer: {gold}", f"It is hard.\n{gold}", f"So \\boxed{{{gold}}}, then.", f'"{gold}"'):
        assert mark(how, said, Gold(gold)) == 1


@settings(deadline=None)
@given(st.sampled_from(MARKED), st.lists(st.sampled_from(["a cat", "12", "[1, 2, 3, 4]"]), min_size=3, max_size=5))
def test_what_can_be_marked_can_be_right(how: str, answers: list[str]) -> None:
    gold = Gold(answers[0], (answers[0],) * 4, ("a cat", "12", "[1, 2, 3, 4]"))
    assert mark(how, answers[0], gold) == 1 or lacking(how, gold) is not None


@pytest.mark.parametrize("how", MARKED)
def test_without_a_right_answer_nothing_is_right_and_it_says_so(how: str) -> None:
    for gold in (Gold(None), Gold("", ("", " ")), Gold(" ")):
        assert mark(how, "x", gold) == mark(how, "", gold) == 0
        assert "no right answer" in (lacking(how, gold) or "")


@pytest.mark.parametrize("how", MARKED)
def test_an_empty_answer_is_wrong(how: str) -> None:
    gold = Gold("12", ("12",) * 10, ("12", "13"))
    assert [mark(how, said, gold) for said in ("", " \n ", "\\boxed{}", "<answer>")] == [0, 0, 0, 0]


def test_what_an_item_lacks_for_a_way_is_said() -> None:
    assert (
        lacking("letter", Gold("E", options=("a", "b")))
        == "the right answer 'E' is not one of the 2 options, by letter or by text"
    )
    assert "no letter" in (lacking("letter", Gold("a dog")) or "")
    assert lacking("letter", Gold("B")) is None
    assert "3 people, not 1" in (lacking("vqa", Gold("a", ("a",))) or "")
    assert "no box" in (lacking("iou", Gold("a dog")) or "")
    assert "whole number" in (lacking("count", Gold("2.5")) or "")
    assert lacking("judge", Gold("a")) is None


def test_unknown_ways_are_refused_with_the_nearest() -> None:
    for call in (lambda: mark("anl", "x", Gold("x")), lambda: Scoring.of("anl"), lambda: Scoring.of({"*": "anl"})):
        with pytest.raises(PlanError, match=r"no way of marking 'anl'\. Did you mean 'anls'"):
            call()


@pytest.mark.parametrize("how", ["table_edit", "latex"])
def test_what_is_not_supported_says_so(how: str) -> None:
    with pytest.raises(PlanError, match="not supported"):
        Scoring.of({"tables": how, "*": "exact"})


def test_a_judge_is_chosen_but_does_not_mark() -> None:
    assert Scoring.of({"MMVet": "judge", "*": "exact"}).judged
    assert not Scoring.of("exact").judged
    with pytest.raises(PlanError, match="needs an endpoint"):
        mark("judge", "x", Gold("x"))


@pytest.mark.parametrize(
    "value", [3, None, [], {}, {"DocVQA": "anls"}, {"*": 3}, {3: "exact", "*": "exact"}, ["exact"]]
)
def test_what_is_no_choice_of_ways_is_refused(value: object) -> None:
    with pytest.raises(PlanError, match="scoring="):
        Scoring.of(value)


@pytest.mark.parametrize(
    "how", ["exact:1", "letter:", "numeric:x", "numeric:-1", "numeric:nan", "anls:2", "iou:", "judge:1"]
)
def test_parameters_are_checked(how: str) -> None:
    with pytest.raises(PlanError, match="parameter"):
        Scoring.of(how)


def test_the_way_goes_by_the_source() -> None:
    made = Scoring.of({"DocVQA": "anls", "*": "exact"})
    assert [made.how(source) for source in ("DocVQA", "docvqa", "*", None)] == ["anls", "exact", "exact", "exact"]
    assert made.by_source and not Scoring.of("exact").by_source
    assert made.packages == ("rapidfuzz",)


def test_one_meaning_has_one_spelling() -> None:
    """Fingerprints are made from it."""
    one, other = Scoring.of({"a": "numeric:.050", "*": "exact"}), Scoring.of({"*": "exact", "a": "numeric"})
    assert one == other and hash(one) == hash(other)
    assert one.to_dict() == {"type": "Scoring", "ways": {"*": "exact", "a": "numeric"}}
    assert Scoring.of("numeric:0.010").to_dict()["ways"] == {"*": "numeric:0.01"}
    assert Scoring.of(one) is one
    assert Scoring.of("numeric:0.01") != Scoring.of("numeric")
