"""A union: pools one after the other as one pool, each with its own files, format and mapping of roles.

A shard of a union is one of a part's, and its path begins with the part's name. So its name in OUT and the uids that
are derived from it are those of no other part, and errors say which part a file belongs to. How a part reads its roles
stands in no fingerprint but beside each shard (`PoolFiles.readings`): a part more, or one that is read in another way,
costs no other part its scores.

Rows have the roles that some part declares, null where their own part does not, and `pool`, the name of the part.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

import pyarrow as pa

from poolsieve.dataflow.pools.casts import storage
from poolsieve.dataflow.pools.files import KnownSplits, PoolFiles
from poolsieve.dataflow.pools.formats import FORMATS
from poolsieve.dataflow.pools.formats.base import UID, Ints, Location, NoneReadable, Want, batch_of
from poolsieve.dataflow.pools.formats.format import Format
from poolsieve.dataflow.pools.formats.outgoing import Look
from poolsieve.dataflow.pools.listing import Listing
from poolsieve.dataflow.pools.packed import Shards, check_names
from poolsieve.dataflow.pools.shards import Batch, Shard
from poolsieve.scoring_models.base.arrow import nulls
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError, unknown_name

UNION = "union"
"""The kind of such a pool."""

PART = "pool"
"""The role that names a row's part."""

Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class UnionFiles(PoolFiles):
    """A union that has been located.

    Attributes:
        parts: name -> its files, whose `prefix` is the name with a slash.
        roles: role -> the name that the parts have for it: nearly always the same.
    """

    parts: Mapping[str, PoolFiles] = field(default_factory=dict)

    @property
    def own(self) -> Format:
        """What is read of a union; nothing is written as one."""
        return _UNION

    @property
    def copied(self) -> Format:
        """The format that all parts have.

        Raises:
            PlanError: if they have several.
        """
        formats = {name: part.format for name, part in self.parts.items()}
        if len(set(formats.values())) > 1:
            there = ", ".join(f"{name} is {format}" for name, format in formats.items())
            raise PlanError(
                f"the pool's parts are of several formats ({there}), so there is no one format to copy them to: add "
                "--format parquet, for one table of the roles of all parts"
            )
        return FORMATS[next(iter(formats.values()))]

    @property
    def places(self) -> Sequence[PoolFiles]:
        """The parts."""
        return tuple(self.parts.values())

    def part(self, shard: Shard) -> PoolFiles:
        """The part that a shard belongs to.

        Raises:
            PoolsieveError: if there is none of that name.
        """
        found = self.parts.get(shard.path.partition("/")[0])
        if found is None:
            raise PoolsieveError(f"{shard.path} is of none of the pool's parts, {', '.join(self.parts)}")
        return found

    @property
    def marks(self) -> tuple[str, ...]:
        """With how each part is read, which no fingerprint says."""
        return (*super().marks, *(f"{name}={mark}" for name, mark in self.readings(sorted(self.roles)).items()))

    def readings(self, roles: Iterable[str]) -> Mapping[str, str]:
        """Part -> hash of its format and of how it reads these roles."""
        inner = sorted({self.roles[role] for role in roles if role in self.roles} | {UID})
        return {
            name: digest([part.format, part.sources([role for role in inner if role == UID or role in part.roles])])
            for name, part in self.parts.items()
        }

    def common_sources(self, roles: Sequence[str]) -> dict[str, str]:
        """`union:text`."""
        return self._each(roles, lambda inner: f"{UNION}:{inner}")

    def sources(self, roles: Sequence[str]) -> dict[str, str]:
        """The sources of each role in all parts that have it: `a=column:text b=field:body`."""
        return self._each(roles, lambda inner: " ".join(self._sources(inner)))

    def _sources(self, inner: str) -> Iterator[str]:
        for name, part in self.parts.items():
            if inner == UID or inner in part.roles:
                yield f"{name}={part.sources([inner])[inner]}"

    def _each(self, roles: Sequence[str], text: Callable[[str], str]) -> dict[str, str]:
        return {role: text(self.inner(role)) for role in roles}

    def inner(self, role: str) -> str:
        """What the parts call a role.

        Raises:
            PlanError: if none of them declares it.
        """
        found = UID if role == UID else self.roles.get(role, role)
        if found not in (UID, PART) and not any(found in part.roles for part in self.parts.values()):
            known = dict.fromkeys([*(name for part in self.parts.values() for name in part.roles), PART])
            hint = f"Declare it in a part: Pool.parquet(..., {role}='column')"
            raise unknown_name(f"no part of the pool has a role {role!r}", role, known, hint)
        return found

    def listing(self, known: KnownSplits | None = None) -> Listing:
        """The files of all parts; see `PoolFiles.listing`."""
        found = [_of_part(name, functools.partial(part.listing, known)) for name, part in self.parts.items()]
        shards = Shards.joined(one.shards for one in found).in_order()
        check_names(shards)
        gaps, unsplit = (tuple(x for one in found for x in getattr(one, name)) for name in ("gaps", "unsplit"))
        return Listing(shards, gaps, unsplit)

    def look_ahead(self) -> list[Shard]:
        """A few files of each part; none where one has to be listed."""
        found = [part.look_ahead() for part in self.parts.values()]
        return [shard for some in found for shard in some] if all(found) else []

    def two_schemas(self, shards: Sequence[Shard]) -> tuple[str, str] | None:
        """The same, where the parts have one format."""
        if len({part.format for part in self.parts.values()}) > 1:
            return None
        return self._two_schemas(self.copied.copier, shards)

    def connect(self, shard: Shard) -> tuple[Any, str]:
        """By the part."""
        return self.part(shard).connect(shard)

    def url(self, shard: Shard) -> str:
        """By the part."""
        return self.part(shard).url(shard)


