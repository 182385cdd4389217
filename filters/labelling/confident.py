"""Confident learning: which labels contradict out-of-sample probabilities, as cleanlab finds them.

Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021. The flags are those
of cleanlab's `find_label_issues` on the same numbers. It takes back a flag where the probabilities' largest is the
given label's, which the paper does not (in all modes but the two `low_*`), and flags nothing in a class of one item.
Where items tie at a count that it flags, which of them it takes is up to NumPy's sort, on the rows in our order.
"""

from __future__ import annotations

import warnings

import numpy as np

from poolsieve.filters.labelling.items import Bools, Floats, Ints, finite

FILTERS = (
    "prune_by_noise_rate",
    "prune_by_class",
    "both",
    "confident_learning",
    "predicted_neq_given",
    "low_normalized_margin",
    "low_self_confidence",
)
"""`filter_by` of cleanlab 2.9."""

BEYOND = 1e-6
"""How far outside 0 to 1 cleanlab lets a probability lie (`FLOATING_POINT_COMPARISON`)."""

SUM_WITHIN = 0.01
"""How far a row's sum may be from 1: float16 numbers of many classes come to a few thousandths."""


def issues(codes: Ints, probabilities: Floats, filter_by: str = FILTERS[0]) -> Bools:
    """bool (n,): whose label is one that cleanlab flags.

    Args:
        codes: int64 (n,), the given labels, from 0.
        probabilities: float (n, classes), out of sample.
        filter_by: one of `FILTERS`.
    """
    from cleanlab.filter import find_label_issues

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a class of one item gives none
        found: Bools = find_label_issues(codes, probabilities, filter_by=filter_by, n_jobs=1)
    return found


def self_confidence(codes: Ints, probabilities: Floats) -> Floats:
    """float64 (n,): the probability of each item's own label; small is suspicious."""
    return probabilities[np.arange(len(codes)), codes].astype(np.float64)


def distributions(values: Floats) -> Bools:
    """bool (n,): rows that are probabilities: finite, from 0 to 1, with the sum 1."""
    low = values.min(axis=1, initial=0) >= -BEYOND
    high = values.max(axis=1, initial=0) <= 1 + BEYOND
    near = np.abs(values.sum(axis=1, dtype=np.float64) - 1) <= SUM_WITHIN
    return finite(values) & low & high & near
