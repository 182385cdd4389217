"""A sample of a pool: its rows are those whose uid's hash is below a share of all hashes.

Whether a row is in depends on its uid alone, so a sample grows with its pool, row by row, and a larger share holds all
rows of a smaller one. The hash is BLAKE2b-64 of (seed, uid) under a name of its own: neither the breaking of ties nor
held-out texts, which hash uids too, fall together with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.pools.shards import Batch
from poolsieve.filters.dsl.cuts import tie_hashes
from poolsieve.scoring_models.base.errors import PlanError, RowError
from poolsieve.scoring_models.base.kinds import short

Mask = np.ndarray[Any, np.dtype[np.bool_]]

_NAME = b"poolsieve sample"


@dataclass(frozen=True)
class Sample:
    """Which rows of a pool are in.

    Attributes:
        fraction: above 0, at most 1, as the user wrote it: a decimal number.
        seed: another one gives another sample.
    """

    fraction: str
    seed: int = 0

    @property
    def mark(self) -> tuple[str, ...]:
        """What rows are looked up by beside their source."""
        return (f"sample={self.fraction}", f"seed={self.seed}")

    def takes(self, uids: pa.Array) -> Mask:
        """bool (n,): rows that are in."""
        limit = int(Decimal(self.fraction) * (1 << 64))
        hashes = tie_hashes(uids, self.seed, _NAME)
        return np.ones(len(hashes), dtype=bool) if limit >> 64 else np.asarray(hashes < np.uint64(limit), dtype=bool)


def checked_fraction(value: Any) -> str:
    """A share as exact decimal text.

    Raises:
        PlanError: for what is no number above 0 and up to 1.
    """
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
            raise ArithmeticError
        number = Decimal(repr(value) if isinstance(value, float) else str(value))
    except ArithmeticError as error:
        raise PlanError(f"sample(fraction={short(value)}): a number is wanted, like 0.05") from error
    if not number.is_finite() or not 0 < number <= 1:
        hint = f"; for {value} % write fraction={number / 100}" if number.is_finite() and 1 < number <= 100 else ""
        raise PlanError(f"sample(fraction={short(value)}): must be above 0 and at most 1{hint}")
    return format(number.normalize(), "f")


def checked_seed(value: Any) -> int:
    """A seed of at most 64 bits.

    Raises:
        PlanError: for anything else.
    """
    if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
        raise PlanError(f"sample(seed={short(value)}): a whole number of at most 64 bits is wanted")
    return value


def taken(batches: Iterator[Batch], sample: Sample | None) -> Iterator[Batch]:
    """The batches with the rows of a sample alone; none for a batch that has no such row."""
    for batch in batches:
        mask = None if sample is None else sample.takes(batch.uid)
        if mask is None or mask.all():
            yield batch
        elif mask.any():
            yield only(batch, mask)


def leading(batches: Iterator[Batch], rows: int | None) -> Iterator[Batch]:
    """The batches up to so many rows; all of them for None."""
    if rows is None:
        yield from batches
        return
    for batch in batches:
        few = batch if batch.num_rows <= rows else only(batch, np.arange(batch.num_rows) < rows)
        yield few
        rows -= few.num_rows
        if not rows:
            return


def only(batch: Batch, mask: Mask) -> Batch:
    """Some rows of a batch: bool (n,)."""
    rows = pa.array(mask)
    places = {int(old): new for new, old in enumerate(np.flatnonzero(mask))}
    return dataclasses.replace(
        batch,
        positions=batch.rows[mask],
        uid=batch.uid.filter(rows),
        nbytes=batch.nbytes[mask],
        roles=batch.roles.filter(rows) if batch.roles.num_columns else batch.roles.take(pa.array(list(places))),
        role_errors={role: _moved(errors, places) for role, errors in batch.role_errors.items()},
        read_errors=_moved(batch.read_errors, places),
        offset=None if batch.offset is None else batch.offset[mask],
        length=None if batch.length is None else batch.length[mask],
        key=None if batch.key is None else batch.key.filter(rows),
    )


def _moved(errors: Mapping[int, RowError], places: Mapping[int, int]) -> dict[int, RowError]:
    return {places[row]: error for row, error in errors.items() if row in places}
