"""The scores that a cut or a limit reads, as PNG histograms: what a card can show, since it runs no script.

Bars, ticks and lines stand where the report has them (`report.charts`), twice as large, so that they are sharp on
screens of any density and can be read where a page shows them 640 pixels wide. The ground is white and opaque: a card
is read on a dark page too. The same run gives the same bytes with the same Pillow.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolsieve.dataflow.store.out import OutFolder
from poolsieve.dataflow.store.summary import Summary
from poolsieve.jobs.report.charts import Chart, chart_of
from poolsieve.jobs.report.data import facts_of
from poolsieve.jobs.report.histograms import Histogram, score_histograms
from poolsieve.jobs.report.numbers import harmless, rows_text, share_text

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

FOLDER = "assets"
"""Where pictures lie in the repository."""

MOST = 6
"""Most pictures of a card: scores with a cut first, in the order of the recipe."""

SCALE = 2.5
"""Pixels for a unit of the report's charts."""

_HEAD = 34
"""Room above the chart for the score's name and the counts, in the chart's units."""

_PAPER, _INK, _SOFT, _GRID = "#ffffff", "#16202e", "#5b6778", "#e3e7ec"
_KEPT, _DROPPED = "#0d7f76", "#c3cad4"
_LINES = {"cut": "#c02a4b", "limit": "#6d4ec4"}
"""The colours of the report's page."""

_DRAWN = str.maketrans({"\u00a0": " ", "\u2212": "-", "\u2013": "-", "≤": "<=", "≥": ">=", "≠": "!="})
"""Characters that Pillow's own font has not, as it can write them."""

_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_NAME_CHARS = 60
_TITLE_CHARS = 48


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture: its path in the repository, its score, what it shows in words, and its histogram."""

    path: str
    score: str
    words: str
    histogram: Histogram
    kept: int
    dropped: int


def pictures(run: OutFolder) -> dict[str, bytes]:
    """Path in the repository -> PNG.

    Raises:
        PlanError: for a decision of an older version, of which nothing was noted.
    """
    return {one.path: png(one) for one in shown(run)[0]}


def captions(run: OutFolder) -> dict[str, str]:
    """Path in the repository -> what the picture shows, in words: `Subject.pictures`."""
    return {one.path: one.words for one in shown(run)[0]}


def shown(run: OutFolder) -> tuple[list[Picture], list[str]]:
    """The pictures of a run, and the scores with a cut or a limit that have none."""
    found = [one for one in score_histograms(facts_of(run.url, run.summary), run.summary) if one.marks]
    paths = _paths([one.score for one in found[:MOST]])
    made = [_picture(path, one, run.summary) for path, one in zip(paths, found, strict=False)]
    return made, [one.score for one in found[MOST:]]


def _paths(scores: list[str]) -> list[str]:
    """One path a score, of letters that need no escape anywhere; never the same twice, however letters are compared."""
    out: list[str] = []
    taken: set[str] = set()
    for score in scores:
        name = stem = _NAME.sub("-", score)[:_NAME_CHARS].strip("-") or "score"
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.lower())
        out.append(f"{FOLDER}/{name}.png")
    return out


def _picture(path: str, histogram: Histogram, summary: Summary) -> Picture:
    counts = summary.histograms[histogram.score].values()
    kept, dropped = sum(one for one, _ in counts), sum(one for _, one in counts)
    marks = ", ".join(mark.label for mark in histogram.marks[:3])
    more = f" and {len(histogram.marks) - 3} more" if len(histogram.marks) > 3 else ""
    words = (
        f"Histogram of {histogram.score} over {rows_text(kept + dropped)} rows, {share_text(_share(kept, dropped))} "
        f"of them kept; marked: {marks}{more}"
    )
    return Picture(path=path, score=histogram.score, words=words, histogram=histogram, kept=kept, dropped=dropped)


def _share(part: int, rest: int) -> float | None:
    return part / (part + rest) if part + rest else None


def png(picture: Picture) -> bytes:
    """A picture as PNG: 1,300 pixels wide, 8 bits a pixel with a palette, no metadata."""
    from PIL import Image, ImageDraw

    chart = chart_of(picture.histogram, picture.histogram.marks)
    size = (round(chart.width * SCALE), round((chart.height + _HEAD) * SCALE))
    image = Image.new("RGB", size, _PAPER)
    pen = _Pen(ImageDraw.Draw(image))
    _head(pen, picture, chart)
    _axes(pen, chart)
    _bars(pen, chart)
    _marks(pen, chart)
    sink = io.BytesIO()
    image.quantize(64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(sink, "PNG", optimize=True)
    return sink.getvalue()


class _Pen:
    """Draws in the units of a chart, below the head."""

    def __init__(self, draw: ImageDraw) -> None:
        self.draw = draw
        self.fonts: dict[float, FreeTypeFont | ImageFont] = {}

    def box(self, x: float, y: float, wide: float, high: float, color: str) -> None:
        """A filled box; nothing where it has no height, and at least a pixel high where it has."""
        if high <= 0 or wide <= 0:
            return
        left, top = round(x * SCALE), round((y + _HEAD) * SCALE)
        right, bottom = round((x + wide) * SCALE), round((y + high + _HEAD) * SCALE)
        self.draw.rectangle((left, min(top, bottom - 1), max(right - 1, left), bottom - 1), fill=color)

    def text(self, x: float, y: float, text: str, color: str, anchor: str, size: float = 11) -> None:
        """A text; `anchor` as Pillow has it: `ls` is the left end of the line that letters stand on."""
        font = self.fonts.setdefault(size, _font(size))
        place = (round(x * SCALE), round((y + _HEAD) * SCALE))
        self.draw.text(place, text.translate(_DRAWN), fill=color, font=font, anchor=anchor)

    def width(self, text: str, size: float = 11) -> float:
        """How wide a text is."""
        return self.draw.textlength(text.translate(_DRAWN), font=self.fonts.setdefault(size, _font(size))) / SCALE


def _font(size: float) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size * SCALE)


def _head(pen: _Pen, picture: Picture, chart: Chart) -> None:
    """The score's name, and the colours with what they stand for."""
    name = str(harmless(picture.score.replace("\n", " ")))
    title = name if len(name) <= _TITLE_CHARS else name[:_TITLE_CHARS] + "..."
    pen.text(chart.left, -10, title, _INK, "ls", 15)
    x = float(chart.right)
    for color, what, rows, rest in (
        (_DROPPED, "dropped", picture.dropped, picture.kept),
        (_KEPT, "kept", picture.kept, picture.dropped),
    ):
        text = f"{what} {rows_text(rows)} ({share_text(_share(rows, rest))})"
        pen.text(x, 8, text, _SOFT, "rs")
        x -= pen.width(text) + 14
        pen.box(x, -1, 9, 9, color)
        x -= 14


