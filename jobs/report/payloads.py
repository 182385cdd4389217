"""What a report shows of rows: their captions and thumbnails from the pool, their errors from what is stored.

Nothing here fails a report: what can't be read (the pool is gone, a file has changed, time is up) becomes a note.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.decisions.facts import pool_files
from poolsieve.dataflow.decisions.record import SAMPLES
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.formats.base import UID, ShardGone, wanted
from poolsieve.dataflow.pools.shards import Batch, Shard
from poolsieve.dataflow.recipes.walk import QUARANTINE
from poolsieve.dataflow.store.job import uid_source_of
from poolsieve.dataflow.store.layout import rows_url, scorer_folder
from poolsieve.dataflow.store.scores import FolderListing
from poolsieve.dataflow.store.shard_lines import ShardLine, shard_lines
from poolsieve.dataflow.store.summary import Facts, Sample, Summary
from poolsieve.dataflow.store.tables import read_table
from poolsieve.jobs.report.thumbnails import brief, picture_uri
from poolsieve.scoring_models.base.errors import PoolsieveError

Key = tuple[str, int]
"""(shard name, row): what a sample is known by."""

BUDGET_SECONDS = 30.0
"""Time for reading payloads. What has not come by then is shown without."""

CAPTION_CHARS = 280
"""Characters of a text that are shown."""

TEXT_CHARS = 6_000
"""Characters of a text that are compared with another one."""

TOKEN_IDS = 40
"""Ids of a chunk of tokens that are shown."""

_IDS = re.compile(r"(large_|fixed_size_)?list<\w+: u?int\d+( not null)?>(\[\d+\])?")
"""Arrow's spelling of a list of integers."""

ANSWERED = "\N{RIGHTWARDS ARROW}"
"""Between a question and the answer that is stored."""


@dataclass
class Payload:
    """What is shown of one row."""

    caption: str | None = None
    image: str | None = None
    note: str = ""
    text: str | None = None
    """The beginning of the first text, for comparisons; never in a file as it is."""


