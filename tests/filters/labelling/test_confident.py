"""Confident learning: cleanlab's own flags, rows that are no probabilities, and folds that see nothing of their own."""

from __future__ import annotations

import warnings

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.filters.labelling.confident import FILTERS, distributions, issues, self_confidence
from poolsieve.filters.labelling.folds import fold_of, out_of_sample
from poolsieve.scoring_models.base.errors import PoolsieveError
from tests.filters.labelling.built import points


def test_every_way_of_cleanlab_is_there() -> None:
    import inspect

    from cleanlab.filter import find_label_issues

    documented = inspect.getdoc(find_label_issues) or ""
    listed = documented.partition("filter_by : {")[2].partition("}")[0]
    assert {one.strip(" '") for one in listed.split(",")} == set(FILTERS)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.sampled_from(FILTERS), st.booleans())
def test_flags_are_cleanlabs(seed: int, classes: int, filter_by: str, single: bool) -> None:
    from cleanlab.filter import find_label_issues

    dice = np.random.default_rng(seed)
    codes = np.concatenate([np.arange(classes), dice.integers(0, classes, 120)])
    raw = dice.random((len(codes), classes)) + 2 * np.eye(classes)[np.where(dice.random(len(codes)) < 0.2, 0, codes)]
    given_ = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32 if single else np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = find_label_issues(codes, given_, filter_by=filter_by, n_jobs=1)
    np.testing.assert_array_equal(issues(codes, given_, filter_by), theirs)


def test_a_class_of_one_item_gives_none() -> None:
    made = np.array([[0.9, 0.1]] * 8 + [[0.95, 0.05]])
    assert not issues(np.array([0] * 8 + [1]), made)[8]


def test_rows_that_are_no_probabilities() -> None:
    rows = [[0.5, 0.5], [np.nan, 1], [1.2, -0.2], [0.5, 0.4], [1, 0], [0.502, 0.5], [np.inf, 0]]
    with np.errstate(invalid="ignore"):
        found = distributions(np.array(rows, dtype=np.float32))
    assert found.tolist() == [True, False, False, False, True, True, False]


def test_self_confidence_is_the_own_probability() -> None:
    assert self_confidence(np.array([1, 0]), np.array([[0.25, 0.75], [0.5, 0.5]])).tolist() == [0.75, 0.5]


def test_probabilities_are_those_of_a_plain_loop() -> None:
    """Of scikit-learn alone, fold by fold."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    made, fold = points(n=300), np.arange(300) % 5
    found = out_of_sample(made.values, made.codes, fold, 4)
    for one in range(5):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
        model.fit(made.values[fold != one], made.codes[fold != one])
        np.testing.assert_allclose(found[fold == one], model.predict_proba(made.values[fold == one]), atol=1e-4)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_an_item_has_no_part_in_its_own_probabilities() -> None:
    made, fold = points(n=200), fold_of(pa.array(map(str, range(200))), 4)
    first, codes = out_of_sample(made.values, made.codes, fold, 4), made.codes.copy()
    codes[17] = (codes[17] + 1) % 4
    other = out_of_sample(made.values, codes, fold, 4)
    np.testing.assert_array_equal(first[fold == fold[17]], other[fold == fold[17]])
    assert not np.array_equal(first, other)


def test_folds_go_by_the_uid_alone() -> None:
    uids = pa.array([f"u{one}" for one in range(1000)])
    found = fold_of(uids, 5)
    assert found.tolist() == fold_of(uids.take(pa.array(range(999, -1, -1))), 5).tolist()[::-1]
    assert np.bincount(found).min() > 150


def test_a_class_that_only_one_fold_has_gets_nothing_there() -> None:
    made = points(n=90, classes=3)
    codes, fold = np.where(made.codes == 2, 1, made.codes), np.arange(90) % 3
    codes[0] = 2
    found = out_of_sample(made.values, codes, fold, 3)
    assert found[fold == 0, 2].tolist() == [0.0] * 30 and (found[fold != 0, 2] > 0).all()


def test_other_folds_of_one_class() -> None:
    with pytest.raises(PoolsieveError, match="fewer than two classes: give more items or fewer folds"):
        out_of_sample(np.zeros((4, 2), dtype=np.float32), np.array([0, 1, 1, 1]), np.array([0, 1, 1, 1]), 2)
