"""Values of any type as what a role should be, with nulls and reasons where one can't be that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.scoring_models.base.arrow import nulls
from poolsieve.scoring_models.base.errors import RowError

Errors = dict[int, RowError]
"""Row index in a batch -> what is wrong with one value of it."""


def null_column(kind: pa.DataType, count: int, error: RowError) -> tuple[pa.Array, Errors]:
    """A column of nulls, every row for the same reason."""
    return nulls(count, kind), dict.fromkeys(range(count), error)


def to_type(values: pa.Array, kind: pa.DataType) -> tuple[pa.Array, Errors]:
    """`values` as `kind`, with nulls and the reasons (`text_utf8`, `cast`) where a value can't be that.

    A number that would lose digits can't; a string that spells a number can.
    """
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if is_text(kind):
        return _to_text(values, kind)
    if values.type == kind:
        return values, {}
    try:
        return values.cast(kind), {}
    except pa.ArrowNotImplementedError:
        return _drop(nulls(len(values), kind), _cast_errors(values, kind, _valid(values)))
    except pa.ArrowInvalid:
        return _cast_each(values, kind)


def within(values: pa.Array, most: int) -> tuple[pa.Array, Errors]:
    """Texts of at most `most` bytes; a longer one is null, for that reason."""
    if values.nbytes <= most:
        return values, {}  # nearly always, and free
    sizes = pc.binary_length(cast(pa.StringArray, values)).fill_null(0).to_numpy()
    long = np.flatnonzero(sizes > most).tolist()
    errors = {row: too_large(f"a text of {int(sizes[row]):,} bytes") for row in long}
    return _drop(values, errors) if long else (values, {})


def too_large(what: str) -> RowError:
    """Why a document was not looked at."""
    return RowError("too_large", f"{what}, above the pool's max_document_bytes")


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are characters."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_bytes(kind: pa.DataType) -> bool:
    """Whether values of this type are bytes, in any of Arrow's four ways."""
    types = pa.types
    view = types.is_binary_view(kind)
    return bool(view or types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def is_json(kind: pa.DataType) -> bool:
    """Whether values of this type are text that is JSON (`pa.json_()`)."""
    return isinstance(kind, pa.JsonType)


def storage(kind: pa.DataType) -> pa.DataType:
    """The type as arrays have it: JSON text is a string, at any depth."""
    if is_json(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        return pa.struct([item.with_type(storage(item.type)) for item in kind])
    return pa.list_(storage(kind.value_type)) if pa.types.is_list(kind) else kind


def one_piece(values: pa.ChunkedArray) -> pa.Array:
    """A column of a table as one array."""
    chunks: list[pa.Array] = values.chunks or [pa.array([], values.type)]
    return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)


def _to_text(values: pa.Array, kind: pa.DataType) -> tuple[pa.Array, Errors]:
    if isinstance(values, pa.DictionaryArray):
        values = values.dictionary_decode()
    try:
        text = values if values.type == kind else values.cast(kind, safe=False)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return _drop(nulls(len(values), kind), _cast_errors(values, kind, _valid(values)))
    try:
        # Arrow reads and casts bytes to text unseen; what is no UTF-8 would fail anywhere later.
        text.validate(full=True)
    except pa.ArrowInvalid:
        return _drop(text, _utf8_errors(text))
    return text, {}


def _utf8_errors(text: pa.Array) -> Errors:
    found: Errors = {}
    for row, value in enumerate(text.cast(pa.large_binary())):
        try:
            if value.is_valid:
                str(value.as_buffer(), "utf-8")  # type: ignore[attr-defined]  # pyarrow-stubs: a cast's scalars are bare
        except UnicodeDecodeError as error:
            found[row] = RowError("text_utf8", f"byte {error.start}: {error.reason}")
    return found


def _drop(values: pa.Array, errors: Errors) -> tuple[pa.Array, Errors]:
    bad = np.zeros(len(values), dtype=bool)
    bad[list(errors)] = True
    return pc.if_else(pa.array(bad), pa.scalar(None, values.type), values), errors


def _cast_each(values: pa.Array, kind: pa.DataType) -> tuple[pa.Array, Errors]:
    bad: list[int] = []
    parts = []
    for row in range(len(values)):
        try:
            parts.append(values.slice(row, 1).cast(kind))
        except pa.ArrowInvalid:
            bad.append(row)
            parts.append(nulls(1, kind))
    return pa.concat_arrays(parts), _cast_errors(values, kind, bad)


def _cast_errors(values: pa.Array, kind: pa.DataType, rows: Iterable[int]) -> Errors:
    return {row: RowError("cast", f"{_short(values[row])} ({values.type}) can't be {kind}") for row in rows}


def _valid(values: pa.Array) -> list[int]:
    return [int(row) for row in np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False))]


def _short(value: pa.Scalar) -> str:
    try:
        text = repr(value.as_py())
    except ValueError:
        return "a value"
    return text if len(text) <= 60 else text[:57] + "..."
