"""A recipe: a pool (its files, and how uid, text, image and other *roles* are read from them) and its stages.

Data only: printable, comparable, nothing read yet.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Self

from poolsieve.dataflow import fs
from poolsieve.dataflow.credentials import check_url
from poolsieve.dataflow.pools import hub
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.formats import FORMATS
from poolsieve.dataflow.pools.formats.tokens import layout
from poolsieve.dataflow.pools.hub_commits import Pins, pin
from poolsieve.dataflow.pools.hub_splits import files_of
from poolsieve.dataflow.pools.listing import common_root
from poolsieve.dataflow.pools.sample import Sample, checked_fraction, checked_seed
from poolsieve.dataflow.pools.shards import DOCUMENT_BYTES
from poolsieve.dataflow.pools.union import KINDS, PART, UNION, UnionFiles, root_text
from poolsieve.dataflow.recipes.shown import describe
from poolsieve.filters.dsl.stages import Stage, not_a_stage
from poolsieve.scoring_models.base.config import Config, JsonObject
from poolsieve.scoring_models.base.errors import PlanError, unknown_name
from poolsieve.scoring_models.base.kinds import short

SPLIT_BYTES = 128 << 20
"""Files above this size are several shards of a run, where the kind allows it: as Spark reads them
(`spark.sql.files.maxPartitionBytes`), so that ten files of 1 GB keep eighty workers busy."""

UNSAID_SPLIT_BYTES = 1 << 30
"""The same where nothing is scored (tokenizing, artefacts), whose names may hang on it, and in records of OUT that say
nothing: this was the size before."""

DATBENCH: Mapping[str, str | None] = {
    "uid": "id",
    "image": "image",
    "question": "question",
    "answer": "answer",
    "answers": "all_answers",
    "prefix": "prompt_format.prefix",
    "suffix": "prompt_format.suffix",
    "source": "source_info.dataset",
    "eval_mode": "eval_mode",
    "judge_prompt": "judge_prompt",
    "is_circular": "is_circular",
    "metadata": "metadata",
}
"""Role -> column of an item in DatBench's layout."""

_NAME_CHARS = 100
_PART_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{_NAME_CHARS - 1}}}")
"""A part's name is a part of paths."""

_MOST_DOCUMENT_BYTES = (1 << 31) - 1


