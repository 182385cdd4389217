"""Stages as a PTransform in somebody else's pipeline."""

from __future__ import annotations

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that

from poolsieve.dataflow import Pool
from poolsieve.dataflow.transforms import ApplyStages, RecordBatchCoder, program_for
from poolsieve.filters import Keep, Top, col, dedup
from poolsieve.scoring_models.base.errors import PlanError


def _check(found: list[pa.RecordBatch]) -> None:
    table = pa.Table.from_batches(sorted(found, key=lambda b: b.column("uid")[0].as_py()))
    assert table["keep"].to_pylist() == [True, False, False, True]
    assert table["reason"].to_pylist() == [None, "t.short", "t.short", None]
    assert table["text.word_count"].to_pylist() == [3, 1, None, 2]


def test_batches_come_out_with_scores_and_verdicts() -> None:
    batches = [
        pa.record_batch({"uid": ["a", "b"], "text": ["one two three", "one"]}),
        pa.record_batch({"uid": ["c", "d"], "text": [None, "x y"]}),
    ]
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        out = pipeline | beam.Create(batches) | ApplyStages(Keep(col("text").word_count() > 1, reason="t.short"))
        assert out.element_type is pa.RecordBatch
        assert_that(out | beam.Reshuffle(), _check)


def test_a_slice_is_encoded_without_its_parent() -> None:
    parent = pa.record_batch({"x": list(range(100_000))})
    coder = beam.coders.registry.get_coder(pa.RecordBatch)
    assert isinstance(coder, RecordBatchCoder)
    encoded = coder.encode(parent.slice(10, 5))
    assert len(encoded) < 1000
    assert coder.decode(encoded).column(0).to_pylist() == [10, 11, 12, 13, 14]


def test_a_cut_is_refused() -> None:
    with pytest.raises(PlanError, match="whole pool"):
        program_for(Top("x", fraction=0.1), pa.schema([("x", pa.float32())]))


def test_what_is_made_from_another_pool_is_refused() -> None:
    stage = dedup.exact(against=Pool.parquet("other/*.parquet", text="text"))
    with pytest.raises(PlanError, match=r"'dup\.against' needs a file"):
        program_for(stage, pa.schema([("text", pa.string())]))


def test_a_list_of_stages_is_refused() -> None:
    with pytest.raises(PlanError, match=r"chain several with \|"):
        ApplyStages([Keep(col("text").word_count() >= 1)])  # type: ignore[arg-type]
