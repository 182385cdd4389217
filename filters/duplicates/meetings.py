"""Clusters by rounds, in which rows meet by keys: the lines that `clusters` gives, with no place that sees all rows.

    exact       by hash: the best of each row's copies
    best        at home: rows that are no copies send the bands of their sketches
    bands       by band: stars of rows with a band in common
    first       at home of an edge's first row: its sketch goes along
    second      at home of the other: edges that both sketches bear out, as few as join the same rows
    label       in one place: components of the whole pool, 18 bytes an edge
    choose0 ... whole   instead of it, of a pool of which no worker should have all edges: see `contractions`
    labelled    by home of the best: its component is its copies' too
    members     at home: rows of components, with their names, scores and sketches
    components  by component: leaders, clusters, lines

Without sketches only `exact`, `members` and `components` are held. What is sent is packed records of fixed size; rows
of components go as Arrow streams, since they have names.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.filters.duplicates import contractions, runs
from poolsieve.filters.duplicates.bands import RECORD, Edges, Rows, distinct, packed, stars
from poolsieve.filters.duplicates.blocks import Records, by_place, records_in, records_of
from poolsieve.filters.duplicates.characters import Bytes
from poolsieve.filters.duplicates.clusters import Bools, Near, named
from poolsieve.filters.duplicates.contractions import TIMES, Contractions, begun
from poolsieve.filters.duplicates.edges import Counts, contracted, equal_bytes, least_equal
from poolsieve.filters.duplicates.families import bytes_in, lines, told_of
from poolsieve.filters.duplicates.giants import Capped, Giants, capped_graph
from poolsieve.filters.duplicates.graph import EDGE, Graph
from poolsieve.filters.duplicates.leaders import Led, leaders, ranks
from poolsieve.filters.duplicates.roots import Ints
from poolsieve.filters.duplicates.scores import worse
from poolsieve.filters.duplicates.sketch import BINS, estimate
from poolsieve.filters.words.mixing import first_bits, mixed
from poolsieve.scoring_models.base.derived import HOME_BITS, LINES, PATH, Block, Extent, Home, Round

IN_PLACE, WITH_SKETCH = 20, 17
"""Bits of the number of rows that meet in a place, on average: as many as take some hundred megabytes."""

HASH_BYTES = 16

_PAIR = np.dtype([("row", "<u8"), ("label", "<u8")])
_LABEL = np.dtype([*((name, _PAIR[name]) for name in _PAIR.names or ()), ("split", "<u4")])
_MEMBER = np.dtype([("row", "<u8"), ("label", "<u8"), ("best", "<u8"), ("split", "<u4")])
_EXACT = np.dtype([("high", "<u8"), ("low", "<u8"), ("row", "<u8")])
_SCORED = np.dtype([("high", "<u8"), ("low", "<u8"), ("row", "<u8"), ("none", "u1"), ("worse", "<u8")])

Heard = Mapping[str, Sequence[bytes]]

ONE_WORKER = 1 << 27
"""Rows of a pool up to which one worker has the edges of all: there are seldom as many edges, of some 90 bytes each."""

ROW_BYTES = 64
"""Of a row in its file, at least: smaller pools have no more than `ONE_WORKER`, and none of the rounds for those."""

COPIES: tuple[Round, ...] = (
    Round("exact", ("",)),
    Round("members", ("exact",), at_home=True),
    Round("components", ("members",)),
)

_BEFORE: tuple[Round, ...] = (
    Round("exact", ("",)),
    Round("best", ("", "exact"), at_home=True),
    Round("bands", ("best",)),
    Round("first", ("bands",), at_home=True),
    Round("second", ("first",), at_home=True),
)

_AFTER: tuple[Round, ...] = (
    Round("members", ("labelled",), at_home=True),
    Round("components", ("members",)),
)

_log = logging.getLogger(__name__)


def places_of(rows: int, in_place: int = IN_PLACE) -> int:
    """Bits of a place's number where a pool has so many rows: a function of the pool alone."""
    return max(0, (max(rows, 1) - 1).bit_length() - in_place)


