"""Token files to token files: kept chunks leave byte for byte, in the pool's order, in files of the same ending."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from poolsieve.dataflow import progress
from poolsieve.dataflow.pools.formats.base import Ints, Location
from poolsieve.dataflow.pools.formats.outgoing import Added, Look, Outgoing, Picked, Sink, Written
from poolsieve.dataflow.pools.formats.tokens.chunks import Chunks
from poolsieve.dataflow.pools.formats.tokens.layout import layout_of
from poolsieve.dataflow.pools.shards import Shard

ENDINGS = (".npy", ".bin")
"""What OLMo's and Megatron-LM's token files end with."""

_READ = 8 << 20
"""Most bytes of one read."""


class TokensCopier:
    """Copies chunks; tails that are no rows stay behind, so that a trainer cuts the new files at the same places."""

    takes_edits = False
    takes_scores = False
    needs_lines = False
    copies_unread = False

    def schema(self, files: Location, shard: Shard) -> str:
        """The file's ending: files of two endings are two corpora to a trainer, and don't go into one folder."""
        return ending_of(shard.path)

    def look(self, files: Location, shard: Shard, pick: Callable[[], Picked], added: Added) -> Look:
        """The ending; see `Copier.look`."""
        return Look(schema=ending_of(shard.path))

    def copy(
        self, files: Location, shards: Iterable[Outgoing], added: Added, sink: Sink, *, threads: bool = True
    ) -> Written:
        """One file of the shards' chunks."""
        done, layout = Written(), layout_of(files)
        most = max(1, layout.chunks(_READ))
        for item in shards:
            picked = item.pick()
            done.unreadable += picked.unreadable
            with contextlib.closing(Chunks(files, item.shard, layout)) as chunks:
                for row, count, copies in _runs(picked.row, picked.copies, most):
                    progress.check()
                    sink.write(chunks.take(row, count) * copies)
                    done.rows += count * copies
                    progress.add("export", count * copies)
        return done


def ending_of(path: str) -> str:
    """The ending that a file's rows leave with: its own, or the first that is known."""
    return next((ending for ending in ENDINGS if path.endswith(ending)), ENDINGS[0])


def _runs(row: Ints, copies: Ints, most: int) -> Iterator[tuple[int, int, int]]:
    """(first row, rows, copies) of neighbours that leave once each, at most `most`; other rows alone."""
    if not len(row):
        return
    apart = (np.diff(row) != 1) | (copies[1:] != 1) | (copies[:-1] != 1)
    edges = [0, *(np.flatnonzero(apart) + 1).tolist(), len(row)]
    for first, end in itertools.pairwise(edges):
        for start in range(first, end, most):
            yield int(row[start]), min(most, end - start), int(copies[start])
