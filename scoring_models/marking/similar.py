"""ANLS: average normalised Levenshtein similarity, of which this is one item's."""

from __future__ import annotations

from poolsieve.scoring_models.marking.final import final_answer
from poolsieve.scoring_models.marking.gold import Gold, accepted

LEAST = 0.5
"""A similarity up to this is none (Biten et al., arXiv 1905.13648: 1 - NL where NL < 0.5, else 0)."""

LONGEST = 20_000
"""Characters; longer texts are compared as equal or not, since the distance takes time by the product of both."""


def similarity(one: str, other: str, least: float = 0.0) -> float:
    """1 - distance / length of the longer, in lower case, blanks collapsed; 0 where it is not more than `least`.

    Texts of more than `LONGEST` characters are 1 where they are equal, else 0.
    """
    one, other = (" ".join(text.lower().split()) for text in (one, other))
    longer = max(len(one), len(other))
    if one == other or longer > LONGEST:
        return float(one == other)
    found = 1 - _distance(one, other) / longer
    return found if found > least else 0.0


def _distance(one: str, other: str) -> int:
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.distance(one, other)


def mark_anls(said: str, gold: Gold, least: float | None = None) -> float:
    """The largest similarity of the final answer to a right one (DocVQA, InfographicVQA, OCR-VQA).

    `least` 0.5 is the metric as published, and what DatBench's InfoVQA takes (the package `anls`); 0 is the plain
    similarity, which DatBench's DocVQA and OCR-VQA score by since acf09e1 (2026-02-13). They differ in what counts as
    right only at 0.5 exactly.
    """
    given = final_answer(said)
    return max((similarity(given, answer, LEAST if least is None else least) for answer in accepted(gold)), default=0.0)
