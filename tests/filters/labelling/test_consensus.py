"""HOC: its gradients, what it finds of planted matrices, and samples that the order of items does not change."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from poolsieve.filters.labelling import consensus
from poolsieve.filters.labelling.consensus import Shares, fitted, observed, right_shares
from poolsieve.filters.labelling.nearest import Near, duplicates, unit
from poolsieve.scoring_models.base.errors import PoolsieveError
from tests.filters.labelling.built import points

T = np.array([[0.8, 0.15, 0.05], [0.1, 0.6, 0.3], [0.0, 0.1, 0.9]])
P = np.array([0.5, 0.2, 0.3])


def exact() -> Shares:
    """What infinitely many items would show."""
    return Shares(P @ T, np.einsum("i,ia,ib->ab", P, T, T), np.einsum("i,ia,ib,ic->abc", P, T, T, T))


def test_a_planted_matrix_is_found() -> None:
    made = fitted(exact())
    np.testing.assert_allclose(made.matrix, T, atol=0.02)
    np.testing.assert_allclose(made.shares, P, atol=0.02)
    np.testing.assert_allclose(right_shares(made, P @ T), np.diag(T) * P / (P @ T), atol=0.03)


def test_gradients_are_those_of_the_loss() -> None:
    dice = np.random.default_rng(1)
    at = [dice.normal(size=(3, 3)), dice.normal(size=3)]
    _, gradients = consensus._loss(at, exact())
    for part, gradient in enumerate(gradients):
        for place in np.ndindex(gradient.shape):
            near = [[one.copy() for one in at] for _ in range(2)]
            near[0][part][place] -= 1e-6
            near[1][part][place] += 1e-6
            slope = (consensus._loss(near[1], exact())[0] - consensus._loss(near[0], exact())[0]) / 2e-6
            assert gradient[place] == pytest.approx(slope, abs=1e-6)


def test_samples_are_the_same_for_any_order_of_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consensus, "SAMPLE", 150)
    made, order = points(n=500), np.random.default_rng(2).permutation(500)
    values, uids = made.values, np.array([f"u{one}" for one in range(500)])
    unit(values)
    none = Near(np.zeros((0, 2), dtype=np.int64), np.zeros((0, 2)))
    first = observed(none, values, duplicates(values), made.codes, pa.array(uids), 4)
    other = observed(none, values[order], duplicates(values[order]), made.codes[order], pa.array(uids[order]), 4)
    np.testing.assert_array_equal(first.triples, other.triples)
    assert first.triples.sum() == pytest.approx(1)
    assert not np.array_equal(first.triples * 150, np.round(first.triples * 150)), "a mean of several samples"


def test_a_label_that_nothing_has() -> None:
    assert right_shares(consensus.Transition(np.eye(2), np.array([1.0, 0.0])), np.array([1.0, 0.0])).tolist() == [1, 0]


def test_too_many_classes() -> None:
    with pytest.raises(PoolsieveError, match=r"201 classes .* method='vote'"):
        observed(Near(np.zeros(0), np.zeros(0)), np.zeros((1, 1)), np.zeros(1), np.zeros(1), pa.array(["a"]), 201)
