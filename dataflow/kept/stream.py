"""A stream of rows for torch's DataLoader. Loaded by `Kept.stream` alone, since it loads torch."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch.utils.data import IterableDataset

from poolsieve.scoring_models.base.errors import PlanError

ROWS, DRAWN = "rows", "drawn"
"""Keys of a state: that of the rows' own iterable, or how many rows were drawn from one that has none."""

ROW, LEFT = "row", "left"
"""Keys of a state that was taken between two copies of a row: the row, and how often it is still to come."""


class Filtered(IterableDataset):
    """The rows of an iterable that are kept, in its order; one that leaves several times comes so often in a row.

    How rows are divided among a DataLoader's workers is the iterable's affair, as without this.

    A stream goes on where a state was taken (`state_dict`, `load_state_dict`, the protocol of `datasets` and of
    torchdata's `StatefulDataLoader`, which asks each worker's copy): by the iterable's own state, if it has these two
    methods as well; else that many rows are drawn again and passed over, unlooked at, which takes an iterable that
    gives the same rows in the same order.

    Args:
        rows: an iterable, such as an `IterableDataset` of yours.
        keep: is true for rows that stay, or says how often one leaves (int, 0 or more).
    """

    def __init__(self, rows: Iterable[Any], keep: Callable[[Any], Any]) -> None:
        super().__init__()
        self.rows, self.keep = rows, keep
        self._drawn = 0
        self._passed = 0
        self._row, self._left = None, 0
        self._start: Any = None  # the rows' own state that was loaded, until the first of them is drawn
        self._goes_on = False

    def __iter__(self) -> Iterator[Any]:
        # Here and not in the generator, which a loader that has a state of a whole epoch never starts.
        self._drawn, self._passed = self._passed, 0
        if not self._goes_on:
            self._left, self._start = 0, None
        self._goes_on = False
        return self._kept(itertools.islice(self.rows, self._drawn, None))

    def _kept(self, rows: Iterator[Any]) -> Iterator[Any]:
        yield from self._copies()
        for row in rows:
            self._start = None
            self._drawn += 1
            self._row, self._left = row, times(self.keep(row))
            yield from self._copies()

    def _copies(self) -> Iterator[Any]:
        while self._left:
            self._left -= 1
            # Whoever changes what it is given (`row.pop(...)`) must not change the next copy.
            yield copy.copy(self._row) if self._left else self._row

    @property
    def _own(self) -> bool:
        return hasattr(self.rows, "state_dict") and hasattr(self.rows, "load_state_dict")

    def set_epoch(self, epoch: int) -> None:
        """Tells the iterable, if it wants to know: one of `datasets` begins anew in another epoch than its state's."""
        if hasattr(self.rows, "set_epoch"):
            self.rows.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is: after the row that it gave last."""
        again = {ROW: self._row, LEFT: self._left} if self._left else {}
        if self._own:
            # `datasets` says where it is only once it has been asked for a row; until then it would be the beginning.
            rows = self.rows.state_dict() if self._start is None else copy.deepcopy(self._start)  # type: ignore[attr-defined]
            return {ROWS: rows, **again}
        return {DRAWN: self._passed or self._drawn, **again}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Has the next iteration go on where the state was taken; the one after that is whole again.

        Raises:
            PlanError: for a state of another kind of rows.
        """
        wanted = ROWS if self._own else DRAWN
        if not isinstance(state, dict) or wanted not in state:
            raise PlanError(f"{str(state)[:100]} is no state of this stream: its rows' iterable was another one then")
        self._row, self._left, self._goes_on = state.get(ROW), int(state.get(LEFT, 0)), True
        if not self._own:
            self._drawn = self._passed = int(state[DRAWN])
            return
        self._start = state[ROWS]
        if self._start is not None:
            self.rows.load_state_dict(copy.deepcopy(self._start))  # type: ignore[attr-defined]


def times(kept: Any) -> int:
    """How often a row leaves, by what was said of it: a number, or whether it is kept."""
    return int(kept) if isinstance(kept, int) else int(bool(kept))
