"""Which row is the best: the numbers of a score or of a pool column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.base.errors import PlanError


def check_best(where: str, name: str | None, kind: pa.DataType | None) -> None:
    """Refuses a `best` that is no number.

    Raises:
        PlanError: saying what it is.
    """
    if name is None or kind is None:
        return
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise PlanError(f"{where}: best={name!r} is {kind}, and numbers are needed")


def numbers(arrays: list[pa.Array]) -> np.ndarray[Any, Any]:
    """(n,): numbers; where some are missing, float64 with NaN, which is the worst."""
    whole = pa.chunked_array(arrays) if arrays else pa.chunked_array([], pa.float64())
    return whole.to_numpy() if not whole.null_count else whole.cast(pa.float64(), safe=False).to_numpy()
