"""SimiFeat: labels against those of the nearest neighbours, without training.

Zhu, Dong, Liu, "Detecting Corrupted Labels Without Training a Model to Predict", ICML 2022, arXiv 2110.06283, as in
its published code (UCSC-REAL/SimiFeat: `count_knn_distribution`, `get_score`, `get_knn_acc_all_class`), which the tests
have numbers of. Each of the k, of which the item itself is one, votes for its label with the weight 1 - distance; the
item's own distance, 0, is replaced by 2 d1 - d2.

It differs where the published code has no good answer: exact duplicates of the item are no neighbours; a count below 0
(neighbours on the far side) is 0 and not NaN; an item of which no neighbour disagrees is never flagged (there, a class
in which most items are such ties is flagged whole); rates have no random offset of up to 0.05.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from poolsieve.filters.labelling.items import Bools, Floats, Ints
from poolsieve.filters.labelling.nearest import Near

TINY = 1e-8
"""Added to a count before its logarithm."""

LEAST_RATE, MOST_RATE = 0.05, 0.95
"""Instead of a rate of 0 or below, and of 1 or above."""

_BLOCK = 1 << 15


class Votes(NamedTuple):
    """What the k say of each of n items.

    Attributes:
        winner: int64 (n,), the class with the largest count (of two such, the first).
        own: float64 (n,), the count of the item's own label; all counts of an item have the Euclidean length 1.
        agree: bool (n,), whether no neighbour has another label.
    """

    winner: Ints
    own: Floats
    agree: Bools


def votes(codes: Ints, near: Near) -> Votes:
    """Soft counts of the labels around each item.

    Args:
        codes: int64 (n,), labels from 0.
        near: of each item the k - 1 nearest, at least two.
    """
    parts = [_votes(codes, near, at) for at in range(0, len(codes), _BLOCK)]
    return Votes(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _votes(codes: Ints, near: Near, at: int) -> tuple[Ints, Floats, Bools]:
    distance = 1.0 - near.cosine[at : at + _BLOCK]
    labels = np.column_stack([codes[at : at + _BLOCK], codes[near.rows[at : at + _BLOCK]]])
    weights = 1.0 - np.column_stack([2.0 * distance[:, 0] - distance[:, 1], distance])
    same = labels[:, :, None] == labels[:, None, :]
    counts = (weights[:, None, :] * same).sum(axis=2)  # of the label at each place; a label may stand at several
    length = np.sqrt((counts * counts / same.sum(axis=2)).sum(axis=1))
    best = counts == counts.max(axis=1, keepdims=True)
    winner = np.where(best, labels, np.iinfo(np.int64).max).min(axis=1)
    return winner, counts[:, 0] / np.maximum(length, np.finfo(np.float64).tiny), same[:, 0].all(axis=1)


def outvoted(codes: Ints, found: Votes) -> Bools:
    """bool (n,): the method "vote": whose label is not the winner."""
    return np.asarray(found.winner != codes)


def suspicion(found: Votes) -> Floats:
    """float64 (n,): -log of the count of the item's own label; large is suspicious."""
    return np.asarray(-np.log(np.maximum(found.own, 0.0) + TINY))


def ranked(codes: Ints, found: Votes, right: Floats) -> Bools:
    """bool (n,): the method "rank": in each class the most suspicious, as many as its labels are wrong.

    Args:
        codes: int64 (n,).
        found: their votes.
        right: float (classes,), the share of each class's labels that is right.
    """
    score, flagged = suspicion(found), np.zeros(len(codes), dtype=bool)
    for code in np.unique(codes):
        rate = 1.0 - min(float(right[code]), 1.0)
        rate = MOST_RATE if rate >= 1 else LEAST_RATE if rate <= 0 else rate
        its = codes == code
        flagged |= its & (score >= np.percentile(score[its], 100 * (1 - rate)))
    return flagged & ~found.agree
