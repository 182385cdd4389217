"""Packed shards are the shards that went in, and come in the order of a pool."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsieve.dataflow.pools.packed import Shards, check_names
from poolsieve.dataflow.pools.shards import Shard

NUMBERS = st.integers(0, 1 << 50)
SHARDS = st.builds(
    Shard,
    path=st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    first=st.integers(0, 3),
    extent=st.none() | NUMBERS,
    start=NUMBERS,
    size=NUMBERS,
    tag=st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
)


@given(st.lists(SHARDS, max_size=20), st.data())
def test_they_are_a_sequence_of_what_went_in(plain: list[Shard], data: st.DataObject) -> None:
    packed = Shards.of(iter(plain))
    assert list(packed) == plain and packed == plain and len(packed) == len(plain) and bool(packed) == bool(plain)
    assert [packed[i] for i in range(-len(plain), len(plain))] == plain + plain
    low, high = (data.draw(st.none() | st.integers(-25, 25)) for _ in range(2))
    step = data.draw(st.sampled_from([None, 1, 2, -1, -3]))
    assert list(packed[low:high:step]) == plain[low:high:step]
    assert Shards.joined([packed[:3], packed[3:]]) == plain
    assert packed.below("a/") == [Shard(**{**one.to_dict(), "path": f"a/{one.path}"}) for one in plain]
    with pytest.raises(IndexError):
        packed[len(plain)]


@given(st.lists(SHARDS, max_size=20))
def test_their_order_is_that_of_shards(plain: list[Shard]) -> None:
    """Texts are ordered by their characters here and by their bytes in Arrow: that is the same, beyond U+FFFF too."""
    once = {(one.path, one.first): one for one in reversed(plain)}
    assert list(Shards.of(plain).in_order()) == [once[key] for key in sorted(once)]


@given(st.lists(SHARDS, max_size=20))
def test_shards_of_a_file_share_its_bytes(plain: list[Shard]) -> None:
    paths = [one.path for one in plain]
    assert Shards.of(plain).shares.tolist() == [one.size / paths.count(one.path) for one in plain]


def test_a_shard_takes_little_memory() -> None:
    made = (Shard(path=f"{i % 100:04d}/part-{i:08d}.parquet", size=i, tag=str(i << 30)) for i in range(50_000))
    tracemalloc.start()
    try:
        packed = Shards.of(made).in_order()
        assert tracemalloc.get_traced_memory()[1] < 4096 * 2000, "a few thousand are objects at a time"
    finally:
        tracemalloc.stop()
    assert packed.table.nbytes < 50_000 * 110
    assert packed[30_001].path == f"{60:04d}/part-{100 + 60:08d}.parquet"


def test_names_are_told_apart_without_keeping_them() -> None:
    rng = random.Random(0)
    some = [Shard(path=f"{rng.random()}.tar", size=1) for _ in range(9000)]
    check_names(Shards.of(some))
    assert np.all(Shards.of(some).sizes == 1)
