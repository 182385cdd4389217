"""The rows that a report shows: their captions and thumbnails from the pool, their errors from what is stored.

Nothing here fails a report: what can't be read (the pool is gone, a file has changed, time is up) becomes a note.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from poolsieve.dataflow.pools.formats.base import ShardGone, wanted
from poolsieve.dataflow.pools.shards import Batch, Shard
from poolsieve.dataflow.recipes.walk import QUARANTINE
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.manifest import read_shards
from poolsieve.dataflow.store.summary import Sample, Summary
from poolsieve.dataflow.store.tables import read_table
from poolsieve.jobs.report.thumbnails import brief, picture_uri

Key = tuple[str, int]
"""(shard name, row): what a sample is known by."""

BUDGET_SECONDS = 30.0
"""Time for reading payloads. What has not come by then is shown without."""

CAPTION_CHARS = 280
"""Characters of a text that are shown."""

GROUPS = 12
"""Groups of one cut (`Top(..., by=...)`) with samples of their own."""


class SampleRow(msgspec.Struct, kw_only=True, frozen=True):
    """A row as the report shows it.

    Attributes:
        path: of its file in the pool; its shard's name where the list of shards can't be read.
        reason: why it was dropped; "" for a kept row.
        scores: score -> value, of the scores that are no lists.
        caption, image: its text, shortened, and its thumbnail as a data URI; None where it has none, or none was read.
            Without a thumbnail on purpose (`without_images`) there is no `image` at all.
        note: why there is no thumbnail.
        message: the error that quarantined it.
    """

    uid: str | None
    path: str
    row: int
    reason: str
    scores: dict[str, float | int | bool | str | None]
    caption: str | None
    image: str | msgspec.UnsetType | None
    note: str
    message: str | None


class CutSamples(msgspec.Struct, kw_only=True, frozen=True):
    """The rows nearest to the cut of one group, on both sides of it."""

    cut: str
    group: str
    value: float | int | None
    kept: list[SampleRow]
    dropped: list[SampleRow]


class ReasonSamples(msgspec.Struct, kw_only=True, frozen=True):
    """A few of the `count` rows that are not kept for one reason."""

    reason: str
    quarantined: bool
    count: int
    rows: list[SampleRow]


class Samples(msgspec.Struct, kw_only=True, frozen=True):
    """All rows of a report, and notes on what could not be read."""

    cuts: list[CutSamples]
    kept: list[SampleRow]
    reasons: list[ReasonSamples]
    notes: list[str]

    def without_images(self) -> Samples:
        """The same without thumbnails, for `report.json`."""
        replace = msgspec.structs.replace
        return Samples(
            cuts=[replace(cut, kept=_bare(cut.kept), dropped=_bare(cut.dropped)) for cut in self.cuts],
            kept=_bare(self.kept),
            reasons=[replace(group, rows=_bare(group.rows)) for group in self.reasons],
            notes=self.notes,
        )


def _bare(rows: Iterable[SampleRow]) -> list[SampleRow]:
    return [msgspec.structs.replace(row, image=msgspec.UNSET) for row in rows]


@dataclass
class Payload:
    """What is shown of one row."""

    caption: str | None = None
    image: str | None = None
    note: str = ""


@dataclass
class Fetched:
    """Payloads and error messages by row, and what went wrong with whole shards."""

    payloads: dict[Key, Payload] = field(default_factory=dict)
    messages: dict[Key, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


Groups = Mapping[str, list[Sample]]
"""As `Summary.samples`: "cut/<cut>/<group>/<side>" or "reason/<reason>" -> rows."""


def report_samples(job: Job, summary: Summary, budget: float = BUDGET_SECONDS) -> Samples:
    """The report's samples: on both sides of each cut, for each reason, of the kept, of the quarantined by cause."""
    shown: Groups = {name: summary.samples[name] for name in _shown(summary)}
    found = _fetch(job, summary.decision, [row for rows in shown.values() for row in rows], budget)
    reasons = {name.removeprefix("reason/"): rows for name, rows in shown.items() if name.startswith("reason/")}
    return Samples(
        cuts=_cut_samples(summary, shown, found),
        kept=_sample_rows(reasons.pop("kept", []), found),
        reasons=[_of_reason(summary, name, rows, found) for name, rows in reasons.items()],
        notes=found.notes,
    )


