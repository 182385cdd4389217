"""The rows that a report shows: their captions and thumbnails from the pool, their errors from what is stored.

Nothing here fails a report: what can't be read (the pool is gone, a file has changed, time is up) becomes a note.
"""

from __future__ import annotations

import base64
import io
import json
import threading
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.pools.formats.base import ShardGone
from poolsieve.dataflow.pools.shards import Batch, Shard
from poolsieve.dataflow.recipes.walk import QUARANTINE
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.manifest import read_shards
from poolsieve.dataflow.store.summary import Sample, Summary
from poolsieve.dataflow.store.tables import read_table
from poolsieve.scoring_models.base.errors import RowError
from poolsieve.scoring_models.base.images_io import open_image

Key = tuple[str, int]
"""(shard name, row): what a sample is known by."""

BUDGET_SECONDS = 30.0
"""Time for reading payloads. What has not come by then is shown without."""

SIDE = 160
"""Longest side of a thumbnail in pixels."""

CAPTION_CHARS = 280
"""Characters of a text that are shown."""

GROUPS = 12
"""Groups of one cut (`Top(..., by=...)`) with samples of their own."""


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


def samples_data(job: Job, summary: Summary, budget: float = BUDGET_SECONDS) -> dict[str, Any]:
    """The report's samples: on both sides of each cut, for each reason, of the kept, of the quarantined by cause."""
    groups: dict[str, list[Sample]] = summary.samples
    shown = {name: groups[name] for name in _shown(summary, groups)}
    found = _fetch(job, summary.decision, [row for rows in shown.values() for row in rows], budget)
    reasons = {name.removeprefix("reason/"): rows for name, rows in shown.items() if name.startswith("reason/")}
    return {
        "cuts": _cut_samples(summary, shown, found),
        "kept": [_line(row, found) for row in reasons.pop("kept", [])],
        "reasons": [_of_reason(summary, name, rows, found) for name, rows in reasons.items()],
        "notes": found.notes,
    }


def _shown(summary: Summary, groups: Mapping[str, Any]) -> list[str]:
    """Names of sample groups in the order of the page; only the first groups of a cut with many."""
    names = []
    for cut, by_group in summary.cuts.items():
        for group in list(by_group)[:GROUPS]:
            names += [f"cut/{cut}/{group}/{side}" for side in ("kept", "dropped")]
    reasons = sorted(summary.reasons, key=lambda reason: (-summary.reasons[reason], reason))
    names += ["reason/kept", *(f"reason/{reason}" for reason in reasons)]
    return [name for name in dict.fromkeys(names) if groups.get(name)]


def _cut_samples(summary: Summary, shown: Mapping[str, list[Sample]], found: Fetched) -> list[dict[str, Any]]:
    out = []
    for cut, by_group in summary.cuts.items():
        for group, values in by_group.items():
            sides = {side: shown.get(f"cut/{cut}/{group}/{side}", []) for side in ("kept", "dropped")}
            if any(sides.values()):
                lines = {side: [_line(row, found) for row in rows] for side, rows in sides.items()}
                out.append({"cut": cut, "group": group, "value": values.value, **lines})
    return out


def _of_reason(summary: Summary, reason: str, rows: list[Sample], found: Fetched) -> dict[str, Any]:
    return {
        "reason": reason,
        "quarantined": reason.startswith(QUARANTINE),
        "count": summary.reasons.get(reason, 0),
        "rows": [_line(row, found) for row in rows],
    }


def _line(sample: Sample, found: Fetched) -> dict[str, Any]:
    key = sample.shard, sample.row
    payload = found.payloads.get(key, Payload())
    return {
        "uid": sample.uid,
        "path": found.paths.get(sample.shard, sample.shard),
        "row": sample.row,
        "reason": sample.reason,
        "scores": json.loads(sample.scores),
        "caption": payload.caption,
        "image": payload.image,
        "note": payload.note,
        "message": found.messages.get(key),
    }


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
        found.notes.append(f"The list of shards can't be read ({_name(error)}); rows are shown without content.")
        return
    found.paths.update({name: shard.path for name, shard in shards.items()})
    for name, shard in shards.items():
        _guarded(found, shard, "messages", _messages, job, shard, wanted[name], found)
    for name, shard in shards.items():
        if not stop.is_set():
            _guarded(found, shard, "content", _payloads, job, shard, set(wanted[name]), found, stop)


