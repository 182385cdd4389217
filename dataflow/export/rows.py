"""Which rows of a shard an export takes, from the ledger or from somebody's list."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.formats.base import Ints
from poolsieve.dataflow.pools.formats.outgoing import Picked
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.store.job import uid_source_of
from poolsieve.dataflow.store.layout import ledger_url, rows_url
from poolsieve.dataflow.store.manifest import repeats_of
from poolsieve.dataflow.store.rows import ROWS_SCHEMA
from poolsieve.dataflow.store.shard_lines import ShardLine
from poolsieve.dataflow.store.tables import one_array, read_promised
from poolsieve.filters.lists import counts_in, load_list, pairs_of
from poolsieve.filters.repeat import REPEAT
from poolsieve.scoring_models.base.arrow import texts

_LINES = ("nbytes", "read_error", "offset", "length", "key")
_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which rows of a run leave.

    Attributes:
        out: the folder of the run.
        decision: whose ledger says it.
        scored: the pool as it was scored: `rows/` are named after how its uids are read.
        select: glob over reasons; None for the kept rows.
        uids: a list's path; takes the rows that it names instead.
        scores: names of the scores that go along.
        repeats: whether a kept row leaves as often as its `repeat` in the ledger says.
        lines: whether the rows' lines in `rows/` are needed to find them.
        unread: whether rows that could not be read leave too, if it is known where they stand.
    """

    out: str
    decision: str
    scored: PoolFiles
    select: str | None = None
    uids: str | None = None
    scores: tuple[str, ...] = ()
    repeats: bool = False
    lines: bool = True
    unread: bool = False

    @property
    def kept(self) -> bool:
        """Whether this takes what the decision kept, so that its counts are known and every row could be read."""
        return self.select is None and self.uids is None

    def once(self, line: ShardLine) -> bool:
        """Whether it takes each row of a shard that the decision kept, and takes it once."""
        return self.kept and line.leaving == line.kept

    def pick(self, shard: Shard, ledger_sha256: str | None) -> Picked:
        """Which rows of a shard leave, and what is kept about them; see `look_up`."""
        return self.look_up(shard, ledger_sha256)[0]

    def look_up(self, shard: Shard, ledger_sha256: str | None) -> tuple[Picked, Ints]:
        """The rows that leave, and which entries of the list they are (first positions in it).

        Raises:
            PoolsieveError: if the run's own files are missing, damaged or others.
        """
        names = ["row", "uid", *self.scores]
        more = ["keep", "reason", *([REPEAT] if self.repeats and REPEAT not in names else [])]
        url = ledger_url(self.out, self.decision, shard.name)
        ledger = read_promised(url, [*names, *more], sha256=ledger_sha256)
        copies, listed = self._copies(ledger)
        lines, unreadable = ROWS_SCHEMA.empty_table(), 0
        if self.lines or self.repeats or not self.kept:
            lines = read_promised(rows_url(self.out, shard, uid_source_of(self.scored, shard)), _LINES)
            bad = self._unreadable(lines)
            unreadable, copies = int(copies[bad].sum()), np.where(bad, 0, copies)
        index = pa.array(np.flatnonzero(copies), pa.int64())
        taken = ledger.select(names).take(index)
        picked = Picked(
            row=np.asarray(taken.column("row").to_numpy(), dtype=np.int64),
            copies=copies[copies > 0],
            uid=one_array(taken, "uid"),
            lines=lines.take(index) if len(lines) else lines,
            scores=taken.select(list(self.scores)),
            unreadable=unreadable,
        )
        return picked, listed

    def _unreadable(self, lines: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        bad = np.asarray(lines.column("read_error").is_valid().to_numpy(), dtype=bool)
        return bad & np.asarray(lines.column("offset").is_null().to_numpy(), dtype=bool) if self.unread else bad

    def _copies(self, ledger: pa.Table) -> tuple[Ints, Ints]:
        """How often each row of the ledger leaves; which entries of the list were found (their first positions)."""
        if self.uids is not None:
            listed = load_list(self.uids)
            pairs = pairs_of(one_array(ledger, "uid"))
            copies = counts_in(pairs, listed)
            first = np.searchsorted(listed, pairs[copies > 0], side="left")
            return copies, np.unique(first).astype(np.int64)
        if self.select is not None:
            return matching(one_array(ledger, "reason"), self.select).astype(np.int64), _NONE
        if self.repeats:
            return repeats_of(ledger), _NONE
        return np.asarray(ledger.column("keep").to_numpy(), dtype=np.int64), _NONE


def matching(reasons: pa.Array, glob: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which reasons match a glob; null (a kept row) never does."""
    coded = reasons.dictionary_encode()
    match = [fnmatch.fnmatchcase(reason, glob) for reason in texts(coded.dictionary)]
    table = np.array([*match, False], dtype=bool)
    codes = coded.indices.fill_null(len(match)).to_numpy(zero_copy_only=False)
    return np.asarray(table[codes], dtype=bool)
