"""What a decision says of itself as a whole: counts, funnel, cuts, histograms, samples, work. `summary.json`.

Made from the sum of all shards' records; manifest, report and terminal show nothing else. Plain typed data, which
`to_json` and `from_json` carry through files. A file may come from anybody, so what is read is checked for its types
and bounds. `Facts` are what a report says of the recipe, so that it needs none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import msgspec

from poolsieve.dataflow.pools.shards import DOCUMENT_BYTES
from poolsieve.dataflow.recipes.recipe import UNSAID_SPLIT_BYTES, Pool
from poolsieve.dataflow.recipes.walk import Cuts
from poolsieve.dataflow.store.layout import check_pool_url
from poolsieve.filters.dsl.cuts import Cut, Table
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.work import Amount, Count, ModelWork

Finite = Annotated[float, msgspec.Meta(ge=-1e308, le=1e308)]
"""A number that can be drawn."""

Digit = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
"""The high 16 bits of an order key."""

Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{1,16}$")]
"""At most 64 bits."""

Pairs = tuple[tuple[str, str], ...]
"""Name -> value, in an order that matters: files sort the keys of objects."""


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


def _cut(name: str, group: str, data: Any) -> Cut | Table:
    try:
        if isinstance(data, dict) and "sums" in data:
            return Table.from_dict(data)
        made = Cut.from_dict(data)
        msgspec.convert(data, CutRecord)
    except (PlanError, msgspec.ValidationError) as error:
        raise PlanError(f"{name!r}{f', group {group!r}' if group else ''}: {error}") from error
    return made


class CutRecord(msgspec.Struct, kw_only=True, frozen=True):
    """One cut as `cuts.json` has it; see `filters.dsl.cuts.Cut`.

    Attributes:
        key, tie_hash: hexadecimal, since readers of JSON round 64-bit integers.
    """

    kind: Literal["all", "none", "rank"] = "rank"
    value: float | int | None = None
    key: Hex
    bits: Literal[32, 64] = 32
    lowest: bool = False
    inclusive: bool = True
    include_ties: bool = False
    tie_hash: Hex
    tie_path: str = ""
    tie_row: Annotated[int, msgspec.Meta(ge=-1, le=(1 << 63) - 1)] = -1
    of: Count = 0
    k: Count = 0
    competing: Count = 0


class WithCuts(msgspec.Struct, kw_only=True):
    """Records that hold cuts, whose 64-bit integers JSON readers would round: those go as `Cut.to_dict` has them."""

    cuts: Mapping[str, Mapping[str, Any]]
    """As `Cuts` has it: msgspec knows no union of two dataclasses."""

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

    rows_in: Count = 0
    out: Count = 0
    quarantined: Count = 0
    bytes: Count = 0
    tokens: Count | None = None
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
    row: Count
    uid: str | None
    reason: str
    scores: str


class Work(msgspec.Struct, kw_only=True):
    """What was done, summed over workers: rows and bytes read, seconds and rows scored by step, what models did.

    `models`: name of a step -> what its model did; steps that share a model have it under the first one's name.
    """

    rows: Count = 0
    read_bytes: Count = 0
    seconds: dict[str, Amount] = msgspec.field(default_factory=dict)
    scored: dict[str, Count] = msgspec.field(default_factory=dict)
    models: dict[str, ModelWork] = msgspec.field(default_factory=dict)

    def add(self, other: Work) -> Work:
        """Adds another shard's or pass's."""
        self.rows += other.rows
        self.read_bytes += other.read_bytes
        for step, seconds in other.seconds.items():
            self.seconds[step] = self.seconds.get(step, 0.0) + seconds
        for step, rows in other.scored.items():
            self.scored[step] = self.scored.get(step, 0) + rows
        for step, work in other.models.items():
            self.models.setdefault(step, ModelWork()).add(work)
        return self


class StepFacts(msgspec.Struct, kw_only=True, frozen=True):
    """One step of the recipe: its label is a scorer's name or a rule's reason; `cuts` names those inside a rule."""

    kind: Literal["score", "rule", "derived"]
    label: str
    cuts: tuple[str, ...] = ()


class TopFacts(msgspec.Struct, kw_only=True, frozen=True):
    """What a cut ranks by, which end it keeps, what it groups by, and which rows compete."""

    cut: str
    score: str
    by: str | None
    rank: str
    lowest: bool


class LimitFacts(msgspec.Struct, kw_only=True, frozen=True):
    """A rule's comparison of one score with a number; `op` is Arrow's name of it."""

    score: str
    op: Literal["less_equal", "less", "greater_equal", "greater", "equal", "not_equal"]
    limit: Finite


class ScorerFacts(msgspec.Struct, kw_only=True, frozen=True):
    """A scorer: the Arrow type of each of its scores, and the SHA-256 of each of its model files.

    `readings` are those of a union's parts, which its score files are named after.
    """

    name: str
    fingerprint: str
    scores: Pairs
    files: Pairs
    readings: Pairs = ()


class PoolPart(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A part of a union, as `Pool.to_dict` has it."""

    kind: str
    urls: tuple[str, ...]
    roles: dict[str, str] = msgspec.field(default_factory=dict)
    allow_gaps: bool = False
    split_bytes: Count = UNSAID_SPLIT_BYTES
    max_document_bytes: Count = DOCUMENT_BYTES

    def pool(self) -> Pool:
        """The pool, without storage options, which are never stored.

        Raises:
            PoolsieveError: for URLs that are not of plain files.
        """
        for url in self.urls:
            check_pool_url(url)
        return Pool(
            kind=self.kind,
            urls=self.urls,
            roles=self.roles,
            allow_gaps=self.allow_gaps,
            split_bytes=self.split_bytes,
            max_document_bytes=self.max_document_bytes,
        )


