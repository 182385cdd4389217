"""Finds the exact cut of a `Top`, sixteen bits at a time, from histograms that add up in any order.

Radix selection over the order keys of the scores, then over the 64-bit tie hashes of rows that tie with the row at the
cut, then over files and rows. Each level is one histogram per shard (sparse) and one sum; state is constant whatever
the size of the pool. Plain Python; `passes.pipeline` lets Beam do the shards and the sums. Once few rows share all
digits found so far, these rows are listed, and the level after that is the last.

An example with decimal digits: the best 4 of the keys 31, 12, 34, 15, 38, 17 (the least first). Level one counts first
digits: 1 stands three times, 3 three times; rank 4 lies among the keys that begin with 3, as the 1st of them. Level two
counts second digits of those alone: 1, 4, 8; the 1st is 1. So the cut is 31, and 12, 15, 17, 31 stay.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.walk import Cuts, State, walk
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.neighbours import Neighbours
from poolsieve.filters.dsl.cuts import Cut, key_bits, key_value, order_keys, tie_hashes
from poolsieve.filters.dsl.env import Env, paths_at
from poolsieve.filters.dsl.top import Ranked
from poolsieve.scoring_models.base.errors import PoolsieveError

DIGIT = 16

FEW_TIES = 1 << DIGIT
"""Rows that may be listed one by one: as many as a level has digits."""

Array = np.ndarray[Any, Any]


_HASH_BITS = 64


class Level(enum.Enum):
    """What one level of a search finds."""

    SCORE = "a digit of the order key of the score at the cut"
    HASH = "a digit of the tie hash, among rows with that score"
    FILE = "the file, among rows with that score and hash: a uid may stand twice"
    ROW = "the row in that file"
    TIES = "hash, file and row at once, where few rows share what is found"


def level_at(number: int, kind: pa.DataType) -> tuple[Level, int]:
    """What level `number` (from 0) of a search over scores of a type finds, and which digit of it, from the highest."""
    score_digits, hash_digits = key_bits(kind) // DIGIT, _HASH_BITS // DIGIT
    if number == levels(kind):
        return Level.TIES, 0
    if number < score_digits:
        return Level.SCORE, number
    if number < score_digits + hash_digits:
        return Level.HASH, number - score_digits
    return (Level.FILE if number == score_digits + hash_digits else Level.ROW), 0


def levels(kind: pa.DataType) -> int:
    """Most levels of a search over scores of a type: score digits, hash digits, then file and row.

    `Level.TIES` has this number; what it finds are all that come after the score digits.
    """
    return key_bits(kind) // DIGIT + _HASH_BITS // DIGIT + 2


@dataclass(frozen=True)
class CutSearch:
    """How far the search for one group's cut has come.

    Attributes:
        level: number of the level that is next.
        hash_digits: digits of the tie hash that are found.
        left: the rank (or budget) that remains within the rows that share what was found.
        key, hash: the digits found so far, in their places; lower ones are 0.
        path: the file, once it is found.
        of, k, competing: rows that the fraction is of, rows (or budget) asked for, rows that compete.
        cut: set at the end.
    """

    level: int = 0
    left: int = 0
    key: int = 0
    hash: int = 0
    hash_digits: int = 0
    path: str = ""
    of: int = 0
    k: int = 0
    competing: int = 0
    cut: Cut | None = None


Searches = Mapping[str, CutSearch]


@dataclass
class DigitCounts:
    """What some shards say of one group at one level: digit -> weight, and totals."""

    of: int = 0
    competing: int = 0
    total: int = 0
    digits: dict[Any, int] = field(default_factory=dict)

    def add(self, other: DigitCounts) -> DigitCounts:
        """Adds another shard's counts."""
        self.of += other.of
        self.competing += other.competing
        self.total += other.total
        for digit, weight in other.digits.items():
            self.digits[digit] = self.digits.get(digit, 0) + weight
        return self


