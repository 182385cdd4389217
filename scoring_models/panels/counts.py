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
from poolsieve.scoring_models.base.outcomes import BLIND, OUTCOMES, RIGHT_FROM, SIGHTED

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
        shown = {image for _, _, image in self.of}
        names = [*(BLIND if False in shown else ()), *(SIGHTED if True in shown else ())]
        return {**dict.fromkeys(names, pa.int32()), "answers": OUTCOMES}

    def values(self, scores: Mapping[str, pa.Array], table: Any) -> Mapping[str, pa.Array]:
        """The columns for n rows: counts are 0, and `answers` is empty, where nobody answered."""
        marks = np.stack([_marks(scores[step]) for step in self.reads], axis=1)
        asked, right = ~np.isnan(marks), marks >= np.float32(RIGHT_FROM)
        image = np.array([shown for _, _, shown in self.of])
        made: dict[str, pa.Array] = {}
        for (right_name, asked_name), which in ((BLIND, ~image), (SIGHTED, image)):
            if which.any():
                made |= {right_name: _counted(right[:, which]), asked_name: _counted(asked[:, which])}
        return {**made, "answers": self._answers(asked, right)}

    def _answers(self, asked: Masks, right: Masks) -> pa.Array:
        rows, places = np.nonzero(asked)
        offsets = np.concatenate([[0], np.cumsum(asked.sum(axis=1))])
        names, images = [name for _, name, _ in self.of], [image for _, _, image in self.of]
        whose = pa.array(places, pa.int64())
        fields: list[pa.Array] = [
            pa.array(names, pa.string()).take(whose),
            pa.array(images, pa.bool_()).take(whose),
            pa.array(right[rows, places], pa.bool_()),
        ]
        outcomes = pa.StructArray.from_arrays(fields, names=["model", "image", "right"])
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), outcomes)


def _marks(step: pa.Array) -> np.ndarray[Any, np.dtype[np.float32]]:
    """float32 (n,): a step's marks, NaN where there is none."""
    made: Any = pc.struct_field(step, "mark")  # type: ignore[call-overload]  # pyarrow-stubs: known fields alone
    return np.asarray(made.fill_null(np.nan), dtype=np.float32)


def _counted(which: Masks) -> pa.Array:
    return pa.array(which.sum(axis=1).astype(np.int32), pa.int32())