def _shown(summary: Summary) -> list[str]:
    """Names of sample groups in the order of the page; only the first groups of a cut with many."""
    names = []
    for cut, by_group in summary.cuts.items():
        for group in list(by_group)[:GROUPS]:
            names += [f"cut/{cut}/{group}/{side}" for side in ("kept", "dropped")]
    reasons = sorted(summary.reasons, key=lambda reason: (-summary.reasons[reason], reason))
    names += ["reason/kept", *(f"reason/{reason}" for reason in reasons)]
    return [name for name in dict.fromkeys(names) if summary.samples.get(name)]


def _cut_samples(summary: Summary, shown: Groups, found: Fetched) -> list[CutSamples]:
    made = []
    for cut, by_group in summary.cuts.items():
        for group, values in by_group.items():
            kept, dropped = (
                _sample_rows(shown.get(f"cut/{cut}/{group}/{side}", []), found) for side in ("kept", "dropped")
            )
            if kept or dropped:
                made.append(CutSamples(cut=cut, group=group, value=values.value, kept=kept, dropped=dropped))
    return made


def _of_reason(summary: Summary, reason: str, rows: list[Sample], found: Fetched) -> ReasonSamples:
    return ReasonSamples(
        reason=reason,
        quarantined=reason.startswith(QUARANTINE),
        count=summary.reasons.get(reason, 0),
        rows=_sample_rows(rows, found),
    )


def _sample_rows(samples: Iterable[Sample], found: Fetched) -> list[SampleRow]:
    return [_sample_row(sample, found) for sample in samples]


def _sample_row(sample: Sample, found: Fetched) -> SampleRow:
    key = sample.shard, sample.row
    payload = found.payloads.get(key, Payload())
    return SampleRow(
        uid=sample.uid,
        path=found.paths.get(sample.shard, sample.shard),
        row=sample.row,
        reason=sample.reason,
        scores=json.loads(sample.scores),
        caption=payload.caption,
        image=payload.image,
        note=payload.note,
        message=found.messages.get(key),
    )


def _fetch(job: Job, decision: str, samples: Iterable[Sample], budget: float) -> Fetched:
    """Reads in a thread that is left behind when its time is up: storage may hang for minutes."""
    wanted: dict[str, dict[int, str]] = defaultdict(dict)
    for sample in samples:
        wanted[sample.shard][sample.row] = sample.reason
    found, stop = Fetched(), threading.Event()
    work = threading.Thread(target=_read_all, args=(job, decision, wanted, found, stop), daemon=True)
    work.start()
    work.join(budget)
    if work.is_alive():
        stop.set()
        found.notes.append(f"Not every row could be read within {budget:g} s; the others are shown without content.")
    # A copy: the thread may still be writing to its own.
    return Fetched(dict(found.payloads), dict(found.messages), dict(found.paths), list(found.notes))


def _read_all(
    job: Job, decision: str, wanted: Mapping[str, Mapping[int, str]], found: Fetched, stop: threading.Event
) -> None:
    try:
        shards = _shards(job, decision, wanted)
    except Exception as error:  # noqa: BLE001  (a report is made whatever has become of the storage)
        found.notes.append(f"The list of shards can't be read ({brief(error)}); rows are shown without content.")
        return
    found.paths.update({name: shard.path for name, shard in shards.items()})
    for name, shard in shards.items():
        _guarded(found, shard, "messages", _messages, job, shard, wanted[name], found)
    for name, shard in shards.items():
        if not stop.is_set():
            _guarded(found, shard, "content", _payloads, job, shard, set(wanted[name]), found, stop)