class PoolFacts(msgspec.Struct, kw_only=True, frozen=True):
    """The pool, without storage options, which are never stored; `id` is the hash of its listing."""

    kind: str
    urls: tuple[str, ...]
    root: str
    id: str
    roles: Pairs
    split_bytes: Count
    max_document_bytes: Count = DOCUMENT_BYTES
    fraction: str | None = None
    seed: int = 0
    parts: dict[str, PoolPart] = msgspec.field(default_factory=dict)


class SourceFacts(msgspec.Struct, kw_only=True, frozen=True):
    """Where the recipe file was, and the parameters that it was called with."""

    path: str
    parameters: Pairs


class Facts(msgspec.Struct, kw_only=True, frozen=True):
    """What a report says of the recipe, noted when the decision was made.

    Attributes:
        read: roles of the pool that scorers read, in the order of the recipe.
        role_types: Arrow type of those, and of the text and the image.
        derived: name -> Arrow type of each derived value.
        gaps: names of the pool's range that have no file.
        recipe: as `Recipe.to_dict` has it, as JSON text.
        source: None for a recipe that was made in Python.
        versions: of what the ledger depends on.
    """

    steps: tuple[StepFacts, ...]
    tops: tuple[TopFacts, ...]
    limits: tuple[LimitFacts, ...]
    scorers: tuple[ScorerFacts, ...]
    read: tuple[str, ...]
    role_types: dict[str, str]
    pool: PoolFacts
    gaps: tuple[str, ...]
    recipe: str
    source: SourceFacts | None
    versions: Pairs
    derived: Pairs = ()


class Unmatched(msgspec.Struct, kw_only=True, frozen=True):
    """What a scorer has stored of items, against the rows of the pool.

    Attributes:
        items: stored items that no row has; `first` names a few.
        rows: rows that nothing is stored of; `first_rows` names the uids of a few.
        notes: of items that match by name and by nothing else.
    """

    items: Count = 0
    first: tuple[str, ...] = ()
    rows: Count = 0
    first_rows: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class FileMark(msgspec.Struct, kw_only=True, frozen=True):
    """SHA-256 of a file, and its size in bytes."""

    sha256: str
    bytes: Count


class Summary(WithCuts, kw_only=True):
    """The sums of a decision.

    Attributes:
        nbytes, kept_bytes: payload bytes of all rows, and of those kept.
        repeated: the kept rows, each as often as it leaves; None where each leaves once.
        tokens, kept_tokens: of the rows whose tokens were counted; None without a score that counts them.
        reasons: reason -> rows.
        funnel: one line for each step of the recipe.
        histograms: score -> high 16 bits of the order key -> (kept, dropped).
        samples: group ("reason/...", "cut/...") -> a few rows.
        nulls: score -> rows without it.
        frozen: cuts that were given and not searched for.
        hex_uids: whether every kept uid is 128-bit hexadecimal, so that there is a `subset.npy`.
        subset: that file; None without one, in a what-if, and in an OUT of an older version.
        overlap: rows kept by both, only by the new rules, only by the old (what-if).
        tallies: derived value -> group -> name -> sum, of what its report shows.
        unmatched: scorer -> what is stored elsewhere and matches no row, and rows that it does not know.
        files: folder of OUT -> hash of the files in it that the decision stands on, when it was closed. A run that
            finds the same ones has nothing to do. Empty in a what-if, and in an OUT of an older version.
        wall_seconds: of the run that made this; None if it was not measured.
        facts: what a report says of the recipe; None in a what-if, and in an OUT of an older version.
    """

    decision: str
    shard_count: Count
    rows: Count
    kept: Count
    dropped: Count
    quarantined: Count
    nbytes: Count
    kept_bytes: Count
    repeated: Count | None = None
    tokens: Count | None = None
    kept_tokens: Count | None = None
    reasons: dict[str, Count] = msgspec.field(default_factory=dict)
    funnel: list[FunnelLine] = msgspec.field(default_factory=list)
    histograms: dict[str, dict[Digit, tuple[Count, Count]]] = msgspec.field(default_factory=dict)
    samples: dict[str, list[Sample]] = msgspec.field(default_factory=dict)
    nulls: dict[str, Count] = msgspec.field(default_factory=dict)
    frozen: list[str] = msgspec.field(default_factory=list)
    hex_uids: bool = True
    subset: FileMark | None = None
    overlap: dict[str, Count] = msgspec.field(default_factory=dict)
    tallies: dict[str, dict[str, dict[str, int]]] = msgspec.field(default_factory=dict)
    unmatched: dict[str, Unmatched] = msgspec.field(default_factory=dict)
    work: Work = msgspec.field(default_factory=Work)
    files: dict[str, str] = msgspec.field(default_factory=dict)
    wall_seconds: Amount | None = None
    facts: Facts | None = None
