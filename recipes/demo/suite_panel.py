"""A simulated panel and a simulated judge for `suite_items`: what stands in the demo's files of answers and verdicts.

No model is asked here. A simulated model solves an item with a chance that rises with its skill (a two-parameter
logistic curve of item response theory) and guesses where it does not; a simulated judge errs at stated rates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from suite_items import CAPABILITIES, Generator, Item

from poolsieve.scoring_models.marking.letters import LETTERS

MODELS = 24

WEAKEST, BEST, SPREAD = -2.0, 2.0, 0.4
"""Models' general skills lie evenly between the first two; skills in a capability, and with language, spread by the
last (a standard deviation) around them."""

GUESSES = {False: 0.02, True: 0.10}
"""Of open questions that a model can't solve, the share to which it names some answer of the right kind, without the
image and with it; to the others it says that it does not know. With options it always chooses one."""

FINDS, FALSE_ALARMS = 0.90, 0.03
"""The judge sees an ill that is there with the first chance, and one that is not there with the second."""

ILLS = {
    "ground_truth_wrong": "wrong_label",
    "question_is_ambiguous": "ambiguous",
    "needs_high_resolution": "needs_resolution",
}
"""A verdict, and the planted kind for which it is right."""

UNKNOWN = "I don't know."


@dataclass(frozen=True)
class Simulated:
    """A model: its name, its skill in each capability, and how well it takes answers from the text alone."""

    name: str
    skills: dict[str, float]
    language: float


def simulated(seed: int) -> list[Simulated]:
    """The panel, the weakest first."""
    dice = np.random.default_rng([seed, 1])
    made = []
    for number, general in enumerate(np.linspace(WEAKEST, BEST, MODELS)):
        skills = {one: float(general + dice.normal(0, SPREAD)) for one in CAPABILITIES}
        made.append(Simulated(f"sim-{number:02d}", skills, float(0.8 * general + dice.normal(0, SPREAD))))
    return made


def said(dice: Generator, model: Simulated, item: Item, image: bool) -> str:
    """What a model says: the letter of an option, or an answer."""
    value = _found(dice, model, item, image)
    if item.options:
        place = item.options.index(value) if value in item.options else int(dice.integers(len(item.options)))
        return LETTERS[place]
    if value is not None:
        return value
    return item.domain[int(dice.integers(len(item.domain)))] if dice.random() < GUESSES[image] else UNKNOWN


def _found(dice: Generator, model: Simulated, item: Item, image: bool) -> str | None:
    """The answer that it comes to; None where it has to guess."""
    seen, read, way = dice.random(3)
    if read < logistic(2.0 * (model.language - item.leak)):
        return item.true
    if not image or item.kind == "needs_resolution":
        return None
    if seen >= logistic(item.slope * (model.skills[item.capability] - item.difficulty)):
        return None
    return item.other if way < item.taken else item.true


def logistic(value: float) -> float:
    """From 0 to 1."""
    return 1 / (1 + math.exp(-value))


def answers(items: Sequence[Item], models: Sequence[Simulated], seed: int) -> Iterator[tuple[int, str, bool, str]]:
    """(item's number, model, image, what it said)."""
    for number, item in enumerate(items):
        dice = np.random.default_rng([seed, 2, number])
        for model in models:
            for image in (False, True):
                yield number, model.name, image, said(dice, model, item, image)


def verdicts(items: Sequence[Item], seed: int) -> Iterator[dict[str, bool]]:
    """What the judge would say of each item, if it were asked."""
    dice = np.random.default_rng([seed, 3])
    for item in items:
        draws = dice.random(len(ILLS))
        yield {
            name: bool(draw < (FINDS if item.kind == kind else FALSE_ALARMS))
            for draw, (name, kind) in zip(draws, ILLS.items(), strict=True)
        }
