"""How bad rows are by the score of which the largest is best: integers that any part of a pool comes to by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from poolsieve.filters.dsl.cuts import Keys, Mask, order_keys
from poolsieve.filters.duplicates import runs
from poolsieve.filters.duplicates.roots import Ints
from poolsieve.scoring_models.base.errors import PlanError


class Worse(NamedTuple):
    """Of n rows: bool (n,), whether a row has no number, which is worst; uint64 (n,), larger for a smaller number."""

    none: Mask
    key: Keys

    def score(self) -> Ints:
        """int64 (n,): the same as one number, the largest of which is best; of these rows alone."""
        order = np.lexsort((self.key, self.none))
        other = runs.begins(self.key[order]) | runs.begins(self.none[order])
        made = np.empty(len(order), dtype=np.int64)
        made[order] = -np.cumsum(other)
        return made


def worse(scores: pa.Array) -> Worse:
    """Of n numbers. Null and NaN are worst, equal ones are equal (-0.0 and 0.0 too), and integers keep all digits."""
    keys, valid = order_keys(scores, lowest=False)
    return Worse(~valid, np.where(valid, keys, np.uint64(0)))


def check_best(where: str, name: str | None, types: Mapping[str, pa.DataType]) -> None:
    """Refuses a `best` that is no number; None is none.

    Raises:
        PlanError: saying what it is.
    """
    if name is None or pa.types.is_floating(types[name]) or pa.types.is_integer(types[name]):
        return
    raise PlanError(f"{where}: best={name!r} is {types[name]}, and numbers are needed")


def check_bytes(where: str, types: Mapping[str, pa.DataType], *wanted: tuple[str | None, int, str]) -> None:
    """Refuses scores that are no bytes of one size.

    Args:
        where: what reads them, for the error.
        types: of all names.
        wanted: (name, size, what makes such scores); a name that is None is not looked at.

    Raises:
        PlanError: saying which.
    """
    for name, size, made in wanted:
        if name is not None and types[name] != pa.binary(size):
            raise PlanError(f"{where}: {name!r} is {types[name]}, and the score of {made} is needed")
