"""The exact threshold that a `Top` comes to, and how it is applied. Pure NumPy.

Scores are mapped to unsigned integers in rank order (smaller key = better rank), 32 bits for float32 and 64 for wider
types, so that a cut is an integer comparison. Ties are broken by the named hash BLAKE2b-64 of (seed, uid), then by
file and row.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa

from poolsieve.filters.dsl.env import Paths, paths_at
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError

Keys = np.ndarray[Any, np.dtype[np.uint64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """One cut. `kind` is "all" (every row with a score stays), "none", or "rank".

    Attributes:
        value: the score of the last row in rank order that stays (for a budget: of the first that does not).
        key: the same as an order key, which is exact; `bits` wide.
        inclusive: whether the row at the cut stays.
        include_ties: whether every row with the cut's score stays, whatever its tie hash.
        tie_hash, tie_path, tie_row: where the cut lies among rows with the same score.
        of, k, competing: rows that the fraction was of, rows (or budget) asked for, rows that competed.
    """

    kind: str = "rank"
    value: float | int | None = None
    key: int = 0
    bits: int = 32
    lowest: bool = False
    inclusive: bool = True
    include_ties: bool = False
    tie_hash: int = 0
    tie_path: str = ""
    tie_row: int = -1
    of: int = 0
    k: int = 0
    competing: int = 0

    @property
    def kept(self) -> int:
        """Rows that it kept where it was made; of a count or a fraction without ties beyond it."""
        return {"all": self.competing, "none": 0}.get(self.kind, self.k)

    def to_dict(self) -> JsonObject:
        """JSON values; 64-bit integers as hexadecimal strings, since JSON readers round them."""
        out = dataclasses.asdict(self)
        out["key"], out["tie_hash"] = f"{self.key:0{self.bits // 4}x}", f"{self.tie_hash:016x}"
        return out

    @classmethod
    def from_dict(cls, data: JsonObject) -> Cut:
        """The inverse of `to_dict`.

        Raises:
            PlanError: if the file is not one of ours.
        """
        try:
            unknown = sorted(set(data) - {item.name for item in dataclasses.fields(cls)})
            if unknown:
                raise ValueError(f"unknown field {unknown[0]!r}")
            numbers = {name: int(data[name], 16) for name in ("key", "tie_hash")}
            made = msgspec.convert({**data, **numbers}, cls)
            _check(made)
            return made
        except (KeyError, TypeError, ValueError) as error:
            said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise PlanError(f"not a cut as `cuts.json` has it: {said}; give a cuts.json of an earlier run") from error


def _check(cut: Cut) -> None:
    """Refuses a cut that was edited so that it no longer says one thing.

    Raises:
        ValueError: naming the field.
    """
    if cut.kind not in ("all", "none", "rank") or cut.bits not in _KINDS:
        raise ValueError(f"kind is {cut.kind!r} and bits {cut.bits}; kinds are all, none and rank, bits 32 or 64")
    if not 0 <= cut.key < 1 << cut.bits or not 0 <= cut.tie_hash < 1 << 64:
        raise ValueError("key or tie_hash has more bits than it can have")
    meant = [key_value(cut.key, kind, cut.lowest) for kind in _KINDS[cut.bits]]
    if cut.kind == "rank" and cut.value not in meant:
        raise ValueError(
            f"value {cut.value} is not what the key {cut.key:x} says ({meant[0]}). The key is what decides: to set a "
            "limit of your own, write Above(...) or Below(...) in the recipe"
        )


@dataclass(frozen=True, kw_only=True)
class Table:
    """What a derived value had to know of the pool: a group's exact sums, or the file of what was gathered or joined.

    Attributes:
        sums: name -> sum; empty where a file has it all.
        file: name in OUT/derived, of a file of lines or of the list of such files; "" for sums.
        rows: lines of the file, or of all that it lists.
    """

    sums: Mapping[str, int] = dataclasses.field(default_factory=dict)
    file: str = ""
    rows: int = 0

    def to_dict(self) -> JsonObject:
        """JSON values; sums as decimal strings, since JSON readers round 64-bit integers."""
        return {"sums": {name: str(value) for name, value in self.sums.items()}, "file": self.file, "rows": self.rows}

    @classmethod
    def from_dict(cls, data: JsonObject) -> Table:
        """The inverse of `to_dict`.

        Raises:
            PlanError: if the file is not one of ours.
        """
        try:
            found = msgspec.convert(data, TableRecord)
        except msgspec.ValidationError as error:
            raise PlanError(f"not a table as `cuts.json` has it: {error}") from error
        return cls(sums={name: int(value) for name, value in found.sums.items()}, file=found.file, rows=found.rows)


class TableRecord(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A `Table` as `cuts.json` has it. A file's name is checked where it is used."""

    sums: dict[str, Annotated[str, msgspec.Meta(pattern="^-?[0-9]{1,40}$")]]
    file: str = ""
    rows: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)] = 0


def only_cuts(marks: Mapping[str, Mapping[str, Cut | Table]]) -> dict[str, dict[str, Cut]]:
    """The cuts among what a decision came to, without the tables of derived values."""
    found = {
        name: {group: one for group, one in groups.items() if isinstance(one, Cut)} for name, groups in marks.items()
    }
    return {name: groups for name, groups in found.items() if groups or not marks[name]}


