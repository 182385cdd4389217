"""Components of edges that no worker sees all of, by rounds: what hangs together at a place becomes one node, and what
is then whole is labelled there.

After Lacki, Mirrokni and Wlodarczyk, "Connected Components at Scale via Local Contractions" (arXiv 1807.10727, 2018),
where each node joins the neighbour of the least hash; here it joins the least of all that it hangs together with at its
place, since a place has all edges of some thousands of nodes.

    choose   by node: all links that end there. Components none of whose nodes is of another place are whole, and are
             labelled; of the others each node gets the name of one that is the least of what is here
    move     by the link's other end, which has a new name too
    rest     in one place, after a fixed number of these: links between names alone, 16 bytes each
    gather   by node: to where the edges of each component come together
    whole    by component: labelled

At first the least is the least row, since buckets are stars around it; later a hash decides, for a path in the order of
its rows would get shorter by one node alone. An edge goes along with its link, for its similarity: where a component is
too large it is split by that (`giants.py`), which nobody can without all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from poolsieve.filters.duplicates.bands import Edges, Rows, distinct
from poolsieve.filters.duplicates.blocks import Records, by_place, records_in, records_of
from poolsieve.filters.duplicates.giants import Bools, Capped, capped_graph
from poolsieve.filters.duplicates.graph import EDGE, Graph, rows_of
from poolsieve.filters.duplicates.roots import Ints, roots
from poolsieve.filters.words.mixing import first_bits, mixed
from poolsieve.scoring_models.base.derived import Block, Round

TIMES = 3
"""Times that nodes are contracted: of pairs and small stars 2 links in a hundred are left, of a path in the order of
its rows, which is the worst, a quarter (`benchmarks/components.py`)."""

LINK = np.dtype([("a", "<u8"), ("b", "<u8"), *[(name, EDGE[name]) for name in EDGE.names or ()]])
"""A link between two nodes, and the edge that it stands for."""

_LINKS, _PAIRS = b"L", b"P"
"""What a block begins with: links with their edges, or uint64 (m, 2): links without, or nodes and their new names."""

Labelled = Callable[[Capped], Iterator[Block]]
"""What is sent where components are whole."""


def rounds(sender: str, times: int) -> tuple[Round, ...]:
    """Those in which edges of `sender` are contracted."""
    made = list[Round]()
    last: tuple[str, ...] = (sender,)
    for i in range(times):
        made += [Round(f"choose{i}", last), Round(f"move{i}", (f"choose{i}",))]
        last = (f"choose{i}", f"move{i}")
    return (*made, Round("rest", last[-1:]), Round("gather", (*last, "rest")), Round("whole", ("gather",)))


def labelling(times: int) -> tuple[str, ...]:
    """Rounds that send labels."""
    return (*(f"choose{i}" for i in range(times)), "whole")


def begun(edges: Records, bits: int) -> Iterator[Block]:
    """Where `EDGE` records go first: each to the place of its second row."""
    links = records_of(LINK, edges["second"], edges["first"], edges["first"], edges["second"], edges["equal"])
    yield from _sent(links, "choose0", bits)


class Contractions(NamedTuple):
    """The rounds of one value.

    Attributes:
        times: that nodes are contracted.
        bits: of a place's number.
        cap: rows of the largest component.
        labelled: what is sent of components that are whole.
    """

    times: int
    bits: int
    cap: int
    labelled: Labelled

    def join(self, name: str, heard: Mapping[str, Sequence[bytes]]) -> Iterator[Block]:
        """What one place of a round sends on."""
        blocks = [data for found in heard.values() for data in found]
        if name == "whole":
            return self._whole([np.frombuffer(data, EDGE) for data in blocks])
        links, pairs = _of(blocks, _LINKS, LINK), _of(blocks, _PAIRS, np.dtype("<u8")).reshape(-1, 2)
        if name == "rest":
            return self._rest(pairs)
        if name == "gather":
            return self._gather(links, pairs)
        at = int(name.removeprefix("choose").removeprefix("move"))
        return self._choose(links, pairs, at) if name.startswith("choose") else self._move(links, pairs, at)

    def _choose(self, links: Records, pairs: Edges, at: int) -> Iterator[Block]:
        """Labels of what is whole; new names of the rest."""
        chosen = _Chosen.of(links, pairs, self.bits, at)
        done = chosen.whole(links["a"])
        yield from self._whole([links[done]])
        links, inside = links[~done], chosen.here(links["b"][~done])
        links["a"] = chosen.name(links["a"])
        stays, leaves = links[inside], links[~inside]
        stays["b"] = stays["a"]
        yield from _put(self._next(at), stays, _LINKS, _place(stays["a"], self.bits))
        yield from _put(f"move{at}", leaves, _LINKS, _place(leaves["b"], self.bits))
        known = rows_of([pairs[:, 0]])  # those that links elsewhere end at
        known = known[~chosen.whole(known)]
        yield from _put(f"move{at}", _paired(known, chosen.name(known)), _PAIRS, _place(known, self.bits))

    def _next(self, at: int) -> str:
        return "gather" if at + 1 == self.times else f"choose{at + 1}"

    def _move(self, links: Records, names: Edges, at: int) -> Iterator[Block]:
        """Links between new names."""
        links = links.copy()
        links["b"] = _renamed(links["b"], names)
        yield from _sent(links, self._next(at), self.bits, last=at + 1 == self.times)

    def _rest(self, pairs: Edges) -> Iterator[Block]:
        """Names of the components of what is still not whole."""
        graph = Graph.of_blocks([records_of(EDGE, *pairs.T, np.zeros(len(pairs)))])
        names = graph.rows[roots(len(graph.rows), graph.first, graph.second)]
        yield from _put("gather", _paired(graph.rows, names), _PAIRS, _place(graph.rows, self.bits))

    def _gather(self, links: Records, names: Edges) -> Iterator[Block]:
        """Edges to where their component is."""
        place = _place(_renamed(links["a"], names), self.bits)
        edges = records_of(EDGE, *(links[name] for name in EDGE.names or ()))
        yield from _put("whole", edges, b"", place)

    def _whole(self, edges: Sequence[Records]) -> Iterator[Block]:
        if sum(map(len, edges)):
            yield from self.labelled(capped_graph(Graph.of_blocks(edges), self.cap))


class _Chosen(NamedTuple):
    """The nodes at a place, and those that they are linked with.

    Attributes:
        nodes: uint64 (k,), ascending.
        label: int64 (k,), the place among them of the least that each hangs together with.
        best: int64 (k,), of each label that of the node whose name all get.
        foreign: bool (k,), which are of another place.
        whole_of: bool (k,), of each label whether none is.
    """

    nodes: Rows
    label: Ints
    best: Ints
    foreign: Bools
    whole_of: Bools

    @classmethod
    def of(cls, links: Records, pairs: Edges, bits: int, at: int) -> _Chosen:
        """Of what one place hears for the `at`th time."""
        ends = [np.concatenate([links[name], pairs[:, i]]) for i, name in enumerate("ab")]
        nodes = rows_of(ends)
        label = roots(len(nodes), *(np.searchsorted(nodes, end) for end in ends))
        foreign = _place(nodes, bits) != _place(ends[0][:1], bits)
        whole_of = np.ones(len(nodes), dtype=bool)
        whole_of[label[foreign]] = False
        return cls(nodes, label, _best(nodes, label, at), foreign, whole_of)

    def name(self, nodes: Rows) -> Rows:
        """The new names of some."""
        return self.nodes[self.best[self._label(nodes)]]

    def whole(self, nodes: Rows) -> Bools:
        """Whether all that each hangs together with is of this place."""
        return self.whole_of[self._label(nodes)]

    def here(self, nodes: Rows) -> Bools:
        """Whether they are of this place."""
        return ~self.foreign[np.searchsorted(self.nodes, nodes)]

    def _label(self, nodes: Rows) -> Ints:
        return self.label[np.searchsorted(self.nodes, nodes)]


def _best(nodes: Rows, label: Ints, at: int) -> Ints:
    """int64 (k,): at first the least node of each label, then that of the least hash, another one each time."""
    if not at:
        return label
    last = np.argsort(mixed(nodes ^ mixed(np.array([at], dtype=np.uint64))), kind="stable")[::-1]
    made = label.copy()
    made[label[last]] = last  # of several for one place, the last stays
    return made


def _sent(links: Records, to: str, bits: int, *, last: bool = False) -> Iterator[Block]:
    """Links to the place of their first end; word of them to that of the other one, or at last to `rest`."""
    place, other = _place(links["a"], bits), _place(links["b"], bits)
    yield from _put(to, links, _LINKS, place)
    apart = links["a"] != links["b"] if last else place != other
    pairs = distinct(_paired(links["b"][apart], links["a"][apart]))
    yield from _put("rest" if last else to, pairs, _PAIRS, _place(pairs[:, 0], 0 if last else bits))


def _paired(first: Rows, second: Rows) -> Edges:
    return np.stack([first, second], axis=1)


def _renamed(nodes: Rows, names: Edges) -> Rows:
    """New names of nodes, as they are where they have none."""
    if not len(names):
        return nodes
    names = distinct(names)
    at = np.minimum(np.searchsorted(names[:, 0], nodes), len(names) - 1)
    return np.where(names[at, 0] == nodes, names[at, 1], nodes)


def _place(nodes: Rows, bits: int) -> Rows:
    return first_bits(mixed(np.ascontiguousarray(nodes)), bits)


def _put(to: str, found: Records, kind: bytes, places: Rows) -> Iterator[Block]:
    for place, part in by_place(places, found):
        yield Block(to, place, kind + part.tobytes())


def _of(blocks: Iterable[bytes], kind: bytes, made: np.dtype[Any]) -> Records:
    return records_in([memoryview(data)[1:] for data in blocks if data[:1] == kind], made)
