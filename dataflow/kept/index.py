"""The kept uids, sorted, with scores beside them: mapped from disk, 16 bytes a kept row and 4 or 8 for each score.

A uid of 32 hexadecimal digits is its own number; any other is hashed to 128 bits (BLAKE2b), as lists of uids are
(`filters/lists.py`). A uid that was not kept is then taken for a kept one with a chance of kept / 2**128: for 10**10
kept uids and as many questions, 3 in 10**19 in all.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.caches import cache_folder, made_once, seen_once
from poolsieve.dataflow.kept.fixed import Fixed
from poolsieve.dataflow.retries import retrying
from poolsieve.dataflow.store.layout import subset_url
from poolsieve.dataflow.store.manifest import repeats_of
from poolsieve.dataflow.store.shard_lines import ShardLine
from poolsieve.dataflow.store.tables import one_array
from poolsieve.filters.lists import PAIR, Ints, Pairs, is_sorted, pairs_of, places_in
from poolsieve.filters.repeat import REPEAT
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.errors import PoolsieveError

BUDGET = 64 << 20
"""Bytes of one piece of the list while it is made, if uids are spread evenly, as hashes are."""

_PIECES = 256
"""Most pieces, since each is an open file."""

_LAYOUT = 1
"""Raised when the same decision would give other files."""

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]


@dataclass(frozen=True, kw_only=True)
class Index:
    """The kept uids of a decision.

    Attributes:
        pairs: sorted, with repetitions: a uid of several kept rows, or of one that is repeated, stands there as often.
            On disk.
        scores: name -> float32 or float64 (kept,) beside them; equal uids in pool order. NaN where there is none.
    """

    pairs: Pairs
    scores: Mapping[str, Floats] = field(default_factory=dict)

    @functools.cached_property
    def _halves(self) -> tuple[Any, Any]:
        """Without the memory map's own class, which makes each look at an element several times slower."""
        plain = self.pairs.view(np.ndarray)
        return plain["f0"], plain["f1"]

    @functools.cached_property
    def distinct(self) -> int:
        """How many different uids there are; reads all of them, block by block."""
        found, block = 0, 1 << 20
        for start in range(0, len(self.pairs), block):
            some = self.pairs[max(0, start - 1) : start + block]
            found += int((some[1:] != some[:-1]).sum()) + (start == 0)
        return found

    def places(self, asked: Pairs) -> tuple[Ints, Ints]:
        """(first, counts): where each of `asked` stands first, if at all; how often."""
        return places_in(asked, self.pairs)

    def place(self, high: int, low: int) -> tuple[int, int]:
        """The same for one, by its halves, with less ado."""
        highs, lows = self._halves
        first = int(highs.searchsorted(np.uint64(high)))
        if first == len(highs) or int(highs[first]) != high:
            return first, 0
        tied = lows[first : int(highs.searchsorted(np.uint64(high), "right"))]
        begin, end = (int(tied.searchsorted(np.uint64(low), side)) for side in ("left", "right"))
        return first + begin, end - begin


def open_index(made: Fixed) -> Index:
    """The list of a decision: OUT's own `subset.npy` where that is on this machine and enough, else from the cache.

    Raises:
        PoolsieveError: if OUT's files are missing or damaged.
        PlanError: if the cache can't be written.
    """
    own = _own_list(made)
    if own is not None:
        return Index(pairs=own)
    named = digest([_LAYOUT, made.out, made.decision, made.mark, list(made.scores)], 16)
    folder = made_once(os.path.join(cache_folder(made.cache), "kept", named), lambda where: _make(made, where))
    scores = {name: _cached(folder, f"score-{i}.npy", made) for i, name in enumerate(made.scores)}
    return Index(pairs=_cached(folder, "uids.npy", made), scores=scores)


def _cached(folder: str, name: str, made: Fixed) -> Any:
    """A file of the cache, which was looked through when it was made."""
    try:
        found = _mapped(os.path.join(folder, name))
    except (ValueError, EOFError, SyntaxError, FileNotFoundError) as error:
        raise PoolsieveError(f"{folder} of the cache is damaged ({error}): remove it, and it is made again") from error
    if found.shape != (made.leaving,):
        raise PoolsieveError(f"{folder} of the cache is damaged ({name} is of another length): remove it")
    return found


def _own_list(made: Fixed) -> Pairs | None:
    system, path = fs.connect(subset_url(made.out, made.decision))
    if not made.listed or made.scores or not fs.is_local(system):
        return None
    with made.still_there(), _damage_named(path):
        there = os.stat(path)
        stamp = [path, there.st_size, there.st_mtime_ns, there.st_ino, made.sha256, made.leaving]
        # Every worker opens the list, and to look through one of 10^9 uids takes a minute.
        seen_once(
            os.path.join(cache_folder(made.cache), "kept", f"good-{digest(stamp, 16)}"), lambda: _check(path, made)
        )
        return _mapped(path)


def _mapped(path: str) -> Any:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _check(path: str, made: Fixed) -> None:
    """Refuses what is not the decision's `subset.npy`: by its hash; of an older OUT by its dtype, length and order."""
    found = _mapped(path)
    if not isinstance(found, np.ndarray) or found.dtype != PAIR or found.shape != (made.leaving,):
        raise ValueError(f"{made.leaving:,} pairs (u8,u8) are wanted")
    if not made.sha256 and not is_sorted(found):
        raise ValueError("it is not sorted")
    if made.sha256 and _sha256(path) != made.sha256:
        raise ValueError("it is not the file that the decision was closed with")


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _damage_named(url: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, EOFError, SyntaxError) as error:  # NumPy reads a header with Python's own parser
        if isinstance(error, PoolsieveError):
            raise
        raise PoolsieveError(f"{url} is damaged ({error}); `poolsieve decide` makes it again") from error