_KINDS: Mapping[int, Sequence[pa.DataType]] = {
    32: (pa.float32(), pa.int16()),
    64: (pa.float64(), pa.int64(), pa.uint64()),
}
"""Width of an order key -> types of scores that have it."""


def key_bits(kind: pa.DataType) -> int:
    """Width of the order key for scores of an Arrow type.

    Raises:
        PlanError: for a type without an order of numbers.
    """
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        return 32
    if pa.types.is_integer(kind):
        return 32 if kind.bit_width <= 16 else 64
    if pa.types.is_float64(kind):
        return 64
    raise PlanError(f"can't rank scores of type {kind}: Top needs numbers")


def order_keys(scores: pa.Array, lowest: bool) -> tuple[Keys, Mask]:
    """(keys, valid): uint64 keys, smaller = better, equal for equal scores (-0.0 and 0.0 too); NaN is not valid."""
    valid = _valid(scores)
    bits = key_bits(scores.type)
    ordered = (_integer_keys if pa.types.is_integer(scores.type) else _float_keys)(scores, bits)
    top = np.uint64((1 << bits) - 1)
    return (ordered if lowest else top - ordered), valid


def _valid(scores: pa.Array) -> Mask:
    valid = np.asarray(scores.is_valid().to_numpy(zero_copy_only=False), dtype=bool)
    if pa.types.is_floating(scores.type):
        valid &= ~np.isnan(scores.fill_null(0).to_numpy(zero_copy_only=False))
    return valid


def _integer_keys(scores: pa.Array, bits: int) -> Keys:
    if pa.types.is_uint64(scores.type):
        return scores.fill_null(0).to_numpy(zero_copy_only=False).astype(np.uint64)
    values = scores.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    if bits == 64:
        return np.asarray(values.view(np.uint64) ^ np.uint64(1 << 63), dtype=np.uint64)
    return (values + (1 << 31)).astype(np.uint64)


def _float_keys(scores: pa.Array, bits: int) -> Keys:
    # Set the sign bit of positive numbers, invert negative ones: the usual radix order of IEEE floats.
    kind, word = (np.float32, np.uint32) if bits == 32 else (np.float64, np.uint64)
    values: np.ndarray[Any, np.dtype[Any]] = scores.fill_null(0).to_numpy(zero_copy_only=False).astype(kind)
    raw: np.ndarray[Any, np.dtype[Any]] = np.ascontiguousarray(values + kind(0.0)).view(word)
    negative = raw >> word(bits - 1)
    mask = (word(0) - negative) | word(1 << (bits - 1))
    return np.asarray(raw ^ mask, dtype=np.uint64)


def key_value(key: int, kind: pa.DataType, lowest: bool) -> float | int:
    """The score that an order key stands for: the inverse of `order_keys`."""
    bits = key_bits(kind)
    ordered = key if lowest else (1 << bits) - 1 - key
    if pa.types.is_uint64(kind):
        return ordered
    if pa.types.is_integer(kind):
        return ordered - (1 << (bits - 1))
    word, real = (np.uint32, np.float32) if bits == 32 else (np.uint64, np.float64)
    sign = 1 << (bits - 1)
    raw = ordered ^ sign if ordered & sign else ordered ^ ((1 << bits) - 1)
    return float(np.array([raw], dtype=word).view(real)[0])


def tie_hashes(uids: pa.Array, seed: int, name: bytes = b"") -> Keys:
    """uint64 BLAKE2b-64 of (seed, uid) for each row; another `name` (up to 16 bytes) gives independent hashes."""
    salt = seed.to_bytes(8, "little", signed=True)
    made = (
        hashlib.blake2b((uid or "").encode(), digest_size=8, key=salt, person=name).digest() for uid in uids.to_pylist()
    )
    return np.frombuffer(b"".join(made), dtype=">u8").astype(np.uint64)


def kept_by(
    cut: Cut, scores: pa.Array, uid_of: Callable[[], pa.Array], rows: np.ndarray[Any, Any], path: Paths, seed: int
) -> Mask:
    """bool (n,): rows on the good side of the cut. Rows with a null or NaN score never are.

    `uid_of` gives all n uids; it is called only if some row ties with the cut.
    """
    keys, valid = order_keys(scores, cut.lowest)
    if cut.kind == "all":
        return valid
    if cut.kind == "none":
        return np.zeros(len(valid), dtype=bool)
    better = valid & (keys < np.uint64(cut.key))
    tied = np.flatnonzero(valid & (keys == np.uint64(cut.key)))
    if len(tied):
        index = pa.array(tied, pa.int64())
        better[tied] = cut.include_ties or _tied_kept(cut, uid_of().take(index), rows[tied], paths_at(path, tied), seed)
    return better


def _tied_kept(cut: Cut, uids: pa.Array, rows: np.ndarray[Any, Any], path: Paths, seed: int) -> Mask:
    hashes = tie_hashes(uids, seed)
    boundary = np.uint64(cut.tie_hash)
    last = rows <= cut.tie_row if cut.inclusive else rows < cut.tie_row
    before = np.where(path == cut.tie_path, last, path < cut.tie_path)
    return np.asarray((hashes < boundary) | ((hashes == boundary) & before), dtype=bool)
