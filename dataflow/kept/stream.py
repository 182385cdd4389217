"""A stream of rows for torch's DataLoader. Loaded by `Kept.stream` alone, since it loads torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch.utils.data import IterableDataset


class Filtered(IterableDataset):
    """The rows of an iterable that are kept, in its order.

    How rows are divided among a DataLoader's workers is the iterable's affair, as without this.

    Args:
        rows: an iterable, such as an `IterableDataset` of yours.
        keep: is true for rows that stay.
    """

    def __init__(self, rows: Iterable[Any], keep: Callable[[Any], Any]) -> None:
        super().__init__()
        self.rows, self.keep = rows, keep

    def __iter__(self) -> Iterator[Any]:
        return filter(self.keep, self.rows)
