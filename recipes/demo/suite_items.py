"""Items of the demo's evaluation suite: pictures that hold an answer, questions about them, and what ails some of them.

Everything is drawn here, from a seed: coloured shapes in a grid, and signs with a number. The same seed gives the same
items, and with one version of Pillow the same bytes.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 96
"""Pixels of a picture, both ways."""

TINY = 4
"""Pixels of a picture that nobody can read."""

COLOURS = {
    "red": (214, 39, 40),
    "green": (44, 160, 44),
    "blue": (31, 119, 250),
    "yellow": (250, 220, 30),
    "purple": (130, 40, 160),
    "orange": (255, 140, 0),
    "black": (10, 10, 10),
    "cyan": (0, 210, 220),
}
SHAPES = ("circle", "square", "triangle")
CAPABILITIES = ("colour", "counting", "reading")

SOURCES = {"PicQuiz": 4, "PicExam": 3, "PicAsk": 0}
"""Where an item is said to come from, and how many options its items have; 0 is an open question."""

KINDS = {
    "good": 0.56,
    "frontier": 0.05,
    "leak": 0.14,
    "wrong_label": 0.09,
    "ambiguous": 0.08,
    "needs_resolution": 0.08,
}
"""What is planted, and the share of it.

good: valid, of graded difficulty. frontier: valid, and no model of the panel can do it. leak: the question says the
answer. wrong_label: the stored answer is another than the picture's. ambiguous: two answers fit, one is stored.
needs_resolution: the picture is `TINY` pixels wide.
"""

Generator = np.random.Generator
Drawing = ImageDraw.ImageDraw


@dataclass(frozen=True)
class Item:
    """An item and what only the plant knows of it.

    Attributes:
        capability, source, kind: see `CAPABILITIES`, `SOURCES`, `KINDS`.
        question, answer, options: as the pool has them; no options for an open question.
        picture: the image.
        true: what the picture shows, by the reading that most take.
        other: of an ambiguous item the other reading (the stored answer).
        taken: of an ambiguous item the share of readers who take it the stored way.
        difficulty: on the scale of the models' skills; the picture is noisier and fuller where it is high.
        slope: how steeply the chance to solve it rises with skill.
        leak: how hard the answer is to take from the text, on the scale of the models' skills with language.
        domain: the answers that somebody who sees nothing may name.
        cells: what stands in each cell of a grid of three by three, as "red circle", and "" for nothing; else none.
    """

    capability: str
    source: str
    kind: str
    question: str
    answer: str
    options: tuple[str, ...]
    picture: Image.Image
    true: str
    other: str
    taken: float
    difficulty: float
    slope: float
    leak: float
    domain: tuple[str, ...]
    cells: tuple[str, ...]

    @property
    def png(self) -> bytes:
        """The picture's bytes."""
        made = io.BytesIO()
        self.picture.save(made, "PNG")
        return made.getvalue()


@dataclass(frozen=True)
class Scene:
    """A picture with its question: what it shows, the other reading of it, and answers that look right."""

    picture: Image.Image
    question: str
    true: str
    other: str
    near: tuple[str, ...]
    domain: tuple[str, ...]
    hints: tuple[str, str]
    cells: tuple[str, ...] = ()


def make_item(dice: Generator, kind: str, capability: str, source: str) -> Item:
    """One item; `dice` decides everything that the arguments leave open."""
    difficulty = 9.0 if kind == "frontier" else float(np.clip(dice.normal(0.0, 1.1), -3, 3))
    scene = {"colour": colour, "counting": counting, "reading": reading}[capability](dice, kind, difficulty)
    plain = bool(dice.random() < 0.6)
    leak = float(dice.normal(-2.0 if plain else 0.0, 0.5)) if kind == "leak" else 9.0
    question = f"{scene.hints[0 if plain else 1]} {scene.question}" if kind == "leak" else scene.question
    wrong = scene.near[int(dice.integers(len(scene.near)))]
    answer = {"wrong_label": wrong, "ambiguous": scene.other}.get(kind, scene.true)
    return Item(
        capability=capability,
        source=source,
        kind=kind,
        question=question,
        answer=answer,
        options=options_of(dice, answer, scene, SOURCES[source]),
        picture=spoilt(dice, scene.picture, kind, difficulty),
        true=scene.true,
        other=scene.other,
        taken=float(dice.choice((0.0, 0.0, 0.1, 0.4))) if kind == "ambiguous" else 0.0,
        difficulty=difficulty,
        slope=float(dice.uniform(0.7, 2.2)),
        leak=leak,
        domain=scene.domain,
        cells=scene.cells,
    )