@dataclass
class Fetched:
    """Payloads and error messages by row, and what went wrong with whole shards."""

    payloads: dict[Key, Payload] = field(default_factory=dict)
    messages: dict[Key, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


Score = float | int | bool | str | None
"""A score of a sample; NaN and infinite ones too."""

Groups = Mapping[str, list[Sample]]
"""As `Summary.samples`: "cut/<cut>/<group>/<side>" or "reason/<reason>" -> rows."""


@dataclass(frozen=True)
class Place:
    """Where rows are looked up: a decision in OUT, and the files of its pool."""

    out: str
    decision: str
    facts: Facts
    files: PoolFiles
    # Not cached properties: in Python 3.11 those of all places have one lock, which storage that hangs would hold.
    _score_files: list[FolderListing] = field(default_factory=list)

    def lines(self) -> Iterator[ShardLine]:
        """A line for each shard; none is kept, since there may be very many."""
        return shard_lines(self.out, self.decision)

    @property
    def score_files(self) -> list[FolderListing]:
        """The files of every scorer, listed once."""
        if not self._score_files:
            found = [(scorer_folder(self.out, one.name, one.fingerprint), one.readings) for one in self.facts.scorers]
            self._score_files.extend(FolderListing.of(folder, dict(readings)) for folder, readings in found)
        return self._score_files


Find = Callable[[Place], Iterable[Sample]]
"""What else is to be looked up, where that takes a look into OUT."""


def look_up(
    out: str,
    summary: Summary,
    facts: Facts,
    *,
    budget: float = BUDGET_SECONDS,
    storage_options: fs.StorageOptions | None = None,
    find: Find | None = None,
) -> Fetched:
    """What is to be shown of the rows that a report names; what can't be had becomes a note.

    Args:
        out: absolute URL of OUT.
        summary: of the decision, which names the rows.
        facts: what is read of them, and from where.
        budget: seconds for reading them.
        storage_options: how the pool is reached, where that takes more than its URLs.
        find: says which rows are wanted beside those.
    """
    rows = [row for name in summary.samples for row in summary.samples[name][:SAMPLES]]
    try:
        place = Place(out, summary.decision, facts, pool_files(facts, storage_options))
        return _fetch(place, rows, budget, find)
    except PoolsieveError as error:
        return Fetched(notes=[f"The pool can't be read ({brief(error)}); rows are shown without content."])


def _fetch(place: Place, samples: Iterable[Sample], budget: float, find: Find | None) -> Fetched:
    """Reads in a thread that is left behind when its time is up: storage may hang for minutes."""
    wanted: dict[str, dict[int, str]] = defaultdict(dict)
    for sample in samples:
        wanted[sample.shard][sample.row] = sample.reason
    found, stop = Fetched(), threading.Event()
    work = threading.Thread(target=_read_all, args=(place, wanted, found, stop, find), daemon=True)
    work.start()
    work.join(budget)
    if work.is_alive():
        stop.set()
        found.notes.append(f"Not every row could be read within {budget:g} s; the others are shown without content.")
    # A copy: the thread may still be writing to its own.
    return Fetched(dict(found.payloads), dict(found.messages), dict(found.paths), list(found.notes))


def _read_all(
    place: Place, wanted: dict[str, dict[int, str]], found: Fetched, stop: threading.Event, find: Find | None
) -> None:
    try:
        for sample in find(place) if find is not None else ():
            wanted[sample.shard].setdefault(sample.row, sample.reason)
    except Exception as error:  # noqa: BLE001  (a report is made whatever has become of OUT)
        found.notes.append(f"What resembles what can't be looked up ({brief(error)}).")
    try:
        shards = _shards(place, wanted)
    except Exception as error:  # noqa: BLE001  (a report is made whatever has become of the storage)
        found.notes.append(f"The list of shards can't be read ({brief(error)}); rows are shown without content.")
        return
    found.paths.update({name: shard.path for name, shard in shards.items()})
    for name, shard in shards.items():
        _guarded(found, shard, "messages", _messages, place, shard, wanted[name], found)
    for name, shard in shards.items():
        if not stop.is_set():
            _guarded(found, shard, "content", _payloads, place, shard, set(wanted[name]), found, stop)


def _shards(place: Place, wanted: Iterable[str]) -> dict[str, Shard]:
    asked = set(wanted)
    there = {line.name: line.shard for line in place.lines() if line.name in asked}
    return {name: there[name] for name in wanted if name in there}


def _guarded(found: Fetched, shard: Shard, what: str, read: Any, *arguments: Any) -> None:
    try:
        read(*arguments)
    except (FileNotFoundError, ShardGone):
        found.notes.append(f"{shard.path} is no longer there: its rows are shown without {what}.")
    except Exception as error:  # noqa: BLE001  (see above)
        found.notes.append(f"{shard.path} could not be read ({brief(error)}): its rows are shown without {what}.")


def _payloads(place: Place, shard: Shard, rows: set[int], found: Fetched, stop: threading.Event) -> None:
    """Captions and thumbnails of some rows of a shard, from a pool file that is still the one that was scored."""
    types = _role_types(place.facts, place.files)
    if not types:
        return
    files, roles, left = place.files, list(types), set(rows)
    files.check_unchanged(shard)
    positions = np.array(sorted(rows), dtype=np.int64)
    for batch in files.batches(shard, roles, types, wanted(positions)):
        inside = [row for row in left if batch.start <= row < batch.start + batch.num_rows]
        for row in inside:
            found.payloads[(shard.name, row)] = _payload(batch, row - batch.start, roles)
        left.difference_update(inside)
        if not left or stop.is_set():
            return


def _role_types(facts: Facts, files: PoolFiles) -> dict[str, pa.DataType]:
    """The text and the image, under their usual names, else the first of each type that a scorer reads; else tokens.

    With a question its answer as well.
    """
    read = [role for role in facts.read if role != UID]
    texts = [role for role in ("text", "question", *read) if facts.role_types.get(role) == "string"][:1]
    if texts == ["question"] and facts.role_types.get("answer") == "string":
        texts.append("answer")
    images = [role for role in ("image", *read) if facts.role_types.get(role) == "binary"]
    types: dict[str, pa.DataType] = {role: pa.string() for role in texts}
    types.update({role: pa.binary() for role in images[:1]})
    if not types:
        ids = [role for role in ("tokens", *read) if _IDS.fullmatch(facts.role_types.get(role, ""))]
        types.update({role: pa.list_(pa.int64()) for role in ids[:1]})
    return {role: kind for role, kind in types.items() if _has(files, role)}


def _has(files: PoolFiles, role: str) -> bool:
    try:
        files.sources([role])
    except ValueError:
        return False
    return True


def _payload(batch: Batch, i: int, roles: list[str]) -> Payload:
    made = Payload()
    for role in roles:
        value = batch.roles.column(role)[i].as_py()
        if isinstance(value, str):
            made.text = value[:TEXT_CHARS] if made.text is None else made.text
            made.caption = clipped(value) if made.caption is None else f"{made.caption}\n{ANSWERED} {clipped(value)}"
        elif isinstance(value, bytes):
            made.image, made.note = picture_uri(value)
        elif isinstance(value, list):
            made.caption = token_text(value)
    return made


def token_text(ids: list[int | None]) -> str:
    """The first ids of a chunk, and how many there are: `512 tokens: 17 4 4025 ...`."""
    some = " ".join(map(str, ids[:TOKEN_IDS]))
    return f"{len(ids):,} tokens: {some}" + (" \N{HORIZONTAL ELLIPSIS}" if len(ids) > TOKEN_IDS else "")


def clipped(text: str) -> str:
    """A text short enough to show, saying how long it is."""
    if len(text) <= CAPTION_CHARS:
        return text
    return f"{text[:CAPTION_CHARS]}\N{HORIZONTAL ELLIPSIS} ({len(text):,} characters)"


def _messages(place: Place, shard: Shard, rows: Mapping[int, str], found: Fetched) -> None:
    """Why rows were quarantined, in the words of the reader or the scorer."""
    kinds = {row: reason.removeprefix(QUARANTINE) for row, reason in rows.items() if reason.startswith(QUARANTINE)}
    if not kinds:
        return
    read = read_table(
        rows_url(place.out, shard, uid_source_of(place.files, shard)), ["row", "read_error", "read_message"]
    )
    _note(shard, kinds, read, found)
    for files in place.score_files:
        missing = {row: kind for row, kind in kinds.items() if (shard.name, row) not in found.messages}
        for url in files.urls(shard) if missing else ():
            # Only these columns: an embedding beside them may be a thousand times as large.
            _note(shard, missing, read_table(url, ["row", "error", "message"]), found)


def _note(shard: Shard, kinds: Mapping[int, str], table: pa.Table, found: Fetched) -> None:
    wanted = np.isin(table.column(0).to_numpy(), list(kinds))
    for row, kind, message in zip(
        *(column.to_pylist() for column in table.filter(pa.array(wanted)).columns), strict=True
    ):
        if kind == kinds[row]:
            found.messages.setdefault((shard.name, row), clipped(message or ""))
