"""The rows that a report shows, with what was found of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

import msgspec

from poolsieve.dataflow.decisions.record import SAMPLED_GROUPS, SAMPLES
from poolsieve.dataflow.recipes.walk import QUARANTINE
from poolsieve.dataflow.store.summary import Sample, Summary
from poolsieve.filters.dsl.cuts import only_cuts
from poolsieve.jobs.report.payloads import Fetched, Groups, Payload, Score, clipped
from poolsieve.scoring_models.base.errors import PoolsieveError


class SampleRow(msgspec.Struct, kw_only=True, frozen=True):
    """A row as the report shows it.

    Attributes:
        path: of its file in the pool; its shard's name where the list of shards can't be read.
        reason: why it was dropped; "" for a kept row.
        scores: score -> value, of the scores that are no lists.
        caption, image: its text, shortened (of a question with the answer), and its thumbnail as a data URI; None where
            it has none, or none was read. Without a thumbnail on purpose (`without_images`) there is no `image` at all.
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
            cuts=[replace(cut, kept=bare(cut.kept), dropped=bare(cut.dropped)) for cut in self.cuts],
            kept=bare(self.kept),
            reasons=[replace(group, rows=bare(group.rows)) for group in self.reasons],
            notes=self.notes,
        )


def bare(rows: Iterable[SampleRow]) -> list[SampleRow]:
    """Rows without thumbnails."""
    return [msgspec.structs.replace(row, image=msgspec.UNSET) for row in rows]


def report_samples(summary: Summary, found: Fetched) -> Samples:
    """The report's samples: on both sides of each cut, for each reason, of the kept, of the quarantined by cause.

    Raises:
        PoolsieveError: for samples whose scores can't be read.
    """
    shown: Groups = {name: summary.samples[name][:SAMPLES] for name in _shown(summary)}
    reasons = {name.removeprefix("reason/"): rows for name, rows in shown.items() if name.startswith("reason/")}
    return Samples(
        cuts=_cut_samples(summary, shown, found),
        kept=sample_rows(reasons.pop("kept", []), found),
        reasons=[_of_reason(summary, name, rows, found) for name, rows in reasons.items()],
        notes=found.notes,
    )


def _shown(summary: Summary) -> list[str]:
    """Names of sample groups in the order of the page; only the first groups of a cut with many."""
    names = []
    for cut, by_group in only_cuts(summary.cuts).items():
        for group in list(by_group)[:SAMPLED_GROUPS]:
            names += [f"cut/{cut}/{group}/{side}" for side in ("kept", "dropped")]
    reasons = sorted(summary.reasons, key=lambda reason: (-summary.reasons[reason], reason))
    names += ["reason/kept", *(f"reason/{reason}" for reason in reasons)]
    return [name for name in dict.fromkeys(names) if summary.samples.get(name)]


def _cut_samples(summary: Summary, shown: Groups, found: Fetched) -> list[CutSamples]:
    made = []
    for cut, by_group in only_cuts(summary.cuts).items():
        for group, values in by_group.items():
            kept, dropped = (
                sample_rows(shown.get(f"cut/{cut}/{group}/{side}", []), found) for side in ("kept", "dropped")
            )
            if kept or dropped:
                made.append(CutSamples(cut=cut, group=group, value=values.value, kept=kept, dropped=dropped))
    return made


def _of_reason(summary: Summary, reason: str, rows: list[Sample], found: Fetched) -> ReasonSamples:
    return ReasonSamples(
        reason=reason,
        quarantined=reason.startswith(QUARANTINE),
        count=summary.reasons.get(reason, 0),
        rows=sample_rows(rows, found),
    )


def sample_rows(samples: Iterable[Sample], found: Fetched) -> list[SampleRow]:
    """Rows with what was found of them."""
    return [sample_row(sample, found) for sample in samples]


def sample_row(sample: Sample, found: Fetched) -> SampleRow:
    """A row with what was found of it."""
    key = sample.shard, sample.row
    payload = found.payloads.get(key, Payload())
    return SampleRow(
        uid=clipped(sample.uid) if sample.uid is not None else None,
        path=found.paths.get(sample.shard, sample.shard),
        row=sample.row,
        reason=sample.reason,
        scores=_scores(sample),
        caption=payload.caption,
        image=payload.image,
        note=payload.note,
        message=found.messages.get(key),
    )


def _scores(sample: Sample) -> dict[str, Score]:
    """Raises `PoolsieveError` for what is no JSON object of plain values."""
    try:
        found = msgspec.convert(json.loads(sample.scores), dict[str, Score])
    except (ValueError, RecursionError) as error:
        where = f"row {sample.row} of {clipped(sample.shard)}"
        raise PoolsieveError(f"summary.json is damaged: the scores of {where} can't be read ({error})") from error
    return {name: _shown_score(value) for name, value in found.items()}


def _shown_score(value: Score) -> Score:
    if isinstance(value, str):
        return clipped(value)
    # Beyond 64 bits there is no integer score; what a file says all the same is a float that says so.
    return (math.inf if value > 0 else -math.inf) if isinstance(value, int) and abs(value) >> 64 else value