def _axes(pen: _Pen, chart: Chart) -> None:
    for tick in chart.yticks:
        pen.box(chart.left, tick.at - 0.2, chart.right - chart.left, 0.4, _GRID)
        pen.text(chart.left - 6, tick.at, tick.label, _SOFT, "rm")
    for tick in chart.xticks:
        pen.box(tick.at - 0.2, chart.floor, 0.4, 4, _SOFT)
        pen.text(tick.at, chart.floor + 17, tick.label, _SOFT, "ms")


def _bars(pen: _Pen, chart: Chart) -> None:
    for bar in chart.bars:
        pen.box(bar.x, bar.dropped_y, bar.w, bar.dropped_h, _DROPPED)
        pen.box(bar.x, bar.kept_y, bar.w, bar.kept_h, _KEPT)
    pen.box(chart.left, chart.floor, chart.right - chart.left, 0.6, _SOFT)


def _marks(pen: _Pen, chart: Chart) -> None:
    anchors = {"start": "ls", "middle": "ms", "end": "rs"}
    shift = {"start": 5, "middle": 0, "end": -5}
    for line in chart.lines:
        color = _LINES[line.kind]
        for y in range(chart.top - 6, chart.floor, 8):
            high = 5 if line.kind == "limit" else 8
            pen.box(line.x - 0.6, y, 1.2, min(high, chart.floor - y), color)
        label = str(harmless(line.label.replace("\n", " ")))[:_TITLE_CHARS]
        height = chart.top - 10 if line.anchor == "middle" else chart.top
        pen.text(line.x + shift[line.anchor], height, label, color, anchors[line.anchor], 12)
