"""Columns of Parquet as fields of Croissant: scalars, lists of them, structs of them, and images.

Types are those of the specification's section on data types. It has none for bytes, which are text there as mlcroissant
reads them. What it can't express (maps, structs in structs, lists of lists of structs) is named and left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
from pyarrow import types

from poolsieve.jobs.card.markdown import quoted
from poolsieve.jobs.card.metadata import features_of
from poolsieve.scoring_models.base.config import JsonObject

_MEDIA = {"Image": "sc:ImageObject", "Audio": "sc:AudioObject", "Video": "sc:VideoObject"}
"""Class of a feature of `datasets` -> data type. Such a column is a struct of `bytes` and `path`."""

_TYPES: Mapping[str, Callable[[pa.DataType], bool]] = {
    "sc:Boolean": types.is_boolean,
    "sc:Integer": types.is_integer,
    "sc:Float": lambda kind: types.is_floating(kind) or types.is_decimal(kind),
    "sc:Date": types.is_date,
    "sc:DateTime": types.is_timestamp,
    "sc:Time": types.is_time,
    "sc:Text": lambda kind: _is_text(kind) or _is_bytes(kind),
}

_SIMPLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = frozenset({"parent", "where", "wherenot"})
"""Words of JSONPath as `jsonpath_rw` reads it: no names of fields."""


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    binary = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return any(test(kind) for test in binary)


def fields_of(schema: pa.Schema, record_set: str, file_set: str) -> tuple[list[JsonObject], list[str]]:
    """The fields of a record set, and the columns that are left out."""
    features = features_of(schema) or {}
    fields, left_out = [], []
    for number, column in enumerate(schema):
        place = _Place(f"{record_set}/{_id(column.name, number)}", column.name, file_set)
        found = _field(place, column.type, _MEDIA.get(type(features.get(column.name)).__name__))
        # Croissant names a column by its name, which must be there and no other's.
        if found is None or not column.name or schema.names.count(column.name) > 1:
            left_out.append(column.name)
        else:
            fields.append(found)
    return fields, left_out


def _id(name: str, number: int) -> str:
    """A name as a part of an identifier, which is an IRI; a number stands for what can't be one."""
    plain = name.isascii() and name.replace("_", "").replace("-", "").replace(".", "").isalnum()
    return quoted(name) if plain and len(name) <= 200 and not name.startswith(".") else f"column-{number}"


class _Place:
    """Where a field is: its identifier, its column and its files."""

    def __init__(self, id: str, column: str, file_set: str) -> None:
        self.id, self.column, self.file_set = id, column, file_set

    def field(self, kind: str, path: str | None = None, **more: Any) -> JsonObject:
        """A field that a column has, or a part of one."""
        source: JsonObject = {"fileSet": {"@id": self.file_set}, "extract": {"column": self.column}}
        if path is not None:
            source["transform"] = {"jsonPath": path}
        return {**self.bare(path), "dataType": kind, "source": source, **more}

    def bare(self, path: str | None = None) -> JsonObject:
        """A field without a source."""
        id, name = (self.id, self.column) if path is None else (f"{self.id}/{path}", f"{self.column}.{path}")
        return {"@type": "cr:Field", "@id": id, "name": name}


def _field(place: _Place, kind: pa.DataType, media: str | None) -> JsonObject | None:
    """The field of a column; None where Croissant has no type for it."""
    if media is not None:
        return place.field(media, "bytes" if types.is_struct(kind) else None) | place.bare()
    inner, depth = _unlisted(kind)
    array: JsonObject = {"isArray": True, "arrayShape": ",".join(["-1"] * depth)} if depth else {}
    if types.is_struct(inner):
        return _struct(place, inner, array) if depth <= 1 else None
    name = _type(inner)
    return None if name is None else place.field(name, None, **array)


def _unlisted(kind: pa.DataType) -> tuple[pa.DataType, int]:
    """What lists of any depth hold in the end, and how deep they are."""
    depth = 0
    while types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        kind, depth = kind.value_type, depth + 1
    return kind, depth


def _type(kind: pa.DataType) -> str | None:
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return next((name for name, test in _TYPES.items() if test(kind)), None)


def _struct(place: _Place, kind: pa.StructType, array: JsonObject) -> JsonObject | None:
    parts = [kind.field(i) for i in range(kind.num_fields)]
    named = [(part.name, _type(part.type)) for part in parts]
    if not named or any(kind is None or not _is_path(name) for name, kind in named):
        return None
    return {**place.bare(), **array, "subField": [place.field(str(kind), name) for name, kind in named]}


def _is_path(name: str) -> bool:
    return _SIMPLE.fullmatch(name) is not None and name.lower() not in _RESERVED
