"""Constants that columns are compared with: checked, and in the type of the column."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short


def listed(values: Any, shown: str) -> tuple[Any, ...]:
    """The values that a column may have, in one order for one set; `shown` is what messages call the column.

    Raises:
        PlanError: for anything but a list (or other collection) of numbers, strings or booleans.
    """
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise PlanError(f"{shown}.is_in({short(values)}): give a list of values, as is_in(['en', 'de'])")
    # A set has another order in each process, and the order is part of a decision's id.
    given = (
        sorted(values, key=lambda one: (type(one).__name__, one)) if isinstance(values, (set, frozenset)) else values
    )
    made = tuple(given)
    for one in made:
        if not (one is None or isinstance(one, (bool, int, float, str, np.generic))):
            raise PlanError(f"{shown}.is_in(): {short(one)} is no number, string or boolean")
    return made


def nan_to_null(values: pa.Array) -> pa.Array:
    """`values` with NaN made null."""
    if not pa.types.is_floating(values.type):
        return values
    return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)


def typed_limit(limit: Any, kind: pa.DataType) -> pa.Scalar:
    """`limit` in the column's own type, or as it is where that type can't hold it (2.5 against an integer)."""
    try:
        scalar = pa.scalar(limit, type=kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return _bound(limit, kind)
    return _bound(limit, kind) if pa.types.is_integer(kind) and scalar.as_py() != limit else scalar


_BEYOND = 1 << 64
"""No integer column has it, nor what is below its negative."""


def _bound(limit: Any, kind: pa.DataType) -> pa.Scalar:
    """A limit that a column's type can't hold, as one that bounds the same rows."""
    if isinstance(limit, str) or not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return pa.scalar(limit)
    if pa.types.is_floating(kind):
        try:
            return pa.scalar(float(limit))  # Arrow converts no integer that a float does not have exactly
        except OverflowError:
            return pa.scalar(math.inf if limit > 0 else -math.inf)
    # Arrow compares no integer beyond 2^53 with a float: any decimal between the same two integers will do.
    whole = math.floor(min(max(limit, -_BEYOND), _BEYOND))
    return pa.scalar(Decimal(whole) if abs(whole) >= _BEYOND else Decimal(whole) + Decimal("0.5"))
