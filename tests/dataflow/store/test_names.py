"""Names that are packed are found as in a set of them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsieve.dataflow.store import names as names_module
from poolsieve.dataflow.store.names import GrowingNames, SortedNames

NAMES = st.text(st.sampled_from("ab-é𝒳\udcff"), min_size=1, max_size=4)


@given(st.lists(NAMES), NAMES)
def test_sorted_names(given_names: list[str], prefix: str) -> None:
    packed = SortedNames(iter(given_names))
    assert len(packed) == len(given_names) and sorted(packed) == sorted(given_names)
    assert sorted(packed.starting(prefix)) == sorted(name for name in given_names if name.startswith(prefix))


@pytest.mark.parametrize("at_once", [1, 2, 3, 8192])
@given(first=st.lists(NAMES), more=st.lists(st.tuples(st.sampled_from(["a-", "é-", "𝒳-"]), NAMES), max_size=40))
def test_names_may_be_added(at_once: int, first: list[str], more: list[tuple[str, str]]) -> None:
    before = names_module._AT_ONCE
    names_module._AT_ONCE = at_once
    try:
        grown = GrowingNames(first)
        for prefix, name in more:
            grown.add(prefix, f"{prefix}{name}")
            there = {*first, *(one + rest for one, rest in more[: more.index((prefix, name)) + 1])}
            assert set(grown.starting(prefix)) >= {one for one in there if one.startswith(prefix)}
        every = {*first, *(one + rest for one, rest in more)}
        for prefix in ("a-", "é-", "𝒳-"):
            assert set(grown.starting(prefix)) == {one for one in every if one.startswith(prefix)}
        sizes = [len(part) for part in grown._packed[1:]]
        assert all(large >= 2 * small for large, small in itertools.pairwise(sizes))
    finally:
        names_module._AT_ONCE = before
