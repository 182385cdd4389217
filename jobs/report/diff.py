"""How one text differs from another, in time that grows with their length whatever they say.

Pairs of words that stand once in each text and in the same order in both are what the texts have in common (as in
Cohen's "patience diff"); the words before and after them that are equal as well belong to it. `difflib` finds more, and
takes the square of the length, which texts from anywhere would make a report pay.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

KEPT_WORDS = 8
"""Of words that are the same, so many are shown beside a change."""

MOST_PIECES = 60
PIECE_CHARS = 240

_WORD = re.compile(r"\S+\s*|\s+")

Match = tuple[int, int]
"""Places of a word in both texts."""


class Piece(msgspec.Struct, kw_only=True, frozen=True):
    """Words that both texts have, that are in the first one alone, or in the second alone; or how many are left out."""

    kind: Literal["same", "gone", "new", "skipped"]
    text: str


def diff(kept: str, other: str) -> list[Piece]:
    """What `other` has in the place of what `kept` has; long runs of the same words are cut short."""
    a, b = _WORD.findall(kept), _WORD.findall(other)
    return list(_shortened(list(_pieces(a, b))))


def _pieces(a: Sequence[str], b: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    at, to = 0, 0
    for start, there, length in _runs(a, b):
        yield "gone", a[at:start]
        yield "new", b[to:there]
        pairs = zip(a[start : start + length], b[there : there + length], strict=True)
        yield "same", [max(pair, key=len) for pair in pairs]  # the last word of a text has no blank behind it
        at, to = start + length, there + length
    yield "gone", a[at:]
    yield "new", b[to:]


def _runs(a: Sequence[str], b: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """(place in a, place in b, length) of runs of equal words, ascending in both and without overlap."""
    left, right = [word.rstrip() for word in a], [word.rstrip() for word in b]
    at, to = 0, 0
    for i, j in [(0, 0), *_anchors(left, right), (len(a), len(b))]:
        if i < at or j < to:
            continue
        back = 0
        while i - back > at and j - back > to and left[i - back - 1] == right[j - back - 1]:
            back += 1
        on = 0
        while i + on < len(a) and j + on < len(b) and left[i + on] == right[j + on]:
            on += 1
        if back + on:
            yield i - back, j - back, back + on
            at, to = i + on, j + on


def _anchors(a: Sequence[str], b: Sequence[str]) -> list[Match]:
    """Pairs of words that stand once in each, the longest list of them that ascends in both."""
    there = _once(b)
    found = [(i, there[pair]) for pair, i in _once(a).items() if pair in there]
    return _ascending(sorted(found))


def _once(words: Sequence[str]) -> dict[tuple[str, str], int]:
    """Each pair of neighbours that comes once -> its place."""
    seen: dict[tuple[str, str], int] = {}
    for i, pair in enumerate(itertools.pairwise(words)):
        seen[pair] = -1 if pair in seen else i
    return {pair: i for pair, i in seen.items() if i >= 0}


def _ascending(found: Sequence[Match]) -> list[Match]:
    """The longest list of matches, which ascend in a, that ascends in b as well (patience sorting)."""
    ends: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for k, (_, j) in enumerate(found):
        pile = bisect.bisect_left(ends, j)
        before.append(last[pile - 1] if pile else -1)
        ends[pile : pile + 1], last[pile : pile + 1] = [j], [k]
    made, k = [], last[-1] if last else -1
    while k >= 0:
        made.append(found[k])
        k = before[k]
    return made[::-1]


def _shortened(pieces: Sequence[tuple[str, Sequence[str]]]) -> Iterator[Piece]:
    some = [(kind, words) for kind, words in pieces if words]
    for n, (kind, words) in enumerate(some[:MOST_PIECES]):
        if kind != "same" or len(words) <= 2 * KEPT_WORDS + 2:
            yield _piece(kind, words)
            continue
        first, last = n == 0, n == len(some) - 1
        head, tail = (0 if first and not last else KEPT_WORDS), (0 if last else KEPT_WORDS)
        yield from _cut(words, head, tail)
    if len(some) > MOST_PIECES:
        yield Piece(kind="skipped", text=f"{len(some) - MOST_PIECES} more changes")


def _cut(words: Sequence[str], head: int, tail: int) -> Iterator[Piece]:
    """The first and last words of a run, and how many stand between them."""
    if head:
        yield _piece("same", words[:head])
    yield Piece(kind="skipped", text=f"{len(words) - head - tail} equal words")
    if tail:
        yield _piece("same", words[-tail:])


def _piece(kind: str, words: Sequence[str]) -> Piece:
    text = "".join(words)
    if len(text) > PIECE_CHARS:
        text = f"{text[:PIECE_CHARS]}\N{HORIZONTAL ELLIPSIS} "
    return msgspec.convert({"kind": kind, "text": text}, Piece)
