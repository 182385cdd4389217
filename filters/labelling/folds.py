"""Out-of-sample probabilities from embeddings: a linear classifier for each fold, which never saw the fold's items.

The folds go by a hash of the uid, so that they depend neither on the order of rows nor on how the pool is cut. The
classifier is scikit-learn's logistic regression on standardised numbers, on one thread: with more, BLAS adds up in
another order.
"""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pyarrow as pa

from poolsieve.filters.dsl.cuts import tie_hashes
from poolsieve.filters.labelling.items import Bools, Floats, Ints
from poolsieve.scoring_models.base.errors import PoolsieveError

FOLDS = 5
"""As many as cleanlab's own examples and `CleanLearning(cv_n_folds=5)`."""

INVERSE_REGULARISATION, TOLERANCE, MOST_STEPS = 1.0, 1e-4, 1000
"""`C` and `tol` are scikit-learn's own; its 100 steps are too few for wide embeddings."""

_log = logging.getLogger(__name__)


def fold_of(uids: pa.Array, folds: int) -> Ints:
    """int64 (n,): the fold of each uid, from 0."""
    return (tie_hashes(uids, 0, b"fold") % np.uint64(folds)).astype(np.int64)


def out_of_sample(values: Floats, codes: Ints, fold: Ints, classes: int) -> Floats:
    """float32 (n, classes): each item's probabilities by the classifier that learned from the other folds.

    A class that the other folds do not have gets 0.

    Args:
        values: float32 (n, width), finite.
        codes: int64 (n,), labels from 0.
        fold: int64 (n,).
        classes: how many.

    Raises:
        PoolsieveError: if the other folds of one have fewer than two classes.
    """
    from threadpoolctl import threadpool_limits

    out = np.zeros((len(codes), classes), dtype=np.float32)
    with threadpool_limits(limits=1):
        for one in np.unique(fold):
            _fill(out, values, codes, fold == one)
    return out


def _fill(out: Floats, values: Floats, codes: Ints, held: Bools) -> None:
    from sklearn.preprocessing import StandardScaler

    learned = codes[~held]
    if len(np.unique(learned)) < 2:
        raise PoolsieveError(
            f"of {len(codes)} labelled items {int(held.sum())} are in one fold, and the others have fewer than two "
            "classes: give more items or fewer folds"
        )
    train = values[~held]
    scaler = StandardScaler(copy=False).fit(train)
    model = _fitted(scaler.transform(train), learned)
    out[np.ix_(held, model.classes_)] = model.predict_proba(scaler.transform(values[held]))  # type: ignore[attr-defined]


def _fitted(train: Floats, codes: Ints) -> object:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=INVERSE_REGULARISATION, tol=TOLERANCE, max_iter=MOST_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train, codes)
    if np.max(model.n_iter_) >= MOST_STEPS:
        _log.warning("a classifier of embeddings did not settle in %d steps; its probabilities are used", MOST_STEPS)
    return model
