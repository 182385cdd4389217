"""Neighbours are those of the definition, ties and duplicates included; faiss only finds candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.filters.labelling import nearest
from poolsieve.filters.labelling.nearest import duplicates, neighbours, unit
from poolsieve.scoring_models.base.errors import PoolsieveError
from tests.filters.labelling.built import points


def by_definition(values: np.ndarray[Any, Any], group: np.ndarray[Any, Any], count: int) -> Any:
    """All cosines, the own group left out, ties by place of the group's first item and then by place."""
    wide = values.astype(np.float64)
    cosine = np.array([(wide * row).sum(axis=1) for row in wide])
    cosine[group[:, None] == group] = -np.inf
    first = np.array([np.flatnonzero(group == one)[0] for one in group])
    places, firsts = (np.broadcast_to(one, cosine.shape) for one in (np.arange(len(values)), first))
    order = np.lexsort((places, firsts, -cosine))[:, :count]
    return order, np.take_along_axis(cosine, order, axis=1)


def check(values: np.ndarray[Any, Any], count: int) -> None:
    assert unit(values).all()
    group = duplicates(values)
    found = neighbours(values, group, count)
    rows, cosine = by_definition(values, group, count)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.cosine, cosine)


def test_far_items() -> None:
    check(points(n=400, width=24).values, 9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(30, 80), st.integers(1, 5))
def test_grids_full_of_ties_and_duplicates(seed: int, n: int, count: int) -> None:
    """Small whole numbers: more items tie than there are candidates to spare, and many are equal."""
    dice = np.random.default_rng(seed)
    values = dice.integers(-1, 2, (n, 3)).astype(np.float32) * dice.integers(1, 3, (n, 1)).astype(np.float32)
    values[~values.any(axis=1)] = 1
    assert len(np.unique(duplicates(values.copy()))) < n
    check(values, count)


def test_items_that_float32_cannot_tell_apart() -> None:
    """They differ by less than a product's rounding, and are more than there are candidates."""
    dice = np.random.default_rng(3)
    near = 1 + dice.normal(size=(120, 16)) * 1e-4
    check(np.vstack([near, dice.normal(size=(40, 16))]).astype(np.float32), 9)


def test_it_does_not_matter_how_faiss_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor what it can't see: with one candidate to spare nearly every item is compared with all."""
    values = points(n=300).values
    unit(values)
    group = duplicates(values)
    wanted = neighbours(values, group, 9)
    monkeypatch.setattr(nearest, "_QUERIES", 7)
    monkeypatch.setattr(nearest, "MORE", 1)
    for made, meant in zip(neighbours(values, group, 9), wanted, strict=True):
        np.testing.assert_array_equal(made, meant)


def test_an_item_without_a_direction() -> None:
    values = np.array([[3, 4], [0, 0], [np.nan, 1], [np.inf, 1], [-0.0, 2]], dtype=np.float32)
    with np.errstate(invalid="ignore"):
        assert unit(values).tolist() == [True, False, False, False, True]
    np.testing.assert_array_equal(values[[0, 4]], np.array([[0.6, 0.8], [0, 1]], dtype=np.float32))


def test_too_few_others() -> None:
    values = np.array([[1, 0]] * 5 + [[0, 1], [1, 1]], dtype=np.float32)
    unit(values)
    assert neighbours(values, duplicates(values), 2).rows[0].tolist() == [6, 5]
    with pytest.raises(PoolsieveError, match=r"of 7 items 5 are equal .* fewer than the 3 neighbours"):
        neighbours(values, duplicates(values), 3)
