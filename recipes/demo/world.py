"""A small world of images and captions: coloured shapes on backgrounds, described in plain English.

Everything is drawn from a seed, item by item, so that item 17 is the same whoever makes it.
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {
    "red": (214, 40, 40),
    "green": (46, 150, 60),
    "blue": (40, 80, 210),
    "yellow": (240, 205, 40),
    "purple": (130, 50, 170),
    "orange": (240, 130, 30),
    "white": (245, 245, 245),
    "black": (25, 25, 25),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
BACKGROUNDS = {"pink": (245, 190, 200), "grey": (150, 150, 150), "brown": (120, 80, 50), "turquoise": (90, 200, 200)}

ONE = (
    "a photo of a {a} on a {g} background",
    "this picture shows a {a} in front of a {g} wall",
    "there is a single {a} on a plain {g} surface",
    "a simple drawing of a {a} with a {g} backdrop",
    "one {a} is placed on a {g} table",
)
TWO = (
    "a photo of a {a} {r} a {b} on a {g} background",
    "this picture shows a {a} {r} a {b} in front of a {g} wall",
    "you can see a {a} which is {r} a {b} on a {g} surface",
    "a simple drawing of a {a} {r} a {b} with a {g} backdrop",
    "the {a} is {r} the {b} and the background is {g}",
)


@dataclass(frozen=True)
class Scene:
    """What an image shows: one or two (colour, shape), side by side or above one another, and a background."""

    things: tuple[tuple[str, str], ...]
    above: bool
    background: str


def scene(seed: int) -> Scene:
    """Scene number `seed`."""
    dice = random.Random(f"scene {seed}")
    things = tuple((dice.choice(list(COLOURS)), dice.choice(SHAPES)) for _ in range(dice.choice((1, 2, 2))))
    above = dice.random() < 0.5 and len(things) > 1  # one thing alone is above nothing
    return Scene(things, above, dice.choice(list(BACKGROUNDS)))


def wrong_in_one_detail(right: Scene, seed: int) -> Scene:
    """The scene with one colour or shape changed: the mismatch that is hardest to see."""
    dice = random.Random(f"detail {seed}")
    things = list(right.things)
    i = dice.randrange(len(things))
    colour, shape = things[i]
    if dice.random() < 0.5:
        things[i] = (dice.choice([c for c in COLOURS if c != colour]), shape)
    else:
        things[i] = (colour, dice.choice([s for s in SHAPES if s != shape]))
    return Scene(tuple(things), right.above, right.background)


def caption(what: Scene, seed: int) -> str:
    """An English sentence that is true of the scene."""
    dice = random.Random(f"caption {seed}")
    names = [f"{colour} {shape}" for colour, shape in what.things]
    if len(names) == 1:
        return dice.choice(ONE).format(a=names[0], g=what.background)
    relation = "above" if what.above else "to the left of"
    return dice.choice(TWO).format(a=names[0], b=names[1], r=relation, g=what.background)


def draw(what: Scene, seed: int, side: int = 256) -> Image.Image:
    """An RGB image of the scene, `side` pixels square, with noise and places of its own."""
    dice = random.Random(f"draw {seed}")
    image = Image.new("RGB", (side, side), _shaded(BACKGROUNDS[what.background], dice))
    pencil = ImageDraw.Draw(image)
    centres = (
        [(0.5, 0.5)]
        if len(what.things) == 1
        else [(0.5, 0.27), (0.5, 0.73)]
        if what.above
        else [(0.27, 0.5), (0.73, 0.5)]
    )
    for (colour, shape), (x, y) in zip(what.things, centres, strict=True):
        size = side * dice.uniform(0.15, 0.22)
        across, down = ((v + dice.uniform(-0.04, 0.04)) * side for v in (x, y))
        _shape(pencil, shape, across, down, size, _shaded(COLOURS[colour], dice))
    noise = np.random.default_rng(dice.getrandbits(32)).normal(0, 6, (side, side, 1))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def _shaded(colour: tuple[int, int, int], dice: random.Random) -> tuple[int, int, int]:
    r, g, b = (max(0, min(255, c + dice.randint(-14, 14))) for c in colour)
    return r, g, b


def _shape(pencil: ImageDraw.ImageDraw, shape: str, x: float, y: float, s: float, colour: tuple[int, int, int]) -> None:
    if shape == "circle":
        pencil.ellipse((x - s, y - s, x + s, y + s), fill=colour)
    elif shape == "ring":
        pencil.ellipse((x - s, y - s, x + s, y + s), outline=colour, width=max(2, int(s / 2.6)))
    elif shape == "square":
        pencil.rectangle((x - s, y - s, x + s, y + s), fill=colour)
    elif shape == "triangle":
        pencil.polygon([(x, y - s), (x - s, y + s), (x + s, y + s)], fill=colour)
    elif shape == "cross":
        w = s / 3
        pencil.rectangle((x - s, y - w, x + s, y + w), fill=colour)
        pencil.rectangle((x - w, y - s, x + w, y + s), fill=colour)
    else:
        angles = [np.pi * i / 5 - np.pi / 2 for i in range(10)]
        radii = [s * 1.15 if i % 2 == 0 else s * 0.45 for i in range(10)]
        pencil.polygon(
            [(x + r * np.cos(a), y + r * np.sin(a)) for a, r in zip(angles, radii, strict=True)], fill=colour
        )


def encoded(image: Image.Image, form: str = "JPEG", **how: object) -> bytes:
    """The image as the bytes of a file."""
    sink = io.BytesIO()
    image.save(sink, form, **how)
    return sink.getvalue()
