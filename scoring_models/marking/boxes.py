"""Boxes in texts, and how much two of them overlap."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from poolsieve.scoring_models.marking.final import boxed, final_answer
from poolsieve.scoring_models.marking.gold import Gold, accepted, no_answer

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")

LONGEST = 30
"""Characters of a coordinate; text with a longer one among its four names no box."""

SHARES, THOUSANDTHS = 1.5, 1000.0
"""A box with no number above the first is in shares of the image's sides; one with larger numbers beside such a box is
in thousandths (DatBench's RefCOCO, `score_sample`)."""


def box_in(text: str) -> Box | None:
    r"""The box that a text names: of `\boxed{...}`, else the first list in square brackets, of four numbers or more.

    The first four count. Brackets may stand in others (`[{"bbox_2d": [1, 2, 3, 4]}]`). Without any, the final answer
    must have four numbers in all: `(1, 2), (3, 4)`.

    >>> box_in("the dog is at [10, 20, 30.5, 40]")
    (10.0, 20.0, 30.5, 40.0)
    """
    for part in itertools.chain([boxed(text) or ""], _bracketed(text)):
        found = _four(part)
        if found is not None:
            return found
    last = final_answer(text)
    return _four(last) if sum(1 for _ in itertools.islice(_NUMBER.finditer(last), 5)) == 4 else None


def _bracketed(text: str) -> Iterator[str]:
    """What stands between each closing bracket and the opening one before it."""
    begin, end = 0, text.find("]")
    while end >= 0:
        opened = text.rfind("[", begin, end)
        if opened >= 0:
            yield text[opened + 1 : end]
        begin, end = end + 1, text.find("]", end + 1)


def _four(text: str) -> Box | None:
    found = [match.group() for match in itertools.islice(_NUMBER.finditer(text), 4)]
    if len(found) < 4 or max(map(len, found)) > LONGEST:
        return None
    return float(found[0]), float(found[1]), float(found[2]), float(found[3])


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes; 0 where either has no area, its corners swapped included."""
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    inside = width * height
    whole = _area(one) + _area(other) - inside
    return min(1.0, inside / whole) if whole > 0 else 0.0


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def alike(said: Box, right: Box) -> Box:
    """The box that was said, in the units of the right one; where these are shares, cut to the image."""
    if max(map(abs, right)) > SHARES:
        return said
    scale = 1.0 if max(map(abs, said)) <= SHARES else THOUSANDTHS
    left, top, bound_right, bottom = (max(0.0, min(1.0, value / scale)) for value in said)
    return left, top, bound_right, bottom


def mark_iou(said: str, gold: Gold, least: float | None = None) -> float:
    """The overlap of the box that was said with a right one; with `least` above 0: 1 from there on, else 0."""
    given = box_in(said)
    right = [box for box in map(box_in, accepted(gold)) if box is not None]
    if given is None or not right:
        return 0.0
    best = max(overlap(box, alike(given, box)) for box in right)
    return float(best >= least) if least else best


def no_box(gold: Gold) -> str | None:
    """Why an item can't be marked by its box; None if it can."""
    if no_answer(gold) or any(box_in(answer) for answer in accepted(gold)):
        return no_answer(gold)
    return f"the right answer {gold.answer!r:.80} has no box, as [x1, y1, x2, y2]"