@dataclass(frozen=True)
class Meetings:
    """The rounds of one configuration.

    Args:
        hash: name of the scores of 16 bytes.
        sketch: name of the sketches; None for copies alone.
        best: name of the scores of which the largest is best; None for none.
        near: what counts as near.
    """

    hash: str
    sketch: str | None
    best: str | None
    near: Near

    def rounds(self, size: int) -> tuple[Round, ...]:
        """In order; `size` is that of the pool in bytes."""
        if self.sketch is None:
            return COPIES
        labelling: tuple[str, ...] = ("label",)
        several: tuple[Round, ...] = ()
        if size > ONE_WORKER * ROW_BYTES:
            labelling = (*labelling, *contractions.labelling(TIMES))
            several = contractions.rounds("second", TIMES)
        return (*_BEFORE, Round("label", ("second",)), *several, Round("labelled", ("exact", *labelling)), *_AFTER)

    def begin(self, home: Home, extent: Extent) -> Iterator[Block]:
        """Every row that has a hash sends it; where sketches are compared, each home is asked back."""
        hashes, some = bytes_in(home.scores[self.hash], HASH_BYTES)
        records = self._exact(home, hashes, some)
        for place, part in by_place(first_bits(records["high"], places_of(extent.rows)), records):
            yield Block("exact", place, part.tobytes())
        if self.sketch is not None:
            yield Block("best", home.number, b"")

    def join(self, name: str, heard: Heard, home: Home | None, extent: Extent) -> Iterator[Block]:
        """What one place of a round sends on."""
        held: Mapping[str, Callable[..., Iterator[Block]]] = {
            "exact": self._copies,
            "best": self._banded,
            "bands": _starred,
            "first": self._sent_sketches,
            "second": self._verified,
            "label": self._labelled,
            "labelled": _with_copies,
            "members": self._members,
            "components": self._clusters,
        }
        if name in held:
            return held[name](heard, home, extent)
        return self._contractions(extent).join(name, heard)

    def _contractions(self, extent: Extent) -> Contractions:
        return Contractions(TIMES, places_of(extent.rows), self.near.cap, self._told)

    @property
    def _kind(self) -> np.dtype[Any]:
        return _EXACT if self.best is None else _SCORED

    def _exact(self, home: Home, hashes: Bytes, some: Bools) -> Records:
        keys = np.ascontiguousarray(hashes[some]).view(">u8")
        made = np.empty(len(keys), dtype=self._kind)
        made["high"], made["low"], made["row"] = keys[:, 0], keys[:, 1], home.keys[some]
        if self.best is not None:
            found = worse(home.scores[self.best])
            made["none"], made["worse"] = found.none[some], found.key[some]
        return made

    def _copies(self, heard: Heard, home: None, extent: Extent) -> Iterator[Block]:
        """Rows with copies, and which of them is the best."""
        records = records_in(heard[""], self._kind)
        keys = ("row", "low", "high") if self.best is None else ("row", "worse", "none", "low", "high")
        records = records[np.lexsort([records[name] for name in keys])]
        begin = runs.begins(np.stack([records["high"], records["low"]], axis=1))
        best = records["row"][runs.heads(begin)]
        several = ~(begin & np.append(begin[1:], True))
        row, best = records["row"][several], best[several]
        if self.sketch is None:
            yield from _home("members", records_of(_MEMBER, row, best, best, np.zeros_like(row)), "row")
            return
        copy = row != best
        yield from _home("best", records_of(_PAIR, row[copy], best[copy]), "row")
        yield from _home("labelled", records_of(_PAIR, row[copy], best[copy]), "label")

    def _banded(self, heard: Heard, home: Home, extent: Extent) -> Iterator[Block]:
        """Bands of rows that are no copies."""
        sketches, some = self._sketches(home)
        some &= ~np.isin(home.keys, records_in(heard.get("exact", ()), _PAIR)["row"])
        for band, records in enumerate(self.near.bands.records(sketches[some], home.keys[some])):
            for prefix, data in packed(records, places_of(extent.rows)):
                yield Block("bands", band << 32 | prefix, data)

    def _sketches(self, home: Home) -> tuple[Bytes, Bools]:
        """Of rows that have a hash too: others are nobody's copies."""
        assert self.sketch is not None
        sketches, some = bytes_in(home.scores[self.sketch], BINS)
        return sketches, some & np.asarray(home.scores[self.hash].is_valid())

    def _sent_sketches(self, heard: Heard, home: Home, extent: Extent) -> Iterator[Block]:
        """Each candidate once, with the sketches of first rows, to where the second one is."""
        edges = distinct(_edges(heard["bands"]))
        sketches, _ = self._sketches(home)
        for number, part in by_place(edges[:, 1] >> np.uint64(HOME_BITS), edges):
            first = np.unique(part[:, 0])
            data = sketches[np.searchsorted(home.keys, first)].tobytes()
            yield Block("second", number, len(part).to_bytes(8, "little") + part.tobytes() + data)

    def _verified(self, heard: Heard, home: Home, extent: Extent) -> Iterator[Block]:
        """Candidates whose sketches are alike, as few as join the same rows."""
        sketches, _ = self._sketches(home)
        found = [self._alike(data, sketches, home.keys) for data in heard["first"]]
        edges, equal = contracted(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
        made = records_of(EDGE, edges[:, 0], edges[:, 1], equal)
        if _by_several(extent):
            yield from begun(made, places_of(extent.rows))
        elif len(made):
            yield Block("label", 0, made.tobytes())

    def _alike(self, data: bytes, sketches: Bytes, keys: Rows) -> tuple[Edges, Counts]:
        count = int.from_bytes(data[:8], "little")
        edges = _edges([data[8 : 8 + 16 * count]])
        theirs = np.frombuffer(data, np.uint8, offset=8 + 16 * count).reshape(-1, BINS)
        second, ours = np.unique(edges[:, 1], return_inverse=True)
        both = np.concatenate([theirs, sketches[np.searchsorted(keys, second)]])
        first = np.searchsorted(np.unique(edges[:, 0]), edges[:, 0])
        equal = equal_bytes(both, first, len(theirs) + ours)
        alike = equal >= least_equal(self.near.edge)
        return edges[alike], equal[alike]

    def _labelled(self, heard: Heard, home: None, extent: Extent) -> Iterator[Block]:
        """Components of the whole pool."""
        blocks = [np.frombuffer(data, EDGE) for data in heard["second"]]
        yield from self._told(capped_graph(Graph.of_blocks(blocks), self.near.cap))

    def _told(self, found: Capped) -> Iterator[Block]:
        """Labels, to the homes of their rows."""
        warn_of(Giants.of(found.sizes), self.near.cap)
        for number, at in _runs(found.rows >> np.uint64(HOME_BITS)):
            made = records_of(_LABEL, found.rows[at], found.rows[found.label[at]], found.size_before_in(at))
            yield Block("labelled", number, made.tobytes())

    def _members(self, heard: Heard, home: Home, extent: Extent) -> Iterator[Block]:
        """Rows of components, with all that clusters are made of."""
        members = records_in(itertools.chain(*heard.values()), _MEMBER)
        members = members[np.argsort(members["row"])]
        table = self._described(home, members)
        place = first_bits(mixed(members["label"]), places_of(extent.rows, WITH_SKETCH))
        for number, at in by_place(place, np.arange(len(members))):
            yield Block("components", number, _stream(table.take(pa.array(at))))

    def _described(self, home: Home, members: Records) -> pa.Table:
        places = np.searchsorted(home.keys, members["row"])
        at = pa.array(places, pa.int64())
        columns: dict[str, Any] = {
            "key": members["row"],
            "label": members["label"],
            "best": members["best"],
            "split": members["split"],
        }
        columns |= {"path": home.path.take(at), "row": home.row[places], "hash": home.scores[self.hash].take(at)}
        if self.best is not None:
            found = worse(home.scores[self.best].take(at))
            columns |= {"none": found.none, "worse": found.key}
        if self.sketch is not None:  # copies are as their best
            own = pa.array(members["row"] == members["best"])
            columns["sketch"] = pc.if_else(own, home.scores[self.sketch].take(at), None)
        return pa.table(columns)

    def _clusters(self, heard: Heard, home: None, extent: Extent) -> Iterator[Block]:
        """Lines of the rows of some components."""
        table = pa.concat_tables([_read(data) for data in heard["members"]]).sort_by("key").combine_chunks()
        keys, label, best = (table.column(name).to_numpy() for name in ("key", "label", "best"))
        hashes, _ = bytes_in(table.column("hash").combine_chunks(), HASH_BYTES)
        bad = [table.column(name).to_numpy() for name in ("worse", "none") if name in table.column_names]
        rank, place = ranks(keys, hashes, bad), np.searchsorted(keys, best)
        led = self._led(table, label, rank)
        split = table.column("split").to_numpy().astype(np.int64)
        found = named(keys, rank, place, led.leader[place], estimate(led.equal[place]), split)
        made = lines(table.column("path"), table.column("row"), found, lambda rows: np.searchsorted(keys, rows))
        some = keys[told_of(found)] >> np.uint64(HOME_BITS)
        for number, at in by_place(some, np.arange(len(some))):
            yield Block(LINES, number, _stream(made.take(pa.array(at))))

    def _led(self, table: pa.Table, label: Rows, rank: Ints) -> Led:
        made = Led(np.arange(len(label)), np.full(len(label), BINS, dtype=np.int16))
        if self.sketch is not None:
            sketches, some = bytes_in(table.column("sketch").combine_chunks(), BINS)
            each = np.flatnonzero(some)
            led = leaders(label[each], rank[each], sketches[each], least_equal(self.near.leader))
            made.leader[each], made.equal[each] = each[led.leader], led.equal
        return made


def warn_of(giants: Giants, cap: int) -> None:
    """Says that components were split."""
    if giants.components:
        _log.warning("%d components of near rows had more than %d rows and were split", giants.components, cap)


def _by_several(extent: Extent) -> bool:
    return extent.size > ONE_WORKER * ROW_BYTES and extent.rows > ONE_WORKER


def _starred(heard: Heard, home: None, extent: Extent) -> Iterator[Block]:
    """Stars of rows with a band in common."""
    edges = stars(records_in(heard["best"], RECORD))
    for number, part in by_place(edges[:, 0] >> np.uint64(HOME_BITS), edges):
        yield Block("first", number, part.tobytes())


def _with_copies(heard: Heard, home: None, extent: Extent) -> Iterator[Block]:
    """Rows of a home that are in a component, and all copies of these and of the others, with their component."""
    labels = records_in(itertools.chain(*(heard[name] for name in sorted(heard) if name != "exact")), _LABEL)
    labels = labels[np.argsort(labels["row"])]
    copies = records_in(heard.get("exact", ()), _PAIR)
    best = np.unique(np.concatenate([labels["row"], copies["label"]]))
    label = best.copy()  # a row that is near to no other is a component of its own
    at = np.searchsorted(best, labels["row"])
    label[at] = labels["label"]
    of, rows = (np.concatenate([best, more]) for more in (copies["label"], copies["row"]))
    made = records_of(_MEMBER, rows, label[np.searchsorted(best, of)], of, np.zeros_like(rows))
    made["split"][at] = labels["split"]
    yield from _home("members", made, "row")


def _edges(blocks: Sequence[bytes]) -> Edges:
    return np.frombuffer(b"".join(blocks), dtype="<u8").reshape(-1, 2)


def _runs(homes: Rows) -> Iterator[tuple[int, slice]]:
    """(home, where its rows are), of ascending ones."""
    begin = np.flatnonzero(runs.begins(homes))
    for first, end in zip(begin.tolist(), [*begin[1:].tolist(), len(homes)], strict=False):
        yield int(homes[first]), slice(first, end)


def _home(to: str, records: Records, key: str) -> Iterator[Block]:
    """Records to the homes of one of their rows."""
    for number, part in by_place(records[key] >> np.uint64(HOME_BITS), records):
        yield Block(to, number, part.tobytes())


def _stream(table: pa.Table) -> bytes:
    """A table as bytes; each path stands there once."""
    at = table.column_names.index(PATH)
    table = table.set_column(at, PATH, table.column(PATH).dictionary_encode())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as made:
        made.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


def _read(data: bytes) -> pa.Table:
    with pa.ipc.open_stream(data) as file:
        table = file.read_all()
    at = table.column_names.index(PATH)
    return table.set_column(at, PATH, table.column(PATH).cast(pa.string()))
