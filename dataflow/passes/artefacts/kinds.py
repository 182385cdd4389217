"""What a kind of artefact is: what a shard sends, how what meets is joined.

Everything else (files and their changes, rows that can't be read, progress, places, what is written where, the lease)
is the same for all of them and stands in `making`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

Ints = np.ndarray[Any, np.dtype[np.int64]]

BLOCK_BYTES = 64 << 20
"""Of records that meet in one place, if each byte of the pool made as many bytes of records as lines of 60 characters
do (a fourth)."""

_MOST_BITS = 12
"""4,096 parts: each is a file that readers open."""


class Good(NamedTuple):
    """Rows of a batch that could be read.

    Attributes:
        pool: its name.
        path: of their file.
        roles: what was read of them.
        rows: int64 (n,), their positions in the file.
    """

    pool: str
    path: str
    roles: pa.RecordBatch
    rows: Ints


class Kind(ABC):
    """One kind of artefact.

    Attributes:
        asked: the method by which a scorer says that it has such a one.
        adds: function of blocks that sums them before they meet; of an artefact that is not in parts.
    """

    asked: ClassVar[str]
    adds: ClassVar[Any] = None

    def __init__(self, scorer: Any, bits: int) -> None:
        self.scorer, self.bits = scorer, bits

    def check(self, types: Mapping[str, pa.DataType]) -> None:  # noqa: B027  (most take whatever is read as text)
        """Refuses pools by the type of the role that is read: name of a pool -> type.

        Raises:
            PlanError: for one that is none for the scorer.
        """

    @abstractmethod
    def sent(self, batches: Iterable[Good]) -> Iterator[tuple[int, Any]]:
        """(place, block) of a shard's batches. A place is the first `bits` of a hash."""

    @abstractmethod
    def joined(self, blocks: Iterable[Any]) -> pa.Table:
        """What the blocks of a place come to, in whatever order they come and however shards were cut."""


def place_bits(nbytes: int) -> int:
    """Bits of a hash that say where it goes, for pools of so many bytes: of nothing else, so that parts are the same.

    >>> [place_bits(nbytes) for nbytes in (0, 10**9, 10**11, 10**13)]
    [0, 2, 9, 12]
    """
    return min(_MOST_BITS, max(0, (nbytes // 4 // BLOCK_BYTES).bit_length()))
