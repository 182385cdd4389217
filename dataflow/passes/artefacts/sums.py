"""Artefacts that are sums over pools of their own: whole numbers, which come to the same in any order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import pyarrow as pa

from poolsieve.dataflow.passes.artefacts.kinds import Good, Ints, Kind

Tallies = dict[str, Ints]
"""Name of a pool -> sum over some of its rows."""


def added(tallies: Iterable[Tallies]) -> Tallies:
    """Adds up."""
    made: Tallies = {}
    for one in tallies:
        for name, found in one.items():
            made[name] = made[name] + found if name in made else found
    return made


class Sums(Kind):
    """A scorer's `counted` of the sum of its `tally` over each pool. They are few numbers, so all meet in one place."""

    asked = "tally"
    adds: ClassVar[Any] = staticmethod(added)

    def sent(self, batches: Iterable[Good]) -> Iterator[tuple[int, Tallies]]:
        """The sum over a shard."""
        yield 0, added({batch.pool: self.scorer.tally(batch.roles)} for batch in batches)

    def joined(self, blocks: Iterable[Tallies]) -> pa.Table:
        """The artefact."""
        made: pa.Table = self.scorer.counted(added(blocks))
        return made
