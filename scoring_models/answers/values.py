"""Columns of stored answers and verdicts as one kind of value each, whatever the file has them as.

A place is what `tell(row)` says of a row of the table: a file and a line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.scoring_models.answers.keys import Mask
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short

Floats = np.ndarray[Any, np.dtype[np.float64]]

Codes = np.ndarray[Any, np.dtype[np.int32]]

Tell = Callable[[int], str]
"""Row of a table -> its place, for messages."""

NOT_SAID = frozenset(["", "nan", "na", "n/a", "null", "none"])
"""How files of text spell that there is no value, in lower case."""

_WORDS = {"true": 1.0, "false": 0.0, **dict.fromkeys(NOT_SAID, float("nan"))}


class Names(NamedTuple):
    """A column of names: the distinct ones (string, in the order of their first lines), and int32 (n,) into them."""

    distinct: pa.Array
    codes: Codes

    def encoded(self) -> pa.DictionaryArray:
        """As one Arrow array."""
        return pa.DictionaryArray.from_arrays(pa.array(self.codes, pa.int32()), self.distinct)


def names_of(column: pa.ChunkedArray, what: str, tell: Tell) -> Names:
    """A column of text or of integers as names.

    Raises:
        PlanError: for another type, and for a null or an empty text, with its place.
    """
    encoded = _encoded(column, what, tell)
    indices, values = encoded.indices, encoded.dictionary
    # A dictionary from a file may have a value twice, a null, or values that no line has.
    once = _texts(values, what, tell).dictionary_encode()
    known = np.asarray(once.indices.fill_null(-1), dtype=np.int32)
    codes = np.asarray(indices.fill_null(-1), dtype=np.int32)
    codes = np.append(known, np.int32(-1))[codes]
    empty = pc.index(once.dictionary, pa.scalar("", pa.string())).as_py()
    bad = np.flatnonzero((codes < 0) | ((codes == empty) & (empty >= 0)))
    if len(bad):
        raise PlanError(f"{tell(int(bad[0]))}: {what} is {'null' if codes[bad[0]] < 0 else 'empty'}")
    return _used(Names(once.dictionary, codes))


def _encoded(column: pa.ChunkedArray, what: str, tell: Tell) -> pa.DictionaryArray:
    """A column as one dictionary array."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (_is_text(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise PlanError(f"{tell(0)}: {what} is {kind}: it must be a text or an integer")
    if not pa.types.is_dictionary(column.type):
        column = (column.cast(pa.large_string()) if pa.types.is_string_view(kind) else column).dictionary_encode()
    return column.unify_dictionaries().combine_chunks()  # type: ignore[return-value]


def _used(names: Names) -> Names:
    used = np.bincount(names.codes, minlength=len(names.distinct)) > 0
    if used.all():
        return names
    return Names(names.distinct.filter(pa.array(used)), (np.cumsum(used, dtype=np.int32) - 1)[names.codes])


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _texts(values: pa.Array, what: str, tell: Tell) -> pa.Array:
    """Values as strings that are UTF-8 for sure: Parquet's need not be."""
    try:
        made = values.cast(pa.string())
        made.validate(full=True)
    except pa.ArrowException as error:
        raise PlanError(f"{tell(0)}: {what} holds texts that can't be read: {error}") from error
    return made


def texts_of(column: pa.ChunkedArray, what: str, tell: Tell) -> pa.Array:
    """large_string (n,): a column of text or of integers; null stays null.

    Raises:
        PlanError: for another type, and for a text that is no UTF-8.
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (_is_text(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise PlanError(f"{tell(0)}: {what} is {kind}: an answer is a text")
    made = column.cast(kind).cast(pa.large_string()).combine_chunks()
    try:
        made.validate(full=True)
    except pa.ArrowException as error:
        raise PlanError(f"{tell(0)}: {what} holds texts that can't be read: {error}") from error
    return made


def marks_of(column: pa.ChunkedArray, what: str, tell: Tell) -> Floats:
    """float64 (n,): marks from 0 to 1, NaN where there is none; of booleans, numbers, or texts that spell them.

    Raises:
        PlanError: for another type or value, with its place.
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if _is_text(kind):
        made = _spelled(column, what, tell)
    elif pa.types.is_dictionary(column.type):
        made = marks_of(column.cast(kind), what, tell)
    elif pa.types.is_boolean(kind) or pa.types.is_null(kind) or _is_number(kind):
        made = np.asarray(column.cast(pa.float64()).combine_chunks().fill_null(np.nan), dtype=np.float64)
    else:
        raise PlanError(f"{tell(0)}: {what} is {kind}: true, false or a mark from 0 to 1 is wanted")
    bad = np.flatnonzero((made < 0) | (made > 1))
    if len(bad):
        raise PlanError(f"{tell(int(bad[0]))}: {what} is {made[bad[0]]:g}: a mark is a number from 0 to 1")
    return made


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _spelled(column: pa.ChunkedArray, what: str, tell: Tell) -> Floats:
    encoded = _encoded(column, what, tell)
    spellings: list[Any] = _texts(encoded.dictionary, what, tell).to_pylist()
    values = [_mark(text or "") for text in spellings]
    codes = np.asarray(encoded.indices.fill_null(-1), dtype=np.int32)
    wrong = [code for code, value in enumerate(values) if value is None]
    if wrong and np.isin(codes, wrong).any():
        row = int(np.flatnonzero(np.isin(codes, wrong))[0])
        said = short(spellings[codes[row]])
        raise PlanError(f"{tell(row)}: {what} is {said}: true, false or a mark from 0 to 1 is wanted")
    return np.array([*(np.nan if value is None else value for value in values), np.nan])[codes]


def _mark(text: str) -> float | None:
    """What a text spells; None for nothing that is known."""
    word = text.strip().lower()
    if word in _WORDS:
        return _WORDS[word]
    try:
        return float(word)
    except ValueError:
        return None


def flags_of(column: pa.ChunkedArray, what: str, tell: Tell, *, null: bool) -> tuple[Mask, Mask]:
    """bool (n,) twice: whether a flag is true, and whether anything is said.

    Args:
        column: of booleans, of 0 and 1, or of texts that spell them.
        what: what it is, for messages.
        tell: row -> place.
        null: whether a line may say nothing.

    Raises:
        PlanError: for anything else, with its place.
    """
    values = marks_of(column, what, tell)
    said = ~np.isnan(values)
    bad = np.flatnonzero((said & (values != 0) & (values != 1)) | (~said & (not null)))
    if len(bad):
        value = f"{values[bad[0]]:g}" if said[bad[0]] else "null"
        raise PlanError(f"{tell(int(bad[0]))}: {what} is {value}: it must be true or false")
    return values == 1, said
