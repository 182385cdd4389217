"""Artefacts: files that a scorer needs and that are made from a pool before the first pass, once, under OUT/artefacts.

A scorer with `pools` has one, made by its `build(batches) -> pa.Table` or by a job. Its name holds a hash of the
scorer's configuration, of the listing of its pools and of what is read of them, so that another benchmark file, or
another of its columns, is another artefact and other scores. What of the configuration it depends on is in
`counted_by() -> JSON`, where that is not all of it. A job (`passes/artefacts`) goes shard by shard, and a row that
can't be read costs that row; the scorer then has one of these:

* sums over the pools' rows: `tally(batch) -> int64 (k,)`, exact counts over a batch with the column `text`, and
  `counted(sums) -> pa.Table`, the artefact from the sum over each pool;
* how often hashes come: `hashes(batch) -> uint64 arrays`;
* a line for each row, or for some: `lines(batch, path, rows) -> pa.Table`, those of a batch, with a column `hash`,
  `collected(tables) -> pa.Table`, from any of them in any order those that stay, ascending by hash, and
  `check_pool(where, kind)`, which refuses a pool by the type of its role.

The last two may be long. They are files of Arrow in a folder, each with the hashes of one prefix, and the artefact's
own file lists them (`filters/parted.py` reads them).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from poolsieve.dataflow import fs, leases, progress
from poolsieve.dataflow.pools.hub import Place
from poolsieve.dataflow.pools.hub_commits import Pins
from poolsieve.dataflow.recipes.recipe import Pool
from poolsieve.dataflow.store.layout import artefact_leases, artefact_part_url, artefact_url
from poolsieve.dataflow.store.tables import write_table
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError

TEXT = "text"
"""The role of the pools that is read, unless the scorer has another as its `pool_role`."""

WAIT_SECONDS = 6 * 3600.0
"""Seconds that a run waits for another one that makes the same artefact, as long as that one shows that it lives."""

_LOOK_SECONDS = (0.5, 15.0)
"""Between two looks at what another one makes: at first, and at most; up to twice that, by chance."""


class Part(NamedTuple):
    """A part of an artefact: the first bits of its hashes, its rows, size in bytes and SHA-256."""

    place: int
    rows: int
    size: int
    sha256: str


def in_parts(scorer: Any) -> bool:
    """Whether a scorer's artefact is a list of parts."""
    return any(hasattr(scorer, how) for how in ("hashes", "collected"))


def needs_artefact(scorer: Any) -> bool:
    """Whether a scorer is built from pools of its own."""
    return hasattr(scorer, "build") or in_parts(scorer)


def own_pools(scorer: Any, pins: Pins) -> dict[str, Pool]:
    """The pools that a scorer's artefact is made from, at the commits of `pins`; none for other scorers.

    Raises:
        PlanError: for one that is not on the Hub, or may not be read.
    """
    pools: Mapping[str, Pool] = scorer.pools if needs_artefact(scorer) else {}
    found = {}
    for name, pool in pools.items():
        with _naming(scorer, name):
            found[name] = pool.pinned(pins)
    return found


def on_hub(pools: Mapping[str, Pool]) -> dict[str, list[str]]:
    """Name of a pool -> its URLs, of those that have any on the Hub."""
    return {name: list(pool.all_urls) for name, pool in pools.items() if any(map(Place.of, pool.all_urls))}


class OwnPool(NamedTuple):
    """A pool that an artefact is made from.

    Attributes:
        name: that its scorer has for it.
        pool: at its commits.
        shards: how many it has.
        nbytes: of its files.
        kind: Arrow type of the role that is read.
    """

    name: str
    pool: Pool
    shards: int
    nbytes: int
    kind: pa.DataType


def pools_to_read(scorer: Any, pins: Pins) -> list[OwnPool]:
    """The pools that are read for a scorer's artefact; none where it is there, or it needs none.

    Raises:
        PlanError: for a pool of which the scorer can make nothing.
    """
    return [_own_pool(scorer, name, pool) for name, pool in own_pools(scorer, pins).items()] if missing(scorer) else []


def _own_pool(scorer: Any, name: str, pool: Pool) -> OwnPool:
    with _naming(scorer, name):
        files = pool.located()
        shards = files.listing().shards
        kind = files.role_types(shards)[role_of(scorer)]
    if hasattr(scorer, "check_pool"):
        scorer.check_pool(f"{_called(scorer)} {name!r}", kind)
    return OwnPool(name, pool, len(shards), sum(shard.size for shard in shards), kind)


def artefact_id(scorer: Any, pools: Mapping[str, Pool]) -> str:
    """Hash of what the artefact is made from: configuration, and of each pool its files and its texts' source.

    Args:
        scorer: that has one.
        pools: from `own_pools`.

    Raises:
        PlanError: for a pool that is empty, or has not the role or nothing that it could be read from.
    """
    read = {}
    for name, pool in pools.items():
        with _naming(scorer, name):
            read[name] = _what_is_read(pool, role_of(scorer))
    config = scorer.counted_by() if hasattr(scorer, "counted_by") else scorer.to_dict()
    return digest([config, scorer.version, read])


