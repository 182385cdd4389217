"""Rows by group, against a plain loop."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from poolsieve.filters.dsl.groups import Groups


@given(st.lists(st.tuples(st.sampled_from(["b", "a", "", "ä", None]), st.booleans())))
def test_rows_of_each_group_ascend_and_rows_without_one_are_left_out(given_rows: list[tuple[str | None, bool]]) -> None:
    values = [value for value, _ in given_rows]
    among = np.array([chosen for _, chosen in given_rows], dtype=bool)
    groups = Groups.of(pa.array(values, pa.string()), len(values))
    for mask in (None, among):
        wanted: dict[str, list[int]] = {}
        for i, value in enumerate(values):
            if value is not None and (mask is None or mask[i]):
                wanted.setdefault(value, []).append(i)
        found = {name: rows.tolist() for name, rows in groups.rows(mask)}
        assert found == wanted
        assert list(found) == sorted(found)


def test_numbers_are_groups_by_their_text_and_no_column_is_one_group() -> None:
    assert [(name, rows.tolist()) for name, rows in Groups.of(pa.array([2, 10, 2]), 3).rows()] == [
        ("10", [1]),
        ("2", [0, 2]),
    ]
    assert [(name, rows.tolist()) for name, rows in Groups.of(None, 2).rows()] == [("", [0, 1])]
    assert list(Groups.of(None, 0).rows()) == []