def asked(shards: Iterable[Shard], job: Job, searches: Searches | None, top: Ranked) -> bool:
    """Whether the searches have anything to count of some shards; else their scores need not be read."""
    kind = job.program.types[top.name]
    if searches is None:
        return True
    return any(_is_open(search, kind, shard.path) for shard in shards for search in searches.values())


def _is_open(search: CutSearch, kind: pa.DataType, path: str) -> bool:
    """Whether a search asks something of a file: one that has ended does not, and of rows only the tied file's."""
    return search.cut is None and (level_at(search.level, kind)[0] is not Level.ROW or search.path == path)


def count_stored(
    source: Neighbours, job: Job, cuts: Cuts, searches: Searches | None, *, at: int, top: Ranked
) -> dict[str, DigitCounts]:
    """Group -> counts of some shards at the level that each of `searches` has reached (None: the first).

    Args:
        source: the shards' rows and scores.
        job: what is run.
        cuts: those of earlier rules.
        searches: group -> how far its search has come.
        at: position of the rule that the cut is part of.
        top: the cut.

    Raises:
        NotScored: if rows need scores that are not stored.
    """
    state = walk(job.program, source, cuts, at)
    source.require_scored(state.unknown)
    return count_state(state, job, searches, top)


def count_state(state: State, job: Job, searches: Searches | None, top: Ranked) -> dict[str, DigitCounts]:
    """The same of a walk that has come to the cut, and of which nothing is unknown."""
    if state.env is None:
        raise PoolsieveError("a walk without an environment")
    return count_rows(state.env, searches, top=top, kind=job.program.types[top.name])


def count_rows(env: Env, searches: Searches | None, *, top: Ranked, kind: pa.DataType) -> dict[str, DigitCounts]:
    """Group -> counts of the rows of `env` (a shard's) at the level that each search has reached. Pure.

    Args:
        env: the rows as a rule sees them that stands where the cut does.
        searches: group -> how far its search has come; None at the first level.
        top: the cut.
        kind: type of the score that it ranks by.
    """
    return _Counter(env, top, kind).counts(searches)


def add_counts(total: dict[str, DigitCounts], counts: Mapping[str, DigitCounts]) -> dict[str, DigitCounts]:
    """Adds another shard's counts to a sum, group by group."""
    for group, found in counts.items():
        total.setdefault(group, DigitCounts()).add(found)
    return total


class _Counter:
    """One shard's rows as a cut sees them."""

    def __init__(self, env: Env, top: Ranked, kind: pa.DataType) -> None:
        self.env, self.top, self.kind = env, top, kind
        self.keys, self.valid = order_keys(env.scores[top.name], top.lowest)
        if top.rank == "alive":
            self.valid = self.valid & env.alive
        self.weights = top.weights(env)

    def counts(self, searches: Searches | None) -> dict[str, DigitCounts]:
        out = {}
        for group, rows in self.top.grouped(self.env).rows():
            search = CutSearch() if searches is None else searches.get(group)
            if search is not None and search.cut is None:
                out[group] = self._group(group, rows, search)
        return out

    def _group(self, group: str, inside: Array, search: CutSearch) -> DigitCounts:
        rows = inside[self.valid[inside] & self.top.fitting(group, self.weights[inside])]
        counts = DigitCounts(
            of=len(inside) if self.top.of == "pool" else int(self.env.alive[inside].sum()),
            competing=len(rows),
            total=int(self.weights[rows].sum()),
        )
        counts.digits = self._digits(rows, search)
        return counts

    def _digits(self, rows: Array, search: CutSearch) -> dict[Any, int]:
        level, digit = level_at(search.level, self.kind)
        if level is Level.SCORE:
            return _histogram(self.keys[rows], self.weights[rows], key_bits(self.kind), digit, search.key)
        # Few rows are left from here on, so that uids are hashed for those alone.
        rows = rows[self.keys[rows] == np.uint64(search.key)]
        hashes = tie_hashes(self.env.uid.take(pa.array(rows, pa.int64())), self.top.seed)
        if level is Level.HASH:
            return _histogram(hashes, self.weights[rows], _HASH_BITS, digit, search.hash)
        if level is Level.TIES:
            return self._listed(rows, hashes, search)
        tied = rows[hashes == np.uint64(search.hash)]
        if level is Level.FILE:
            return self._by_file(tied)
        # Another group's search may have come to this file.
        return {int(self.env.rows[i]): int(self.weights[i]) for i, path in self._paths(tied) if path == search.path}

    def _paths(self, rows: Array) -> Iterator[tuple[int, str]]:
        """Some rows, each with its file."""
        paths = paths_at(self.env.path, rows)
        return zip(rows.tolist(), itertools.repeat(paths) if isinstance(paths, str) else paths.tolist(), strict=False)

    def _by_file(self, rows: Array) -> dict[Any, int]:
        out: dict[Any, int] = {}
        for i, path in self._paths(rows):
            out[path] = out.get(path, 0) + int(self.weights[i])
        return out

    def _listed(self, rows: Array, hashes: Array, search: CutSearch) -> dict[Any, int]:
        """(tie hash, file, row) -> weight of the rows that share what is found. What weighs nothing ends no budget."""
        unknown = np.uint64(_HASH_BITS - DIGIT * search.hash_digits)
        same = self.weights[rows] > 0
        if search.hash_digits:
            same &= (hashes >> unknown) == (np.uint64(search.hash) >> unknown)
        pairs = zip(self._paths(rows[same]), hashes[same].tolist(), strict=True)
        return {(tie, path, int(self.env.rows[i])): int(self.weights[i]) for (i, path), tie in pairs}