@contextlib.contextmanager
def _naming(scorer: Any, name: str) -> Iterator[None]:
    try:
        yield
    except PlanError as error:
        raise PlanError(f"{_called(scorer)} {name!r}: {error}") from error


def role_of(scorer: Any) -> str:
    """The role of its pools that a scorer's artefact is made from."""
    return str(getattr(scorer, "pool_role", TEXT))


def _what_is_read(pool: Pool, role: str) -> list[Any]:
    """Path, size and tag of a pool's files, the source of the role in its one spelling, and its sample."""
    files = pool.located()
    shards = files.listing().shards
    if role not in pool.roles:
        raise PlanError(f"the pool declares no role {role!r}; add {role}=... to it")
    files.role_types(shards)
    sample = files.sample.mark if files.sample else ()
    return [*(shard.identity for shard in shards), files.sources((role,))[role], *sample]


def _called(scorer: Any) -> str:
    return str(getattr(scorer, "pools_are", "pool"))


def with_artefact(scorer: Any, out: str, name: str, files: Mapping[str, str]) -> Any:
    """The scorer with the URL of its artefact filled in; other scorers as they are."""
    if not needs_artefact(scorer):
        return scorer
    ending = "json" if in_parts(scorer) else "parquet"
    return dataclasses.replace(scorer, artefact=artefact_url(out, name, files["artefact"], ending))


def missing(scorer: Any) -> bool:
    """Whether a scorer has an artefact that is still to be made."""
    return needs_artefact(scorer) and not (scorer.artefact and fs.exists(scorer.artefact))


def make_once(scorer: Any, out: str, make: Callable[[], None]) -> None:
    """Has the artefact of a scorer made by one of all who need it; the others wait until it is there.

    Should two make it after all, both make the same file.

    Args:
        scorer: with an artefact.
        out: OUT.
        make: makes it here.

    Raises:
        InUse: if another one has been at it for `WAIT_SECONDS`.
    """
    folder = artefact_leases(out, scorer.artefact.rpartition("/")[2])
    give_up, pause = time.monotonic() + WAIT_SECONDS, _LOOK_SECONDS[0]
    while missing(scorer):
        try:
            with leases.held(folder, leases.SOLE, "poolsieve, which makes an artefact"):
                if missing(scorer):
                    make()
        except leases.InUse:
            if time.monotonic() > give_up:
                raise
            _wait(scorer, pause * random.uniform(1, 2))  # noqa: S311  (spreads attempts, keeps no secret)
            pause = min(pause * 1.5, _LOOK_SECONDS[1])


def _wait(scorer: Any, seconds: float) -> None:
    """So long, or until the artefact is there: to look costs less than to ask for a lease, and disturbs nobody."""
    until = time.monotonic() + seconds
    while missing(scorer) and time.monotonic() < until:
        progress.check()
        time.sleep(min(0.5, seconds))


def write_part(artefact: str, place: int, table: pa.Table) -> Part:
    """Writes a part of an artefact, so that readers can map it; the same table gives the same bytes."""
    sink = pa.BufferOutputStream()
    whole = table.combine_chunks()
    with pa.ipc.new_file(sink, whole.schema) as file:
        file.write_table(whole)
    data = memoryview(sink.getvalue())
    with fs.atomic_write(artefact_part_url(artefact, place)) as written:
        written.write(data)
    return Part(place, table.num_rows, len(data), hashlib.sha256(data).hexdigest())


def write_parts(artefact: str, bits: int, parts: Iterable[Part]) -> None:
    """Writes the list of parts: once it is there, the artefact is."""
    listed = [part._asdict() for part in sorted(parts) if part.rows]
    fs.write_bytes(artefact, json.dumps({"bits": bits, "parts": listed}, indent=1).encode())


def build(scorer: Any, pins: Pins) -> None:
    """Makes the artefact of a scorer here, from its pools in their order, at the commits of `pins`."""
    write_table(scorer.artefact, scorer.build(_batches(scorer, pins)))


def _batches(scorer: Any, pins: Pins) -> Iterator[tuple[str, pa.RecordBatch]]:
    for name, given in own_pools(scorer, pins).items():
        pool = given.located()
        shards = pool.listing().shards
        types = pool.role_types(shards)
        for shard in shards:
            for batch in pool.pool_batches(shard, (TEXT,), types):
                bad = {**batch.read_errors, **batch.role_errors.get(TEXT, {})}
                if bad:
                    row, error = next(iter(bad.items()))
                    raise PoolsieveError(
                        f"{_called(scorer)} {name!r}: {shard.path}, row {batch.rows[row]} can't be read "
                        f"({error.kind}: {error.message}); a {_called(scorer)} has to be whole"
                    )
                yield name, batch.roles
