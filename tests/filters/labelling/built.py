"""Labelled points around centres, some with a wrong label."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Points(NamedTuple):
    """float32 (n, width); int64 (n,) true and given labels; bool (n,) whose label is wrong."""

    values: np.ndarray[Any, Any]
    true: np.ndarray[Any, Any]
    codes: np.ndarray[Any, Any]
    wrong: np.ndarray[Any, Any]


def points(
    n: int = 600, width: int = 12, classes: int = 4, noise: float = 0.15, spread: float = 0.6, seed: int = 0
) -> Points:
    dice = np.random.default_rng(seed)
    true = dice.integers(0, classes, n)
    values = dice.normal(size=(classes, width))[true] + spread * dice.normal(size=(n, width))
    wrong = dice.random(n) < noise
    codes = np.where(wrong, (true + dice.integers(1, classes, n)) % classes, true)
    return Points(values.astype(np.float32), true, codes, wrong)
