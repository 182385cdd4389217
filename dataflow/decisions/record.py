"""What one shard says of a decision, and the sum over shards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from poolsieve.dataflow.decisions.tables import Counts, add_sums
from poolsieve.dataflow.store.shard_lines import Block
from poolsieve.dataflow.store.summary import FunnelLine, Sample, sum_known

SAMPLES = 8
"""Rows kept for the report on each side of a cut and for each reason."""

SAMPLED_GROUPS = 12
"""Groups of a cut, the first by name, of which a report has rows."""


@dataclass
class Record:
    """What one shard (or a sum of shards) says of a decision; see `Summary` for the fields that they share.

    Attributes:
        tokens: of the rows that were tokenised; None without a score for them.
        histograms: score -> high 16 bits of the order key -> [kept, dropped].
        samples: group -> the best-ranked few rows.
        tallies: derived value -> group -> name -> sum, of what its report shows.
        uids: names of the files of kept uids, for `subset.npy`.
        shards: one line a shard, for `shards.parquet`, packed.
    """

    rows: int = 0
    kept: int = 0
    quarantined: int = 0
    nbytes: int = 0
    kept_bytes: int = 0
    repeated: int | None = None
    tokens: int | None = None
    kept_tokens: int | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    funnel: list[FunnelLine] = field(default_factory=list)
    histograms: dict[str, dict[int, list[int]]] = field(default_factory=dict)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    nulls: dict[str, int] = field(default_factory=dict)
    hex_uids: bool = True
    overlap: dict[str, int] = field(default_factory=dict)
    tallies: dict[str, Counts] = field(default_factory=dict)
    uids: list[str] = field(default_factory=list)
    shards: list[Block] = field(default_factory=list)

    def add(self, other: Record) -> Record:
        """Adds another record; the order of adding does not matter."""
        for name in ("rows", "kept", "quarantined", "nbytes", "kept_bytes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.repeated = sum_known(self.repeated, other.repeated)
        self.tokens = sum_known(self.tokens, other.tokens)
        self.kept_tokens = sum_known(self.kept_tokens, other.kept_tokens)
        add_counts(self.reasons, other.reasons)
        add_counts(self.nulls, other.nulls)
        add_counts(self.overlap, other.overlap)
        self._add_funnel(other.funnel)
        for name, sums in other.tallies.items():
            add_sums(self.tallies.setdefault(name, {}), sums)
        for score, bins in other.histograms.items():
            _add_bins(self.histograms.setdefault(score, {}), bins)
        for group, rows in other.samples.items():
            self.samples[group] = sorted([*self.samples.get(group, []), *rows])[:SAMPLES]
        self.hex_uids = self.hex_uids and other.hex_uids
        self.uids.extend(other.uids)
        self.shards.extend(other.shards)
        return self

    def _add_funnel(self, lines: list[FunnelLine]) -> None:
        if not self.funnel:
            self.funnel = [FunnelLine(step=line.step) for line in lines]
        for mine, theirs in zip(self.funnel, lines or [FunnelLine() for _ in self.funnel], strict=True):
            mine.add(theirs)


def add_counts(into: dict[str, int], counts: Mapping[str, int]) -> None:
    """Adds counts by key."""
    for key, count in counts.items():
        into[key] = into.get(key, 0) + count


def _add_bins(into: dict[int, list[int]], bins: Mapping[int, list[int]]) -> None:
    for digit, (kept, dropped) in bins.items():
        found = into.setdefault(digit, [0, 0])
        found[0] += kept
        found[1] += dropped
