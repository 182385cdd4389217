"""HOC: how often a label is wrong, from how often near items agree on theirs.

Zhu, Song, Liu, "Clusterability as an Alternative to Anchor Points When Learning with Noisy Labels", ICML 2021, arXiv
2102.05291: an item and its two nearest have the same true class, and their labels are wrong independently of one
another. Then the shares of labels, of pairs and of triples are functions of the classes' shares p and of
T[i, j] = P(label j | true class i), and p and T are what fits them best. Constants as in UCSC-REAL/SimiFeat, whose
solver begins at random shares; this one begins at equal ones, so that it comes out the same each time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from poolsieve.filters.dsl.cuts import tie_hashes
from poolsieve.filters.labelling.items import Floats, Ints
from poolsieve.filters.labelling.nearest import Near, neighbours
from poolsieve.scoring_models.base.errors import PoolsieveError

ROUNDS, SAMPLE, STEPS, STEP = 10, 15_000, 400, 0.1
"""`--G`, `--cnt`, `--max_iter` and the learning rate of Adam."""

MOST_CLASSES = 200
"""Shares of triples are a cube of classes; the published code was used for 100."""

_DIAGONAL, _REST = 4.0, -1.0
"""T before its softmax, at first."""

_SETTLING = 5
"""Steps before the best one is remembered."""


class Shares(NamedTuple):
    """Shares of labels (classes,), of (label, nearest's label), and of those with the second nearest's; float64."""

    ones: Floats
    pairs: Floats
    triples: Floats


class Transition(NamedTuple):
    """T, float64 (classes, classes), and the classes' true shares p, float64 (classes,)."""

    matrix: Floats
    shares: Floats


def observed(near: Near, values: Floats, group: Ints, codes: Ints, uids: pa.Array, classes: int) -> Shares:
    """Shares among all items, or the mean over `ROUNDS` samples of `SAMPLE` of them, drawn by hashes of the uid.

    Args:
        near: of each item the nearest among all, at least two.
        values: float32 (n, width), one long each.
        group: int64 (n,), as of `nearest.duplicates`.
        codes: int64 (n,), labels from 0.
        uids: string (n,).
        classes: how many.

    Raises:
        PoolsieveError: for more than `MOST_CLASSES`.
    """
    if classes > MOST_CLASSES:
        raise PoolsieveError(
            f"method='rank' estimates how {classes} classes are confused, and does so for {MOST_CLASSES} at most: use "
            "method='vote'"
        )
    if len(codes) <= SAMPLE:
        return _shares(near, codes, classes)
    drawn = (np.sort(np.argsort(tie_hashes(uids, one, b"hoc"), kind="stable")[:SAMPLE]) for one in range(ROUNDS))
    made = [_shares(neighbours(values[rows], _renumbered(group[rows]), 2), codes[rows], classes) for rows in drawn]
    return Shares(*(np.mean(part, axis=0) for part in zip(*made, strict=True)))


def _renumbered(group: Ints) -> Ints:
    """The same groups with numbers from 0."""
    return np.unique(group, return_inverse=True)[1].astype(np.int64)


def _shares(near: Near, codes: Ints, classes: int) -> Shares:
    first, second = codes[near.rows[:, :2]].T
    places = (codes * classes + first) * classes + second
    triples = np.bincount(places, minlength=classes**3).reshape(classes, classes, classes) / len(codes)
    return Shares(triples.sum(axis=(1, 2)), triples.sum(axis=2), triples)


def fitted(found: Shares) -> Transition:
    """p and T for which the three differences have the smallest sum of (Frobenius) lengths, by Adam.

    p and the rows of T are softmaxes of what Adam moves.
    """
    classes = len(found.ones)
    at = [_DIAGONAL * np.eye(classes) + _REST * (1 - np.eye(classes)), np.full(classes, 1 / classes)]
    moments = [(np.zeros_like(part), np.zeros_like(part)) for part in at]
    best, best_loss = at, np.inf
    for step in range(STEPS):
        loss, gradients = _loss(at, found)
        if step > _SETTLING and loss < best_loss:
            best, best_loss = at, loss
        moments = [_moved(m, g) for m, g in zip(moments, gradients, strict=True)]
        at = [part - _adam(m, step + 1) for part, m in zip(at, moments, strict=True)]
    return Transition(_softmax(best[0]), _softmax(best[1]))


def right_shares(transition: Transition, ones: Floats) -> Floats:
    """float64 (classes,): P(true class i | label i), by Bayes; 0 for a label that nothing has."""
    joint = np.diag(transition.matrix) * transition.shares
    return np.divide(joint, ones, out=np.zeros_like(joint), where=ones > 0)


def _loss(at: list[Floats], found: Shares) -> tuple[float, list[Floats]]:
    """The loss, and its gradients before the softmaxes.

    All three models are symmetric in their places, so that differences may be made symmetric before they are
    contracted.
    """
    t, p = _softmax(at[0]), _softmax(at[1])
    pairs = np.einsum("ia,ib->iab", t, t)
    models = (p @ t, np.einsum("i,iab->ab", p, pairs), np.tensordot((p[:, None] * t).T, pairs, axes=1))
    gaps = [model - share for model, share in zip(models, found, strict=True)]
    lengths = [float(np.sqrt((gap * gap).sum())) for gap in gaps]
    one, two, three = (gap / max(length, 1e-12) for gap, length in zip(gaps, lengths, strict=True))
    by_two, by_three = _contracted(two, three, t, pairs)
    to_t = p[:, None] * (one + by_two + by_three)
    to_p = t @ one + (by_two * t).sum(axis=1) / 2 + (by_three * t).sum(axis=1) / 3
    return sum(lengths), [_through(t, to_t), _through(p, to_p)]


def _contracted(two: Floats, three: Floats, t: Floats, pairs: Floats) -> tuple[Floats, Floats]:
    """Derivatives of <two, t t> and <three, t t t> by each row of t."""
    classes = len(t)
    sides = three + three.transpose(1, 0, 2) + three.transpose(2, 0, 1)
    flat = sides.reshape(classes, classes * classes)
    return t @ (two + two.T), pairs.reshape(classes, classes * classes) @ flat.T


def _softmax(x: Floats) -> Floats:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _through(y: Floats, gradient: Floats) -> Floats:
    """A gradient by a softmax's result as one by its argument."""
    return np.asarray(y * (gradient - (gradient * y).sum(axis=-1, keepdims=True)))


def _moved(moments: tuple[Floats, Floats], gradient: Floats) -> tuple[Floats, Floats]:
    return 0.9 * moments[0] + 0.1 * gradient, 0.999 * moments[1] + 0.001 * gradient * gradient


def _adam(moments: tuple[Floats, Floats], step: int) -> Floats:
    """What to subtract (Kingma and Ba, arXiv 1412.6980, with its constants)."""
    first, second = moments[0] / (1 - 0.9**step), moments[1] / (1 - 0.999**step)
    return np.asarray(STEP * first / (np.sqrt(second) + 1e-8))
