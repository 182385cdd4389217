"""What rules see of the pool: scores, labels and places, never the rows themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

SCORE = {"score": True}
"""Metadata of a field that holds the name of a score."""


@dataclass(frozen=True)
class Env:
    """What a rule may look at for the n rows of one shard or batch.

    Attributes:
        scores: score name -> array of length n (null where it was not computed).
        uid_of: gives the uids, a string array of length n; called only where a rule needs them.
        rows: int64 (n,), positions in the file; `path` is the file's path relative to the pool.
        cuts: cut name -> group ("" without groups) -> the cut that a `Top` came to.
        alive: bool (n,), rows alive at the rule's entry.
    """

    scores: Mapping[str, pa.Array]
    uid_of: Callable[[], pa.Array]
    rows: np.ndarray[Any, np.dtype[np.int64]]
    path: str
    cuts: Mapping[str, Mapping[str, Any]]
    alive: np.ndarray[Any, np.dtype[np.bool_]]

    @property
    def uid(self) -> pa.Array:
        """string (n,): the rows' labels."""
        return self.uid_of()
