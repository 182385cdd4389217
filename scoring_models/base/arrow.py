"""Arrow's calls as poolsieve uses them, for types that are known only when a pool or a scorer has named them.

`pyarrow-stubs` knows what these return for each type by itself, but not for a `pyarrow.DataType` that may be any.
"""

from __future__ import annotations

import re
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def nulls(count: int, kind: pa.DataType) -> pa.Array:
    """`count` nulls of any type.

    >>> nulls(2, pa.string()).to_pylist()
    [None, None]
    """
    return pa.nulls(count, kind)  # type: ignore[call-overload]  # pyarrow-stubs: one overload a type, none for any type


_FLOATS = r"<(?:\w{1,100}: )?(halffloat|float|double)(?: not null)?>"
_BINARY = re.compile(r"fixed_size_binary\[([0-9]{1,9})\]")
_LIST = re.compile(rf"(list|large_list){_FLOATS}|fixed_size_list{_FLOATS}\[([0-9]{{1,9}})\]")


def type_named(name: str) -> pa.DataType:
    """The type of which Arrow's spelling is `name`, as `float32`; also of lists of floats and bytes of one size.

    >>> type_named("list<float>") == type_named("list<item: float>") == pa.list_(pa.float32())
    True
    >>> type_named("fixed_size_list<item: halffloat not null>[512]").list_size
    512
    >>> type_named("fixed_size_binary[16]") == pa.binary(16)
    True

    Raises:
        ValueError: it has no such type, or another one with parameters.
    """
    found = _LIST.fullmatch(name)
    if found:
        kind, value, fixed, size = found.groups()
        item = type_named(value or fixed)
        return pa.large_list(item) if kind == "large_list" else pa.list_(item, int(size or -1))
    if sized := _BINARY.fullmatch(name):
        return pa.binary(int(sized[1]))
    return pa.type_for_alias(name)  # type: ignore[call-overload]  # pyarrow-stubs: literal names alone, no `str`


def texts(values: pa.Array) -> list[str]:
    """The strings of a text column that has no nulls.

    >>> texts(pa.array(["a", "b"]))
    ['a', 'b']
    """
    found: list[Any] = values.to_pylist()  # a null would be None: callers have none
    return found


def byte_lengths(values: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    """int64 (n,): bytes of each value of a text or binary column, -1 for null.

    >>> byte_lengths(pa.array(["", "äb", None])).tolist()
    [0, 3, -1]
    """
    if pa.types.is_string_view(values.type):
        values = values.cast(pa.large_string())  # Arrow has no lengths of views
    return np.asarray(pc.binary_length(cast(pa.StringArray, values)).fill_null(-1), dtype=np.int64)


def stands_in_ledger(kind: pa.DataType) -> bool:
    """Whether a score of this type has a column in the ledger. Embeddings and sketches stand in `scores/` alone.

    >>> stands_in_ledger(pa.float32()), stands_in_ledger(pa.list_(pa.float16(), 512)), stands_in_ledger(pa.binary(16))
    (True, False, False)
    """
    return not (pa.types.is_nested(kind) or pa.types.is_fixed_size_binary(kind))


def is_id_list(kind: pa.DataType) -> bool:
    """Whether a column holds lists of integers, by any of Arrow's three kinds of list.

    >>> is_id_list(pa.list_(pa.uint16(), 512)), is_id_list(pa.list_(pa.string())), is_id_list(pa.int32())
    (True, False, False)
    """
    return _is_list(kind) and pa.types.is_integer(kind.value_type)  # type: ignore[attr-defined]


def is_float_list(kind: pa.DataType) -> bool:
    """Whether a column holds lists of floats, such as embeddings, by any of Arrow's three kinds of list.

    >>> is_float_list(pa.list_(pa.float16(), 512)), is_float_list(pa.list_(pa.int8())), is_float_list(pa.float32())
    (True, False, False)
    """
    return _is_list(kind) and pa.types.is_floating(kind.value_type)  # type: ignore[attr-defined]


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def without_columns(count: int) -> pa.RecordBatch:
    """A batch of `count` rows and no columns: from a struct, since a batch takes its length from its columns."""
    rows = pa.array([{}] * count, pa.struct([]))
    return pa.RecordBatch.from_struct_array(rows)  # type: ignore[arg-type]  # pyarrow-stubs: `array` of a struct type
