"""What a decision says of itself as a whole: counts, funnel, cuts, histograms, samples, work. `summary.json`.

Made from the sum of all shards' records; manifest, report and terminal show nothing else. Plain typed data, which
`to_json` and `from_json` carry through files.
"""

from __future__ import annotations

import json
from typing import Any, Self

import msgspec

from poolsieve.dataflow.recipes.walk import Cuts
from poolsieve.filters.dsl.cuts import Cut
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError


def dumps(value: Any) -> bytes:
    """JSON as files have it: sorted keys, indented, one line end."""
    plain = msgspec.to_builtins(value, str_keys=True, enc_hook=str)
    return (json.dumps(plain, indent=1, sort_keys=True) + "\n").encode()


def cuts_to_json(cuts: Cuts) -> JsonObject:
    """Cuts as plain values, as `cuts.json` has them."""
    return {name: {group: cut.to_dict() for group, cut in groups.items()} for name, groups in sorted(cuts.items())}


def cuts_from_json(data: Any) -> Cuts:
    """The inverse of `cuts_to_json`.

    Raises:
        PlanError: for what is no cut, naming it.
    """
    if not isinstance(data, dict) or not all(isinstance(groups, dict) for groups in data.values()):
        raise PlanError("expected name -> group -> cut")
    return {name: {group: _cut(name, group, cut) for group, cut in groups.items()} for name, groups in data.items()}


def _cut(name: str, group: str, data: Any) -> Cut:
    try:
        return Cut.from_dict(data)
    except PlanError as error:
        raise PlanError(f"{name!r}{f', group {group!r}' if group else ''}: {error}") from error


class WithCuts(msgspec.Struct, kw_only=True):
    """Records that hold cuts, whose 64-bit integers JSON readers would round: those go as `Cut.to_dict` has them."""

    cuts: Cuts

    def to_json(self) -> JsonObject:
        """As JSON values."""
        plain: JsonObject = msgspec.to_builtins(self, str_keys=True, enc_hook=str)
        return {**plain, "cuts": cuts_to_json(self.cuts)}

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """The inverse of `to_json`.

        Raises:
            ValueError: naming the field that is missing or of another type.
        """
        made = msgspec.convert({**data, "cuts": {}}, cls, str_keys=True)
        made.cuts = cuts_from_json(data["cuts"])
        return made


class FunnelLine(msgspec.Struct, kw_only=True, rename={"rows_in": "in"}):
    """One step of a recipe: rows that reached it, those left after it, and what is left of bytes and tokens."""

    rows_in: int = 0
    out: int = 0
    quarantined: int = 0
    bytes: int = 0
    tokens: int | None = None
    step: str = ""

    def add(self, other: FunnelLine) -> None:
        """Adds another shard's line of the same step."""
        self.rows_in += other.rows_in
        self.out += other.out
        self.quarantined += other.quarantined
        self.bytes += other.bytes
        self.tokens = sum_known(self.tokens, other.tokens)


def sum_known(a: int | None, b: int | None) -> int | None:
    """The sum of what is known; None where neither is."""
    return b if a is None else a if b is None else a + b


class Sample(msgspec.Struct, order=True, frozen=True):
    """A row for the report. `rank` is its distance from a cut, or a hash; the least of a group are shown.

    Attributes:
        shard: name of its shard.
        row: position in the file.
        reason: why it was dropped; "" for a kept row.
        scores: JSON text of score name -> value.
    """

    rank: float
    shard: str
    row: int
    uid: str | None
    reason: str
    scores: str


class Work(msgspec.Struct, kw_only=True):
    """What was done, summed over workers: rows and bytes read, seconds and rows scored by step."""

    rows: int = 0
    read_bytes: int = 0
    seconds: dict[str, float] = msgspec.field(default_factory=dict)
    scored: dict[str, int] = msgspec.field(default_factory=dict)

    def add(self, other: Work) -> Work:
        """Adds another shard's or pass's."""
        self.rows += other.rows
        self.read_bytes += other.read_bytes
        for step, seconds in other.seconds.items():
            self.seconds[step] = self.seconds.get(step, 0.0) + seconds
        for step, rows in other.scored.items():
            self.scored[step] = self.scored.get(step, 0) + rows
        return self


class Summary(WithCuts, kw_only=True):
    """The sums of a decision.

    Attributes:
        nbytes, kept_bytes: payload bytes of all rows, and of those kept.
        tokens, kept_tokens: of the rows whose tokens were counted; None without a score that counts them.
        reasons: reason -> rows.
        funnel: one line for each step of the recipe.
        histograms: score -> high 16 bits of the order key -> (kept, dropped).
        samples: group ("reason/...", "cut/...") -> a few rows.
        nulls: score -> rows without it.
        frozen: cuts that were given and not searched for.
        hex_uids: whether every kept uid is 128-bit hexadecimal, so that there is a `subset.npy`.
        overlap: rows kept by both, only by the new rules, only by the old (what-if).
        wall_seconds: of the run that made this; None if it was not measured.
    """

    decision: str
    shard_count: int
    rows: int
    kept: int
    dropped: int
    quarantined: int
    nbytes: int
    kept_bytes: int
    tokens: int | None = None
    kept_tokens: int | None = None
    reasons: dict[str, int] = msgspec.field(default_factory=dict)
    funnel: list[FunnelLine] = msgspec.field(default_factory=list)
    histograms: dict[str, dict[int, tuple[int, int]]] = msgspec.field(default_factory=dict)
    samples: dict[str, list[Sample]] = msgspec.field(default_factory=dict)
    nulls: dict[str, int] = msgspec.field(default_factory=dict)
    frozen: list[str] = msgspec.field(default_factory=list)
    hex_uids: bool = True
    overlap: dict[str, int] = msgspec.field(default_factory=dict)
    work: Work = msgspec.field(default_factory=Work)
    wall_seconds: float | None = None
