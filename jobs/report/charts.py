"""Bars become places on a page: where every bar, tick and line of a histogram stands, for the template to draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from poolsieve.jobs.report.bars import Bars
from poolsieve.jobs.report.histograms import Mark

WIDTH, HEIGHT = 520, 206
"""Size of a chart, in the units of its viewBox."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 40, 24

_WIDEST = 22.0
"""No bar is wider: three bars should not look like three towers."""

_LABEL = 110.0
"""Room that the label of a line needs."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar: dropped rows stand on the kept ones. `title` is what a mouse over it shows."""

    x: float
    w: float
    kept_y: float
    kept_h: float
    dropped_y: float
    dropped_h: float
    title: str


@dataclass(frozen=True)
class Tick:
    """A number on an axis, `at` along it."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """A cut or limit; `anchor` is which end of its label stands at it."""

    x: float
    kind: str
    label: str
    anchor: Literal["start", "middle", "end"]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A drawing: its size, its frame, and what stands where."""

    bars: list[Bar]
    xticks: list[Tick]
    yticks: list[Tick]
    lines: list[Line]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    floor: int = HEIGHT - _BOTTOM


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


def chart_of(bars: Bars, marks: Sequence[Mark] = ()) -> Chart:
    """The drawing of a histogram."""
    low, high = bars.edges[0], bars.edges[-1]
    most = max((kept + dropped for kept, dropped in zip(bars.kept, bars.dropped, strict=True)), default=0) or 1
    frame = Frame(low, high, most)
    ticks = [tick for tick in nice_ticks(low, high, 6) if not bars.whole or tick == round(tick)]
    return Chart(
        bars=[_bar(bars, i, frame) for i in range(len(bars.kept))],
        xticks=[Tick(frame.x(tick), tick_text(tick)) for tick in ticks],
        yticks=[Tick(frame.y(tick), axis_count(tick)) for tick in nice_ticks(0, most, 3) if tick],
        lines=_lines(marks, frame),
    )


def _bar(bars: Bars, i: int, frame: Frame) -> Bar:
    kept, dropped = bars.kept[i], bars.dropped[i]
    left, right = frame.x(bars.edges[i]), frame.x(bars.edges[i + 1])
    wide = max(min(right - left - 0.7, _WIDEST), 0.5)
    return Bar(
        x=round((left + right - wide) / 2, 2),
        w=round(wide, 2),
        kept_y=frame.y(kept),
        kept_h=round(frame.y(0) - frame.y(kept), 2),
        dropped_y=frame.y(kept + dropped),
        dropped_h=round(frame.y(kept) - frame.y(kept + dropped), 2),
        title=f"{_range(bars, i)}: {kept:,} kept, {dropped:,} dropped",
    )


def _range(bars: Bars, i: int) -> str:
    """The scores of a bar. One that holds a single whole number is called by it, not by its edges."""
    low, high = bars.edges[i], bars.edges[i + 1]
    return tick_text(low + 0.5) if bars.whole and high - low == 1 else f"{tick_text(low)} to {tick_text(high)}"


def _lines(marks: Sequence[Mark], frame: Frame) -> list[Line]:
    """The marks inside the picture. Those too near to one another for a label each share one, at the first of them."""
    inside = sorted((mark for mark in marks if frame.low <= mark.value <= frame.high), key=lambda mark: mark.value)
    groups: list[list[Mark]] = []
    for mark in inside:
        if groups and frame.x(mark.value) - frame.x(groups[-1][0].value) < _LABEL:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    return [_line(mark, _label(group) if mark is group[0] else "", frame) for group in groups for mark in group]


def _label(group: Sequence[Mark]) -> str:
    if len(group) == 1:
        return group[0].label
    return f"{len(group)} {'cuts' if all(mark.kind == 'cut' for mark in group) else 'marks'}"


def _line(mark: Mark, label: str, frame: Frame) -> Line:
    x, middle = frame.x(mark.value), (_LEFT + WIDTH - _RIGHT) / 2
    # So that the label stays in the picture.
    anchor: Literal["start", "middle", "end"] = "middle"
    if abs(x - middle) > _LABEL:
        anchor = "start" if x < middle else "end"
    return Line(x, mark.kind, label, anchor)


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


def tick_text(value: float) -> str:
    """A score in at most about four digits."""
    text = f"{value:,.0f}" if abs(value) >= 1000 and value == round(value) else f"{value:.4g}"
    return text.replace("-", "\N{MINUS SIGN}")


def axis_count(rows: float) -> str:
    """A count for an axis: 1,200 is `1.2k`."""
    for unit, factor in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if rows >= factor:
            return f"{rows / factor:g}{unit}"
    return f"{rows:g}"
