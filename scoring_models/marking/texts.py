"""Texts that mean the same: exactly, and once case, punctuation, articles, blanks and number words are set aside."""

from __future__ import annotations

import re

from poolsieve.scoring_models.marking.final import final_answer
from poolsieve.scoring_models.marking.gold import Gold, accepted

ARTICLES = frozenset({"a", "an", "the"})
"""SQuAD 1.1's `normalize_answer` (Rajpurkar et al., evaluate-v1.1.py) and VQA's evaluation have the same three."""

NUMBER_WORDS = {
    word: str(number) for number, word in enumerate("zero one two three four five six seven eight nine ten".split())
} | {"none": "0"}
"""`manualMap` of VQA's evaluation (GT-Vision-Lab/VQA, vqaEval.py)."""

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_BETWEEN = re.compile(r"(?<=\d)[^\w\s.](?=\d)")
_MARKS = re.compile(r"(?<![^\s])-(?=\d)|(?<=\d)\.(?=\d)|[^\w\s]|_")


def normal(text: str) -> str:
    """A text as `normalised` compares it.

    SQuAD 1.1's steps: lower case, punctuation removed (here whatever is neither letter, digit nor blank, in any script),
    the articles a, an, the removed, blanks collapsed; then VQA's words for 0 to 10 as digits. So that 3.5 is not 35, nor
    1/2 12: a full stop between digits and a minus before a number stay, a comma before three digits goes, and any other
    mark between digits is a blank. A text of punctuation alone stays as it is.

    >>> normal(" The  Two-tone car!")
    'twotone car'
    >>> normal("-1,234.50 $"), normal("1/2"), normal("three")
    ('-1234.50', '1 2', '3')
    """
    lowered = text.lower()
    marked = _BETWEEN.sub(" ", _THOUSANDS.sub("", lowered))
    words = _MARKS.sub(_kept, marked).split()
    left = [NUMBER_WORDS.get(word, word) for word in words if word not in ARTICLES]
    return " ".join(left or words or lowered.split())


def _kept(mark: re.Match[str]) -> str:
    found = mark.group()
    if found == "-":
        return "-" if _minus(mark) else ""
    return "." if found == "." and _inside(mark) else ""


def _minus(mark: re.Match[str]) -> bool:
    text, at = mark.string, mark.start()
    return (at == 0 or text[at - 1].isspace()) and text[at + 1 : at + 2].isdecimal()


def _inside(mark: re.Match[str]) -> bool:
    text, at = mark.string, mark.start()
    return at > 0 and text[at - 1].isdecimal() and text[at + 1 : at + 2].isdecimal()


def mark_exact(said: str, gold: Gold, _: float | None = None) -> float:
    """1 if the text, or its final answer, is one of the right answers to the letter; blanks at the ends do not count."""
    given = {said.strip(), final_answer(said)}
    return float(any(answer.strip() in given for answer in accepted(gold)))


def mark_normalised(said: str, gold: Gold, _: float | None = None) -> float:
    """1 if the final answer and a right answer are the same once both are `normal`."""
    given = normal(final_answer(said))
    return float(bool(given) and any(normal(answer) == given for answer in accepted(gold)))
