"""What an answer is marked against."""

from __future__ import annotations

from typing import NamedTuple


class Gold(NamedTuple):
    """An item's right answer: one text, or all that are accepted, and the options where there are some.

    `answers` are as people gave them, repeats included, since VQA's soft accuracy counts them. `options` are in the
    order of their letters.
    """

    answer: str | None
    answers: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def accepted(gold: Gold) -> tuple[str, ...]:
    """Every text that is right, once each and in order; blank ones are left out, as DatBench's scorers do."""
    given = [gold.answer, *gold.answers]
    return tuple(dict.fromkeys(text for text in given if text and not text.isspace()))


def to_the_letter(said: str, gold: Gold) -> bool:
    """Whether all of what was said is a right answer, blanks at the ends aside: right however texts are compared.

    So that an answer of several lines, or in quotation marks, is not lost to `final_answer`.
    """
    return said.strip() in {answer.strip() for answer in accepted(gold)}


def no_answer(gold: Gold) -> str | None:
    """Why nothing can be marked against `gold`; None if something can."""
    return None if accepted(gold) else "the item has no right answer"
