"""The predicate as loaders call it: with a row or a batch of `datasets`, or WebDataset's samples. All of it pickles."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.kept.uids import Bools
from poolsieve.dataflow.pools.formats.base import UID
from poolsieve.dataflow.pools.formats.webdataset.read import MemberSource, clean
from poolsieve.dataflow.pools.json_text import object_of
from poolsieve.dataflow.pools.json_values import as_written, field_of, fitting
from poolsieve.scoring_models.base.errors import PlanError, RowError, unknown_name

if TYPE_CHECKING:
    from poolsieve.dataflow.kept.kept import Kept

KEY, URL = "__key__", "__url__"
"""What WebDataset calls a sample's key, and the shard that it is from."""

_EXPECTED = 50
"""Kept rows that should have come before a stream without any is worth a warning: by chance it happens in e**-50."""

_label = fitting(pa.string(), UID)


class Tally:
    """Tells of a stream that keeps nothing, as with the wrong column: an empty loader says nothing of why.

    Args:
        share: of the pool that was kept.
        what: by which rows are told, for the warning.
    """

    def __init__(self, share: float, what: str) -> None:
        self._share, self._what, self._asked, self._over = share, what, 0, False

    def add(self, asked: int, kept: int) -> None:
        """Counts rows that were asked for."""
        if self._over:
            return
        self._asked += asked
        if kept:
            self._over = True
        elif self._asked * self._share >= _EXPECTED:
            self._over = True
            text = f"none of the first {self._asked:,} rows was kept, where {self._share:.3g} of the pool was"
            warnings.warn(f"{text}: is {self._what} what the run had?", UserWarning, stacklevel=4)


@dataclass(frozen=True)
class Column:
    """Whether rows are kept, by a column of theirs; from `Kept.by`.

    A row gives a bool, a batch (a mapping of columns, an Arrow table) a bool for each of its rows.

    Attributes:
        kept: the decision.
        name: of the column with the uids.
    """

    kept: Kept
    name: str

    def __call__(self, row: Any) -> bool | Bools:
        """Looks a row or a batch up."""
        value = self._of(row)
        if value is None or isinstance(value, (str, bytes, int, float)):
            found = value is not None and self.kept(self.kept.as_uid(value))
            self.kept.tally(self).add(1, found)
            return found
        made = self.kept.mask(self.kept.as_uids(value))
        self.kept.tally(self).add(len(made), int(made.sum()))
        return made

    def times(self, row: Any) -> int:
        """How often a row leaves, where each uid is that of one kept row."""
        value = self._of(row)
        found = 0 if value is None else self.kept.count(self.kept.as_uid(value))
        self.kept.tally(self).add(1, found)
        return found

    def _of(self, row: Any) -> Any:
        try:
            return row[self.name]
        except (KeyError, IndexError) as error:
            there = list(getattr(row, "column_names", None) or row)
            raise unknown_name(f"the rows have no column {self.name!r}", self.name, map(str, there)) from error

    def __str__(self) -> str:
        return f"column {self.name!r}"


@dataclass(frozen=True)
class Samples:
    """Whether WebDataset's samples are kept; from `Kept.webdataset`.

    Attributes:
        kept: the decision.
        source: where in a sample its uid is; None where samples are told by shard and key.
    """

    kept: Kept
    source: MemberSource | None

    def __call__(self, sample: Mapping[str, Any]) -> bool:
        """Looks a sample up, decoded or not."""
        found = self._by_key(sample) if self.source is None else self._by_uid(sample, self.source)
        self.kept.tally(self).add(1, found)
        return found

    def __str__(self) -> str:
        return "the sample's key and URL" if self.source is None else f"uid={str(self.source)!r}"

    def _by_key(self, sample: Mapping[str, Any]) -> bool:
        try:
            key, url = sample[KEY], sample[URL]
        except (KeyError, TypeError, IndexError) as error:
            raise PlanError(
                "a sample without __key__ and __url__ can't be told by them: call .select(kept.webdataset()) before "
                "the steps that make tuples of samples"
            ) from error
        return clean(key) in self.kept.files.keys(self.kept.files.path(url))

    def _by_uid(self, sample: Mapping[str, Any], source: MemberSource) -> bool:
        if not isinstance(sample, Mapping):
            raise PlanError("call .select(kept.webdataset()) before the steps that make tuples of samples")
        uid = uid_of(sample, source)
        return uid is not None and self.kept(uid)


def uid_of(sample: Mapping[str, Any], source: MemberSource) -> str | None:
    """The uid of a sample as the pool's reader has it, from members as bytes or as WebDataset's decoders leave them.

    None where the sample has none: in the ledger it then has one that is derived from its place.

    Raises:
        PlanError: if the member has been decoded to what no uid can be read of.
    """
    if not source.extensions:
        return clean(sample[KEY])
    name = next((name for name in source.extensions if name in sample), None)
    if name is None:
        return None
    value = sample[name]
    if source.is_json:
        value = _field(value, source.path, name)
    elif isinstance(value, (bytes, bytearray)):
        value = bytes(value).decode("utf-8", "replace")
    made = None if value is None else _label(value)
    return made if isinstance(made, str) else None


def _field(value: Any, path: str, name: str) -> Any:
    """The field of a JSON member."""
    data = bytes(value) if isinstance(value, (bytes, bytearray)) else None
    read = object_of(data) if data is not None else value
    if isinstance(read, RowError):
        return None
    if not isinstance(read, dict):
        raise PlanError(f"member {name!r} was decoded to {type(value).__name__}: select before decoding it")
    found = field_of(read, path)
    if not isinstance(found, float):
        return found
    if data is None:
        raise PlanError(
            f"the uid in member {name!r} is a number with a fraction or exponent: select before decoding it"
        )
    return as_written(data, path)


def stream(rows: Any, keep: Callable[[Any], Any]) -> Any:
    """`rows` (any iterable of rows) as a `torch.utils.data.IterableDataset` of those that `keep` has, as often.

    Raises:
        PlanError: without torch.
    """
    try:
        from poolsieve.dataflow.kept.stream import Filtered
    except ImportError as error:
        raise PlanError("kept.stream() makes a dataset of torch, which is not installed: pip install torch") from error
    return Filtered(rows, keep)


def scalar_weights(scores: np.ndarray[Any, Any], temperature: float) -> tuple[float, float]:
    """(largest, mean): what `Kept.weight` divides by; the sum is made block by block, since scores stay on disk."""
    largest = float(np.max(scores, initial=-np.inf))
    total, block = 0.0, 1 << 20
    for start in range(0, len(scores), block):
        total += float(np.exp((scores[start : start + block].astype(np.float64) - largest) / temperature).sum())
    return largest, total / max(len(scores), 1)
