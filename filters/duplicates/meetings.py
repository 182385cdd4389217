"""Clusters by rounds, in which rows meet by keys: the lines that `clusters` gives, with no place that sees all rows.

    exact       by hash: the best of each row's copies
    best        at home: rows that are no copies send the bands of their sketches
    bands       by band: stars of rows with a band in common
    first       at home of an edge's first row: its sketch goes along
    second      at home of the other: edges that both sketches bear out, as few as join the same rows
    label       in one place: components of the whole pool, 18 bytes an edge
    labelled    by home of the best: its component is its copies' too
    members     at home: rows of components, with their names, scores and sketches
    components  by component: leaders, clusters, lines

Without sketches only `exact`, `members` and `components` are held. What is sent is packed records of fixed size; rows
of components go as Arrow streams, since they have names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.filters.duplicates import runs
from poolsieve.filters.duplicates.bands import RECORD, Edges, Rows, distinct, packed, stars
from poolsieve.filters.duplicates.characters import Bytes
from poolsieve.filters.duplicates.clusters import Bools, Near, named
from poolsieve.filters.duplicates.edges import Counts, capped, contracted, equal_bytes, least_equal
from poolsieve.filters.duplicates.families import bytes_in, lines
from poolsieve.filters.duplicates.leaders import Led, leaders, ranks
from poolsieve.filters.duplicates.roots import Ints
from poolsieve.filters.duplicates.scores import worse
from poolsieve.filters.duplicates.sketch import BINS, estimate
from poolsieve.filters.words.mixing import mixed
from poolsieve.scoring_models.base.derived import HOME_BITS, LINES, PATH, Block, Home, Round

IN_PLACE, WITH_SKETCH = 20, 17
"""Bits of the number of rows that meet in a place, on average: as many as take some hundred megabytes."""

HASH_BYTES = 16

_EDGE = np.dtype([("first", "<u8"), ("second", "<u8"), ("equal", "<i2")])
_PAIR = np.dtype([("row", "<u8"), ("label", "<u8")])
_MEMBER = np.dtype([("row", "<u8"), ("label", "<u8"), ("best", "<u8")])
_EXACT = np.dtype([("high", "<u8"), ("low", "<u8"), ("row", "<u8")])
_SCORED = np.dtype([("high", "<u8"), ("low", "<u8"), ("row", "<u8"), ("none", "u1"), ("worse", "<u8")])

Records = np.ndarray[Any, Any]
Heard = Mapping[str, Sequence[bytes]]

COPIES: tuple[Round, ...] = (
    Round("exact", ("",)),
    Round("members", ("exact",), at_home=True),
    Round("components", ("members",)),
)

ALL: tuple[Round, ...] = (
    Round("exact", ("",)),
    Round("best", ("", "exact"), at_home=True),
    Round("bands", ("best",)),
    Round("first", ("bands",), at_home=True),
    Round("second", ("first",), at_home=True),
    Round("label", ("second",)),
    Round("labelled", ("exact", "label")),
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

    @property
    def rounds(self) -> tuple[Round, ...]:
        """In order."""
        return COPIES if self.sketch is None else ALL

    def begin(self, home: Home, rows: int) -> Iterator[Block]:
        """Every row that has a hash sends it; where sketches are compared, each home is asked back."""
        hashes, some = bytes_in(home.scores[self.hash], HASH_BYTES)
        records = self._exact(home, hashes, some)
        for place, part in _parts(_prefix(records["high"], places_of(rows)), records):
            yield Block("exact", place, part.tobytes())
        if self.sketch is not None:
            yield Block("best", home.number, b"")

    def join(self, name: str, heard: Heard, home: Home | None, rows: int) -> Iterator[Block]:
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
        return held[name](heard, home, rows)

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

    def _copies(self, heard: Heard, home: None, rows: int) -> Iterator[Block]:
        """Rows with copies, and which of them is the best."""
        records = _joined(heard[""], self._kind)
        keys = ("row", "low", "high") if self.best is None else ("row", "worse", "none", "low", "high")
        records = records[np.lexsort([records[name] for name in keys])]
        begin = runs.begins(np.stack([records["high"], records["low"]], axis=1))
        best = records["row"][runs.heads(begin)]
        several = ~(begin & np.append(begin[1:], True))
        row, best = records["row"][several], best[several]
        if self.sketch is None:
            yield from _home("members", _records(_MEMBER, row, best, best), "row")
            return
        copy = row != best
        yield from _home("best", _records(_PAIR, row[copy], best[copy]), "row")
        yield from _home("labelled", _records(_PAIR, row[copy], best[copy]), "label")

    def _banded(self, heard: Heard, home: Home, rows: int) -> Iterator[Block]:
        """Bands of rows that are no copies."""
        sketches, some = self._sketches(home)
        some &= ~np.isin(home.keys, _joined(heard.get("exact", ()), _PAIR)["row"])
        for band, records in enumerate(self.near.bands.records(sketches[some], home.keys[some])):
            for prefix, data in packed(records, places_of(rows)):
                yield Block("bands", band << 32 | prefix, data)

    def _sketches(self, home: Home) -> tuple[Bytes, Bools]:
        """Of rows that have a hash too: others are nobody's copies."""
        assert self.sketch is not None
        sketches, some = bytes_in(home.scores[self.sketch], BINS)
        return sketches, some & np.asarray(home.scores[self.hash].is_valid())

    def _sent_sketches(self, heard: Heard, home: Home, rows: int) -> Iterator[Block]:
        """Each candidate once, with the sketches of first rows, to where the second one is."""
        edges = distinct(_edges(heard["bands"]))
        sketches, _ = self._sketches(home)
        for number, part in _parts(edges[:, 1] >> np.uint64(HOME_BITS), edges):
            first = np.unique(part[:, 0])
            data = sketches[np.searchsorted(home.keys, first)].tobytes()
            yield Block("second", number, len(part).to_bytes(8, "little") + part.tobytes() + data)

    def _verified(self, heard: Heard, home: Home, rows: int) -> Iterator[Block]:
        """Candidates whose sketches are alike, as few as join the same rows."""
        sketches, _ = self._sketches(home)
        found = [self._alike(data, sketches, home.keys) for data in heard["first"]]
        edges, equal = contracted(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
        if len(edges):
            yield Block("label", 0, _records(_EDGE, edges[:, 0], edges[:, 1], equal).tobytes())

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

    def _labelled(self, heard: Heard, home: None, rows: int) -> Iterator[Block]:
        """Components of the whole pool."""
        records = _joined(heard["second"], _EDGE)
        edges = np.stack([records["first"], records["second"]], axis=1)
        found, giants = capped(edges, records["equal"], self.near.cap)
        warn_of(giants, self.near.cap)
        yield from _home("labelled", _records(_PAIR, found.rows, found.labels), "row")

    def _members(self, heard: Heard, home: Home, rows: int) -> Iterator[Block]:
        """Rows of components, with all that clusters are made of."""
        (blocks,) = heard.values()
        members = _joined(blocks, _MEMBER)
        members = members[np.argsort(members["row"])]
        table = self._described(home, members)
        place = _prefix(mixed(members["label"]), places_of(rows, WITH_SKETCH))
        for number, at in _parts(place, np.arange(len(members))):
            yield Block("components", number, _stream(table.take(pa.array(at))))

    def _described(self, home: Home, members: Records) -> pa.Table:
        places = np.searchsorted(home.keys, members["row"])
        at = pa.array(places, pa.int64())
        columns: dict[str, Any] = {"key": members["row"], "label": members["label"], "best": members["best"]}
        columns |= {"path": home.path.take(at), "row": home.row[places], "hash": home.scores[self.hash].take(at)}
        if self.best is not None:
            found = worse(home.scores[self.best].take(at))
            columns |= {"none": found.none, "worse": found.key}
        if self.sketch is not None:  # copies are as their best
            own = pa.array(members["row"] == members["best"])
            columns["sketch"] = pc.if_else(own, home.scores[self.sketch].take(at), None)
        return pa.table(columns)

    def _clusters(self, heard: Heard, home: None, rows: int) -> Iterator[Block]:
        """Lines of the rows of some components."""
        table = pa.concat_tables([_read(data) for data in heard["members"]]).sort_by("key").combine_chunks()
        keys, label, best = (table.column(name).to_numpy() for name in ("key", "label", "best"))
        hashes, _ = bytes_in(table.column("hash").combine_chunks(), HASH_BYTES)
        bad = [table.column(name).to_numpy() for name in ("worse", "none") if name in table.column_names]
        rank, place = ranks(keys, hashes, bad), np.searchsorted(keys, best)
        led = self._led(table, label, rank)
        found = named(keys, rank, place, led.leader[place], estimate(led.equal[place]))
        made = lines(table.column("path"), table.column("row"), found, lambda rows: np.searchsorted(keys, rows))
        some = keys[found.size > 1] >> np.uint64(HOME_BITS)
        for number, at in _parts(some, np.arange(len(some))):
            yield Block(LINES, number, _stream(made.take(pa.array(at))))

    def _led(self, table: pa.Table, label: Rows, rank: Ints) -> Led:
        made = Led(np.arange(len(label)), np.full(len(label), BINS, dtype=np.int16))
        if self.sketch is not None:
            sketches, some = bytes_in(table.column("sketch").combine_chunks(), BINS)
            each = np.flatnonzero(some)
            led = leaders(label[each], rank[each], sketches[each], least_equal(self.near.leader))
            made.leader[each], made.equal[each] = each[led.leader], led.equal
        return made


def warn_of(giants: int, cap: int) -> None:
    """Says that components were split."""
    if giants:
        _log.warning("%d components of near rows had more than %d rows and were split", giants, cap)


def _starred(heard: Heard, home: None, rows: int) -> Iterator[Block]:
    """Stars of rows with a band in common."""
    edges = stars(_joined(heard["best"], RECORD))
    for number, part in _parts(edges[:, 0] >> np.uint64(HOME_BITS), edges):
        yield Block("first", number, part.tobytes())


def _with_copies(heard: Heard, home: None, rows: int) -> Iterator[Block]:
    """Rows of a home that are in a component, and all copies of these and of the others, with their component."""
    labels = _joined(heard.get("label", ()), _PAIR)
    labels = labels[np.argsort(labels["row"])]
    copies = _joined(heard.get("exact", ()), _PAIR)
    best = np.unique(np.concatenate([labels["row"], copies["label"]]))
    label = best.copy()  # a row that is near to no other is a component of its own
    label[np.searchsorted(best, labels["row"])] = labels["label"]
    of = np.concatenate([best, copies["label"]])
    made = _records(_MEMBER, np.concatenate([best, copies["row"]]), label[np.searchsorted(best, of)], of)
    yield from _home("members", made, "row")


def _records(kind: np.dtype[Any], *columns: np.ndarray[Any, Any]) -> Records:
    made = np.empty(len(columns[0]), dtype=kind)
    for name, values in zip(kind.names or (), columns, strict=True):
        made[name] = values
    return made


def _joined(blocks: Sequence[bytes], kind: np.dtype[Any]) -> Records:
    return np.frombuffer(b"".join(blocks), dtype=kind)


def _edges(blocks: Sequence[bytes]) -> Edges:
    return np.frombuffer(b"".join(blocks), dtype="<u8").reshape(-1, 2)


def _home(to: str, records: Records, key: str) -> Iterator[Block]:
    """Records to the homes of one of their rows."""
    for number, part in _parts(records[key] >> np.uint64(HOME_BITS), records):
        yield Block(to, number, part.tobytes())


def _prefix(keys: Rows, bits: int) -> Rows:
    """The first bits of each."""
    return keys >> np.uint64(64 - bits) if bits else np.zeros_like(keys)


def _parts(places: Rows, values: np.ndarray[Any, Any]) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
    """(place, what goes there in its order), ascending."""
    order = np.argsort(places, kind="stable")
    firsts = np.flatnonzero(runs.begins(places[order]))
    yield from zip(places[order[firsts]].tolist(), np.split(values[order], firsts[1:]), strict=False)


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