def _histogram(keys: Array, weights: Array, bits: int, digit: int, prefix: int) -> dict[Any, int]:
    """Digit number `digit` of those keys whose higher digits are `prefix`'s -> summed weight."""
    shift = bits - DIGIT * (digit + 1)
    if digit:
        same = (keys >> np.uint64(shift + DIGIT)) == np.uint64(prefix >> (shift + DIGIT))
        keys, weights = keys[same], weights[same]
    digits = (keys >> np.uint64(shift)) & np.uint64(0xFFFF)
    if (weights == 1).all():
        return counts_of(digits.astype(np.int64))
    present, places = np.unique(digits, return_inverse=True)
    sums = np.zeros(len(present), dtype=np.int64)
    np.add.at(sums, places, weights)  # bincount sums in float64
    return dict(zip(present.tolist(), sums.tolist(), strict=True))


def counts_of(digits: Array) -> dict[int, int]:
    """Digit -> how often it stands in `digits`: int64 (n,), 0 to 65,535."""
    if len(digits) < _FEW_ROWS:
        present, counts = np.unique(digits, return_counts=True)
        return dict(zip(present.tolist(), counts.tolist(), strict=True))
    counts = np.bincount(digits, minlength=1)
    present = np.flatnonzero(counts)
    return dict(zip(present.tolist(), counts[present].tolist(), strict=True))


_FEW_ROWS = 4096
"""Below, sorting them is quicker than going through a counter for each digit."""


def advance(
    counts: Mapping[str, DigitCounts],
    searches: Searches | None,
    *,
    top: Ranked,
    kind: pa.DataType,
    cuts: Cuts | None = None,
    few: int = FEW_TIES,
) -> Searches:
    """The searches one level further, from the sum of all shards' counts.

    Args:
        counts: group -> the sum.
        searches: group -> how far its search had come; None at the first level.
        top: the cut.
        kind: type of the score that it ranks by.
        cuts: those that are known.
        few: rows that tie and are listed; more are told apart by further digits.
    """
    if searches is None:
        firsts = {
            group: _first(top.of_group(group), kind, found, _taken(top, cuts or {}, group), few)
            for group, found in sorted(counts.items())
        }
        return firsts or {"": _empty(top, kind)}
    return {
        group: search if search.cut else _step(top.of_group(group), kind, search, counts.get(group, DigitCounts()), few)
        for group, search in searches.items()
    }


def _empty(top: Ranked, kind: pa.DataType) -> CutSearch:
    return CutSearch(cut=Cut(kind="none", lowest=top.lowest, bits=key_bits(kind)))


