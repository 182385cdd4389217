"""Brace ranges of a pool's URLs, counted before they are written out: `{00000000..99999999}` is sixteen characters."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence

from braceexpand import braceexpand

from poolsieve.scoring_models.base.errors import PlanError

MOST_NAMES = 5_000_000
"""Names that the braces of a pool may stand for: these are written out and looked up in 45 s and 1.1 GB."""

_DEEPEST = 50
"""Braces within braces; `braceexpand` calls itself for each."""

_LETTERS = string.ascii_uppercase + string.ascii_lowercase
"""In the order in which `braceexpand` counts them."""

_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?|([A-Za-z])\.\.([A-Za-z])(?:\.\.(-?\d+))?")


def names(urls: Sequence[str]) -> Iterator[str]:
    """The names that the URLs stand for, one after the other as they are needed; one may come twice.

    Raises:
        PlanError: before the first name, when a brace is not closed or there are more than `MOST_NAMES`.
    """
    total = sum(map(count, urls))
    if total > MOST_NAMES:
        raise PlanError(
            f"the pool's URLs {', '.join(map(repr, urls[:3]))} stand for {total:,} names, more than the {MOST_NAMES:,} "
            "that are looked for one by one. Write a pattern such as *.tar, which takes what is there"
        )
    return (name for url in urls for name in _expanded(url))


def count(url: str) -> int:
    """How many names `url` stands for, without making them.

    Raises:
        PlanError: when a brace is not closed, or braces stand too deep in one another.
    """
    if "{" not in url:
        return 1
    found, end = _count(url, 0, 0)
    if end < len(url):
        raise _unclosed(url)
    return found


def _expanded(url: str) -> Iterator[str]:
    if "{" not in url:
        return iter([url])
    try:
        return iter(braceexpand(url))
    except ValueError as error:
        raise _unclosed(url) from error


def _unclosed(url: str) -> PlanError:
    return PlanError(f"the pool's URL {url!r} has a brace that is never closed; ranges read {{00..99}}")


def _count(url: str, place: int, depth: int) -> tuple[int, int]:
    """(names, end) of the text from `place` to the brace that closes it, or to the end at depth 0.

    Choices that a comma parts add up, what stands side by side multiplies.
    """
    if depth > _DEEPEST:
        raise PlanError(f"the pool's URL {url[:80]!r} ... has more than {_DEEPEST} braces within one another")
    chosen, beside = 0, 1
    while place < len(url) and not (url[place] == "}" and depth):
        if url[place] == "{":
            inner, end = _group(url, place + 1, depth + 1)
            beside, place = beside * inner, end + 1
        elif url[place] == "}":
            raise _unclosed(url)
        elif url[place] == "," and depth:
            chosen, beside, place = chosen + beside, 1, place + 1
        else:
            place += 2 if url[place] == "\\" else 1
    return chosen + beside, place


def _group(url: str, place: int, depth: int) -> tuple[int, int]:
    """(names, place of the closing brace) of what follows an opening one."""
    if (match := _RANGE.match(url, place)) and url[match.end() : match.end() + 1] == "}":
        return _range(*match.groups()), match.end()
    found, end = _count(url, place, depth)
    if end >= len(url):
        raise _unclosed(url)
    return found, end


def _range(
    first: str | None, last: str | None, step: str | None, letter: str | None, other: str | None, by: str | None
) -> int:
    if first is not None and last is not None:
        low, high, width = int(first), int(last), int(step or 1)
    else:
        low, high, width = _LETTERS.index(letter or "a"), _LETTERS.index(other or "a"), int(by or 1)
    return abs(high - low) // (abs(width) or 1) + 1