def _make(made: Fixed, folder: str) -> None:
    """Fills a folder of the cache."""
    if made.listed and not made.scores:
        _copy(made, os.path.join(folder, "uids.npy"))
    else:
        _sort(made, folder)


def _copy(made: Fixed, target: str) -> None:
    url = subset_url(made.out, made.decision)
    with made.still_there(), _damage_named(url):
        _fetch(*fs.connect(url), target)
        _check(target, made)


@retrying
def _fetch(system: Any, path: str, target: str) -> None:
    system.get_file(path, target)


def _sort(made: Fixed, folder: str) -> None:
    """Ledgers -> pieces by the high bits of the uid -> each sorted and added to the files."""
    lines = [line for line in made.lines() if line.kept]
    kind = _kind(made, lines)
    count = max(1, min(_PIECES, -(-made.leaving * kind.itemsize // BUDGET)))
    with tempfile.TemporaryDirectory(prefix=fs.TEMPORARY, dir=folder) as scratch:
        paths = [os.path.join(scratch, str(i)) for i in range(count)]
        _spread(made, lines, kind, paths)
        with contextlib.ExitStack() as stack:
            files = _outputs(made, kind, folder, stack)
            for path in paths:
                _add(np.fromfile(path, kind), files)


def _kind(made: Fixed, lines: Sequence[ShardLine]) -> np.dtype[Any]:
    """A kept row on its way: the halves of its uid, and its scores (float32 if the ledger's is, else float64)."""
    fields: list[tuple[str, str]] = [("f0", "<u8"), ("f1", "<u8")]
    if lines and made.scores:
        types = made.ledger(lines[0], list(made.scores)).schema
        fields += [(f"s{i}", _width(types.field(name).type)) for i, name in enumerate(made.scores)]
    else:
        fields += [(f"s{i}", "<f4") for i in range(len(made.scores))]
    return np.dtype(fields)


def _width(kind: pa.DataType) -> str:
    return "<f4" if pa.types.is_float32(kind) or pa.types.is_float16(kind) else "<f8"


def _spread(made: Fixed, lines: Sequence[ShardLine], kind: np.dtype[Any], paths: Sequence[str]) -> None:
    """Writes every kept row to the piece that its uid falls into."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(open(path, "wb")) for path in paths]
        for line in lines:
            rows = _rows(_leaving(made, line), made.scores, kind)
            piece = ((rows["f0"] >> np.uint64(32)) * np.uint64(len(paths))) >> np.uint64(32)
            order = np.argsort(piece, kind="stable")
            edges = np.searchsorted(piece[order], np.arange(len(paths) + 1))
            for i, (first, last) in enumerate(itertools.pairwise(edges.tolist())):
                if last > first:
                    files[i].write(rows[order[first:last]].tobytes())


def _leaving(made: Fixed, line: ShardLine) -> pa.Table:
    """The kept rows of a ledger, each as often as it leaves."""
    names = ["uid", "keep", *made.scores]
    if made.repeated is None:
        table = made.ledger(line, names)
        return table.filter(table.column("keep"))
    table = made.ledger(line, [*dict.fromkeys([*names, REPEAT])])
    return table.take(pa.array(np.repeat(np.arange(len(table)), repeats_of(table)), pa.int64()))


def _rows(table: pa.Table, scores: Sequence[str], kind: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Kept rows, as they go on."""
    made = np.empty(len(table), kind)
    pairs = pairs_of(one_array(table, "uid"))
    made["f0"], made["f1"] = pairs["f0"], pairs["f1"]
    for i, name in enumerate(scores):
        wide = pa.float32() if kind[f"s{i}"] == np.float32 else pa.float64()
        values = one_array(table, name).cast(wide, safe=False)
        made[f"s{i}"] = values.to_numpy(zero_copy_only=False)  # null becomes NaN
    return made


def _outputs(made: Fixed, kind: np.dtype[Any], folder: str, stack: contextlib.ExitStack) -> dict[str, IO[bytes]]:
    """Open files with the headers of arrays of all kept rows: "" for the uids, else the field of a score."""
    files: dict[str, IO[bytes]] = {}
    for name in ("", *(f"s{i}" for i in range(len(made.scores)))):
        path = os.path.join(folder, f"score-{name[1:]}.npy" if name else "uids.npy")
        file = files[name] = stack.enter_context(open(path, "wb"))  # noqa: SIM115
        descr = np.lib.format.dtype_to_descr(kind[name] if name else PAIR)
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": (made.leaving,)})
    return files


def _add(rows: np.ndarray[Any, Any], files: Mapping[str, IO[bytes]]) -> None:
    order = np.lexsort((rows["f1"], rows["f0"]))  # stable: equal uids stay in pool order
    pairs = np.empty(len(rows), PAIR)
    pairs["f0"], pairs["f1"] = rows["f0"][order], rows["f1"][order]
    for name, file in files.items():
        file.write((rows[name][order] if name else pairs).tobytes())
