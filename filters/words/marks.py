"""Letters taken apart from their marks, in linear time."""

from __future__ import annotations

import functools
import re
import sys
import unicodedata

_MANY = 64
"""Marks in a row beyond which they are sorted here; no writing has more than a few."""


def decomposed(text: str) -> str:
    """`unicodedata.normalize("NFD", text)`, in linear time.

    Python puts marks that follow one another into their order by insertion, which takes the square of their number.
    """
    if not _marks(_MANY).search(text):
        return unicodedata.normalize("NFD", text)
    apart = "".join([unicodedata.normalize("NFD", c) for c in text])
    return _marks(2).sub(lambda run: "".join(sorted(run.group(), key=unicodedata.combining)), apart)


@functools.cache
def _marks(least: int) -> re.Pattern[str]:
    """At least so many characters in a row that are, or begin with, a mark which has an order among others."""
    found = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.combining(c) or _begins_with_mark(c)]
    return re.compile(f"[{''.join(found)}]{{{least},}}")


def _begins_with_mark(character: str) -> bool:
    """Whether a character, which is no mark, is made of marks (U+0F73 and two more)."""
    made_of_others = unicodedata.decomposition(character)
    return bool(made_of_others) and unicodedata.combining(unicodedata.normalize("NFD", character)[0]) > 0
