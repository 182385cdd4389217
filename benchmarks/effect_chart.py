"""Curves as an SVG that needs nothing: a line for each seed, and one for their median; across by the logarithm."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from poolsieve.jobs.report.charts import axis_count, nice_ticks, tick_text

Curve = list[tuple[int, float]]
"""(tokens or items, measured there), in their order."""

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 62, 232, 46, 54

COLOURS = {
    "random": "#6b6b6b",
    "color": "#c8102e",
    "conditional": "#e07b00",
    "dsir": "#1f77b4",
    "distilled": "#8a2be2",
    "label": "#2e8b57",
    "discriminative": "#c8102e",
}

ACROSS, UP = "tokens seen in training (logarithmic)", "held-out loss, nats a token"

LABEL_ROOM = 17.0
"""Height of a line's name."""


class Frame:
    """From tokens (by their logarithm) and losses to places in the drawing."""

    def __init__(self, curves: Iterable[Curve]) -> None:
        points = [point for curve in curves for point in curve]
        tokens, losses = [one for one, _ in points], [loss for _, loss in points]
        self.least, self.most = min(tokens), max(tokens)
        room = 0.04 * (max(losses) - min(losses) or 1.0)
        self.low, self.high = min(losses) - room, max(losses) + room

    def x(self, tokens: float) -> float:
        """Where a number of tokens stands."""
        share = math.log(tokens / self.least) / (math.log(self.most / self.least) or 1.0)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, loss: float) -> float:
        """Where a loss stands."""
        return round(TOP + (self.high - loss) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM), 1)

    def ticks(self) -> list[int]:
        """Tokens: 1, 2 and 5 times the powers of ten."""
        powers = range(int(math.log10(self.least)), int(math.log10(self.most)) + 1)
        return [one * 10**power for power in powers for one in (1, 2, 5) if self.least <= one * 10**power <= self.most]


def median(curves: Sequence[Curve]) -> Curve:
    """The median loss at the tokens that all of the curves have."""
    common = sorted(set.intersection(*({tokens for tokens, _ in curve} for curve in curves)))
    found = [dict(curve) for curve in curves]
    return [(tokens, statistics.median(one[tokens] for one in found)) for tokens in common]


def svg(
    curves: Mapping[str, Sequence[Curve]],
    names: Mapping[str, str],
    title: str,
    across: str = ACROSS,
    up: str = UP,
) -> str:
    """The drawing of each way's curves, one for each seed; `across` and `up` name the axes."""
    frame = Frame(curve for some in curves.values() for curve in some)
    ends = spaced({way: frame.y(median(some)[-1][1]) for way, some in curves.items()})
    parts = [_head(title), *_axes(frame, across, up)]
    for way, some in curves.items():
        parts += [_line(frame, curve, COLOURS[way], 0.8, 0.45) for curve in some]
    for way, some in curves.items():
        parts += [_line(frame, median(some), COLOURS[way], 2.4, 1.0), _name(frame, median(some), way, names[way], ends)]
    return "\n".join([*parts, "</svg>", ""])


def spaced(places: Mapping[str, float]) -> dict[str, float]:
    """Heights for names, in the order of the lines' ends, none on another, all of them inside the frame."""
    order = sorted(places, key=lambda way: places[way])
    made: dict[str, float] = {}
    for i, way in enumerate(order):
        before = made[order[i - 1]] + LABEL_ROOM if i else float(TOP)
        made[way] = max(places[way], before)
    over = max(0.0, max(made.values()) - (HEIGHT - BOTTOM - 4))
    return {way: round(y - over, 1) for way, y in made.items()}


def _head(title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="12" role="img">\n<title>{escape(title)}</title>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n'
        f'<text x="{LEFT}" y="24" font-size="14" font-weight="bold" fill="#222">{escape(title)}</text>'
    )


def _axes(frame: Frame, across: str, up: str) -> list[str]:
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for loss in nice_ticks(frame.low, frame.high, 6):
        y = frame.y(loss)
        parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{y}" y2="{y}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end" fill="#444">{tick_text(loss)}</text>')
    for tokens in frame.ticks():
        x = frame.x(tokens)
        parts.append(f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{floor}" stroke="#f0f0f0"/>')
        parts.append(f'<text x="{x}" y="{floor + 18}" text-anchor="middle" fill="#444">{axis_count(tokens)}</text>')
    middle = (LEFT + right) / 2
    parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{floor}" y2="{floor}" stroke="#888"/>')
    parts.append(f'<text x="{middle}" y="{HEIGHT - 14}" text-anchor="middle" fill="#222">{escape(across)}</text>')
    parts.append(
        f'<text transform="translate(16 {(TOP + floor) / 2}) rotate(-90)" text-anchor="middle" fill="#222">'
        f"{escape(up)}</text>"
    )
    return parts


def _line(frame: Frame, curve: Curve, colour: str, wide: float, strong: float) -> str:
    points = " ".join(f"{frame.x(tokens)},{frame.y(loss)}" for tokens, loss in curve)
    return (
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{wide}" stroke-opacity="{strong}"/>'
    )


def _name(frame: Frame, curve: Curve, way: str, name: str, ends: Mapping[str, float]) -> str:
    """A line's name at the right, and a dotted line from the line's end to it."""
    tokens, loss = curve[-1]
    x, y, at, colour = frame.x(tokens), frame.y(loss), ends[way], COLOURS[way]
    right = WIDTH - RIGHT + 8
    return (
        f'<polyline points="{x},{y} {right},{at}" fill="none" stroke="{colour}" stroke-opacity="0.6" '
        f'stroke-dasharray="2 3"/>\n<text x="{right + 4}" y="{at + 4}" fill="{colour}">{escape(name)}</text>'
    )