def _shards(job: Job, decision: str, wanted: Iterable[str]) -> dict[str, Shard]:
    there = {line.name: line.shard for line in read_shards(job.out, decision)}
    return {name: there[name] for name in wanted if name in there}


def _guarded(found: Fetched, shard: Shard, what: str, read: Any, *arguments: Any) -> None:
    try:
        read(*arguments)
    except (FileNotFoundError, ShardGone):
        found.notes.append(f"{shard.path} is no longer there: its rows are shown without {what}.")
    except Exception as error:  # noqa: BLE001  (see above)
        found.notes.append(f"{shard.path} could not be read ({brief(error)}): its rows are shown without {what}.")


def _payloads(job: Job, shard: Shard, rows: set[int], found: Fetched, stop: threading.Event) -> None:
    """Captions and thumbnails of some rows of a shard, from a pool file that is still the one that was scored."""
    roles = _roles(job)
    if not roles:
        return
    job.files.check_unchanged(shard)
    types = {role: job.role_types[role] for role in roles}
    left = set(rows)

    positions = np.array(sorted(rows), dtype=np.int64)
    for batch in job.files.batches(shard, roles, types, wanted(positions)):
        inside = [row for row in left if batch.start <= row < batch.start + batch.num_rows]
        for row in inside:
            found.payloads[(shard.name, row)] = _payload(batch, row - batch.start, roles)
        left.difference_update(inside)
        if not left or stop.is_set():
            return


def _roles(job: Job) -> list[str]:
    """The text and the image, under their usual names, else the first of each type that a scorer reads."""
    read = [role for role in job.program.roles() if role in job.role_types and role != "uid"]
    texts = [role for role in ("text", *read) if pa.types.is_string(job.role_types.get(role, pa.null()))]
    images = [role for role in ("image", *read) if pa.types.is_binary(job.role_types.get(role, pa.null()))]
    return [role for role in dict.fromkeys([*texts[:1], *images[:1]]) if _has(job, role)]


def _has(job: Job, role: str) -> bool:
    try:
        job.files.sources([role])
    except ValueError:
        return False
    return True


def _payload(batch: Batch, i: int, roles: list[str]) -> Payload:
    made = Payload()
    for role in roles:
        value = batch.roles.column(role)[i].as_py()
        if isinstance(value, str):
            made.caption = clipped(value)
        elif isinstance(value, bytes):
            made.image, made.note = picture_uri(value)
    return made


def clipped(text: str) -> str:
    """A text short enough to show, saying how long it is."""
    if len(text) <= CAPTION_CHARS:
        return text
    return f"{text[:CAPTION_CHARS]}\N{HORIZONTAL ELLIPSIS} ({len(text):,} characters)"


def _messages(job: Job, shard: Shard, rows: Mapping[int, str], found: Fetched) -> None:
    """Why rows were quarantined, in the words of the reader or the scorer."""
    kinds = {row: reason.removeprefix(QUARANTINE) for row, reason in rows.items() if reason.startswith(QUARANTINE)}
    if not kinds:
        return
    read = read_table(job.rows_url(shard), ["row", "read_error", "read_message"])
    _note(shard, kinds, read, found)
    for step in job.program.scorers:
        missing = {row: kind for row, kind in kinds.items() if (shard.name, row) not in found.messages}
        for url in job.score_files("report", step).urls(shard) if missing else ():
            # Only these columns: an embedding beside them may be a thousand times as large.
            _note(shard, missing, read_table(url, ["row", "error", "message"]), found)


def _note(shard: Shard, kinds: Mapping[int, str], table: pa.Table, found: Fetched) -> None:
    wanted = np.isin(table.column(0).to_numpy(), list(kinds))
    for row, kind, message in zip(
        *(column.to_pylist() for column in table.filter(pa.array(wanted)).columns), strict=True
    ):
        if kind == kinds[row]:
            found.messages.setdefault((shard.name, row), clipped(message or ""))
