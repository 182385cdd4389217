"""ANLS: average normalised Levenshtein similarity, of which this is one item's."""

from __future__ import annotations

from poolsieve.scoring_models.marking.final import final_answer
from poolsieve.scoring_models.marking.gold import Gold, accepted, to_the_letter

LEAST = 0.5
"""A similarity up to this is none (Biten et al., arXiv 1905.13648: 1 - NL where NL < 0.5, else 0)."""

LONGEST = 20_000
"""Characters; longer texts are compared as equal or not, since the distance takes time by the product of both."""


def similarity(one: str, other: str, least: float = 0.0) -> float:
    """1 - distance / length of the longer text; 0 where it is not more than `least`.

    Texts of more than `LONGEST` characters are 1 where they are equal, else 0.
    """
    longer = max(len(one), len(other))
    if one == other or longer > LONGEST:
        return float(one == other)
    found = 1 - _distance(one, other) / longer
    return found if found > least else 0.0


def _distance(one: str, other: str) -> int:
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.distance(one, other)


def plain(text: str) -> str:
    """A text as it is compared: in lower case, blanks collapsed, and nothing else (DocVQA's evaluation)."""
    return " ".join(text.lower().split())


def mark_anls(said: str, gold: Gold, least: float | None = None) -> float:
    """The largest similarity of the final answer to a right one (DocVQA, InfographicVQA, OCR-VQA).

    `least` 0.5 is the metric as published, what the package `anls` computes, and what DatBench's InfoVQA takes, and its
    DocVQA and OCR-VQA took until acf09e1 (2026-02-13); since then these score by the plain similarity, which is 0 here.
    The two differ in what counts as right only at 0.5 exactly.
    """
    if to_the_letter(said, gold):
        return 1.0
    given, bound = plain(final_answer(said)), LEAST if least is None else least
    return max((similarity(given, plain(answer), bound) for answer in accepted(gold)), default=0.0)