def options_of(dice: Generator, answer: str, scene: Scene, count: int) -> tuple[str, ...]:
    """So many options in some order: the stored answer, what the picture shows, and others that look right."""
    if not count:
        return ()
    named = dict.fromkeys((answer, scene.true, scene.other, *dice.permutation(scene.near).tolist()))
    others = [one for one in named if one != answer]
    if scene.true != answer:
        others.remove(scene.true)
        others.insert(0, scene.true)
    chosen = [answer, *others[: count - 1]]
    return tuple(dice.permutation(chosen).tolist())


def spoilt(dice: Generator, picture: Image.Image, kind: str, difficulty: float) -> Image.Image:
    """The picture with noise that grows with the difficulty; far too small where that is what ails it."""
    pixels = np.asarray(picture, dtype=np.float64)
    noise = 12 if kind == "frontier" else 4 + 9 * min(max(difficulty + 2, 0), 5)
    noisy = Image.fromarray(np.clip(pixels + dice.normal(0, noise, pixels.shape), 0, 255).astype(np.uint8))
    return noisy.resize((TINY, TINY), Image.Resampling.BOX) if kind == "needs_resolution" else noisy


def colour(dice: Generator, kind: str, difficulty: float) -> Scene:
    """One shape among others: what colour it has."""
    shape, *rest = dice.permutation(SHAPES).tolist()
    mine, also, *others = dice.permutation(list(COLOURS)).tolist()
    grid = 9 if kind == "frontier" else 3
    crowd = _crowd(dice, grid, difficulty)
    cells = [(rest[int(dice.integers(2))], others[int(dice.integers(len(others)))]) for _ in range(crowd)]
    cells += [(shape, mine)] + ([(shape, also)] if kind == "ambiguous" else [])
    hints = (f"The {shape} is {mine}.", f"Of all {mine} things one is the {shape}.")
    question = f"What colour is the {shape}?"
    picture, there = _grid(dice, grid, cells)
    return Scene(picture, question, mine, also, (also, *others), tuple(COLOURS), hints, there)


def counting(dice: Generator, kind: str, difficulty: float) -> Scene:
    """How many shapes of one kind there are."""
    shape, *rest = dice.permutation(SHAPES).tolist()
    grid = 9 if kind == "frontier" else 3
    count = int(dice.integers(20, 40)) if kind == "frontier" else int(dice.integers(1, 6))
    if kind == "ambiguous":
        return _dark(dice, count)
    crowd = min(_crowd(dice, grid, difficulty), grid * grid - count)
    names = list(COLOURS)
    shapes = [shape] * count + [rest[int(dice.integers(2))] for _ in range(crowd)]
    cells = [(one, names[int(dice.integers(len(names)))]) for one in shapes]
    near = tuple(str(one) for one in range(max(count - 4, 1), count + 5) if one != count)
    hints = (f"There are {count} {shape}s.", f"One {shape} and {count - 1} more are drawn.")
    domain = tuple(str(one) for one in range(1, 10))
    question = f"How many {shape}s are there?"
    picture, there = _grid(dice, grid, cells)
    return Scene(picture, question, str(count), near[0], near, domain, hints, there)


