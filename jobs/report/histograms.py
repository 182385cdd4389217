"""Score histograms for the report: 16-bit key counts become about 50 bars, and bars become places on a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.filters.dsl.cuts import key_value

Floats = np.ndarray[Any, np.dtype[np.float64]]

BINS = 50
"""Bars of a histogram, at most about."""

TAIL = 0.005
"""Share of the rows at each end that may lie outside the picture."""

_MOST_KEY = 0xFFFF
_POINTS = 0.25
_MOST_WHOLE = 1e12


@dataclass(frozen=True)
class Digits:
    """Counts by the high 16 bits of the order key, as intervals [low, high) of score values, ascending."""

    low: Floats
    high: Floats
    kept: Floats
    dropped: Floats
    infinite: int

    @property
    def both(self) -> Floats:
        """Kept and dropped rows together."""
        return np.asarray(self.kept + self.dropped, dtype=np.float64)


def digits_of(counts: Mapping[Any, Sequence[int]]) -> Digits:
    """The counts of `Record.histograms` (whose keys are text once they were JSON) with the values they stand for."""
    keys = sorted(int(key) for key in counts)
    found = {int(key): value for key, value in counts.items()}
    finite = [key for key in keys if math.isfinite(_value(key))]
    return Digits(
        low=np.array([_value(key) for key in finite], dtype=np.float64),
        high=np.array([_upper(key) for key in finite], dtype=np.float64),
        kept=np.array([found[key][0] for key in finite], dtype=np.float64),
        dropped=np.array([found[key][1] for key in finite], dtype=np.float64),
        infinite=sum(sum(found[key]) for key in keys if key not in set(finite)),
    )


def _value(key: int) -> float:
    return float(key_value(key << 16, pa.float32(), lowest=True))


def _upper(key: int) -> float:
    value = _value(key + 1) if key < _MOST_KEY else math.nan
    return value if math.isfinite(value) else float(np.finfo(np.float32).max)


def rebin(
    counts: Mapping[Any, Sequence[int]],
    marks: Sequence[float] = (),
    *,
    whole: bool = False,
    low: float = -math.inf,
    high: float = math.inf,
) -> dict[str, Any] | None:
    """About 50 equal bars over the middle 99 % of the scores.

    Args:
        counts: key digit -> [kept, dropped].
        marks: cuts and limits. The picture reaches to them where that does not dwarf it; one alone is an edge, so that
            the colours change at its line.
        whole: the scores are whole numbers: bars hold whole numbers each, and none is split.
        low: no kept row has a lower score. `high`: nor a higher one. A digit is finer than a bar but not exact: this
            keeps the rows kept at a cut on their side of it.

    Returns:
        `edges` (n + 1), `kept` and `dropped` (n), rows `below` and `above` the picture and `infinite`; None without
        rows. A digit that lies across an edge is shared out in proportion, and sums stay exact.
    """
    digits = digits_of(counts)
    if not digits.both.sum():
        return None
    # A number this large has no neighbours to stand apart from.
    whole = (whole or _looks_whole(digits)) and float(np.abs(digits.low).max()) < _MOST_WHOLE
    first, last = _span(digits, marks, whole)
    edges = _whole_edges(first, last) if whole else _edges(first, last, marks)
    if not whole:
        digits = _parted(digits, low, high)
    kept = _shared(digits, digits.kept, edges, whole)
    dropped = _shared(digits, digits.dropped, edges, whole)
    total = kept + dropped
    return {
        "edges": [float(edge) for edge in edges],
        "kept": [int(n) for n in kept[1:-1]],
        "dropped": [int(n) for n in dropped[1:-1]],
        "below": int(total[0]),
        "above": int(total[-1]),
        "infinite": digits.infinite,
        "whole": whole,
    }


def _looks_whole(digits: Digits) -> bool:
    # From 128 on a digit stands for a whole number or several whatever the scores are: only smaller ones can tell.
    small = digits.low[np.abs(digits.low) < 128]
    return len(small) > 0 and bool((small == np.round(small)).all())


def _span(digits: Digits, marks: Sequence[float], whole: bool) -> tuple[float, float]:
    """The middle of the scores, stretched to the marks nearby."""
    seen = np.cumsum(digits.both) / digits.both.sum()
    first = int(np.searchsorted(seen, TAIL, side="right"))
    last = min(int(np.searchsorted(seen, 1 - TAIL, side="left")), len(seen) - 1)
    low, high = float(digits.low[min(first, last)]), float((digits.low if whole else digits.high)[last])
    reach = high - low if high > low else max(abs(low), 1.0)
    near = [mark for mark in marks if low - reach <= mark <= high + reach]
    return min([low, *near]), max([high, *near])


def _whole_edges(low: float, high: float) -> Floats:
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
        low = inside[0] - width * math.ceil((inside[0] - low) / width - 1e-9)
    count = math.ceil((high - low) / width - 1e-9)
    return np.asarray(low + width * np.arange(count + 1), dtype=np.float64)


def _parted(digits: Digits, least: float, most: float) -> Digits:
    """The digit that holds a cut as two: rows kept on their side, and on the other as many as lie there if spread."""
    for mark, kept_above in ((least, True), (most, False)):
        inside = np.flatnonzero((digits.low < mark) & (mark < digits.high))
        if len(inside):
            digits = _parted_at(digits, int(inside[0]), mark, kept_above)
    return digits


def _parted_at(digits: Digits, i: int, mark: float, kept_above: bool) -> Digits:
    part = (mark - digits.low[i]) / (digits.high[i] - digits.low[i])
    kept, dropped = digits.kept[i], digits.dropped[i]
    lost = min(dropped, (kept + dropped) * (part if kept_above else 1 - part))
    below, above = ((0.0, lost), (kept, dropped - lost)) if kept_above else ((kept, dropped - lost), (0.0, lost))
    return Digits(
        low=np.insert(digits.low, i + 1, mark),
        high=np.insert(digits.high, i, mark),
        kept=_replaced(digits.kept, i, below[0], above[0]),
        dropped=_replaced(digits.dropped, i, below[1], above[1]),
        infinite=digits.infinite,
    )


def _replaced(values: Floats, i: int, first: float, second: float) -> Floats:
    return np.concatenate([values[:i], [first, second], values[i + 1 :]])


def _shared(digits: Digits, counts: Floats, edges: Floats, whole: bool) -> Floats:
    """Rows below the first edge, between each two, and above the last. Rounded sums, so that the total is exact."""
    low = digits.low - _POINTS if whole else digits.low
    high = np.maximum(digits.high - 1, digits.low) + _POINTS if whole else digits.high
    places = np.ravel(np.column_stack([low, high]))
    after = np.cumsum(counts)
    sums = np.ravel(np.column_stack([after - counts, after]))
    reached = np.rint(np.interp(edges, places, sums, left=0, right=after[-1]))
    return np.diff(np.concatenate([[0.0], reached, [after[-1]]]))


WIDTH, HEIGHT = 520, 206
"""Size of a chart, in the units of its viewBox."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 40, 24
_WIDEST = 22.0
_LABEL = 110.0