def _taken(top: Ranked, cuts: Cuts, group: str) -> int:
    """Rows of a group that the cut before this one keeps."""
    found = cuts.get(top.after or "", {}).get(group)
    return found.kept if isinstance(found, Cut) else 0


def _first(top: Ranked, kind: pa.DataType, counts: DigitCounts, taken: int, few: int) -> CutSearch:
    k = top.target(counts.of, taken)
    search = CutSearch(left=k, of=counts.of, k=k, competing=counts.competing)
    if (k <= 0 and top.budget is None) or counts.competing == 0:
        return replace(search, cut=_finished(top, kind, search, kind_of="none"))
    if k > counts.total or (k == counts.total and top.ties == "hash"):
        return replace(search, cut=_finished(top, kind, search, kind_of="all"))
    return _step(top, kind, search, counts, few)


def _step(top: Ranked, kind: pa.DataType, search: CutSearch, counts: DigitCounts, few: int) -> CutSearch:
    """Finds the digit that holds the row at the cut, and what is left of the rank within it."""
    # A budget may not be exceeded: its cut is the first row that does not fit. A rank's is the last row that stays.
    strict = top.budget is not None
    before = 0
    for digit in sorted(counts.digits):
        weight = counts.digits[digit]
        reached = before + weight > search.left if strict else before + weight >= search.left
        if reached:
            return _into(top, kind, replace(search, left=search.left - before), digit, weight, few)
        before += weight
    raise PoolsieveError(f"the cut of {top.cut!r} was lost between two readings: the scores changed meanwhile")


def _into(top: Ranked, kind: pa.DataType, search: CutSearch, digit: Any, weight: int, few: int) -> CutSearch:
    level, place = level_at(search.level, kind)
    search = replace(search, level=search.level + 1)
    if level is Level.SCORE:
        search = replace(search, key=search.key | (digit << (key_bits(kind) - DIGIT * (place + 1))))
        whole_key = level_at(search.level, kind)[0] is not Level.SCORE
        # Where all rows with this score stay anyhow, there are no ties to break.
        exact = top.budget is None and weight == search.left
        if whole_key and (top.ties == "include" or exact):
            return replace(search, cut=_finished(top, kind, search, include_ties=True))
        return _listing(search, kind, weight, few) if whole_key else search
    if level is Level.HASH:
        found = search.hash | (digit << (_HASH_BITS - DIGIT * (place + 1)))
        return _listing(replace(search, hash=found, hash_digits=place + 1), kind, weight, few)
    if level is Level.TIES:
        tie, path, row = digit
        search = replace(search, hash=tie, path=path)
        return replace(search, cut=_finished(top, kind, search, tie_row=row))
    if level is Level.FILE:
        return replace(search, path=digit)
    return replace(search, cut=_finished(top, kind, search, tie_row=digit))


def _listing(search: CutSearch, kind: pa.DataType, weight: int, few: int) -> CutSearch:
    """The search, its next level a list of rows if there are few: their number is at most their weight."""
    return replace(search, level=levels(kind)) if weight <= few else search


def _finished(
    top: Ranked,
    kind: pa.DataType,
    search: CutSearch,
    kind_of: str = "rank",
    include_ties: bool = False,
    tie_row: int = -1,
) -> Cut:
    ranked = kind_of == "rank"
    return Cut(
        kind=kind_of,
        value=key_value(search.key, kind, top.lowest) if ranked else None,
        key=search.key if ranked else 0,
        bits=key_bits(kind),
        lowest=top.lowest,
        inclusive=top.budget is None,
        include_ties=include_ties,
        tie_hash=search.hash,
        tie_path=search.path,
        tie_row=tie_row,
        of=search.of,
        k=search.k,
        competing=search.competing,
    )


def cuts_of(searches: Searches) -> dict[str, Cut]:
    """Group -> cut, of a search that has ended."""
    return {group: search.cut for group, search in searches.items() if search.cut is not None}
