"""`In(list, on="uid")`: keep the rows that somebody's list names.

A list is DataComp's `u8,u8` `.npy` (memory-mapped, sorted), a Parquet file, or a text file with one entry a line.
Entries that are 32 hexadecimal digits are 128-bit numbers; anything else is hashed to 128 bits (BLAKE2b), so one sorted
array of pairs of unsigned 64-bit halves serves all forms.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tokenize
import zipfile
from dataclasses import dataclass, field
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from poolsieve.filters.dsl.env import SCORE, Env
from poolsieve.filters.dsl.expr import Predicate
from poolsieve.filters.dsl.stages import Rule
from poolsieve.filters.dsl.statistics import byte_count
from poolsieve.scoring_models.base.arrow import texts
from poolsieve.scoring_models.base.config import JsonObject, absolute_path
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short

PAIR = np.dtype([("f0", "<u8"), ("f1", "<u8")])
"""DataComp's subset dtype `u8,u8`: the high and the low half of a 128-bit uid."""

Pairs = np.ndarray[Any, Any]
Ints = np.ndarray[Any, np.dtype[np.int64]]


def hex_pairs(uids: pa.Array) -> tuple[Pairs, np.ndarray[Any, np.dtype[np.bool_]]]:
    """(pairs, valid): the halves of each uid of exactly 32 hexadecimal digits (either case); others are not valid."""
    uids = uids.cast(pa.string()).fill_null("")
    sized = np.asarray(byte_count(uids).to_numpy(zero_copy_only=False) == 32, dtype=bool)
    pairs, valid = np.zeros(len(uids), dtype=PAIR), np.zeros(len(uids), dtype=bool)
    if not sized.any():
        return pairs, valid
    joined = "".join(texts(uids.filter(pa.array(sized)))).encode()
    if len(joined) != 32 * int(sized.sum()):
        return pairs, valid  # a 32-byte uid that is not ASCII can't be hexadecimal; such pools have no such uids
    nibbles = _NIBBLE[np.frombuffer(joined, np.uint8)].reshape(-1, 32)
    good = (nibbles < 16).all(axis=1)
    packed = ((nibbles[:, 0::2] << 4) | nibbles[:, 1::2]).astype(np.uint8)
    halves = np.ascontiguousarray(packed).view(">u8").astype(np.uint64)
    where = np.flatnonzero(sized)[good]
    pairs["f0"][where], pairs["f1"][where] = halves[good, 0], halves[good, 1]
    valid[where] = True
    return pairs, valid


_NIBBLE = np.full(256, 255, np.uint8)
for _i, _c in enumerate(b"0123456789abcdef"):
    _NIBBLE[_c] = _i
for _i, _c in enumerate(b"ABCDEF"):
    _NIBBLE[_c] = 10 + _i


def pairs_of(values: pa.Array) -> Pairs:
    """128-bit pairs of any strings: the number itself for 32 hexadecimal digits, else a hash."""
    pairs, valid = hex_pairs(values)
    others = np.flatnonzero(~valid)
    if len(others):
        named = texts(values.filter(pa.array(~valid)).cast(pa.string()).fill_null(""))
        raw = b"".join(hashlib.blake2b(one.encode(), digest_size=16).digest() for one in named)
        halves = np.frombuffer(raw, ">u8").reshape(-1, 2)
        pairs["f0"][others], pairs["f1"][others] = halves[:, 0], halves[:, 1]
    return pairs


def counts_in(pairs: Pairs, listed: Pairs) -> np.ndarray[Any, np.dtype[np.int64]]:
    """int64 (n,): how often each of `pairs` stands in the sorted `listed` (a multiset, as in DataComp's resharder)."""
    return places_in(pairs, listed)[1]


def places_in(pairs: Pairs, listed: Pairs) -> tuple[Ints, Ints]:
    """(first, counts), int64 (n,): how often each of `pairs` stands in the sorted `listed`; where first, if at all.

    The high halves are looked up alone, in order, and the low ones only where several have that high half: NumPy
    compares structured values ten times slower.
    """
    order = np.argsort(pairs["f0"])
    first, counts = np.zeros(len(pairs), np.int64), np.zeros(len(pairs), np.int64)
    if not len(listed):
        return first, counts
    high, low = pairs["f0"][order], pairs["f1"][order]
    left = np.searchsorted(listed["f0"], high)
    at, after = np.minimum(left, len(listed) - 1), np.minimum(left + 1, len(listed) - 1)
    there = (left < len(listed)) & (listed["f0"][at] == high)
    several = np.flatnonzero(there & (after > at) & (listed["f0"][after] == high))
    there &= listed["f1"][at] == low
    first[order], counts[order] = left, there
    asked = pairs[order[several]]
    begin = np.searchsorted(listed, asked, side="left")
    first[order[several]], counts[order[several]] = begin, np.searchsorted(listed, asked, side="right") - begin
    return first, counts


def sort_pairs(pairs: Pairs) -> Pairs:
    """Pairs in lexicographic order: by the high half, which alone decides for nearly all uids, then by the low one.

    NumPy's own sort of structured values is several times slower; a stable sort of one column also merges sorted runs.
    """
    made = pairs[np.argsort(pairs["f0"], kind="stable")]
    tied = bool((made["f0"][1:] == made["f0"][:-1]).any())
    return np.sort(made, order=("f0", "f1")) if tied else made


