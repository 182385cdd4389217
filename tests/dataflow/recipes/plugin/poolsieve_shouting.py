"""A scorer, rules and an editor as somebody else would publish them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.filters import Keep, Score, col, decontaminate
from poolsieve.filters.dsl.ready import stage
from poolsieve.filters.dsl.stages import Stage
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.scorer import Scored, TextScorer


@dataclass(frozen=True, eq=False)
class Shouting(TextScorer):
    """Share of a text's characters that are upper-case letters."""

    packages = ("poolsieve-shouting",)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """One share, float32."""
        return {"": pa.float32()}

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The share of each text; null for null."""
        texts = batch.column(self.text).to_pylist()
        shares = [None if t is None else sum(map(str.isupper, t)) / max(len(t), 1) for t in texts]
        return Scored({"": pa.array(shares, pa.float32())})


@stage(example="shouting.calm()")
def calm(at_most: float = 0.5, text: str = "text") -> Stage:
    """Keeps texts with few capitals."""
    return Score(shouting=Shouting(text=text)) | Keep(col("shouting") <= at_most, reason="shouting.loud")


@stage(example='shouting.unseen({"exam": Pool.jsonl("exam.jsonl", text="question")})', pools=("exams",))
def unseen(exams: Mapping[str, Any], n: int = 13) -> Stage:
    """Drops texts that share n words in a row with an exam."""
    return decontaminate(exams, n=n)


def number() -> int:
    """No stage."""
    return 3


@dataclass(frozen=True, eq=False)
class Quiet(Config):
    """The text in lower case."""

    text: str = "text"
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The text role."""
        return (self.text,)

    def edit(self, batch: pa.RecordBatch) -> pa.Array:
        """Each text."""
        return pc.utf8_lower(batch.column(self.text))
