"""SimiFeat: its published code's numbers on built items, and where ours are better on purpose."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from poolsieve.filters.labelling import consensus, simifeat
from poolsieve.filters.labelling.nearest import Near, duplicates, neighbours, unit
from tests.filters.labelling.built import points
from tests.filters.labelling.make_simifeat import CLASSES, FILE, K, built

GOLDEN: dict[str, Any] = json.loads(FILE.read_text())
CODES = np.array(GOLDEN["labels"])


@pytest.fixture(scope="module")
def near() -> Near:
    values = np.array(GOLDEN["features"], dtype=np.float32)
    assert unit(values).all()
    group = duplicates(values)
    assert len(np.unique(group)) == len(values), "the published code counts duplicates; these have none"
    return neighbours(values, group, K - 1)


def test_the_file_is_of_the_script() -> None:
    features, labels = built()
    assert (features.tolist(), labels.tolist()) == (GOLDEN["features"], GOLDEN["labels"])


def test_votes_are_the_published_ones(near: Near) -> None:
    found, counts = simifeat.votes(CODES, near), np.array(GOLDEN["counts"])
    np.testing.assert_allclose(found.own, counts[np.arange(len(CODES)), CODES], atol=2e-6)
    assert found.winner.tolist() == counts.argmax(axis=1).tolist()
    assert np.flatnonzero(simifeat.outvoted(CODES, found)).tolist() == GOLDEN["mv"]
    assert 80 < len(GOLDEN["mv"]) < 200


def test_ranks_are_the_published_ones_given_its_rates(near: Near) -> None:
    flagged = simifeat.ranked(CODES, simifeat.votes(CODES, near), np.array(GOLDEN["right"]))
    assert np.flatnonzero(flagged).tolist() == GOLDEN["rank1"]
    assert 80 < len(GOLDEN["rank1"]) < 200


def test_the_estimate_is_close_to_the_published_one(near: Near) -> None:
    """It begins elsewhere, and counts in float64."""
    values = np.array(GOLDEN["features"], dtype=np.float32)
    unit(values)
    shares = consensus.observed(near, values, duplicates(values), CODES, pa.array(map(str, range(len(CODES)))), CLASSES)
    made = consensus.fitted(shares)
    np.testing.assert_allclose(made.matrix, GOLDEN["transition"], atol=0.02)
    np.testing.assert_allclose(made.shares, GOLDEN["shares"], atol=0.02)
    np.testing.assert_allclose(consensus.right_shares(made, shares.ones), GOLDEN["right"], atol=0.03)


def test_copies_do_not_vote_for_their_own_label() -> None:
    """Ten copies of one wrongly labelled item outvote everybody else, if they may vote for one another."""
    made = points(n=200, noise=0.0)
    values, codes = np.vstack([made.values, np.repeat(made.values[:1], 10, axis=0)]), np.append(made.codes, [0] * 10)
    codes[[0, *range(200, 210)]] = (codes[0] + 1) % 4
    unit(values)
    group = duplicates(values)
    found = simifeat.votes(codes, neighbours(values, group, 9))
    assert simifeat.outvoted(codes, found)[[0, *range(200, 210)]].all()
    among = simifeat.votes(codes, neighbours(values, np.arange(210), 9))
    assert not simifeat.outvoted(codes, among)[0]


def test_a_class_of_which_all_neighbours_agree_is_not_flagged_whole() -> None:
    made = points(n=300, noise=0.0, spread=0.05)
    values = made.values
    unit(values)
    found = simifeat.votes(made.codes, neighbours(values, duplicates(values), 9))
    assert found.agree.all()
    assert not simifeat.ranked(made.codes, found, np.full(4, 0.9)).any()


def test_neighbours_on_the_far_side_are_no_nan() -> None:
    codes = np.array([0, 0, 1, 1])
    near = Near(np.array([[1, 2], [0, 2], [3, 0], [2, 0]]), np.array([[-0.5, -0.9]] * 4))
    assert np.isfinite(simifeat.suspicion(simifeat.votes(codes, near))).all()


@pytest.mark.parametrize(("right", "flagged"), [(0.0, 0.95), (1.0, 0.05), (0.7, 0.3)])
def test_rates_at_the_ends(right: float, flagged: float) -> None:
    dice = np.random.default_rng(0)
    found = simifeat.Votes(np.zeros(1000, dtype=np.int64), dice.random(1000), np.zeros(1000, dtype=bool))
    assert simifeat.ranked(np.zeros(1000, dtype=np.int64), found, np.array([right])).mean() == pytest.approx(
        flagged, abs=0.002
    )
