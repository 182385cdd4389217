"""`against=`: rows that another corpus has, or has one like.

The other corpus becomes an artefact, once: of each different text its hash, its sketch, and where its first row is. A
row's answer depends on the row and on that file alone, so it is a score like any other, and is stored.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.filters.duplicates import runs
from poolsieve.filters.duplicates.bands import Bands
from poolsieve.filters.duplicates.characters import Bytes
from poolsieve.filters.duplicates.families import fixed_bytes
from poolsieve.filters.duplicates.others import NONE, Nearest
from poolsieve.filters.duplicates.roots import Ints
from poolsieve.filters.duplicates.sketch import BINS, estimate
from poolsieve.filters.lists import PAIR, Pairs, places_in
from poolsieve.filters.parted import read_parted
from poolsieve.filters.sketches import HASH_BYTES, ExactHash, TextSketch
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short
from poolsieve.scoring_models.base.scorer import Resources, Scored, ScorerConfig

HASH, SKETCH, PATH, ROW = "hash", "sketch", "path", "row"
"""Columns of the artefact: fixed_size_binary[16], ascending and each once, and [256]; dictionary of strings; int64.

It is in parts by the first bits of the hash, so that no worker that makes it sees all of it."""

OPENED = 4
"""Artefacts that stay in memory."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Against(ScorerConfig):
    """How much a row is like one of another pool: `similarity` (float32), and `of` (string), that row as `path:row`.

    1 for a copy; the estimate of a sketch for the nearest of those with a band of it in common; 0 and null where there
    is none, and for a row without a hash. Of equal rows there, the first one is named.

    Args:
        pool: the other one.
        hash: the score of an `ExactHash`.
        sketch: the score of a `TextSketch`; without it copies alone are found.
        role: of the other pool, of which the same is made there.
        normalised: as the `ExactHash` has it.
        version: see `Scorer`.
    """

    pool: Any
    hash: str
    sketch: str | None = None
    role: str = "text"
    normalised: bool = False
    version: int = 1
    artefact: str = field(default="", metadata={"runtime": True})
    """URL of what was collected; filled in before the first pass."""

    packages = ("xxhash",)
    pools_are: ClassVar[str] = "pool"
    """What messages call them."""

    def __post_init__(self) -> None:
        if not hasattr(self.pool, "located"):
            several = "; of several make one with Pool.union" if isinstance(self.pool, (list, tuple, dict)) else ""
            raise PlanError(f"against={short(self.pool)}: give a pool, as Pool.jsonl('b.jsonl', text='text'){several}")

    @property
    def reads(self) -> tuple[str, ...]:
        """The hash, and the sketch if there is one."""
        return (self.hash,) if self.sketch is None else (self.hash, self.sketch)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """See the class."""
        return {"similarity": pa.float32(), "of": pa.string()}

    @property
    def resources(self) -> Resources:
        """NumPy, which lets Python's lock go."""
        return Resources()

    @property
    def pools(self) -> Mapping[str, Any]:
        """The pool that the artefact is collected from."""
        return {"against": self.pool}

    @property
    def pool_role(self) -> str:
        """The role of it that is read."""
        return self.role

    def check_role(self, where: str, role: str, kind: pa.DataType) -> None:
        """Refuses scores that are no hash and no sketch.

        Raises:
            PlanError: saying which.
        """
        size, made = (HASH_BYTES, "an ExactHash") if role == self.hash else (BINS, "a TextSketch")
        if kind != pa.binary(size):
            raise PlanError(f"{where}: {role!r} is {kind}, and the score of {made} is needed")

    def check_pool(self, where: str, kind: pa.DataType) -> None:
        """Refuses another pool whose role has no text (nor, if copies alone are looked for, bytes).

        Raises:
            PlanError: saying what it has.
        """
        self._exact.check_role(where, self.role, kind)
        if self.sketch is not None and not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise PlanError(f"{where}: its role {self.role!r} is {kind}, and sketches are made of text")

    @property
    def _exact(self) -> ExactHash:
        return ExactHash(self.role, self.normalised)

    def lines(self, batch: pa.RecordBatch, path: str, rows: Ints) -> pa.Table:
        """What is collected of a batch with the role: its rows that have a value.

        Args:
            batch: n rows.
            path: of their file.
            rows: int64 (n,), their positions in it.
        """
        made = {HASH: self._exact.score(batch).columns[""]}
        if self.sketch is not None:
            made[SKETCH] = TextSketch(text=self.role).score(batch).columns[""]
        paths = pa.DictionaryArray.from_arrays(
            pa.array(np.zeros(len(rows), np.int32), pa.int32()), pa.array([path], pa.string())
        )
        where = {PATH: paths, ROW: pa.array(rows, pa.int64())}
        return pa.table({**made, **where}).filter(made[HASH].is_valid())

    def collected(self, tables: Iterable[pa.Table]) -> pa.Table:
        """Of the lines of some batches in any order the first of each hash, ascending: any of them, or all of a part.

        Takes those that are given into memory, twice.
        """
        whole = pa.concat_tables([self._none, *tables]).unify_dictionaries()
        known, files = pairs(_hashes(whole)), _ranks(whole.column(PATH).combine_chunks())
        order = np.lexsort((whole.column(ROW).to_numpy(), files, known["f1"], known["f0"]))
        firsts = order[runs.begins(known[order])]
        return _by_name(whole.take(pa.array(firsts, pa.int64())).combine_chunks())

    @property
    def _none(self) -> pa.Table:
        return self.lines(pa.record_batch({self.role: pa.array([], pa.string())}), "", np.empty(0, np.int64))

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The two columns."""
        known = opened(self.artefact)
        hashes, some = fixed_bytes([batch.column(self.hash)], HASH_BYTES)
        places = np.where(some, equals(hashes, known.hashes), NONE)
        similarity = (places != NONE).astype(np.float32)
        if self.sketch is not None:
            sketches, sketched = fixed_bytes([batch.column(self.sketch)], BINS)
            asked = np.flatnonzero(sketched & (places == NONE))
            places[asked], equal = known.nearest(sketches[asked])
            similarity[asked] = np.where(places[asked] != NONE, estimate(equal), 0)
        return Scored({"similarity": pa.array(similarity), "of": known.names(places)})


def pairs(hashes: Bytes) -> Pairs:
    """(n,) of `PAIR`: hashes, uint8 (n, 16), as two big-endian halves each, so that they are in the order of bytes."""
    halves = np.ascontiguousarray(hashes).view(">u8")
    made = np.empty(len(halves), PAIR)
    made["f0"], made["f1"] = halves[:, 0], halves[:, 1]
    return made


def equals(hashes: Bytes, known: Pairs) -> Ints:
    """int64 (n,): the place of each of uint8 (n, 16) among sorted different `known`, `NONE` where it is not there."""
    first, counts = places_in(pairs(hashes), known)
    return np.where(counts > 0, first, NONE)


def _ranks(paths: Any) -> Ints:
    """int64 (n,): the place of each path in the order of all: paths of their own for each row would be gigabytes."""
    names = [str(name).encode() for name in paths.dictionary.to_pylist()]
    ranks = np.empty(len(names), np.int64)
    ranks[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    made: Ints = ranks[paths.indices.to_numpy()]
    return made


def _by_name(table: pa.Table) -> pa.Table:
    """With the files that rows are of, and no others, in the order of their names: so the same rows are the same bytes.

    Their order is that of the names' bytes, which is Arrow's.
    """
    paths = table.column(PATH).combine_chunks().cast(pa.string())
    names = paths.unique().sort()
    indices = pc.index_in(paths, names).cast(pa.int32())
    return table.set_column(table.schema.get_field_index(PATH), PATH, pa.DictionaryArray.from_arrays(indices, names))


def _hashes(table: pa.Table) -> Bytes:
    return fixed_bytes(table.column(HASH).chunks, HASH_BYTES)[0]


COLUMNS = {HASH: pa.binary(HASH_BYTES), PATH: pa.dictionary(pa.int32(), pa.string()), ROW: pa.int64()}
"""Of every artefact."""

_NONE_KNOWN = pa.table({name: pa.array([], kind) for name, kind in COLUMNS.items()})


class Known:
    """An artefact in memory: 28 bytes a row and its files' names; with sketches 800 more. None has no rows."""

    def __init__(self, table: pa.Table | None) -> None:
        table = _NONE_KNOWN if table is None else table
        self.hashes = pairs(_hashes(table))
        self._path, self._row = table.column(PATH).combine_chunks(), table.column(ROW).combine_chunks()
        self._near: Nearest | None = None
        if SKETCH in table.column_names:
            sketches, some = fixed_bytes(table.column(SKETCH).chunks, BINS)
            self._sketched = np.flatnonzero(some)
            self._near = Nearest(sketches[some], Bands())

    def nearest(self, sketches: Bytes) -> tuple[Ints, np.ndarray[Any, np.dtype[np.int16]]]:
        """(places, equal): the place of the nearest row to each of uint8 (n, 256), or `NONE`, and equal bytes."""
        if self._near is None or not len(self._sketched):
            return np.full(len(sketches), NONE), np.zeros(len(sketches), np.int16)
        places, equal = self._near.of(sketches)
        return np.where(places == NONE, NONE, self._sketched[places]), equal

    def names(self, places: Ints) -> pa.Array:
        """string (n,): path:row of the rows at some places, null for `NONE`."""
        some = np.flatnonzero(places != NONE)
        at = pa.array(places[some], pa.int64())
        paths, rows = self._path.take(at).to_pylist(), self._row.take(at).to_pylist()
        made: list[str | None] = [None] * len(places)
        for i, path, row in zip(some.tolist(), paths, rows, strict=True):
            made[i] = f"{path}:{row}"
        return pa.array(made, pa.string())


_opening = threading.Lock()


def opened(artefact: str) -> Known:
    """An artefact in this process, read by one of the threads that ask for it."""
    with _opening:
        return _read(artefact)


@functools.lru_cache(maxsize=OPENED)
def _read(artefact: str) -> Known:
    tables = read_parted(artefact, COLUMNS).tables
    return Known(pa.concat_tables(tables).unify_dictionaries() if tables else None)
