"""`poolsieve.kept(OUT)`: which rows of a pool a decision kept, for loaders that stream the original pool."""

from __future__ import annotations

import functools
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.kept.files import Files, positions
from poolsieve.dataflow.kept.fixed import Fixed, fixed
from poolsieve.dataflow.kept.index import Index, open_index
from poolsieve.dataflow.kept.predicates import Column, Samples, Tally, scalar_weights, stream
from poolsieve.dataflow.kept.uids import Bools, halves, many_pairs, many_texts, one_text
from poolsieve.dataflow.pools.formats.base import UID, Ints
from poolsieve.dataflow.pools.formats.webdataset.read import MemberSource, parse_source
from poolsieve.scoring_models.base.errors import PlanError, unknown_name

Key = tuple[str, int]
"""A row's key: its file, and its position there from 0."""

Doubles = np.ndarray[Any, np.dtype[np.float64]]

_WEBDATASET = "webdataset"


class Kept:
    """What a decision kept: a predicate over uids and row keys, from `poolsieve.kept`.

    It stands for one decision for good; later ones in the same OUT change nothing. It pickles in about a kilobyte, and
    whoever unpickles it maps the same files on disk (on another machine: reads OUT again, once). Nothing is read before
    it is asked for.

    A uid may repeat in a pool. `kept(uid)` is true if any of its rows was kept; row keys are exact, and `twins` counts
    the rows of which the two say different things.

    Where the recipe has a `Repeat`, `rows`, `indices`, `count`, `times` and `stream` have a row as often as it
    leaves. A predicate (`by`, `webdataset`) can't give a row twice: it keeps each once, and warns of that.
    """

    def __init__(self, made: Fixed) -> None:
        self.fixed = made
        self._tallies: dict[Any, Tally] = {}
        self._means: dict[tuple[str, float], tuple[float, float]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Kept, (self.fixed,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kept) and self.fixed == other.fixed

    def __hash__(self) -> int:
        return hash((self.fixed.out, self.fixed.decision, self.fixed.scores))

    def __repr__(self) -> str:
        made = self.fixed
        return f"<kept by decision {made.decision} of {made.out}: {made.kept:,} of {made.rows:,} rows>"

    def __len__(self) -> int:
        """Rows that were kept."""
        return self.fixed.kept

    @property
    def decision(self) -> str:
        """The decision's id: note it, and a training that goes on later takes `kept(OUT, decision=...)`."""
        return self.fixed.decision

    @functools.cached_property
    def index(self) -> Index:
        """The kept uids, opened or made at the first question for one."""
        return open_index(self.fixed)

    @functools.cached_property
    def files(self) -> Files:
        """The pool's files, read one by one as they are asked for."""
        return Files(self.fixed)

    def __call__(self, row: str | Key) -> bool:
        """Whether a row was kept, by its uid or by its key.

        Args:
            row: a uid; or (file, position in it), the file as `rows` takes it.

        Raises:
            PlanError: for anything else, and for a file that is not the pool's.
        """
        if isinstance(row, tuple):
            path, position = self._key(row)
            return self.files.has(path, position)
        return self.index.place(*halves(one_text(row)))[1] > 0

    __contains__ = __call__

    def _key(self, row: tuple[Any, ...]) -> Key:
        if len(row) != 2 or not isinstance(row[0], str) or isinstance(row[1], bool) or not hasattr(row[1], "__index__"):
            raise PlanError(f"{row!r} is no key of a row: give (file, position in the file)")
        return self.files.path(row[0]), int(row[1])

    def times(self, row: Key) -> int:
        """How often a row leaves, by its key (file, position in it): 0 if it was not kept, else 1 without a `Repeat`.

        Raises:
            PlanError: for what is no key, and for a file that is not the pool's.
        """
        if not isinstance(row, tuple):
            raise PlanError(f"{row!r} is no key of a row: give (file, position in the file); of a uid ask kept.count")
        return self.files.times(*self._key(row))

    def mask(self, uids: Any) -> Bools:
        """bool (n,): which of many uids were kept.

        Args:
            uids: texts, in a list, a NumPy or Arrow array, a pandas Series. Null was not kept.

        Raises:
            PlanError: if they are no texts.
        """
        return self.count(_not_one(uids)) > 0

    @overload
    def count(self, uids: str) -> int: ...

    @overload
    def count(self, uids: Any) -> Ints: ...

    def count(self, uids: Any) -> int | Ints:
        """How many kept rows have a uid, each as often as it leaves; of many uids int64 (n,)."""
        if isinstance(uids, str) or not hasattr(uids, "__len__") or isinstance(uids, (bytes, bytearray)):
            return self.index.place(*halves(one_text(uids)))[1]
        pairs, valid = many_pairs(uids)
        return np.where(valid, self.index.places(pairs)[1], 0)

    @overload
    def score(self, name: str, uids: str) -> float: ...

    @overload
    def score(self, name: str, uids: Any) -> Doubles: ...

    def score(self, name: str, uids: Any) -> float | Doubles:
        """A score of a kept row, by its uid; of a uid that repeats, that of the first kept row in pool order.

        Args:
            name: one of those that `poolsieve.kept` was given.
            uids: one, or many: then float64 (n,), NaN for those that were not kept. A row without a score has NaN.

        Raises:
            PlanError: for a score that was not asked for, and for one uid that was not kept.
        """
        values = self._scores(name)
        if isinstance(uids, str):
            place, count = self.index.place(*halves(one_text(uids)))
            if not count:
                raise PlanError(f"uid {uids[:100]!r} was not kept, so it has no score here; the ledger has it")
            return float(values[place])
        pairs, valid = many_pairs(uids)
        first, counts = self.index.places(pairs)
        there, found = valid & (counts > 0), np.full(len(pairs), np.nan)
        found[there] = values[first[there]]
        return found

    def _scores(self, name: str) -> Any:
        if name not in self.fixed.scores:
            hint = f" Ask for it: poolsieve.kept(OUT, scores=[{name!r}])"
            raise unknown_name(f"score {name!r} does not go along", name, self.fixed.scores, hint)
        return self.index.scores[name]

    @overload
    def weight(self, uids: str, by: str, *, temperature: float = 1.0, lowest: bool = False) -> float: ...

    @overload
    def weight(self, uids: Any, by: str, *, temperature: float = 1.0, lowest: bool = False) -> Doubles: ...

    def weight(self, uids: Any, by: str, *, temperature: float = 1.0, lowest: bool = False) -> float | Doubles:
        """exp(score / temperature), divided by its mean over the kept rows: weights for a loss or a sampler, of mean 1.

        Args:
            uids: one, or many (float64 (n,); 0 for those that were not kept).
            by: a score that `poolsieve.kept` was given.
            temperature: above 0; the higher, the more alike are the weights.
            lowest: the smallest score is the best, so it is taken with the opposite sign.

        Raises:
            PlanError: for a temperature that is none, if some kept row has no score, and for one uid that was not kept.
        """
        if not (isinstance(temperature, (int, float)) and math.isfinite(temperature) and temperature > 0):
            raise PlanError(f"temperature={temperature!r}: a number above 0 is wanted")
        signed = -float(temperature) if lowest else float(temperature)
        largest, mean = self._mean(by, signed)
        made = np.exp((np.asarray(self.score(by, uids), np.float64) - largest) / signed) / mean
        return float(made) if isinstance(uids, str) else np.nan_to_num(made, nan=0.0)

    def _mean(self, by: str, signed: float) -> tuple[float, float]:
        if (by, signed) not in self._means:
            found = scalar_weights(self._scores(by), signed)
            if not math.isfinite(found[1]):
                raise PlanError(f"some kept rows have no finite score {by!r}, so they have no weight by it")
            self._means[by, signed] = found
        return self._means[by, signed]

    def rows(self, file: str) -> Ints:
        """int64: positions of a file's kept rows, from 0, ascending, each as often as it leaves.

        Args:
            file: its URL or path, or its path below the pool's folder (the ledger's `path`).

        Raises:
            PlanError: if it is none of the pool's files.
        """
        return self.files.rows(self.files.path(file))

    @functools.cached_property
    def urls(self) -> tuple[str, ...]:
        """The pool's files that have kept rows, in pool order: there is no need to read others."""
        lines = self.files.lines
        return tuple(self.files.url(path) for path in lines if any(line.kept for line in lines[path]))

    def indices(self, files: Sequence[str] | Mapping[str, int], total: int) -> Ints:
        """int64: positions of the kept rows in a table that was read from files of the pool, one after the other.

        For map-style datasets: `ds.select(kept.indices(files, len(ds)))`, `Subset(ds, kept.indices(files, len(ds)))`.

        Args:
            files: the files in the order in which they were read; or {file: rows in it}, where the ledger has not
                a line for every row (a sample, a damaged file).
            total: rows of the table; it is compared.

        Raises:
            PlanError: if the files don't have so many rows, or one is not the pool's.
        """
        return positions(self.files, files, total)

    def by(self, column: str) -> Column:
        """The predicate over rows with a column of uids: for `filter` of `datasets`, with `batched=True` or without.

        Raises:
            PlanError: if the pool's files have no uids.
        """
        self._check_uids()
        self._warn_of_repeats()
        return self._ready(Column(self, column))

    def webdataset(self, *, uid: str | None = None, by: str | None = None) -> Samples:
        """The predicate over WebDataset's samples: `wds.WebDataset(urls).select(kept.webdataset())`.

        Args:
            uid: where a sample's uid is, as in `Pool.webdataset`: "json:uid", "__key__"; else where the pool has it.
            by: "uid", or "key" for shard (`__url__`) and `__key__`: exact where uids repeat, and for pools without any.
                Then the tars must be the pool's own. If not given, "uid" where it is known.

        Raises:
            PlanError: if samples can't be told that way.
        """
        self._warn_of_repeats()
        source = self._source() if uid is None else parse_source(UID, uid)
        by = by or ("key" if source is None and self._has_keys() else "uid")
        if by not in ("uid", "key"):
            raise PlanError(f"by={by!r}: 'uid' or 'key' is wanted")
        if by == "key" and (uid is not None or not self._has_keys()):
            raise PlanError(
                "by='key' is for pools of tars, and takes no uid=: the pool's samples are told by their uid"
            )
        if by == "key":
            return Samples(self, None)
        self._check_uids()
        if source is None:
            raise PlanError("where in a sample is its uid? Say so, as kept.webdataset(uid='json:uid')")
        return self._ready(Samples(self, source))

    def stream(self, rows: Any, uid: str | None = None, *, keep: Callable[[Any], Any] | None = None) -> Any:
        """An iterable of rows as a `torch.utils.data.IterableDataset` of the kept ones, each as often as it leaves.

        Args:
            rows: the iterable, such as an `IterableDataset` of yours.
            uid: key of a row's uid.
            keep: instead of that, a function of a row, which says how often it leaves, or whether it does:
                `lambda row: kept.times((row["file"], row["row"]))`.

        Raises:
            PlanError: unless one of the two is given; without torch; by uid, if rows are repeated and uids are too.
        """
        if (uid is None) == (keep is None):
            raise PlanError("kept.stream(rows, 'uid') or kept.stream(rows, keep=function): one of the two is wanted")
        return stream(rows, keep or self._times_by(str(uid)))

    def _times_by(self, column: str) -> Callable[[Any], Any]:
        self._check_uids()
        found = self._ready(Column(self, column))
        if not self._repeats:
            return found  # type: ignore[no-any-return]
        if self.index.distinct != self.fixed.kept:
            raise PlanError(
                f"{self.fixed.kept:,} rows were kept, of {self.index.distinct:,} uids, and some leave several times: "
                "uids do not say which; go by keys: kept.stream(rows, keep=lambda row: kept.times((file, position)))"
            )
        return found.times  # type: ignore[no-any-return]

    @property
    def _repeats(self) -> bool:
        return self.fixed.leaving != self.fixed.kept

    def twins(self) -> int:
        """Dropped rows with the uid of a kept row: `kept(uid)` is true for them. Reads the whole ledger."""
        lines = [line for some in self.files.lines.values() for line in some]
        tables = (self.fixed.ledger(line, ["uid", "keep"]) for line in lines if line.kept < line.rows)
        return sum(
            int(self.mask(one.column("uid"))[~np.asarray(one.column("keep").to_numpy(), bool)].sum()) for one in tables
        )

    def tally(self, of: Column | Samples) -> Tally:
        """Counts what a predicate of this process was asked."""
        named = str(of)
        if named not in self._tallies:
            share = self.fixed.kept / self.fixed.rows if self.fixed.rows else 0.0
            self._tallies[named] = Tally(share, named)
        return self._tallies[named]

    def as_uid(self, value: Any) -> str:
        """A value of a column as the pool's reader makes a uid of it: a whole number is its digits.

        Raises:
            PlanError: where it can be none of this pool's.
        """
        whole = isinstance(value, int) and not isinstance(value, bool) and not self.fixed.listed
        return str(value) if whole else one_text(value)

    def as_uids(self, values: Any) -> pa.Array:
        """The same for many."""
        made = pa.array(values) if isinstance(values, (list, np.ndarray)) and not self.fixed.listed else values
        whole = isinstance(made, (pa.Array, pa.ChunkedArray)) and pa.types.is_integer(made.type)
        return many_texts(made.cast(pa.string()) if whole and not self.fixed.listed else values)

    def _ready(self, made: Any) -> Any:
        """Has the list made before a loader's workers start, which would wait for one another."""
        _ = self.index
        return made

    def _warn_of_repeats(self) -> None:
        made = self.fixed
        if self._repeats:
            text = f"the {made.kept:,} kept rows leave {made.leaving:,} times, and a filter gives each once"
            warnings.warn(f"{text}: take kept.stream(...), kept.indices(...) or an export", UserWarning, stacklevel=3)

    def _check_uids(self) -> None:
        if not self.fixed.has_uids:
            raise PlanError(
                "this pool has no uids of its own (they were derived from paths and positions), so no loader knows "
                "them: go by keys, as kept.rows(file), kept.indices(files, n), (file, row) in kept, or "
                "kept.webdataset(by='key')"
            )

    def _has_keys(self) -> bool:
        return all(place.format == _WEBDATASET for place in self.fixed.files.places)

    def _source(self) -> MemberSource | None:
        """Where the samples of all the pool's tars have their uid; None if that is no one place."""
        sources = {place.roles.get(UID) if place.format == _WEBDATASET else None for place in self.fixed.files.places}
        found = next(iter(sources)) if len(sources) == 1 else None
        return None if found is None else parse_source(UID, found)


def _not_one(uids: Any) -> Any:
    if isinstance(uids, (str, bytes)) or not hasattr(uids, "__len__"):
        raise PlanError(f"a list or an array of uids is wanted, not {type(uids).__name__}; of one ask kept(uid)")
    return uids


def kept(
    out: str | os.PathLike[str],
    *,
    scores: Sequence[str] = (),
    decision: str | None = None,
    root: str | Mapping[str, str] | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Kept:
    """What the current decision in OUT kept, for loaders that stream the original pool.

        kept = poolsieve.kept("OUT")
        wds.WebDataset(urls).select(kept.webdataset())
        load_dataset(..., streaming=True).filter(kept.by("uid"))

    Args:
        out: OUT of a whole run, on any fsspec storage. Nothing is written there.
        scores: that go along, by uid: names of numbers in the ledger.
        decision: id of an earlier decision that OUT still has.
        root: where the pool's files are now, if they have been copied: a folder or URL; of a union {part: folder}.
        cache: folder for sorted lists of uids, where OUT has none that serves: if the run is remote, scores go along,
            or uids are not 32 hexadecimal digits. Else the variable POOLSIEVE_CACHE, else ~/.cache/poolsieve.

    Raises:
        PlanError: if OUT has no whole run, or no such decision or score.
        PoolsieveError: if what OUT holds is damaged.
    """
    where = None if cache is None else os.fspath(cache)
    return Kept(fixed(os.fspath(out), scores=scores, decision=decision, root=root, cache=where))
