"""Counts of scores become bars: at most 65,536 counters, one for each high half of an order key, become about 50.

A *digit* is such a high half, 16 bits. Of a float32 it holds the sign, the exponent and the first 7 bits of the
fraction, so it stands for an interval of scores: of 128 digits between 0.25 and 0.5 the first is [0.25, 0.251953125).
Counts by digit add up over shards whatever the scores turn out to be; only here, where all are known, is it decided how
wide a bar is. A digit that lies across the edge of a bar is shared out as if its rows were spread evenly within it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from poolsieve.filters.dsl.cuts import key_value

Floats = np.ndarray[Any, np.dtype[np.float64]]

BINS = 50
"""Bars of a histogram, at most about."""

TAIL = 0.005
"""Share of the rows at each end that may lie outside the picture."""

FAR_TAIL = 0.05
"""The same where those rows lie so far out that the others could not be told apart."""

_SQUEEZED = 10
"""A picture more than this many times as wide as what the middle 90 % of the rows need shows nothing of them."""

_FEW_DIGITS = 4

_MOST_KEY = 0xFFFF
_MOST_WHOLE = 1e12

_HALF_WIDTH = 0.25
"""A whole number is drawn as wide as this to either side: less than the half at which bars of whole numbers end."""


class Bars(msgspec.Struct, kw_only=True, frozen=True):
    """A histogram of n bars. Every row with a score is in exactly one of its numbers.

    Attributes:
        edges: n + 1 scores, ascending.
        kept, dropped: n counts of rows between two edges.
        below, above: rows beyond the first and last edge.
        infinite: rows whose score is no finite number.
        whole: bars hold whole numbers each, and their edges lie between two of them.
    """

    edges: list[float]
    kept: list[int]
    dropped: list[int]
    below: int
    above: int
    infinite: int
    whole: bool


@dataclass(frozen=True)
class Digits:
    """Counts by digit, as intervals [low, high) of scores, ascending and without overlap."""

    low: Floats
    high: Floats
    kept: Floats
    dropped: Floats
    infinite: int

    @property
    def both(self) -> Floats:
        """Kept and dropped rows together."""
        return np.asarray(self.kept + self.dropped, dtype=np.float64)


def digits_of(counts: Mapping[int, tuple[int, int]]) -> Digits:
    """The counts of `Summary.histograms` with the scores that they stand for."""
    finite = [digit for digit in sorted(counts) if math.isfinite(_lowest(digit))]
    shown = set(finite)
    return Digits(
        low=np.array([_lowest(digit) for digit in finite], dtype=np.float64),
        high=np.array([_end(digit) for digit in finite], dtype=np.float64),
        kept=np.array([counts[digit][0] for digit in finite], dtype=np.float64),
        dropped=np.array([counts[digit][1] for digit in finite], dtype=np.float64),
        infinite=sum(sum(found) for digit, found in counts.items() if digit not in shown),
    )


def _lowest(digit: int) -> float:
    """The lowest score of a digit."""
    return float(key_value(digit << 16, pa.float32(), lowest=True))


def _end(digit: int) -> float:
    """Where the scores of a digit end, which is where the next begins; the last finite one ends at the last float."""
    value = _lowest(digit + 1) if digit < _MOST_KEY else math.nan
    return value if math.isfinite(value) else float(np.finfo(np.float32).max)


def rebin(
    counts: Mapping[int, tuple[int, int]],
    marks: Sequence[float] = (),
    *,
    whole: bool = False,
    low: float = -math.inf,
    high: float = math.inf,
) -> Bars | None:
    """About 50 equal bars over the middle of the scores (99 % or, see `_middle`, less); None without a finite score.

    Args:
        counts: digit -> (kept, dropped).
        marks: cuts and limits. The picture reaches to them where that does not dwarf it; one alone is an edge, so that
            the colours change at its line.
        whole: the scores are whole numbers: bars hold whole numbers each, and none is split.
        low: no kept row has a lower score. `high`: nor a higher one. A digit is finer than a bar but not exact: this
            keeps the rows kept at a cut on their side of it.
    """
    digits = digits_of(counts)
    if not digits.both.sum():
        return None
    # A float32 beyond this has no neighbours one apart: there is nothing whole about it that could be seen.
    whole = (whole or _looks_whole(digits)) and float(np.abs(digits.low).max()) < _MOST_WHOLE
    first, last = _span(digits, marks, whole)
    if whole:
        edges = _whole_edges(first, last)
    else:
        edges, digits = _edges(first, last, marks), _split_at_cuts(digits, low, high)
    kept = _rows_between(digits, digits.kept, edges, whole)
    dropped = _rows_between(digits, digits.dropped, edges, whole)
    return _bars(edges, kept, dropped, digits.infinite, whole)


def _bars(edges: Floats, kept: Floats, dropped: Floats, infinite: int, whole: bool) -> Bars:
    """The first and last count are what lies outside."""
    total = kept + dropped
    return Bars(
        edges=[float(edge) for edge in edges],
        kept=[int(n) for n in kept[1:-1]],
        dropped=[int(n) for n in dropped[1:-1]],
        below=int(total[0]),
        above=int(total[-1]),
        infinite=infinite,
        whole=whole,
    )


def _looks_whole(digits: Digits) -> bool:
    # From 128 on a digit stands for a whole number or several whatever the scores are: only smaller ones can tell.
    small = digits.low[np.abs(digits.low) < 128]
    return len(small) > 0 and bool((small == np.round(small)).all())


def _span(digits: Digits, marks: Sequence[float], whole: bool) -> tuple[float, float]:
    """The lowest and highest score of the picture: the middle of the rows, stretched to the marks nearby."""
    low, high = _middle(digits, whole)
    # A mark farther off than the picture is wide would squeeze the bars into less than half of it.
    reach = high - low if high > low else max(abs(low), 1.0)
    near = [mark for mark in marks if low - reach <= mark <= high + reach]
    return min([low, *near]), max([high, *near])


def _middle(digits: Digits, whole: bool) -> tuple[float, float]:
    """Where all rows but the tails lie.

    Of captions with 10 to 70 characters one in a hundred may be a page of spam with 9,000. The middle 99 % would then
    be one bar at the very left; so here the picture ends as far beyond the middle 90 % as that is wide.
    """
    tops = digits.low if whole else digits.high
    (first, last), (inner_first, inner_last) = _ends(digits, TAIL), _ends(digits, FAR_TAIL)
    low, high = float(digits.low[first]), float(tops[last])
    inner_low, inner_high = float(digits.low[inner_first]), float(tops[inner_last])
    width = inner_high - inner_low
    # Where nearly all rows have one score there is nothing to see but how far the others lie from it.
    if inner_last - inner_first >= _FEW_DIGITS and high - low > _SQUEEZED * width:
        return max(low, inner_low - width), min(high, inner_high + width)
    return low, high


def _ends(digits: Digits, tail: float) -> tuple[int, int]:
    """The digits in which the first and the last rows end, a share of `tail` each."""
    seen = np.cumsum(digits.both) / digits.both.sum()
    first = int(np.searchsorted(seen, tail, side="right"))
    # One digit may hold all rows, or rounding lift a bound past the end.
    last = min(int(np.searchsorted(seen, 1 - tail, side="left")), len(seen) - 1)
    return min(first, last), last


def _whole_edges(low: float, high: float) -> Floats:
    """Edges between whole numbers, so that no number lies on one; every bar holds equally many numbers."""
    low, high = math.floor(low), math.ceil(high)
    width = max(1, -(-(high - low + 1) // BINS))
    count = -(-(high - low + 1) // width)
    return np.asarray(low - 0.5 + width * np.arange(count + 1), dtype=np.float64)


def _edges(low: float, high: float, marks: Sequence[float]) -> Floats:
    # Scores that hardly differ get a picture as wide as a thousandth of their size, so that bars have a width.
    least = max(abs(low), abs(high)) / 1000 or 1.0
    if high - low < least:
        low, high = low - least / 2, high + least / 2
    width = (high - low) / BINS
    inside = [mark for mark in set(marks) if low <= mark <= high]
    if len(inside) == 1:
        # All edges move down by less than a bar, until one of them is the mark. 1e-9 of a bar is rounding, not a bar.
        low = inside[0] - width * math.ceil((inside[0] - low) / width - 1e-9)
    count = math.ceil((high - low) / width - 1e-9)
    return np.asarray(low + width * np.arange(count + 1), dtype=np.float64)


def _split_at_cuts(digits: Digits, low: float, high: float) -> Digits:
    """The digits that hold the ends of what is kept, each as two, with the kept rows on their side."""
    for cut, kept_above in ((low, True), (high, False)):
        inside = np.flatnonzero((digits.low < cut) & (cut < digits.high))
        if len(inside):
            digits = _split_digit(digits, int(inside[0]), cut, kept_above)
    return digits


def _split_digit(digits: Digits, i: int, cut: float, kept_above: bool) -> Digits:
    """Digit i as two that meet at a cut: no kept row lies beyond it, and dropped rows make up for that.

    A digit [0.25, 0.26) with 6 kept and 4 dropped rows, and a cut at 0.2525 below which nothing is kept: a quarter of
    the digit lies below the cut. Spread evenly, 2.5 of its 10 rows would lie there, and all of them must be dropped
    ones: [0.25, 0.2525) gets 0 kept and 2.5 dropped, [0.2525, 0.26) gets 6 and 1.5. Had it 2 dropped rows, both would
    lie below.
    """
    below = (cut - digits.low[i]) / (digits.high[i] - digits.low[i])
    kept, dropped = digits.kept[i], digits.dropped[i]
    beyond = min(dropped, (kept + dropped) * (below if kept_above else 1 - below))
    first, second = ((0.0, beyond), (kept, dropped - beyond))
    if not kept_above:
        first, second = second, first
    return Digits(
        low=np.insert(digits.low, i + 1, cut),
        high=np.insert(digits.high, i, cut),
        kept=_replaced(digits.kept, i, first[0], second[0]),
        dropped=_replaced(digits.dropped, i, first[1], second[1]),
        infinite=digits.infinite,
    )


def _replaced(values: Floats, i: int, first: float, second: float) -> Floats:
    return np.concatenate([values[:i], [first, second], values[i + 1 :]])


def _rows_between(digits: Digits, counts: Floats, edges: Floats, whole: bool) -> Floats:
    """Rows below the first edge, between each two, and above the last.

    Rows up to a place grow evenly within a digit and not at all between digits. Digits [0, 2) with 4 rows and [2, 3)
    with 3 rows: 0 rows lie up to 0, 4 up to 2, 7 up to 3. So 2 lie up to an edge at 1, and 5.5 up to one at 2.5. Those
    *sums* are rounded, to 2 and 6, and not the counts between them: 2 below, 4 between, 1 above are 7 rows again.
    """
    low, high = digits.low, digits.high
    if whole:
        # Not spread over the interval: a digit of whole numbers ends at the last of them, and an edge lies between two.
        low, high = digits.low - _HALF_WIDTH, np.maximum(digits.high - 1, digits.low) + _HALF_WIDTH
    places = np.ravel(np.column_stack([low, high]))
    after = np.cumsum(counts)
    sums = np.ravel(np.column_stack([after - counts, after]))
    up_to_edge = np.rint(np.interp(edges, places, sums, left=0, right=after[-1]))
    return np.diff(np.concatenate([[0.0], up_to_edge, [after[-1]]]))
