"""Names of items, found by hash: what stored answers and verdicts are looked up by."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.scoring_models.base.arrow import texts
from poolsieve.scoring_models.base.errors import PlanError

Ints = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


class Keys(NamedTuple):
    """n distinct names in the order of their first lines, and their hashes in ascending order.

    The hash is Python's own, which differs from process to process: it never leaves the one that made it, and no
    answer depends on it, since the names themselves are compared.
    """

    names: pa.Array
    hashes: Ints
    order: Ints
    """Position of the name of each hash."""

    def find(self, wanted: pa.Array) -> Ints:
        """int64 (m,): position of each of `wanted` (string) among the names, -1 where it is none of them."""
        wanted = _plain(wanted)
        hashed = _hashes(wanted)
        at = np.searchsorted(self.hashes, hashed, side="left")
        found = np.full(len(wanted), -1, dtype=np.int64)
        left = np.arange(len(wanted))
        while len(left):  # once, and again for the names whose hash another name has as well
            left = left[at[left] < len(self.hashes)]
            left = left[self.hashes[at[left]] == hashed[left]]
            places = self.order[at[left]]
            same = _equal(self.names.take(pa.array(places, pa.int64())), wanted.take(pa.array(left, pa.int64())))
            found[left[same]] = places[same]
            left = left[~same]
            at[left] += 1
        return found


UID = "uid"
"""The role that items are matched with: a pool says by it which of its columns has their names."""


def keys_of(names: pa.Array) -> Keys:
    """Distinct names (string, no nulls), ready to be looked up."""
    hashes = _hashes(names)
    order = np.argsort(hashes, kind="stable")
    return Keys(names, hashes[order], order)


def _plain(names: Any) -> pa.Array:
    """Names as strings, integers as they are written; "", which no item is called, for null."""
    made = names.cast(pa.string()).fill_null("")
    return made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made


def _hashes(names: pa.Array) -> Ints:
    return np.fromiter(map(hash, texts(names)), np.int64, len(names))


def _equal(one: pa.Array, other: pa.Array) -> Mask:
    return np.asarray(pc.equal(one, other.cast(one.type)), dtype=bool)


def check_names(where: str, kind: pa.DataType) -> None:
    """Refuses a uid that can't be names of items: batches of somebody else's pipeline may have one.

    Raises:
        PlanError: naming the role's type.
    """
    known = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)
    if not (known or pa.types.is_null(kind)):
        raise PlanError(f"{where} reads {UID!r} as names of items, but it is {kind}: texts or integers are wanted")


class Unmatched:
    """Counts what stored items and a pool's rows have not in common.

    Args:
        keys: of the stored items.
        empty: bool (n,): items that a row needs nothing of, since there is none: their uid alone matches.
    """

    MOST = 10
    """Names that are told."""

    def __init__(self, keys: Keys, empty: Mask) -> None:
        self.keys, self.empty = keys, empty
        self.seen = np.zeros(len(empty), dtype=bool)
        self.rows, self.first_rows = 0, list[str]()

    def add(self, uids: pa.Array, answered: Mask | None = None) -> None:
        """Takes the next rows; `answered` says which of them were given something, if the uid does not say it all."""
        found = self.keys.find(uids)
        matched = (found >= 0) & ~self.empty[found]
        matched = matched if answered is None else matched & answered
        self.seen[found[matched | ((found >= 0) & self.empty[found])]] = True
        self.rows += int((~matched).sum())
        missing = np.flatnonzero(~matched)[: self.MOST - len(self.first_rows)]
        self.first_rows += texts(uids.take(pa.array(missing, pa.int64())))

    def to_dict(self) -> dict[str, Any]:
        """`items` that no row has and the `first` of them, `rows` without anything stored and the `first_rows`."""
        missing = np.flatnonzero(~self.seen)
        first = texts(self.keys.names.take(pa.array(missing[: self.MOST], pa.int64())))
        return {"items": len(missing), "first": first, "rows": self.rows, "first_rows": self.first_rows}