def _of_part(name: str, look: Callable[[], Found]) -> Found:
    try:
        return look()
    except NoneReadable as error:
        raise NoneReadable(f"part {name!r} of the pool: {error}") from error
    except PlanError as error:
        raise PlanError(f"part {name!r} of the pool: {error}") from error


def root_text(parts: Mapping[str, PoolFiles]) -> str:
    """Where a union is, for people."""
    return ", ".join(f"{name}: {part.root}" for name, part in parts.items())


class UnionReader:
    """Reads each shard as its part does, and adds what the part has not."""

    has_columns = False
    typed_by_rows = False
    unsplit = "can't be split"

    def split_reads(self, path: str) -> bool:
        """Parts are split by their own readers."""
        return False

    def source(self, role: str, source: str) -> str:
        """The parts' name of the role."""
        return source

    def split(self, files: Location, shard: Shard) -> list[Shard]:
        """As its part has it: parts split their own files when they are listed."""
        return [shard]

    def columns(self, files: Location, shards: Sequence[Shard]) -> dict[str, pa.DataType]:
        """None: what parts have in common has to be said by roles."""
        return {}

    def fields(self, files: Location, shards: Sequence[Shard], rows: Ints | None) -> pa.Schema:
        """The uid, and the roles of all parts in the order of their names; `image` is marked as one."""
        types = self.role_types(files, shards, ())
        own = {role: kind for role, kind in sorted(types.items()) if role != UID}
        return pa.schema([pa.field(UID, pa.string()), *(_field(role, kind) for role, kind in own.items())])

    def role_types(self, files: Location, shards: Sequence[Shard], extra: Sequence[str]) -> dict[str, pa.DataType]:
        """One type for each role, which every part's values can be.

        Raises:
            PlanError: naming the parts whose types don't go together.
        """
        union = _union(files)
        asked = {role: union.inner(role) for role in dict.fromkeys([*union.roles, *extra])}
        by_part = _types_of_parts(union, shards)
        types = {}
        for role, inner in asked.items():
            found = {name: types[inner] for name, types in by_part.items() if inner in types}
            types[role] = pa.string() if inner in (UID, PART) else _one_type(role, found)
        return types

    def needed_bytes(self, files: Location, shard: Shard, roles: Sequence[str]) -> int:
        """What the part needs."""
        part, inner = _of_shard(_union(files), shard, roles)
        return part.reader.needed_bytes(part, shard, tuple(inner))

    def batches(
        self, files: Location, shard: Shard, roles: Sequence[str], types: Mapping[str, pa.DataType], want: Want | None
    ) -> Iterator[Batch]:
        """The part's batches, with null in the roles that it has not."""
        union = _union(files)
        part, inner = _of_shard(union, shard, roles)
        made = {role: types[role] for role in inner if role != UID}
        for batch in part.reader.batches(part, shard, tuple(inner), made, want):
            yield dataclasses.replace(batch, roles=_filled(union, batch, shard, roles, types))