@dataclass(frozen=True, eq=False)
class Pool(Config):
    """The corpus to filter: files and roles, nothing read yet. Equality is by content, without the secrets.

    Attributes:
        kind: `parquet`, `webdataset`, `jsonl`, `tokens` or `union`; `hub` until the Hub has said which (`pinned`).
        urls: as written; globs (`*`, `?`, `[..]`) and brace ranges (`{00..99}`, `{a,b}`) on any fsspec storage.
        roles: role -> source. In Parquet a column or a nested field (`meta.width`); in WebDataset members by
            extension (`jpg;png`: the first that a sample has), a field of a JSON member (`json:original_width`) or
            `__key__`. In token files `tokens` alone, whose source says type and length of a chunk (`uint16[512]`).
        allow_gaps: whether names of a range may have no file.
        split_bytes: files above this are several shards: Parquet by runs of row groups that the footer fixes, plain
            JSON lines and token files by byte ranges. None: the size that OUT has been scored with, else 128 MiB.
        storage_options: for fsspec (keys, endpoints). Never stored: it may hold secrets.
        max_document_bytes: a longer document costs its row (`quarantine.too_large`) and no memory: a line of JSON as a
            whole, a text in a role of Parquet, a member of a tar that holds text or JSON. Images are no documents.
        fraction, seed: of a sample; see `sample`.
        parts: name -> pool, of a union, which has no files or roles but theirs; see `union`.
    """

    kind: str
    urls: tuple[str, ...]
    roles: Mapping[str, str] = field(default_factory=dict)
    allow_gaps: bool = False
    split_bytes: int | None = None
    storage_options: fs.StorageOptions = field(default_factory=dict, repr=False, metadata={"runtime": True})
    max_document_bytes: int = DOCUMENT_BYTES
    fraction: str | None = None
    seed: int = 0
    parts: Mapping[str, Pool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.fraction is not None:
            object.__setattr__(self, "fraction", checked_fraction(self.fraction))
        checked_seed(self.seed)
        if self.kind == UNION:
            _check_parts(self)
            object.__setattr__(self, "parts", dict(sorted(self.parts.items())))
            object.__setattr__(self, "roles", _roles_of(self.parts))
        else:
            self._check_files()

    def _check_files(self) -> None:
        if self.kind not in (*FORMATS, hub.HUB):
            raise unknown_name(f"there is no kind of pool {self.kind!r}", self.kind, KINDS)
        if self.parts:
            raise PlanError(f"a {self.kind} pool has no parts: write Pool.union(...)")
        if not self.urls:
            raise PlanError(f"Pool.{self.kind}() needs at least one URL, like 'data/*.parquet'")
        for url in self.urls:
            _check_url(self.kind, url)
            check_url(url)
        if self.split_bytes is not None and (type(self.split_bytes) is not int or self.split_bytes < 1):
            raise PlanError(f"split_bytes={short(self.split_bytes)} must be a positive number of bytes")
        if type(self.max_document_bytes) is not int or not 0 < self.max_document_bytes <= _MOST_DOCUMENT_BYTES:
            raise PlanError(
                f"max_document_bytes={short(self.max_document_bytes)} must be a number of bytes from 1 to "
                f"{_MOST_DOCUMENT_BYTES:,}, the longest text that Arrow's batches hold"
            )
        if not isinstance(self.allow_gaps, bool):
            raise PlanError(f"allow_gaps={short(self.allow_gaps)}: write True or False")
        self._check_roles()

    def _check_roles(self) -> None:
        own = FORMATS.get(self.kind)  # None where only the Hub knows what the files are
        needed = own.row_role if own else None
        if needed and needed not in self.roles:
            raise PlanError(
                f"a pool of {FORMATS[self.kind].title} is made by Pool.{self.kind}(), which says what a row is"
            )
        for role, source in self.roles.items():
            if not isinstance(source, str):
                raise PlanError(
                    f"Pool.{self.kind}(): role {role}={short(source)} takes the name of its source in the files, a text"
                )
            if own:
                own.reader.source(role, source)

    @classmethod
    def hub(
        cls,
        repo: str,
        *,
        split: str = "train",
        name: str | None = None,
        revision: str | None = None,
        storage_options: fs.StorageOptions | None = None,
        split_bytes: int | None = None,
        max_document_bytes: int = DOCUMENT_BYTES,
        **roles: str | None,
    ) -> Self:
        """A split of a dataset on the Hugging Face Hub: `Pool.hub("org/name", split="train", text="text")`.

        Nothing is asked yet. A plan asks which commit the revision is, and which files there are the split's (by the
        card's `configs`, or by their names, as `datasets` has it): Parquet, JSON lines or tars. A run keeps that commit
        in OUT, and whatever is done there later reads the same files. `run(..., newest=True)` asks again; of a dataset
        that has moved on, only files that changed are scored.

        Args:
            repo: `organisation/name`.
            split: one of the configuration's.
            name: of a configuration; None for the default one.
            revision: branch, tag or commit, as `refs/convert/parquet`; None for the main branch.
            storage_options: `token` and `endpoint`; else HF_TOKEN, what `hf auth login` stored, and HF_ENDPOINT.
            split_bytes, max_document_bytes: see `Pool`.
            roles: as the kind of its files has them.

        Raises:
            PlanError: for what is no name of a dataset.
        """
        url = hub.source(repo, split, name, revision)
        options = dict(storage_options or {})
        return cls(hub.HUB, (url,), _given(roles), False, split_bytes, options, max_document_bytes)

    @classmethod
    def parquet(
        cls,
        *urls: str,
        allow_gaps: bool = False,
        storage_options: fs.StorageOptions | None = None,
        split_bytes: int | None = None,
        max_document_bytes: int = DOCUMENT_BYTES,
        **roles: str | None,
    ) -> Self:
        """A pool of Parquet files: `Pool.parquet("data/*.parquet", uid="id", text="caption", width="meta.width")`.

        Raises:
            PlanError: without a URL, or when a source can't exist.
        """
        options = dict(storage_options or {})
        return cls("parquet", tuple(urls), _given(roles), allow_gaps, split_bytes, options, max_document_bytes)

    @classmethod
    def webdataset(
        cls,
        *urls: str,
        allow_gaps: bool = False,
        storage_options: fs.StorageOptions | None = None,
        split_bytes: int | None = None,
        max_document_bytes: int = DOCUMENT_BYTES,
        **roles: str | None,
    ) -> Self:
        """A pool of tars: `Pool.webdataset("s3://pool/{000..099}.tar", uid="json:uid", text="txt", image="jpg;png")`.

        Raises:
            PlanError: without a URL, or when a source can't exist.
        """
        options = dict(storage_options or {})
        return cls("webdataset", tuple(urls), _given(roles), allow_gaps, split_bytes, options, max_document_bytes)

    @classmethod
    def jsonl(
        cls,
        *urls: str,
        allow_gaps: bool = False,
        storage_options: fs.StorageOptions | None = None,
        split_bytes: int | None = None,
        max_document_bytes: int = DOCUMENT_BYTES,
        **roles: str | None,
    ) -> Self:
        """A pool of JSON lines, plain, gzip or zstd: `Pool.jsonl("docs/*.jsonl.zst", text="text", url="meta.url")`.

        Raises:
            PlanError: without a URL, or when a source can't exist.
        """
        options = dict(storage_options or {})
        return cls("jsonl", tuple(urls), _given(roles), allow_gaps, split_bytes, options, max_document_bytes)

    @classmethod
    def tokens(
        cls,
        *urls: str,
        dtype: str = "uint16",
        length: int = 512,
        allow_gaps: bool = False,
        storage_options: fs.StorageOptions | None = None,
        split_bytes: int | None = None,
    ) -> Self:
        """A pool of raw token files (OLMo's `.npy`, Megatron's `.bin`): `Pool.tokens("c4/*.npy", length=512)`.

        The files have no header: little-endian ids, one after the other. A row is a chunk of them, in the role
        `tokens`; what is left at a file's end is no row.

        Args:
            urls: files.
            dtype: of an id: `uint16` or another integer of 8 to 64 bits, signed or not. The files do not say it.
            length: ids of a chunk, at least 2.
            allow_gaps, storage_options, split_bytes: see `Pool`.

        Raises:
            PlanError: without a URL, for another type, for a shorter chunk, and for compressed files.
        """
        roles = {layout.ROLE: layout.source_of(dtype, length)}
        layout.check_urls(urls)
        return cls("tokens", tuple(urls), roles, allow_gaps, split_bytes, dict(storage_options or {}))

    @classmethod
    def datbench(cls, *urls: str, storage_options: fs.StorageOptions | None = None, **roles: str | None) -> Self:
        """Items in DatBench's layout (`datbench/schema.py` of datologyai/DatBench): `Pool.datbench("math/*.parquet")`.

        Roles: `uid` (id), `image`, `question`, `answer`, `answers` (all_answers), `prefix` and `suffix` of the prompt,
        `source` (source_info.dataset), `eval_mode`, `judge_prompt`, `is_circular` and `metadata`. The release has a
        folder for each capability and no column of it: `Pool.union(math=Pool.datbench(...), chart=...)` has it as the
        role `pool`.

        Args:
            urls: Parquet files.
            storage_options: for fsspec.
            roles: further ones, or others in the place of these; None for none.

        Raises:
            PlanError: without a URL.
        """
        return cls("parquet", urls, _given({**DATBENCH, **roles}), storage_options=dict(storage_options or {}))

    @classmethod
    def union(cls, *pools: Pool, **named: Pool) -> Pool:
        """Pools of any kind as one: `Pool.union(docvqa=Pool.parquet(...), chartqa=Pool.jsonl(...))`.

        The parts stand one after the other in the order of their names; parts without a name are "0", "1" and so on.
        Each has files and a mapping of roles of its own. A row has the roles that some part declares (null where its
        own part does not), and `pool`, the name of its part. There are no other columns. A role must have one type in
        all parts; of numbers the wider one is taken. A part that is added later is scored alone.

        >>> Pool.union(a=Pool.parquet("a/*.parquet", text="x"), b=Pool.jsonl("b/*.jsonl", text="y")).roles
        {'pool': 'pool', 'text': 'text'}

        Raises:
            PlanError: without parts, for a name that is no part of a path, and for parts that can't stand in a union:
                token files, unions, samples (take one of the union), and pools with a role `pool`.
        """
        numbered = {str(i): pool for i, pool in enumerate(pools)}
        if twice := sorted(numbered.keys() & named.keys()):
            raise PlanError(f"Pool.union(): {twice[0]!r} names two parts, since parts without a name are numbered")
        return cls(UNION, (), parts={**numbered, **named})

    def sample(self, fraction: float | str | Decimal, *, seed: int = 0) -> Self:
        """A pool whose rows are about a share of this one's: those whose uid hashes below it.

        A row is in or out by its uid alone. So the sample grows with the pool, and keeps the rows that it had where
        the pool has uids of its own (derived ones are of file and row). A larger share holds every row of a smaller
        one, and takes its scores over. Files are read whole. Only rows of the sample have lines in the ledger; those
        that can't be read are in or out by their derived uid, like any others.

        Args:
            fraction: above 0, at most 1; a string or Decimal for more digits than a float has.
            seed: another one gives another sample.

        >>> Pool.jsonl("docs/*.jsonl", text="text").sample(fraction=0.05).fraction
        '0.05'

        Raises:
            PlanError: for a share that can't be, and for a sample of a sample.
        """
        if self.fraction is not None:
            raise PlanError(f"this pool is a sample of {self.fraction} already: say the one share that is wanted")
        return dataclasses.replace(self, fraction=checked_fraction(fraction), seed=checked_seed(seed))

    def __or__(self, stage: Any) -> Recipe:
        """A recipe that starts with this pool."""
        return Recipe(pool=self, stages=()) | stage

    def absolute(self) -> Self:
        """The same pool with URLs that mean the same from any directory."""
        parts = {name: part.absolute() for name, part in self.parts.items()}
        return dataclasses.replace(self, urls=tuple(fs.absolute(url) for url in self.urls), parts=parts)

    def pinned(self, pins: Pins | None = None) -> Self:
        """The same pool, with what it has on the Hub at the commits of its revisions: of `pins`, else as they are now.

        A pool without such URLs, or whose URLs name commits already, comes back as it is: nothing is asked.

        Raises:
            PlanError: for what is not on the Hub, or may not be read.
            StorageError: if the Hub can't be reached.
        """
        pins = Pins() if pins is None else pins
        if self.kind == hub.HUB:
            kind, urls = files_of(self.urls[0], self.storage_options, pins)
            return dataclasses.replace(self, kind=kind, urls=urls)
        open_parts = any(part.kind == hub.HUB for part in self.parts.values())
        if not open_parts and not any(map(hub.is_open, self.all_urls)):
            return self
        parts = {name: part.pinned(pins) for name, part in self.parts.items()}
        return dataclasses.replace(self, urls=pin(self.urls, self.storage_options, pins), parts=parts)

    @property
    def all_urls(self) -> tuple[str, ...]:
        """The URLs, of all parts where it is a union."""
        return (*self.urls, *(url for part in self.parts.values() for url in part.urls))

    @property
    def options(self) -> fs.StorageOptions:
        """The storage options, by part where it is a union."""
        own = {name: part.storage_options for name, part in self.parts.items() if part.storage_options}
        return own if self.parts else self.storage_options

    def with_options(self, options: fs.StorageOptions) -> Self:
        """With other storage options: fsspec's, or those of each part, by its name."""
        parts = {name: part.with_options(options.get(name, {})) for name, part in self.parts.items()}
        return dataclasses.replace(self, storage_options={} if self.parts else dict(options), parts=parts)

    def with_split(self, known: Pool | None) -> Self:
        """With a size of pieces where none is said: that of the same pool (or part) in OUT, else `SPLIT_BYTES`.

        Scores belong to a piece of a file, and other pieces would be scored anew.
        """
        if self.kind == UNION:
            there = known.parts if known is not None else {}
            return dataclasses.replace(
                self, parts={name: part.with_split(there.get(name)) for name, part in self.parts.items()}
            )
        same = known.split_bytes if known is not None and known.kind == self.kind else None
        return dataclasses.replace(self, split_bytes=self.split_bytes or same or SPLIT_BYTES)

    def located(self, pins: Pins | None = None) -> PoolFiles:
        """The pool's files: where they are, how they are read. Nothing is listed; a revision on the Hub is `pinned`.

        Raises:
            PlanError: when the URLs share no folder or bucket, and as `pinned`.
        """
        pool = self.pinned(pins)
        return pool._located_union() if pool.kind == UNION else pool._located("")

    def _located_union(self) -> UnionFiles:
        parts = {name: part._located(f"{name}/") for name, part in self.parts.items()}
        return UnionFiles(
            format=UNION,
            root=root_text(parts),
            patterns=tuple(pattern for part in parts.values() for pattern in part.patterns),
            roles={role: role for role in self.roles},
            storage_options=self.options,
            sample=None if self.fraction is None else Sample(self.fraction, self.seed),
            parts=parts,
        )

    def _located(self, prefix: str) -> PoolFiles:
        patterns = tuple(fs.absolute(url) for url in self.urls)
        return PoolFiles(
            prefix=prefix,
            format=self.kind,
            root=hub.root_of(patterns) or common_root(patterns),
            patterns=patterns,
            roles=dict(self.roles),
            allow_gaps=self.allow_gaps,
            split_bytes=self.split_bytes or UNSAID_SPLIT_BYTES,
            max_document_bytes=self.max_document_bytes,
            storage_options=dict(self.storage_options),
            sample=None if self.fraction is None else Sample(self.fraction, self.seed),
        )


def _check_parts(pool: Pool) -> None:
    if pool.urls or pool.storage_options:
        raise PlanError("a union has no files of its own: give URLs and storage options to its parts")
    if not pool.parts:
        raise PlanError("Pool.union() needs pools, as Pool.union(docvqa=Pool.parquet(...), chartqa=Pool.jsonl(...))")
    for name, part in pool.parts.items():
        if not isinstance(name, str) or not _PART_NAME.fullmatch(name):
            raise PlanError(
                f"Pool.union({short(name)}=...): a name has letters, digits, _, - and ., {_NAME_CHARS} at most"
            )
        if not isinstance(part, Pool):
            raise PlanError(f"Pool.union({name}={short(part)}): give a pool, as Pool.parquet('data/*.parquet')")
        _check_part(name, part)


def _check_part(name: str, part: Pool) -> None:
    if part.kind == UNION:
        raise PlanError(f"Pool.union({name}=...) is a union itself: give its parts one by one")
    if part.kind in FORMATS and FORMATS[part.kind].row_role:
        raise PlanError(
            f"Pool.union({name}=...): {FORMATS[part.kind].title} can't be part of a union: give them to one pool, as "
            "Pool.tokens('a/*.npy', 'b/*.npy')"
        )
    if part.fraction is not None:
        raise PlanError(
            f"Pool.union({name}=...) is a sample: take the sample of the union, Pool.union(...).sample(...)"
        )
    if PART in part.roles:
        raise PlanError(f"Pool.union({name}=...) has a role {PART!r}, which names the part here: call it otherwise")


def _roles_of(parts: Mapping[str, Pool]) -> dict[str, str]:
    """What the rows of a union have; each role's source is the parts' name of it."""
    return {role: role for role in sorted({PART, *(role for part in parts.values() for role in part.roles)})}


def _check_url(kind: str, url: Any) -> None:
    if isinstance(url, (list, tuple)):
        raise PlanError(f"Pool.{kind}({short(url)}): give several URLs one by one, as Pool.{kind}('a', 'b') or *urls")
    if not isinstance(url, str) or not url:
        raise PlanError(f"Pool.{kind}({short(url)}): expected a path or URL, like 'data/*.{kind}'")


def _given(roles: Mapping[str, str | None]) -> dict[str, str]:
    return {role: source for role, source in roles.items() if source is not None}


@dataclass(frozen=True, eq=False)
class Recipe(Config):
    """A pool and the stages that its rows go through, in order."""

    pool: Pool
    stages: tuple[Stage, ...] = ()

    def __or__(self, stage: Stage) -> Recipe:
        if not isinstance(stage, Stage):
            raise not_a_stage("can't add", stage)
        return Recipe(self.pool, self.stages + stage.flat())

    def to_dict(self) -> JsonObject:
        """`{"pool": ..., "stages": [...]}` in plain JSON values."""
        return {"pool": self.pool.to_dict(), "stages": [stage.to_dict() for stage in self.stages]}

    def __str__(self) -> str:
        part = f"{self.pool.fraction} of the rows of the " if self.pool.fraction else ""
        lines = [f"{part}{_said(self.pool)}"]
        for stage in self.stages:
            lines.append(f"  | {describe(stage)}")
        return "\n".join(lines)


def _said(pool: Pool) -> str:
    if pool.kind == UNION:
        return "union of " + "; ".join(f"{name}: {_said(part)}" for name, part in pool.parts.items())
    return f"{pool.kind} pool {', '.join(pool.urls)}"
