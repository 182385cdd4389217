"""uids as somebody's loader has them: texts, one or many, in the 128 bits that they are looked up by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.pools.casts import is_text, one_piece
from poolsieve.filters.lists import Pairs, pairs_of
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short

Bools = np.ndarray[Any, np.dtype[np.bool_]]

_DIGITS = 32
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")


def halves(uid: str) -> tuple[int, int]:
    """High and low half of one uid; the same as `pairs_of` gives, without Arrow's cost for one value."""
    if len(uid) == _DIGITS and _HEXADECIMAL.issuperset(uid):
        number = int(uid, 16)
    else:
        number = int.from_bytes(hashlib.blake2b(uid.encode(), digest_size=16).digest(), "big")
    return number >> 64, number & 0xFFFF_FFFF_FFFF_FFFF


def one_text(uid: Any) -> str:
    """A uid that is looked up alone.

    Raises:
        PlanError: if it is no text.
    """
    if not isinstance(uid, str):
        raise PlanError(f"a uid is a text, and {short(uid)} is {type(uid).__name__}: {_advice(type(uid))}")
    try:
        uid.encode()
    except UnicodeEncodeError as error:
        raise PlanError(f"{uid[:100]!r} can't be a uid: it is no UTF-8 ({error.reason})") from error
    return uid


def many_texts(values: Any) -> pa.Array:
    """A column of uids: a list, NumPy's or Arrow's texts (a dictionary too), or a pandas Series; null stays null.

    Raises:
        PlanError: if they are no texts.
    """
    if isinstance(values, (str, bytes, Mapping)):
        raise PlanError(f"a list or an array of uids is wanted, and {short(values)} is {type(values).__name__}")
    made = _array(values)
    if isinstance(made, pa.DictionaryArray):
        made = made.dictionary_decode()
    if pa.types.is_null(made.type) or is_text(made.type):
        return made.cast(pa.string())
    raise PlanError(f"uids are texts, and these are {made.type}: {_advice(bytes if _binary(made.type) else int)}")


def many_pairs(values: Any) -> tuple[Pairs, Bools]:
    """(pairs, valid) of a column of uids; see `many_texts`. A null is not valid."""
    made = many_texts(values)
    return pairs_of(made), np.asarray(made.is_valid().to_numpy(zero_copy_only=False), dtype=bool)


def _array(values: Any) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        return one_piece(values)
    if isinstance(values, pa.Array):
        return values
    try:
        found = pa.array(values)
        return one_piece(found) if isinstance(found, pa.ChunkedArray) else found
    except (pa.ArrowException, TypeError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise PlanError(f"a list or an array of uids (texts) is wanted: {said}") from error


def _binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _advice(kind: type) -> str:
    if issubclass(kind, (bytes, bytearray)):
        return "decode it first, as uid.decode()"
    return "give the text that the ledger has (`poolsieve.open(OUT).ledger(columns=['uid'])`)"
