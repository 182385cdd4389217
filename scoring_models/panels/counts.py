"""What a panel comes to for each row: how many models were asked, and how many were right, without the image and with
it. A derived value of the marks, so that it costs no stored score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.outcomes import BLIND, RIGHT_FROM, SIGHTED, outcome_columns, outcomes_of

Masks = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Counts(Config):
    """Counts over the marking steps of a panel.

    Args:
        of: each marking step, with its model's name and whether the image was shown; sorted by both.
        version: see `Scorer`.
    """

    of: tuple[tuple[str, str, bool], ...]
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The marking steps."""
        return tuple(step for step, _, _ in self.of)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models that are asked without the image: what rules reckon guessers by."""
        return tuple(name for _, name, image in self.of if not image)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """The counts of each setting that somebody is asked in, int32, and `answers` (`OUTCOMES`)."""
        return outcome_columns(sorted({image for _, _, image in self.of}))

    def values(self, scores: Mapping[str, pa.Array], table: Any) -> Mapping[str, pa.Array]:
        """The columns for n rows: counts are 0, and `answers` is empty, where nobody answered."""
        marks = np.stack([_marks(scores[step]) for step in self.reads], axis=1)
        asked, right = ~np.isnan(marks), marks >= np.float32(RIGHT_FROM)
        image = np.array([shown for _, _, shown in self.of])
        made: dict[str, pa.Array] = {}
        for (right_name, asked_name), which in ((BLIND, ~image), (SIGHTED, image)):
            if which.any():
                made |= {right_name: _counted(right[:, which]), asked_name: _counted(asked[:, which])}
        rows, places = np.nonzero(asked)
        starts, models = np.concatenate([[0], np.cumsum(asked.sum(axis=1))]), [name for _, name, _ in self.of]
        return {**made, "answers": outcomes_of(starts, models, places, image[places], right[rows, places])}


def _marks(step: pa.Array) -> np.ndarray[Any, np.dtype[np.float32]]:
    """float32 (n,): a step's marks, NaN where there is none."""
    made: Any = pc.struct_field(step, "mark")  # type: ignore[call-overload]  # pyarrow-stubs: known fields alone
    return np.asarray(made.fill_null(np.nan), dtype=np.float32)


def _counted(which: Masks) -> pa.Array:
    return pa.array(which.sum(axis=1).astype(np.int32), pa.int32())
