"""Texts that mean the same: exactly, and once case, punctuation, articles, blanks and number words are set aside."""

from __future__ import annotations

import re
import unicodedata

from poolsieve.scoring_models.marking.final import final_answer
from poolsieve.scoring_models.marking.gold import Gold, accepted, to_the_letter

ARTICLES = frozenset({"a", "an", "the"})
"""SQuAD 1.1's `normalize_answer` (Rajpurkar et al., evaluate-v1.1.py) and VQA's evaluation have the same three."""

NUMBER_WORDS = {
    **{"none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4"},
    **{"five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10"},
}
"""`manualMap` of VQA's evaluation (GT-Vision-Lab/VQA, vqaEval.py)."""

_FOREIGN = re.compile(r"(?![0-9])\d|\u2212")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_BETWEEN = re.compile(r"(?<=\d)[^\w\s.](?=\d)")
_MARKS = re.compile(r"[^\w\s.-]|_|\.(?!\d)|(?<=[^\s\d-])\.|-(?!\.?\d)|(?<=\S)-")
"""Punctuation; a full stop and a minus only where they are no part of a number."""


def normal(text: str) -> str:
    """A text as `normalised` compares it.

    SQuAD 1.1's steps: lower case, punctuation removed (here whatever is neither letter, digit nor blank, in any
    script), the articles a, an, the removed, blanks collapsed; then VQA's words for 0 to 10 as digits. So that 3.5 is
    not 35, nor 1/2 12: a full stop between digits and a minus before a number stay, a comma before three digits goes,
    and any other mark between digits is a blank. Digits of other scripts are those of ours. A text of punctuation or
    of articles alone stays as it is.

    >>> normal(" The  Two-tone car!")
    'twotone car'
    >>> normal("-1,234.50 $"), normal("1/2"), normal("three"), normal("١٢")
    ('-1234.50', '1 2', '3', '12')
    """
    lowered = ascii_digits(text).lower()
    marked = _BETWEEN.sub(" ", _THOUSANDS.sub("", lowered))
    words = _MARKS.sub("", marked).split()
    left = [NUMBER_WORDS.get(word, word) for word in words if word not in ARTICLES]
    return " ".join(left or words or lowered.split())


def ascii_digits(text: str) -> str:
    """The text with decimal digits of any script as 0 to 9, and the minus sign U+2212 as a hyphen."""
    return text if text.isascii() else _FOREIGN.sub(_ascii, text)


def _ascii(found: re.Match[str]) -> str:
    return "-" if found.group() == "\u2212" else str(unicodedata.decimal(found.group()))


def mark_exact(said: str, gold: Gold, _: float | None = None) -> float:
    """1 if the text, or its final answer, is a right answer to the letter; blanks at the ends do not count."""
    return float(to_the_letter(said, gold) or to_the_letter(final_answer(said), gold))


def mark_normalised(said: str, gold: Gold, _: float | None = None) -> float:
    """1 if the final answer and a right answer are the same once both are `normal`, or to the letter."""
    given = normal(final_answer(said))
    same = bool(given) and any(normal(answer) == given for answer in accepted(gold))
    return float(same or to_the_letter(said, gold))
