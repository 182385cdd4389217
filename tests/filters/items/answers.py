"""A benchmark and the answers of a panel to it, made by a seed, and a scorer that hands stored answers out."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from poolsieve.scoring_models.base.outcomes import OUTCOMES
from poolsieve.scoring_models.base.scorer import Resources, Scored, ScorerConfig

MODELS = [f"m{number:02d}" for number in range(9)]


def write_items(folder: Path, count: int = 600, files: int = 3, seed: int = 0) -> list[dict[str, object]]:
    """Items with answers in a column of JSON: models of graded skill, some absent, in two capabilities."""
    draw = random.Random(seed)
    rows = [_item(draw, number) for number in range(count)]
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        part = rows[number * count // files : (number + 1) * count // files]
        pq.write_table(pa.Table.from_pylist(part), folder / f"{number}.parquet", row_group_size=50)
    return rows


def _item(draw: random.Random, number: int) -> dict[str, object]:
    hard, leaks = draw.random() * 1.2, draw.random() < 0.2
    answers = []
    for i, model in enumerate(MODELS):
        for image in (False, True):
            if draw.random() < 0.03:
                continue
            chance = (0.9 if leaks else 0.05) if not image else min(0.98, max(0.0, 1.1 - hard + (i - 4) * 0.1))
            answers.append({"model": model, "image": image, "right": draw.random() < chance and hard < 1.1})
    return {
        "id": f"item{number:05d}",
        "question": f"What is shown in picture {number}?",
        "capability": draw.choice(["chart", "math"]),
        "source": draw.choice(["A", "B"]),
        "options": draw.choice([None, ["a", "b", "c", "d"]]),
        "outcomes": json.dumps(answers),
        "verdict": draw.choice([None, "fine", "wrong", "ambiguous", "small", "wrong and small"]),
    }


@dataclass(frozen=True, eq=False)
class Kept(ScorerConfig):
    """The answers that stand in a column of the pool, as a panel's."""

    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        return ("outcomes",)

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(MODELS)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        counts = dict.fromkeys(["blind_right", "blind_asked", "right", "asked"], pa.int32())
        return {**counts, "answers": OUTCOMES}

    @property
    def resources(self) -> Resources:
        return Resources()

    def score(self, batch: pa.RecordBatch) -> Scored:
        answers = [json.loads(text) for text in batch.column("outcomes").to_pylist()]
        counts = {
            "blind_right": [sum(one["right"] for one in row if not one["image"]) for row in answers],
            "blind_asked": [sum(not one["image"] for one in row) for row in answers],
            "right": [sum(one["right"] for one in row if one["image"]) for row in answers],
            "asked": [sum(one["image"] for one in row) for row in answers],
        }
        made = {name: pa.array(values, pa.int32()) for name, values in counts.items()}
        return Scored({**made, "answers": pa.array(answers, OUTCOMES)})


@dataclass(frozen=True, eq=False)
class Said(ScorerConfig):
    """Verdicts from a column of the pool; an error where it says nothing."""

    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        return ("verdict",)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        return dict.fromkeys(["ground_truth_wrong", "question_is_ambiguous", "needs_high_resolution"], pa.bool_())

    @property
    def resources(self) -> Resources:
        return Resources()

    def score(self, batch: pa.RecordBatch) -> Scored:
        said = batch.column("verdict").to_pylist()
        words = {"ground_truth_wrong": "wrong", "question_is_ambiguous": "ambiguous", "needs_high_resolution": "small"}
        return Scored(
            {
                name: pa.array([None if one is None else word in one for one in said], pa.bool_())
                for name, word in words.items()
            }
        )
