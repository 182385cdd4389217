"""What a report says of duplicates: sizes of clusters, the largest with their members, and rows at the threshold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from poolsieve.dataflow.decisions.record import SAMPLES
from poolsieve.dataflow.decisions.samples import FAMILY_ROWS
from poolsieve.dataflow.store.summary import Facts, Sample, Summary
from poolsieve.filters.duplicates.families import COLUMNS, SIMILARITY, SIZES, SPLIT, size_class
from poolsieve.filters.duplicates.giants import Giants
from poolsieve.jobs.report.bars import Bars
from poolsieve.jobs.report.charts import Chart, Tick, chart_of
from poolsieve.jobs.report.diff import Piece, diff
from poolsieve.jobs.report.histograms import Histogram, Mark
from poolsieve.jobs.report.numbers import score_text
from poolsieve.jobs.report.payloads import TEXT_CHARS, Fetched, Key, Place
from poolsieve.jobs.report.resembling import PAIRS, Alike, below
from poolsieve.jobs.report.samples import SampleRow, bare, sample_row

CLUSTERS = 6
"""Clusters whose members are shown."""

_HUNDREDTHS = 100


class Member(msgspec.Struct, kw_only=True, frozen=True):
    """A row beside the one that stands for it.

    Attributes:
        row: as the report shows it.
        similarity: of the two; None where it is not known.
        pieces: how its text differs; None where one of the texts could not be read.
        note: what else there is to say of the comparison.
    """

    row: SampleRow
    similarity: float | None
    pieces: list[Piece] | None
    note: str


class Pair(msgspec.Struct, kw_only=True, frozen=True):
    """A row that stayed, and another one."""

    kept: SampleRow
    other: Member


class Family(msgspec.Struct, kw_only=True, frozen=True):
    """A cluster of `size` rows: the one that stands for it, and the best of the others."""

    cluster: str
    size: int
    kept: SampleRow
    members: list[Member]


class SizeLine(msgspec.Struct, kw_only=True, frozen=True):
    """How many clusters have from `least` to `most` rows."""

    least: int
    most: int
    clusters: int


class Split(msgspec.Struct, kw_only=True, frozen=True):
    """Components that had too many rows and were split: how many, the rows of the largest, and of all of them."""

    components: int
    largest: int
    rows: int


class Duplicated(msgspec.Struct, kw_only=True, frozen=True):
    """One derived value of `dedup.*`.

    Attributes:
        counts: clusters of several rows, copies, and near rows that are no copies.
        similarity: near rows by hundredths of it; None where there are none.
        threshold: of similarity; None where chains decide, or copies alone are looked for.
        families: the largest.
        above: near rows that resemble the row kept least.
        below: rows that both stayed, the most alike.
        looked_at: rows among which these were looked for; 0 where they weren't.
        split: of components; None where none had to be.
    """

    name: str
    counts: dict[str, int]
    sizes: list[SizeLine]
    similarity: Histogram | None
    threshold: float | None
    families: list[Family]
    above: list[Pair]
    below: list[Pair]
    looked_at: int
    split: Split | None

    def without_images(self) -> Duplicated:
        """The same without thumbnails, for `report.json`."""
        return msgspec.structs.replace(
            self,
            families=[
                msgspec.structs.replace(one, kept=bare([one.kept])[0], members=[_bare(m) for m in one.members])
                for one in self.families
            ],
            above=[_bare_pair(pair) for pair in self.above],
            below=[_bare_pair(pair) for pair in self.below],
        )


def _bare(member: Member) -> Member:
    return msgspec.structs.replace(member, row=bare([member.row])[0])


def _bare_pair(pair: Pair) -> Pair:
    return Pair(kept=bare([pair.kept])[0], other=_bare(pair.other))


@dataclass
class Finder:
    """Looks up, while the pool's rows are, which rows are to be shown beside those that the summary names."""

    summary: Summary
    facts: Facts
    leaders: dict[str, Key] = field(default_factory=dict)
    below: dict[str, tuple[list[Alike], int]] = field(default_factory=dict)

    def __call__(self, place: Place) -> Iterator[Sample]:
        """The rows that stand for the near ones, and pairs below the threshold."""
        for name in names(self.facts):
            near = self.summary.samples.get(f"near/{name}", [])[:PAIRS]
            yield from self._leaders(place, [str(sample_row(row, Fetched()).scores.get(f"{name}.of")) for row in near])
            threshold = threshold_of(self.facts, name)
            if threshold is not None:
                self.below[name] = below(place, name, threshold)
                yield from (_plain(key) for pair in self.below[name][0] for key in (pair.first, pair.second))

    def _leaders(self, place: Place, asked: Iterable[str]) -> Iterator[Sample]:
        rows = {of: (path, int(row)) for of in asked for path, _, row in [of.rpartition(":")] if row.isdecimal()}
        paths = {path for path, _ in rows.values()}
        for line in (line for line in place.lines() if line.path in paths) if rows else ():
            for of, (path, row) in rows.items():
                if line.path == path and line.start <= row < line.start + line.rows:
                    self.leaders[of] = line.name, row
                    yield _plain(self.leaders[of])


