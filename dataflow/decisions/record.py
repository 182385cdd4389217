"""What one shard says of a decision, and the sum over shards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SAMPLES = 8
"""Rows kept for the report on each side of a cut and for each reason."""


@dataclass
class Record:
    """What one shard (or a sum of shards) says of a decision.

    `shards` holds one line a shard for `shards.parquet`; `funnel` one dict a step; `tokens` counts those of the rows
    that were tokenised, None without a score for them; `histograms` score -> key digit -> [kept, dropped]; `samples`
    group -> best-ranked few rows, each `[order, shard name, row, uid, reason, scores]`.
    """

    rows: int = 0
    kept: int = 0
    quarantined: int = 0
    nbytes: int = 0
    kept_bytes: int = 0
    tokens: int | None = None
    kept_tokens: int | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    funnel: list[dict[str, int]] = field(default_factory=list)
    histograms: dict[str, dict[int, list[int]]] = field(default_factory=dict)
    samples: dict[str, list[list[Any]]] = field(default_factory=dict)
    nulls: dict[str, int] = field(default_factory=dict)
    hex_uids: bool = True
    overlap: dict[str, int] = field(default_factory=dict)
    shards: list[dict[str, Any]] = field(default_factory=list)

    def add(self, other: Record) -> Record:
        """Adds another record; the order of adding does not matter once `shards` is sorted."""
        for name in ("rows", "kept", "quarantined", "nbytes", "kept_bytes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("tokens", "kept_tokens"):
            setattr(self, name, _sum(getattr(self, name), getattr(other, name)))
        add_counts(self.reasons, other.reasons)
        add_counts(self.nulls, other.nulls)
        add_counts(self.overlap, other.overlap)
        self.funnel = [
            {key: a.get(key, 0) + b.get(key, 0) for key in {**a, **b}}
            for a, b in zip(
                self.funnel or [{}] * len(other.funnel), other.funnel or [{}] * len(self.funnel), strict=True
            )
        ]
        for score, bins in other.histograms.items():
            _add_bins(self.histograms.setdefault(score, {}), bins)
        for group, rows in other.samples.items():
            self.samples[group] = sorted([*self.samples.get(group, []), *rows])[:SAMPLES]
        self.hex_uids = self.hex_uids and other.hex_uids
        self.shards.extend(other.shards)
        return self


def _sum(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else a + b


def add_counts(into: dict[str, int], counts: Mapping[str, int]) -> None:
    """Adds counts by key."""
    for key, count in counts.items():
        into[key] = into.get(key, 0) + count


def _add_bins(into: dict[int, list[int]], bins: Mapping[int, list[int]]) -> None:
    for digit, (kept, dropped) in bins.items():
        found = into.setdefault(digit, [0, 0])
        found[0] += kept
        found[1] += dropped