def _dark(dice: Generator, count: int) -> Scene:
    """Shapes that are dark to some and not to others: black ones, or purple and blue ones too."""
    count, more = min(count, 4), int(dice.integers(1, 4))
    cells = [(str(dice.choice(SHAPES)), "black") for _ in range(count)]
    cells += [(str(dice.choice(SHAPES)), str(dice.choice(("purple", "blue")))) for _ in range(more)]
    true, other = str(count), str(count + more)
    near = tuple(str(one) for one in range(1, 10) if str(one) != true)
    picture, there = _grid(dice, 3, cells)
    return Scene(picture, "How many shapes are dark?", true, other, near, tuple("123456789"), ("", ""), there)


def reading(dice: Generator, kind: str, difficulty: float) -> Scene:
    """The number on a sign; of an ambiguous item there are two."""
    numbers = [str(one) for one in dice.permutation(np.arange(100, 1000))[:8]]
    picture = Image.new("RGB", (SIDE, SIDE), (235, 235, 228))
    draw = ImageDraw.Draw(picture)
    ink = (217, 217, 214) if kind == "frontier" else (20, 20, 60)
    shown = numbers[:2] if kind == "ambiguous" else numbers[:1]
    for place, number in enumerate(shown):
        high = SIDE // (2 * len(shown)) + place * SIDE // len(shown)
        _write(draw, number, high, 34 if kind == "ambiguous" else 44, ink)
    first, *near = numbers
    hints = (f"The sign says {first}.", f"The sign has {first[0]}, then {first[1]}, then {first[2]}.")
    question = "Which number is on the sign?"
    return Scene(picture, question, first, near[0], tuple(near), tuple(str(one) for one in range(100, 1000)), hints)


def _crowd(dice: Generator, grid: int, difficulty: float) -> int:
    """How many other things are drawn: more where it is difficult."""
    if grid > 3:
        return grid * grid // 2
    return int(np.clip(round(3 + difficulty + dice.normal(0, 0.5)), 1, 6))


def _grid(dice: Generator, grid: int, cells: list[tuple[str, str]]) -> tuple[Image.Image, tuple[str, ...]]:
    """Shapes in cells of a square grid, each a little off its middle; and what stands where, of three by three."""
    picture = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    draw, step = ImageDraw.Draw(picture), SIDE / grid
    there = [""] * (grid * grid)
    places = dice.permutation(grid * grid)[: len(cells)]
    for place, (shape, name) in zip(places.tolist(), cells, strict=False):
        x, y = (place % grid + 0.5) * step, (place // grid + 0.5) * step
        off = dice.uniform(-0.08, 0.08, 2) * step
        _shape(draw, shape, x + off[0], y + off[1], step * float(dice.uniform(0.3, 0.38)), COLOURS[name])
        there[place] = f"{name} {shape}"
    return picture, tuple(there) if grid == 3 else ()


def _shape(draw: Drawing, shape: str, x: float, y: float, size: float, fill: tuple[int, int, int]) -> None:
    box = (x - size, y - size, x + size, y + size)
    if shape == "circle":
        draw.ellipse(box, fill=fill)
    elif shape == "square":
        draw.rectangle(box, fill=fill)
    else:
        draw.polygon([(x, y - size), (x - size, y + size), (x + size, y + size)], fill=fill)


def _write(draw: Drawing, text: str, high: int, size: int, ink: tuple[int, int, int]) -> None:
    draw.text((SIDE / 2, high), text, fill=ink, font=_font(size), anchor="mm")


@functools.cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def planted(rows: int, seed: int) -> list[Item]:
    """So many items in mixed order, each kind by its share in every capability and source, as far as that divides."""
    dice = np.random.default_rng(seed)
    kinds = [kind for kind, share in KINDS.items() for _ in range(round(share * rows))][:rows]
    kinds += ["good"] * (rows - len(kinds))
    cells = [(capability, source) for capability in CAPABILITIES for source in SOURCES]
    made = [(kind, *cells[i % len(cells)]) for i, kind in enumerate(kinds)]
    order = dice.permutation(rows)
    return [make_item(np.random.default_rng([seed, int(i)]), *made[i]) for i in order]
