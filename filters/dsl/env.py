"""What rules see of the pool: scores, labels and places, never the rows themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

SCORE = {"score": True}
"""Metadata of a field that holds the name of a score."""


Paths = str | np.ndarray[Any, np.dtype[np.object_]]
"""Of the one file that all rows are in, or of each row's."""


def paths_at(path: Paths, rows: np.ndarray[Any, Any]) -> Paths:
    """The paths of some of n rows."""
    return path if isinstance(path, str) else path[rows]


@dataclass(frozen=True)
class Env:
    """What a rule may look at for the n rows of one shard or batch.

    Attributes:
        scores: score name -> array of length n (null where it was not computed).
        uid_of: gives the uids, a string array of length n; called only where a rule needs them.
        rows: int64 (n,), positions in the file.
        path: of the file, relative to the pool; object (n,), that of each row, where several shards are walked at once.
        cuts: cut name -> group ("" without groups) -> the cut that a `Top` came to.
        alive: bool (n,), rows alive at the rule's entry.
    """

    scores: Mapping[str, pa.Array]
    uid_of: Callable[[], pa.Array]
    rows: np.ndarray[Any, np.dtype[np.int64]]
    path: Paths
    cuts: Mapping[str, Mapping[str, Any]]
    alive: np.ndarray[Any, np.dtype[np.bool_]]

    @property
    def uid(self) -> pa.Array:
        """string (n,): the rows' labels."""
        return self.uid_of()
