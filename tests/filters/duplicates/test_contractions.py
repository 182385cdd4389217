"""Components by rounds have the labels, and the splits, of one worker that sees all edges: whatever hangs together how."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.filters.duplicates.contractions import LINK, Contractions, begun, labelling, rounds
from poolsieve.filters.duplicates.edges import least_equal
from poolsieve.filters.duplicates.giants import CAP, Capped, capped
from poolsieve.filters.duplicates.graph import EDGE
from poolsieve.scoring_models.base.derived import Block

Edges = np.ndarray[Any, Any]
Shape = Callable[[np.random.Generator, int], Edges]


def chain(rng: np.random.Generator, n: int) -> Edges:
    return np.stack([np.arange(n - 1), np.arange(1, n)], axis=1)


def shuffled_chain(rng: np.random.Generator, n: int) -> Edges:
    order = rng.permutation(n)
    return np.stack([order[:-1], order[1:]], axis=1)


def star(rng: np.random.Generator, n: int) -> Edges:
    centre = int(rng.integers(n))
    return np.array([(centre, i) for i in range(n) if i != centre])


def clique(rng: np.random.Generator, n: int) -> Edges:
    return np.array([(a, b) for a in range(min(n, 12)) for b in range(a)])


def at_random(rng: np.random.Generator, n: int) -> Edges:
    return rng.integers(0, n, (int(rng.integers(1, 2 * n)), 2))


def tree(rng: np.random.Generator, n: int) -> Edges:
    return np.array([(i, rng.integers(i)) for i in range(1, n)])


def one(rng: np.random.Generator, n: int) -> Edges:
    return np.array([(0, 1)])


SHAPES: tuple[Shape, ...] = (chain, shuffled_chain, star, clique, at_random, tree, one)


def edges_of(shapes: list[tuple[Shape, int]], seed: int) -> np.ndarray[Any, Any]:
    """`EDGE` records of parts that have nothing in common, some twice, with any similarities, in any order."""
    rng, made, begin = np.random.default_rng(seed), [], 0
    names = rng.permutation(1 << 16).astype(np.uint64) << np.uint64(20)
    for shape, n in shapes:
        made.append(shape(rng, n) + begin)
        begin += n
    edges = np.concatenate(made)
    edges = np.sort(names[edges[edges[:, 0] != edges[:, 1]]], axis=1)
    edges = np.concatenate([edges, edges[: len(edges) // 5]])  # some come twice
    found = np.zeros(len(edges), dtype=EDGE)
    found["first"], found["second"] = edges.T
    found["equal"] = rng.integers(least_equal(0.5), 257, len(edges))
    return found[rng.permutation(len(found))]


class Held:
    """The rounds, held one after the other."""

    def __init__(self, edges: Any, times: int, bits: int, cap: int, homes: int = 3) -> None:
        self.found, self.bytes, self.most = list[Capped](), Counter[str](), Counter[str]()
        self.sent: dict[str, dict[int, dict[str, list[bytes]]]] = defaultdict(
            lambda: defaultdict(lambda: defaultdict(list))
        )
        made = Contractions(times, bits, cap, self.labelled)
        for part in np.array_split(edges, homes):
            self.send("second", begun(part, bits))
        for name, hears, _ in rounds("second", times):
            for heard in reversed(self.sent[name].values()):
                assert set(heard) <= set(hears), name
                self.most[name] = max(self.most[name], sum(len(data) for some in heard.values() for data in some))
                self.send(name, made.join(name, {sender: sorted(some) for sender, some in heard.items()}))

    def labelled(self, found: Capped) -> Any:
        self.found.append(found)
        return iter(())

    def send(self, sender: str, blocks: Any) -> None:
        for to, place, data in blocks:
            self.bytes[to] += len(data)
            self.sent[to][place][sender].append(data)

    def rows(self) -> dict[int, tuple[int, int]]:
        """Row -> its label, and how many rows its component had before it was split."""
        each = [told(found) for found in self.found]
        made = {row: what for some in each for row, what in some.items()}
        assert len(made) == sum(map(len, each)), "a row has two labels"
        return made


def told(found: Capped) -> dict[int, tuple[int, int]]:
    values = zip(found.labels.tolist(), found.size_before().tolist(), strict=True)
    return dict(zip(found.rows.tolist(), values, strict=True))


def of_one(edges: Any, cap: int) -> dict[int, tuple[int, int]]:
    return told(capped(np.stack([edges["first"], edges["second"]], axis=1), edges["equal"], cap))


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.sampled_from(SHAPES), st.integers(2, 40)), min_size=1, max_size=6),
    st.integers(0, 1 << 32),
    st.integers(1, 4),
    st.integers(0, 6),
    st.sampled_from([2, 5, 20, CAP]),
)
def test_rounds_label_as_one_worker_does(
    shapes: list[tuple[Shape, int]], seed: int, times: int, bits: int, cap: int
) -> None:
    edges = edges_of(shapes, seed)
    assert Held(edges, times, bits, cap).rows() == of_one(edges, cap)


@pytest.mark.parametrize("shape", [chain, shuffled_chain, star, at_random, tree])
@pytest.mark.parametrize("times", [1, 3])
def test_a_giant_of_many_places(shape: Shape, times: int) -> None:
    edges = edges_of([(shape, 20_000), (one, 2)], 7)
    held = Held(edges, times, 6, CAP)
    assert held.rows() == of_one(edges, CAP)


def test_what_is_small_is_whole_before_the_rest_and_no_place_sees_all() -> None:
    rng = np.random.default_rng(3)
    edges = edges_of([(SHAPES[rng.integers(2, 7)], int(rng.integers(2, 6))) for _ in range(2000)], 3)
    held = Held(edges, 3, 5, CAP)
    assert held.rows() == of_one(edges, CAP)
    assert held.bytes["rest"] < 0.01 * edges.nbytes
    assert max(held.most.values()) < 3 * len(edges) / 32 * (LINK.itemsize + 16)


def test_rounds_hear_of_earlier_ones_and_labels_of_all_that_label() -> None:
    for times in (1, 2, 3):
        found, known = rounds("second", times), {"second"}
        for name, hears, at_home in found:
            assert known.issuperset(hears) and not at_home
            known.add(name)
        assert known.issuperset(labelling(times))


def test_nothing_comes_of_nothing() -> None:
    assert not Held(np.zeros(0, EDGE), 3, 2, CAP).sent["choose0"]
    assert list(Contractions(1, 0, 2, lambda found: iter([Block("x", 0, b"")])).join("whole", {"gather": [b""]})) == []
