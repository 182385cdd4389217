"""`best`: whatever finds the clusters, the same row of one is the best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from poolsieve.filters.near import Duplicates
from poolsieve.filters.near_pictures import NearPictures
from poolsieve.filters.near_vectors import NearVectors
from poolsieve.filters.unique import Place
from poolsieve.scoring_models.base.derived import PATH, ROW, Part

KINDS: list[Any] = [
    Duplicates(hash="hash", best="best"),
    NearPictures(hash="hash", picture="picture", best="best"),
    NearVectors(embedding="embedding", best="best"),
]


def equal_rows(best: pa.Array) -> Part:
    """Copies of one another, in two clusters' columns as well."""
    n = len(best)
    scores = {
        "hash": pa.array([b"h" * 16] * n, pa.binary(16)),
        "picture.dhash": pa.nulls(n, pa.binary(8)),
        "picture.phash": pa.nulls(n, pa.binary(8)),
        "embedding": pa.array([[1.0, 2.0]] * n, pa.list_(pa.float32())),
        "dup.cluster": pa.array(["p:0"] * n),
        "dup.rank": pa.array(range(n), pa.int64()),
        "best": best,
    }
    return Part("p", np.arange(n), pa.array(map(str, range(n))), scores)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
def test_large_integers_keep_all_digits_where_some_are_missing(kind: Any) -> None:
    made = kind.gather(iter([equal_rows(pa.array([2**60, None, 2**60 + 1, 2**60 + 2, 2**60 - 1], pa.int64()))]))
    ranks = dict(zip(made[ROW].to_pylist(), made["rank"].to_pylist(), strict=True))
    assert ranks == {3: 0, 2: 1, 0: 2, 4: 3, 1: 4}


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()], ids=str)
def test_places_by_any_number_are_those_of_the_clusters_themselves(kind: pa.DataType) -> None:
    best = pa.array(np.array([0.5, np.nan, 0.0, 2.0, -0.0], np.float64)).cast(kind)
    best = pa.concat_arrays([best, pa.nulls(1, kind)])
    made = Place(by="dup", best="best").gather(iter([equal_rows(best)]))
    places = dict(zip(made[ROW].to_pylist(), made["place"].to_pylist(), strict=True))
    assert places == {3: 0, 0: 1, 2: 2, 4: 3, 1: 4, 5: 5} and set(made[PATH].to_pylist()) == {"p"}


def test_rows_with_nan_are_no_better_than_rows_without_a_score() -> None:
    made = Place(by="dup", best="best").gather(iter([equal_rows(pa.array([None, float("nan"), 1.0]))]))
    assert dict(zip(made[ROW].to_pylist(), made["place"].to_pylist(), strict=True)) == {2: 0, 0: 1, 1: 2}
