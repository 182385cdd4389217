"""Pairs of rows that stayed although they resemble one another: what lies just below a threshold of `dedup.*`.

No ledger has them, since rows below the threshold have nothing to do with each other. They are looked for among the
first rows that stayed, from stored sketches, as clusters are: with bands, and both sketches compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.dataflow.store.manifest import read_ledger
from poolsieve.dataflow.store.scores import score_lines
from poolsieve.dataflow.store.shard_lines import ShardLine
from poolsieve.dataflow.store.summary import Facts
from poolsieve.dataflow.store.tables import one_array
from poolsieve.filters.duplicates.characters import Bytes
from poolsieve.filters.duplicates.clusters import Near, verified
from poolsieve.filters.duplicates.edges import least_equal
from poolsieve.filters.duplicates.sketch import BINS, estimate
from poolsieve.jobs.report.payloads import Key, Place

LOOKED_AT = 20_000
"""Rows whose sketches are compared."""

BELOW = 0.2
"""How far below the threshold a pair may lie."""

PAIRS = 4
"""Pairs that a report shows on each side of a threshold."""


class Alike(NamedTuple):
    """Two rows that stayed, and how much they resemble each other."""

    first: Key
    second: Key
    similarity: float


def sketch_of(facts: Facts, name: str) -> str | None:
    """The score of the sketches that a derived value is made from; None for one that is made from something else."""
    for stage in json.loads(facts.recipe).get("stages", []):
        made = stage.get("values", {}).get(name, {}) if isinstance(stage, dict) else {}
        if isinstance(made.get("sketch"), str):
            return str(made["sketch"])
    return None


def below(place: Place, name: str, threshold: float) -> tuple[list[Alike], int]:
    """The pairs nearest to the threshold among the first rows that stayed, and how many rows were looked at."""
    sketch, near = sketch_of(place.facts, name), max(threshold - BELOW, 0.1)
    if sketch is None:
        return [], 0
    keys, sketches = _first(place, name, sketch)
    edges, equal = verified(np.arange(len(keys), dtype=np.uint64), sketches, Near(edge=near))
    some = np.flatnonzero(equal < least_equal(threshold))
    best = some[np.lexsort((edges[some, 1], edges[some, 0], -equal[some].astype(np.int64)))][:PAIRS]
    likeness = estimate(equal)
    return [Alike(keys[int(edges[i, 0])], keys[int(edges[i, 1])], float(likeness[i])) for i in best], len(keys)


def _first(place: Place, name: str, sketch: str) -> tuple[list[Key], Bytes]:
    """The first rows that stand for themselves, and uint8 (n, 256), their sketches."""
    keys: list[Key] = []
    found = [np.empty((0, BINS), dtype=np.uint8)]
    for line in place.lines():
        for rows, made in _of_shard(place, line, name, sketch):
            keys += [(line.name, int(row)) for row in rows]
            found.append(made)
        if len(keys) >= LOOKED_AT:
            break
    return keys[:LOOKED_AT], np.concatenate(found)[:LOOKED_AT]


def _of_shard(place: Place, line: ShardLine, name: str, sketch: str) -> Iterator[tuple[Any, Bytes]]:
    names = [scorer.name for scorer in place.facts.scorers]
    table = score_lines(place.score_files[names.index(sketch)], line.shard) if sketch in names else None
    if table is None or table.schema.field(sketch).type != pa.binary(BINS):
        return  # a sketch of something else, of which nobody here knows how it is compared
    ledger = read_ledger(place.out, place.decision, line, ["row", f"{name}.rank"])
    first = pc.equal(ledger.column(f"{name}.rank"), pa.scalar(0))
    stands = ledger.column("row").filter(first)  # null ranks are left out
    rows, values = table.column("row").to_numpy(), one_array(table, sketch)
    at = np.flatnonzero(np.asarray(values.is_valid()) & np.isin(rows, stands.to_numpy()))
    data: list[Any] = values.take(pa.array(at, pa.int64())).to_pylist()
    yield rows[at], np.frombuffer(b"".join(data), dtype=np.uint8).reshape(-1, BINS)
