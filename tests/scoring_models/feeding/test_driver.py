"""Running scorers: one bad row costs one row, and what is no row's fault is raised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.scoring_models.base.errors import PoolsieveError, RowError
from poolsieve.scoring_models.base.functions import scorer
from poolsieve.scoring_models.base.scorer import ModelBatch, ModelRow, Scored
from poolsieve.scoring_models.feeding.driver import row_error, score_rows

FLOAT = {"": pa.float32()}


class Doubling:
    """A plain scorer that can't stand some values; counts its calls."""

    def __init__(self, bad: set[int], error: type[BaseException] = ValueError) -> None:
        self.bad, self.error, self.calls = bad, error, 0

    def score(self, batch: pa.RecordBatch) -> Scored:
        self.calls += 1
        values = batch.column("x").to_pylist()
        if self.bad & set(values):
            raise self.error("bad value")
        return Scored({"": pa.array([None if v is None else 2 * v for v in values], pa.float32())})


class Model:
    """A loaded model with a fixed shape of four rows, that fails on some values."""

    settings: Mapping[str, Any] = {"shape": [4]}

    def __init__(self, bad: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        self.bad, self.shapes = bad, set()

    def pieces(self, batch: pa.RecordBatch) -> Iterator[Sequence[int]]:
        rows = np.flatnonzero(batch.column("x").is_valid().to_numpy(zero_copy_only=False))
        return (rows[i : i + 3].tolist() for i in range(0, len(rows), 3))

    def decode(self, batch: pa.RecordBatch, rows: Sequence[int]) -> tuple[list[ModelRow], dict[int, RowError]]:
        values = {row: batch.column("x")[row].as_py() for row in rows}
        errors = {row: RowError("negative", "x < 0") for row, value in values.items() if value < 0}
        good = [row for row in rows if row not in errors]
        return [ModelRow(row, "four", (np.array([values[row]], np.float32),)) for row in good], errors

    def room(self, shape: str) -> int:
        return {"four": 4}[shape]

    def filled(self, shape: str, inputs: Sequence[tuple[np.ndarray[Any, Any], ...]]) -> Any:
        made = np.zeros(self.room(shape), np.float32)
        made[: len(inputs)] = np.concatenate([value for (value,) in inputs])
        return made

    def infer(self, prepared: ModelBatch) -> Mapping[str, Any]:
        self.shapes.add(prepared.inputs.shape)
        if self.bad & {int(v) for v in prepared.inputs[: len(prepared.rows)]}:
            raise RuntimeError("the model fell over")
        return {"": prepared.inputs * 2}


def batch_of(values: list[int | None]) -> pa.RecordBatch:
    return pa.record_batch({"x": pa.array(values, pa.int64())})


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.one_of(st.none(), st.integers(0, 20)), max_size=30), bad=st.sets(st.integers(0, 20), max_size=4)
)
def test_every_good_row_is_scored_and_every_bad_one_named(values: list[int | None], bad: set[int]) -> None:
    expected = [None if v is None or v in bad else float(2 * v) for v in values]
    failing = {i for i, v in enumerate(values) if v in bad}
    for loaded, kind in ((Doubling(bad), "value_error"), (Model(bad), "runtime_error")):
        for threads in (1, 3):
            made = score_rows(loaded, batch_of(values), FLOAT, threads=threads)  # type: ignore[arg-type]
            assert made.columns[""].to_pylist() == expected
            assert {i: e.kind for i, e in made.errors.items()} == dict.fromkeys(failing, kind)


def test_errors_of_preparation_cost_only_their_row_and_shapes_are_fixed() -> None:
    model = Model()
    made = score_rows(model, batch_of([1, -1, None, 2, 3, 4, 5]), FLOAT, threads=2)  # type: ignore[arg-type]
    assert made.columns[""].to_pylist() == [2, None, None, 4, 6, 8, 10]
    assert made.errors == {1: RowError("negative", "x < 0")}
    assert model.shapes == {(4,)}


def test_a_bad_row_costs_a_logarithm_of_calls() -> None:
    plain = Doubling({500})
    score_rows(plain, batch_of(list(range(1024))), FLOAT, threads=1)
    assert plain.calls <= 2 * 10 + 1


@pytest.mark.parametrize("error", [MemoryError, ConnectionError, PermissionError, PoolsieveError, KeyboardInterrupt])
def test_what_is_no_rows_fault_is_raised(error: type[BaseException]) -> None:
    with pytest.raises(error):
        score_rows(Doubling({3}, error), batch_of([1, 2, 3]), FLOAT, threads=1)


def test_pillows_complaints_are_a_rows_fault() -> None:
    from PIL import UnidentifiedImageError

    made = score_rows(Doubling({3}, UnidentifiedImageError), batch_of([1, 3]), FLOAT, threads=1)
    assert made.errors[1].kind == "unidentified_image_error"
    made = score_rows(
        Doubling({3}, OSError), batch_of([1, 3]), FLOAT, threads=1
    )  # Pillow's own "image file is truncated"
    assert made.errors[1].kind == "os_error"


def test_errors_are_strings_in_snake_case() -> None:
    assert row_error(KeyError("x")) == RowError("key_error", "KeyError: 'x'")
    assert row_error(type("HTTPError", (Exception,), {})("y" * 999)).kind == "http_error"
    assert len(row_error(ValueError("y" * 999)).message) == 300
    assert row_error(ValueError(f"can't read {object()}!")).message == "ValueError: can't read!"


def test_an_empty_batch_has_typed_columns() -> None:
    made = score_rows(Doubling(set()), batch_of([]), {"": pa.float32(), "e": pa.list_(pa.float16(), 3)}, threads=1)
    assert {name: a.type for name, a in made.columns.items()} == {"": pa.float32(), "e": pa.list_(pa.float16(), 3)}


def two(text: pa.Array) -> dict[str, Any]:
    return {"n": [1] * len(text), "s": ["a"] * len(text)}


def test_a_function_with_two_columns() -> None:
    made = scorer(two, reads=("text",), columns={"n": "float32", "s": "string"})
    found = score_rows(made, pa.record_batch({"text": ["x", "y"]}), made.columns, threads=1)
    assert found.columns["s"].to_pylist() == ["a", "a"]
