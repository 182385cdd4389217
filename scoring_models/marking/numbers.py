"""Numbers in texts: one within a tolerance of another, and counts."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from poolsieve.scoring_models.marking.final import final_answer
from poolsieve.scoring_models.marking.gold import Gold, accepted, no_answer, to_the_letter
from poolsieve.scoring_models.marking.texts import ascii_digits, normal

TOLERANCE = 0.05
"""Relative; ChartQA's relaxed accuracy (Masry et al., arXiv 2203.10244)."""

LONGEST = 100
"""Characters of a number; what is longer is compared as a text."""

_NUMBER = re.compile(
    r"[+-]?[$€£¥₹]?((?:[0-9]{1,3}(?:,[0-9]{2,3})*,[0-9]{3}|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]{1,3})?(%?)\.?",
    re.IGNORECASE,
)
"""Thousands in groups of three, or of two and three as in India; a sign of currency before, a full stop after."""

_RATIO, _PERCENT = Fraction("1.5"), 2
"""A bare number up to the first is taken for a share where the other side is at least so many per cent (DatBench)."""

_WORDS = {word: value for value, word in enumerate(
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
     "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
)}  # fmt: skip
_TENS = {word: 10 * value for value, word in enumerate(
    ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2
)}  # fmt: skip
_DIGITS_OR_WORD = re.compile(r"\b(?:[0-9]+|[a-z]+)\b", re.IGNORECASE)
_LONGEST_COUNT = 9
"""Digits of a count; DatBench's TallyQA passes over longer ones, which no image has."""


class Number(NamedTuple):
    """A number as it was written, exactly, and whether a percent sign followed it."""

    value: Fraction
    percent: bool


def number_in(text: str) -> Number | None:
    """The number that a text is as a whole; None for any other text: NaN, infinity, two numbers, more than `LONGEST`.

    >>> number_in("$1,234.5"), number_in("45%").percent, number_in("12 or 13")
    (Number(value=Fraction(2469, 2), percent=False), True, None)
    """
    text = ascii_digits(text.strip()[: LONGEST + 1])
    found = _NUMBER.fullmatch(text) if len(text) <= LONGEST else None
    if found is None:
        return None
    digits, power, percent = found.groups()
    value = Fraction(digits.replace(",", "") + (power or ""))
    return Number(-value if text.startswith("-") else value, bool(percent))


def close(said: Number, right: Number, tolerance: Fraction) -> bool:
    """Whether two numbers differ by at most `tolerance` times the right one, computed exactly; 0 is close to 0 alone.

    Where just one has a percent sign, the other is a percentage too, unless it is from 0 to 1.5 and the one with the
    sign at least 2: then it is a share (DatBench's ChartQA).
    """
    one, other = said.value, right.value
    if said.percent != right.percent:
        one, other = _percentage(said, other), _percentage(right, one)
    return abs(one - other) <= tolerance * abs(other)


def _percentage(number: Number, beside: Fraction) -> Fraction:
    share = not number.percent and 0 <= number.value <= _RATIO and beside >= _PERCENT
    return number.value * 100 if share else number.value


def mark_numeric(said: str, gold: Gold, tolerance: float | None = None) -> float:
    """ChartQA's relaxed accuracy: 1 for a number within the tolerance, the same list, or the same `normal` text.

    Args:
        said: any text; its final answer counts.
        gold: any of its answers will do.
        tolerance: relative to the right answer.
    """
    exactly = Fraction(repr(TOLERANCE if tolerance is None else float(tolerance)))
    if to_the_letter(said, gold):
        return 1.0
    text = final_answer(said)
    given = _Read(number_in(text), _items(text), normal(text))
    return float(any(_relaxed(given, answer, exactly) for answer in accepted(gold)))


class _Read(NamedTuple):
    number: Number | None
    items: list[str]
    text: str


def _relaxed(given: _Read, answer: str, tolerance: Fraction) -> bool:
    number, items = number_in(answer), _items(answer)
    if given.number is not None and number is not None:
        return close(given.number, number, tolerance)
    if given.items and items:
        return given.items == items
    return bool(given.text) and given.text == normal(answer)


def _items(text: str) -> list[str]:
    """What `[a, b]` lists, normalised and sorted, since the order does not count; nothing for other texts."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return []
    return sorted(normal(part) for part in text[1:-1].split(",") if part.strip())


def count_in(text: str) -> int | None:
    """The last count that a text names, in digits or else in words (zero to ninety-nine); None for none.

    >>> count_in("There are 3 cats and 12 dogs."), count_in("twenty-one birds"), count_in("none")
    (12, 21, 0)
    """
    words = [word.lower() for word in _DIGITS_OR_WORD.findall(ascii_digits(text))]
    digits = [word for word in words if word.isdecimal() and len(word) <= _LONGEST_COUNT]
    return int(digits[-1]) if digits else _spelt(words)


def _spelt(words: list[str]) -> int | None:
    found, before = None, ""
    for word in words:
        if word in _WORDS:
            ones = _WORDS[word]
            found = _TENS.get(before, 0) + ones if 0 < ones < 10 else ones
        elif word in _TENS or word == "none":
            found = _TENS.get(word, 0)
        before = word
    return found


def mark_count(said: str, gold: Gold, _: float | None = None) -> float:
    """1 if the last count in the final answer is the right one (CountBench, TallyQA)."""
    given = count_in(final_answer(said))
    return float(given is not None and given in _counts(gold))


def _counts(gold: Gold) -> set[int]:
    found = [number_in(answer) or count_in(answer) for answer in accepted(gold)]
    values = [made.value if isinstance(made, Number) else made for made in found]
    return {int(value) for value in values if value is not None and value == int(value)}


def no_count(gold: Gold) -> str | None:
    """Why an item can't be marked by count; None if it can."""
    return no_answer(gold) or (None if _counts(gold) else f"the right answer {gold.answer!r:.80} is no whole number")