def is_sorted(listed: Pairs, block: int = 1 << 20) -> bool:
    """Whether pairs are in lexicographic order, looked at block by block so that a memory map stays on disk."""
    for start in range(0, max(len(listed) - 1, 0), block):
        high, low = listed["f0"][start : start + block + 1], listed["f1"][start : start + block + 1]
        if not ((high[1:] > high[:-1]) | ((high[1:] == high[:-1]) & (low[1:] >= low[:-1]))).all():
            return False
    return True


@functools.lru_cache(maxsize=8)
def load_list(path: str) -> Pairs:
    """The sorted pairs of a list file; a sorted `.npy` stays on disk as a memory map.

    Raises:
        PlanError: for a file that is missing or in none of the three forms.
    """
    try:
        if path.endswith(".npy"):
            return _load_npy(path)
        values = _load_parquet(path) if path.endswith(".parquet") else _load_text(path)
        return sort_pairs(pairs_of(values))  # in here, since Parquet's own strings may be no UTF-8
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, tokenize.TokenError, pa.ArrowException) as error:
        # NumPy reads the header of an .npy with Python's tokenizer, which has an error of its own.
        raise PlanError(f"can't read the list {path}: {error}; expected .npy (u8,u8), .parquet or text") from error


def _load_npy(path: str) -> Pairs:
    listed = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(listed, np.ndarray):
        raise ValueError("it is an archive of arrays (.npz)")
    if listed.ndim != 1:
        raise ValueError(f"the array has shape {listed.shape}, a list has one dimension")
    pairs = _as_pairs(listed)
    return pairs if is_sorted(pairs) else sort_pairs(pairs)


def _as_pairs(listed: np.ndarray[Any, Any]) -> Pairs:
    """An array of two unsigned 64-bit fields as pairs: itself where it has that layout, else converted by value.

    Raises:
        ValueError: for any other dtype. A `f8,f8` or `S8,S8` has 16 bytes too, but they are no halves of a uid.
    """
    kinds = [listed.dtype[name] for name in listed.dtype.names or ()]
    if len(kinds) != 2 or any(kind.kind != "u" or kind.itemsize != 8 for kind in kinds):
        raise ValueError(f"dtype {listed.dtype} is not DataComp's 'u8,u8'")
    high, low = listed.dtype.names or ("", "")
    if all(kind == PAIR["f0"] for kind in kinds) and listed.dtype.itemsize == PAIR.itemsize:
        return listed.view(PAIR)  # stays on disk
    made = np.empty(len(listed), dtype=PAIR)
    made["f0"], made["f1"] = listed[high], listed[low]
    return made


def _load_parquet(path: str) -> pa.Array:
    with fsspec.open(path, "rb") as file:
        parquet = pq.ParquetFile(file)
        name = "uid" if "uid" in parquet.schema_arrow.names else parquet.schema_arrow.names[0]
        return parquet.read(columns=[name]).column(0).drop_null().cast(pa.string()).combine_chunks()


def _load_text(path: str) -> pa.Array:
    # Editors of Windows begin a file with a byte order mark, which is no part of the first entry.
    with fsspec.open(path, "rt", encoding="utf-8-sig") as file:
        return pa.array([line.strip() for line in file if line.strip()], pa.string())


@dataclass(frozen=True, eq=False)
class Listed(Predicate):
    """Whether a row's uid (or a string score) stands in a list file."""

    path: str
    on: str = field(default="uid", metadata=SCORE)

    def names(self) -> tuple[str, ...]:
        """The score that is looked up, if it is not the uid."""
        return () if self.on == "uid" else (self.on,)

    def check(self) -> None:
        """The list must be there and readable."""
        load_list(self.path)

    def truth(self, env: Env) -> pa.Array:
        """True where the list has the value; null where the value is null."""
        values = env.uid if self.on == "uid" else env.scores[self.on].cast(pa.string())
        found = pa.array(counts_in(pairs_of(values), load_list(self.path)) > 0)
        return pc.if_else(values.is_valid(), found, pa.scalar(None, pa.bool_()))

    def to_dict(self) -> JsonObject:
        """With the hash of the list's contents, so that another list is another decision."""
        return {"type": "In", "on": self.on, "list": self.path.rsplit("/", 1)[-1], "sha256": file_sha256(self.path)}


@functools.lru_cache(maxsize=32)
def file_sha256(path: str) -> str:
    """SHA-256 of a file's contents.

    Raises:
        PlanError: if it can't be read.
    """
    try:
        with fsspec.open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PlanError(f"can't read the list {path}: {error}") from error


def In(path: str, on: str = "uid", reason: str | None = None) -> Rule:  # noqa: N802  (a stage's name)
    """Keeps the rows whose uid (or string score `on`) stands in a list file (.npy `u8,u8`, .parquet or text).

    >>> In("kept.npy").reason
    'uid.not_listed'
    >>> (~In("blocked.txt", on="urls.at.domain", reason="urls.domain")).reason
    'urls.domain.inverted'
    """
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise PlanError(f"In({short(path)}): expected the path of a list (.npy, .parquet, text)")
    if not isinstance(on, str) or not on:
        raise PlanError(f"In({short(str(path))}, on={short(on)}): expected 'uid' or the name of a score of strings")
    return Rule(Listed(absolute_path(str(path)), on), reason or f"{on}.not_listed")