def _plain(key: Key) -> Sample:
    """A row of which nothing is known but where it is."""
    return Sample(0.0, *key, None, "", "{}")


def names(facts: Facts) -> list[str]:
    """The derived values that are families of duplicates."""
    found = dict(facts.derived)
    starts = (name.removesuffix(".cluster") for name in found if name.endswith(".cluster"))
    return [
        name for name in starts if all(found.get(f"{name}.{column}") == str(kind) for column, kind in COLUMNS.items())
    ]


def threshold_of(facts: Facts, name: str) -> float | None:
    """The similarity from which a row stands for another."""
    limits = (part.limit for part in facts.limits if part.score == f"{name}.similarity")
    return next(limits, None)


def duplicates_of(facts: Facts, summary: Summary, finder: Finder | None, found: Fetched) -> list[Duplicated]:
    """Every derived value of duplicates; without a finder no rows are shown."""
    return [_duplicated(facts, summary, name, finder, found) for name in names(facts)]


def _duplicated(facts: Facts, summary: Summary, name: str, finder: Finder | None, found: Fetched) -> Duplicated:
    tallies = summary.tallies.get(f"{name}.cluster", {})
    threshold = threshold_of(facts, name)
    pairs, looked_at = finder.below.get(name, ([], 0)) if finder is not None else ([], 0)
    return Duplicated(
        name=name,
        counts=dict(tallies.get("", {})),
        sizes=[
            _size_line(int(least), n) for least, n in sorted(tallies.get(SIZES, {}).items(), key=lambda x: int(x[0]))
        ],
        similarity=_similarity(name, tallies.get(SIMILARITY, {}), threshold),
        threshold=threshold,
        families=_families(summary, name, found) if finder is not None else [],
        above=list(_above(summary, name, finder, found)) if finder is not None else [],
        below=[_pair(_plain(p.first), _plain(p.second), p.similarity, found) for p in pairs],
        looked_at=looked_at,
        split=_split(tallies.get(SPLIT, {})),
    )


def _split(rows: Mapping[str, int]) -> Split | None:
    found = Giants.counted({int(size): n for size, n in rows.items()})
    return Split(**found._asdict()) if found.components else None


def _size_line(least: int, clusters: int) -> SizeLine:
    least, most = size_class(least)
    return SizeLine(least=least, most=most, clusters=clusters)


def _similarity(name: str, counts: Mapping[str, int], threshold: float | None) -> Histogram | None:
    """The near rows, from a little below the threshold on."""
    rows = {int(hundredth): n for hundredth, n in counts.items()}
    if not rows:
        return None
    first = min(*rows, int((threshold or 1.0) * _HUNDREDTHS)) - 2
    steps = range(max(first, 0), _HUNDREDTHS + 1)
    mark = None if threshold is None else Mark(kind="cut", value=threshold, label=f"from {score_text(threshold)}")
    return Histogram(
        score=f"{name}.similarity",
        type="float32",
        nulls=0,
        marks=[mark] if mark is not None else [],
        edges=[step / _HUNDREDTHS for step in (*steps, _HUNDREDTHS + 1)],
        kept=[0] * len(steps),
        dropped=[rows.get(step, 0) for step in steps],
        below=0,
        above=0,
        infinite=0,
        whole=False,
    )


