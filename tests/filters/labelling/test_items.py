"""Rows come into one order whatever order they arrive in, with their lists, of whatever kind those are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from poolsieve.filters.labelling.items import MOST_CLASSES, classes_of, codes_of, finite, in_order
from poolsieve.scoring_models.base.derived import Part
from poolsieve.scoring_models.base.errors import PoolsieveError

LISTS = [[1.0, 2.0], None, [3.0], [4.0, None], [5.0, 6.0]]


def part(path: str, rows: Any, uids: Any, kind: pa.DataType = pa.list_(pa.float32()), lists: Any = None) -> Part:
    scores = {"label": pa.array([f"l{row}" for row in rows]), "lists": pa.array(lists or LISTS[: len(rows)], kind)}
    return Part(path, np.array(rows, dtype=np.int64), pa.array(uids, pa.string()), scores)


def test_rows_stand_in_the_order_of_uid_then_path_then_row() -> None:
    parts = [part("b", [0, 1, 2], ["x", "a", None]), part("a", [3, 7], ["x", "x"]), part("c", [], [])]
    for some in (parts, parts[::-1]):
        found = in_order(iter(some), "label", "lists")
        assert list(zip(found.path.to_pylist(), found.row.tolist(), found.uid.to_pylist(), strict=True)) == [
            ("b", 1, "a"),
            ("a", 3, "x"),
            ("a", 7, "x"),
            ("b", 0, "x"),
            ("b", 2, None),
        ]
        assert found.label.to_pylist() == ["l1", "l3", "l7", "l0", "l2"]
        assert found.there.tolist() == [False, True, False, True, False]
        assert found.given.tolist() == [False, True, False, True, True]
        assert found.values.tolist() == [[0, 0], [1, 2], [0, 0], [1, 2], [0, 0]]
        assert found.place(1) == "a, row 3"


@pytest.mark.parametrize("number", [pa.float16(), pa.float32(), pa.float64()])
@pytest.mark.parametrize("kind", [pa.list_, pa.large_list])
def test_lists_with_holes(kind: Any, number: pa.DataType) -> None:
    found = in_order([part("a", range(5), list("abcde"), kind(number))], "label", "lists", exact=True)
    assert found.there.tolist() == [True, False, False, True, True] and found.values.shape == (5, 2)
    assert found.values.dtype == (np.float64 if number == pa.float64() else np.float32)
    assert finite(found.values).tolist() == [True, True, True, False, True]


def test_lists_of_a_fixed_size_that_are_a_slice() -> None:
    lists = [[float(row), 0.5] if row % 2 else None for row in range(6)]
    made = part("a", range(6), list("abcdef"), pa.list_(pa.float16(), 2), lists)
    scores = {name: values.slice(1, 4) for name, values in made.scores.items()}
    found = in_order([Part("a", made.rows[1:5], made.uid.slice(1, 4), scores)], "label", "lists")
    assert found.values.tolist() == [[1, 0.5], [0, 0], [3, 0.5], [0, 0]]
    assert found.there.tolist() == found.given.tolist() == [True, False, True, False]


def test_the_length_that_most_have() -> None:
    lists = [[1.0], [1.0, 2.0], [3.0], [1.0, 2.0], [1.0, 2.0, 3.0]]
    found = in_order([part("a", range(5), list("abcde"), lists=lists)], "label", "lists")
    assert found.values.shape[1] == 1, "of two that are as frequent, the smaller"
    assert in_order([part("a", range(5), list("abcde"), lists=lists)], "label", "lists", width=3).there.sum() == 1


def test_what_float32_cannot_hold_is_not_finite() -> None:
    found = in_order([part("a", [0, 1], "ab", pa.list_(pa.float64()), [[1e300, 1.0], [1e17, 1.0]])], "label", "lists")
    assert finite(found.values).tolist() == [False, True]


def test_no_rows_are_no_items() -> None:
    assert len(in_order([], "label", "lists").row) == len(in_order([part("a", [], [])], "label", "lists").row) == 0


def test_classes_are_sorted_or_given() -> None:
    assert classes_of(pa.array(["b", None, "a", "b"]), None) == ["a", "b"]
    assert classes_of(pa.array([10, 9, 10]), None) == [9, 10]
    assert classes_of(pa.array(["b", "a"]), ("b", "c", "a")) == ["b", "c", "a"]
    assert codes_of(pa.array(["b", None, "x"]), ["a", "b"]).tolist() == [1, -1, -2]
    with pytest.raises(PoolsieveError, match="are no values of the labels' type"):
        codes_of(pa.array([1], pa.int8()), [1, 1000])
    with pytest.raises(PoolsieveError, match="10,001 different values"):
        classes_of(pa.array(range(MOST_CLASSES + 1)), None)
