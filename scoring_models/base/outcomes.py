"""What the models of a panel made of one item: which answered, with the image or without it, and who was right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

Array = np.ndarray[Any, Any]

OUTCOMES = pa.list_(pa.struct([("model", pa.string()), ("image", pa.bool_()), ("right", pa.bool_())]))
"""One row's answers, sorted by (model, image), without the image first; one entry for each that was given.

Nested, so that it stands in `scores/` and in no ledger.
"""

BLIND, SIGHTED = ("blind_right", "blind_asked"), ("right", "asked")
"""Columns, int32, of the two settings: answers that were right, and answers."""

RIGHT_FROM = 0.5
"""A mark from which an answer counts as right (DatBench's `is_correct`)."""


def outcome_columns(settings: Sequence[bool]) -> dict[str, pa.DataType]:
    """Counts of the settings (False: without the image) that somebody has, int32, and the answers."""
    counts = [name for setting in settings for name in (SIGHTED if setting else BLIND)]
    return {**dict.fromkeys(counts, pa.int32()), "answers": OUTCOMES}


def outcomes_of(starts: Array, models: Sequence[str], whose: Array, image: Array, right: Array) -> pa.Array:
    """`OUTCOMES` of n rows, from their answers one after the other.

    Args:
        starts: int (n + 1,), where each row's answers begin, and where the last one's end.
        models: names.
        whose: int (m,), of each answer its model's place among them.
        image: bool (m,), whether it was shown.
        right: bool (m,).
    """
    names = pa.array(models, pa.string()).take(pa.array(whose, pa.int64()))
    fields: list[pa.Array] = [names, pa.array(image, pa.bool_()), pa.array(right, pa.bool_())]
    answers = pa.StructArray.from_arrays(fields, ["model", "image", "right"])
    return pa.ListArray.from_arrays(pa.array(starts, pa.int32()), answers, type=OUTCOMES)
