"""Numbers that are none: what a model gives for a row must be finite, or it is no score."""

from __future__ import annotations

import numpy as np

from poolsieve.scoring_models.base.errors import RowError
from poolsieve.scoring_models.base.scorer import Scores


def not_finite(made: Scores, rows: int, precision: str | None) -> dict[int, RowError]:
    """Place -> error, for those of a batch's first `rows` places of which any number is NaN or infinite.

    Args:
        made: of a model, `LoadedByRow.infer`.
        rows: those that are real; what fills the batch up is not looked at.
        precision: that the model computes in, if it says so.

    >>> not_finite({"": np.array([0.5, np.nan, np.nan], np.float32)}, 2, "fp16")[1].kind
    'not_a_number'
    """
    floats = [np.asarray(values)[:rows] for values in made.values() if np.asarray(values).dtype.kind == "f"]
    if all(bool(np.isfinite(values).all()) for values in floats):
        return {}
    good = np.logical_and.reduce([np.isfinite(values.reshape(rows, -1)).all(axis=1) for values in floats])
    said = "the model gave NaN or an infinity" + (f" in {precision}" if precision else "")
    if precision == "fp16":
        said += ": its numbers do not fit into 16 bits; say precision='bf16' or 'fp32'"
    return dict.fromkeys(np.flatnonzero(~good).tolist(), RowError("not_a_number", said))