def _union(files: Location) -> UnionFiles:
    assert isinstance(files, UnionFiles)
    return files


def _types_of_parts(union: UnionFiles, shards: Sequence[Shard]) -> dict[str, dict[str, pa.DataType]]:
    by_part: dict[str, list[Shard]] = {name: [] for name in union.parts}
    for shard in shards:
        by_part.setdefault(shard.path.partition("/")[0], []).append(shard)
    wanted, made = {*union.roles.values()}, {}
    for name, part in union.parts.items():
        asked = dataclasses.replace(part, roles={role: one for role, one in part.roles.items() if role in wanted})
        made[name] = _of_part(name, lambda asked=asked, some=by_part[name]: asked.role_types(some))  # type: ignore[misc]
    return made


def _one_type(role: str, found: Mapping[str, pa.DataType]) -> pa.DataType:
    """The type that holds what all parts have: the wider number, where they differ in that alone."""
    kinds = dict.fromkeys(kind for kind in found.values() if not pa.types.is_null(kind))
    if len(kinds) <= 1:
        return next(iter(kinds), pa.string())
    if all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in kinds):
        schemas = [pa.schema([(role, kind)]) for kind in kinds]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    there = ", ".join(f"{kind} in {name}" for name, kind in found.items())
    raise PlanError(
        f"role {role!r} has types in the pool's parts that don't go together ({there}): name another source for it in "
        "one of them, or give it another name there"
    )


def _of_shard(union: UnionFiles, shard: Shard, roles: Sequence[str]) -> tuple[PoolFiles, list[str]]:
    """The shard's part, reading by the union's names of roles; and those of `roles` that it has."""
    part = union.part(shard)
    has = {role: part.roles[union.inner(role)] for role in roles if union.inner(role) in part.roles}
    label = {UID: part.roles[UID]} if UID in part.roles else {}
    asked = [role for role in roles if role in has or role == UID]
    return dataclasses.replace(part, roles={**has, **label}), asked


def _filled(
    union: UnionFiles, batch: Batch, shard: Shard, roles: Sequence[str], types: Mapping[str, pa.DataType]
) -> pa.RecordBatch:
    n, own = batch.num_rows, dict(zip(batch.roles.schema.names, batch.roles.columns, strict=True))
    name = shard.path.partition("/")[0]
    for role in roles:
        if role != UID and union.inner(role) == PART:
            own[role] = pa.array([name], pa.string()).take(pa.array([0] * n, pa.int64()))
        elif role not in own:
            own[role] = nulls(n, storage(types[role]))
    return batch_of(roles, types, [own[role] for role in roles], n)


def _field(role: str, kind: pa.DataType) -> pa.Field:
    return pa.field(role, kind, metadata={"role": "image"} if role == "image" and kind == pa.binary() else None)


class _NoCopier:
    """Rows of a union are copied by the copier of the format that its parts have."""

    takes_edits = takes_scores = needs_lines = copies_unread = False

    def schema(self, *_: Any) -> str:
        """Never asked for."""
        self.copy()

    def look(self, *_: Any) -> Look:
        """Never asked for."""
        self.copy()

    def copy(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        raise PlanError("a union is copied in the format of its parts")


_UNION = Format(
    name=UNION,
    title="a union of pools",
    endings=(),
    ending="",
    target_bytes=1 << 30,
    reader=UnionReader(),
    copier=_NoCopier(),
    not_built="a union is made by Pool.union, not written",
)

KINDS: Mapping[str, Format] = {**FORMATS, UNION: _UNION}
"""Kinds of pools: the formats, and a union of some."""