def size_chart(sizes: Sequence[SizeLine]) -> Chart:
    """Clusters by size, a bar for each class; each is twice as wide as the one before it."""
    edges = [float(i) for i in range(len(sizes) + 1)]
    counts, none = [line.clusters for line in sizes], [0] * len(sizes)
    bars = Bars(edges=edges, kept=counts, dropped=none, below=0, above=0, infinite=0, whole=False)
    made = chart_of(bars)
    labels = [f"{x.least:,}" if x.least == x.most else f"{x.least:,}\N{EN DASH}{x.most:,}" for x in sizes]
    for bar, label, line in zip(made.bars, labels, sizes, strict=True):
        object.__setattr__(bar, "title", f"{label} rows: {line.clusters:,} clusters")
    ticks = [Tick(bar.x + bar.w / 2, label) for bar, label in zip(made.bars, labels, strict=True)]
    made.xticks[:] = ticks[:: 1 + len(ticks) // 9]
    return made


def _families(summary: Summary, name: str, found: Fetched) -> list[Family]:
    groups = [summary.samples.get(f"family/{name}/{place}", [])[:SAMPLES] for place in range(FAMILY_ROWS)]
    others: dict[str, list[Sample]] = {}
    for sample in (sample for group in groups[1:] for sample in group):
        others.setdefault(str(sample_row(sample, found).scores.get(f"{name}.cluster")), []).append(sample)
    return [_family(name, sample, others, found) for sample in groups[0][:CLUSTERS]]


def _family(name: str, first: Sample, others: Mapping[str, list[Sample]], found: Fetched) -> Family:
    kept = sample_row(first, found)
    cluster, size = str(kept.scores.get(f"{name}.cluster")), kept.scores.get(f"{name}.size")
    members = [_member(first, one, _likeness(one, name, found), found) for one in others.get(cluster, [])]
    return Family(cluster=cluster, size=size if isinstance(size, int) else 0, kept=kept, members=members)


def _likeness(sample: Sample, name: str, found: Fetched) -> float | None:
    value = sample_row(sample, found).scores.get(f"{name}.similarity")
    return value if isinstance(value, float) else None


def _above(summary: Summary, name: str, finder: Finder, found: Fetched) -> Iterator[Pair]:
    for sample in summary.samples.get(f"near/{name}", [])[:PAIRS]:
        of = str(sample_row(sample, found).scores.get(f"{name}.of"))
        path, _, row = of.rpartition(":")
        known = finder.leaders.get(of) or (path, int(row) if row.isdecimal() else 0)
        yield _pair(_plain(known), sample, _likeness(sample, name, found), found)


def _pair(kept: Sample, other: Sample, similarity: float | None, found: Fetched) -> Pair:
    return Pair(kept=sample_row(kept, found), other=_member(kept, other, similarity, found))


def _member(kept: Sample, other: Sample, similarity: float | None, found: Fetched) -> Member:
    texts = [_text(sample, found) for sample in (kept, other)]
    pieces, note = None, ""
    if texts[0] is not None and texts[1] is not None:
        pieces = diff(texts[0], texts[1])
        whole = all(len(text) < TEXT_CHARS for text in texts if text is not None)
        note = "" if whole else f"the first {TEXT_CHARS:,} characters are compared"
    return Member(row=sample_row(other, found), similarity=similarity, pieces=pieces, note=note)


def _text(sample: Sample, found: Fetched) -> str | None:
    payload = found.payloads.get((sample.shard, sample.row))
    return payload.text if payload is not None else None


def without_images(found: Iterable[Duplicated]) -> list[Duplicated]:
    """All of them without thumbnails."""
    return [one.without_images() for one in found]