@dataclass(frozen=True)
class Frame:
    """From scores and rows to places in the drawing."""

    low: float
    high: float
    most: int

    def x(self, value: float) -> float:
        """Where a score stands."""
        span = (self.high - self.low) or 1.0
        return round(_LEFT + (value - self.low) / span * (WIDTH - _LEFT - _RIGHT), 2)

    def y(self, rows: float) -> float:
        """How high a number of rows reaches."""
        return round(HEIGHT - _BOTTOM - rows / self.most * (HEIGHT - _TOP - _BOTTOM), 2)


def chart(histogram: Mapping[str, Any]) -> dict[str, Any]:
    """Where everything of one histogram stands: `bars`, `xticks`, `yticks`, `lines`, for the template to draw."""
    edges = histogram["edges"]
    most = max((k + d for k, d in zip(histogram["kept"], histogram["dropped"], strict=True)), default=0) or 1
    frame = Frame(edges[0], edges[-1], most)
    ticks = [tick for tick in nice_ticks(edges[0], edges[-1], 6) if not histogram["whole"] or tick == round(tick)]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": _LEFT,
        "right": WIDTH - _RIGHT,
        "top": _TOP,
        "floor": HEIGHT - _BOTTOM,
        "bars": [_bar(histogram, i, frame) for i in range(len(edges) - 1)],
        "xticks": [{"x": frame.x(tick), "label": short(tick)} for tick in ticks],
        "yticks": [{"y": frame.y(tick), "label": compact(tick)} for tick in nice_ticks(0, most, 3) if tick],
        "lines": _lines(histogram, frame),
    }


def _bar(histogram: Mapping[str, Any], i: int, frame: Frame) -> dict[str, Any]:
    kept, dropped = histogram["kept"][i], histogram["dropped"][i]
    low, high = histogram["edges"][i], histogram["edges"][i + 1]
    left, right = frame.x(low), frame.x(high)
    one = histogram["whole"] and high - low == 1
    wide = max(min(right - left - 0.7, _WIDEST), 0.5)
    return {
        "x": round((left + right - wide) / 2, 2),
        "w": round(wide, 2),
        "kept_y": frame.y(kept),
        "kept_h": round(frame.y(0) - frame.y(kept), 2),
        "dropped_y": frame.y(kept + dropped),
        "dropped_h": round(frame.y(kept) - frame.y(kept + dropped), 2),
        "title": f"{short(low + 0.5) if one else f'{short(low)} to {short(high)}'}: {kept:,} kept, {dropped:,} dropped",
    }


def _lines(histogram: Mapping[str, Any], frame: Frame) -> list[dict[str, Any]]:
    """The marks inside the picture. Those too near to one another for a label each share one."""
    inside = [mark for mark in histogram["marks"] if frame.low <= mark["value"] <= frame.high]
    out: list[dict[str, Any]] = []
    labelled: dict[str, Any] = {}
    for mark in sorted(inside, key=lambda mark: float(mark["value"])):
        line = {"x": frame.x(mark["value"]), "label": "", "kind": mark["kind"], "count": 1}
        if labelled and line["x"] - labelled["x"] < _LABEL:
            labelled["count"] += 1
            labelled["label"] = (
                f"{labelled['count']} {'cuts' if labelled['kind'] == line['kind'] == 'cut' else 'marks'}"
            )
        else:
            line["label"], labelled = mark["label"], line
        out.append(line)
    return [{**line, "anchor": _anchor(line["x"])} for line in out]


def _anchor(x: float) -> str:
    """Which end of a label stands at its line, so that it stays in the picture."""
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    return "start" if x < middle - _LABEL else "end" if x > middle + _LABEL else "middle"


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) between two values, about `count` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def short(value: float) -> str:
    """A number in at most about four digits."""
    text = f"{value:,.0f}" if abs(value) >= 1000 and value == round(value) else f"{value:.4g}"
    return text.replace("-", "\N{MINUS SIGN}")


def compact(rows: float) -> str:
    """A count for an axis: 1,200 is `1.2k`."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if rows >= size:
            return f"{rows / size:g}{unit}"
    return f"{rows:g}"