def _shards(job: Job, decision: str, wanted: Mapping[str, Any]) -> dict[str, Shard]:
    there = {line.name: line.shard for line in read_shards(job.out, decision)}
    return {name: there[name] for name in wanted if name in there}


def _guarded(found: Fetched, shard: Shard, what: str, read: Any, *arguments: Any) -> None:
    try:
        read(*arguments)
    except (FileNotFoundError, ShardGone):
        found.notes.append(f"{shard.path} is no longer there: its rows are shown without {what}.")
    except Exception as error:  # noqa: BLE001  (see above)
        found.notes.append(f"{shard.path} could not be read ({_name(error)}): its rows are shown without {what}.")


def _name(error: Exception) -> str:
    text = str(error).split(". ")[0]
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _payloads(job: Job, shard: Shard, rows: set[int], found: Fetched, stop: threading.Event) -> None:
    """Captions and thumbnails of some rows of a shard, from a pool file that is still the one that was scored."""
    roles = _roles(job)
    if not roles:
        return
    job.files.check_unchanged(shard)
    types = {role: job.role_types[role] for role in roles}
    left = set(rows)

    def want(start: int, n: int) -> bool:
        return any(start <= row < start + n for row in left)

    for chunk in job.files.batches(shard, roles, types, want):
        inside = [row for row in left if chunk.start <= row < chunk.start + chunk.num_rows]
        for row in inside:
            found.payloads[(shard.name, row)] = _payload(chunk, row - chunk.start, roles)
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


def _payload(chunk: Batch, i: int, roles: list[str]) -> Payload:
    made = Payload()
    for role in roles:
        value = chunk.roles.column(role)[i].as_py()
        if isinstance(value, str):
            made.caption = clipped(value)
        elif isinstance(value, bytes):
            made.image, made.note = _picture(value)
    return made


def clipped(text: str) -> str:
    """A text short enough to show, saying how long it is."""
    if len(text) <= CAPTION_CHARS:
        return text
    return f"{text[:CAPTION_CHARS]}\N{HORIZONTAL ELLIPSIS} ({len(text):,} characters)"


def _picture(data: bytes) -> tuple[str | None, str]:
    try:
        return "data:image/jpeg;base64," + base64.b64encode(thumbnail(data)).decode(), ""
    except Exception as error:  # noqa: BLE001  (decoders raise whatever they like on broken images)
        return None, f"no picture: {_name(error)[:120]}"


def thumbnail(data: bytes, side: int = SIDE) -> bytes:
    """An image as a small upright JPEG; the first frame of an animated one, on white where it is transparent.

    Raises:
        ValueError: for what is no image, or one too large.
    """
    from PIL import ImageOps

    found = open_image(data)
    if isinstance(found, RowError):
        raise ValueError(found.message)
    with found as image, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.draft("RGB", (side * 2, side * 2))
        small = _eight_bits(ImageOps.exif_transpose(image))
        small.thumbnail((side, side))
        sink = io.BytesIO()
        _on_white(small).save(sink, "JPEG", quality=72, optimize=True)
    return sink.getvalue()


def _eight_bits(image: Any) -> Any:
    """16-bit and float grey levels scaled to 8 bits; Pillow's own conversion would clip them."""
    from PIL import Image

    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image, dtype=np.float64)
    top = max(float(values.max(initial=0)), 255.0)
    return Image.fromarray((values / top * 255).clip(0, 255).astype(np.uint8))


def _on_white(image: Any) -> Any:
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        whole = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")
    return image.convert("RGB")


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
