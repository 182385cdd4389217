"""Rows of any pool as Parquet: one schema for all files, images as `datasets` has them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import pyarrow as pa

from poolsieve.dataflow import progress
from poolsieve.dataflow.pools.casts import one_piece, storage
from poolsieve.dataflow.pools.formats.outgoing import Build, Rows, Sink, Source, Written
from poolsieve.dataflow.pools.formats.parquet.writer import RowGroups
from poolsieve.scoring_models.base.errors import PlanError


class ParquetBuilder:
    """Makes a column of each field of the pool. Text that is JSON is a string.

    Images become `struct<bytes, path>` with the feature `Image()` in the schema's metadata, so that
    `datasets.load_dataset` shows pictures; `path` is the sample's key and extension.
    """

    def plan(self, source: Source, scores: Mapping[str, pa.DataType]) -> Build:
        """Everything is taken; see `Builder.plan`."""
        if not source.fields:
            raise PlanError(
                f"the {source.format} of this pool have no columns, so there is nothing to write as Parquet"
            )
        clash = sorted(set(source.fields) & set(scores))
        if clash:
            raise PlanError(
                f"the pool has a column {clash[0]!r}, so the score of that name can't stand beside it: name the scores "
                "to export without it"
            )
        return Build(
            columns={name: name for name in source.fields}, types=source.fields, images=source.images, scores=scores
        )

    def build(self, made: Build, rows: Iterable[Rows], sink: Sink) -> Written:
        """One file; without rows it has the schema all the same."""
        done, target = Written(), RowGroups(sink, schema_of(made))
        for some in rows:
            batch = _batch(some, made, target.schema)
            target.add(batch)
            done.rows += batch.num_rows
            progress.add("export", batch.num_rows)
        target.close()
        return done


_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def schema_of(made: Build) -> pa.Schema:
    """The schema of every file, with the features of images as `datasets` notes them."""
    kinds = {name: _IMAGE if name in made.images else storage(kind) for name, kind in made.types.items()}
    features = {"info": {"features": {name: {"_type": "Image"} for name in made.images}}}
    metadata: dict[bytes | str, bytes | str] | None = {"huggingface": json.dumps(features)} if made.images else None
    return pa.schema([*kinds.items(), *made.scores.items()], metadata=metadata)


def _batch(some: Rows, made: Build, schema: pa.Schema) -> pa.RecordBatch:
    again = some.repeated()
    columns = [_column(some, name, name in made.images).take(again) for name in made.types]
    scores = [one_piece(some.scores.column(name)).take(again) for name in made.scores]
    return pa.RecordBatch.from_arrays([*columns, *scores], schema=schema)


def _column(some: Rows, name: str, image: bool) -> pa.Array:
    values = some.values.column(name)
    if not image:
        return values
    paths = pa.array([None if key is None else f"{key}.{name}" for key in some.key.to_pylist()], pa.string())
    return pa.StructArray.from_arrays([values, paths], fields=list(_IMAGE), mask=values.is_null())
