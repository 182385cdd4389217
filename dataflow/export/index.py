"""What an export says of itself: `_export.json`, and the notes that it keeps while it is unfinished."""

from __future__ import annotations

import json
from typing import Any, Protocol, Self, TypeVar

import msgspec

from poolsieve.dataflow import fs
from poolsieve.dataflow.tokenizers.record import TokenizerRecord
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError

INDICES, MEGATRON = "indices", "megatron"
KINDS = (INDICES, MEGATRON)
"""Kinds of export that are no formats of pools; see `export.indices` and `export.megatron`."""

INDEX = "_export.json"
"""The index's name. pyarrow takes every file of a folder for data unless its name begins with `_` or `.`."""


class InputRecord(msgspec.Struct, kw_only=True, frozen=True):
    """A shard that gave rows to a file; see `Shard`."""

    path: str
    first: int
    extent: int | None
    start: int
    size: int
    tag: str
    rows: int


class FileRecord(msgspec.Struct, kw_only=True, frozen=True):
    """A file that is whole.

    Attributes:
        name: below the target.
        bytes, sha256: of the file.
        inputs: where its rows come from, in this order.
        rows, unreadable, renamed, empty: see `Written`.
        blank: documents without a token, left out; unset where no tokens are made.
        tokens: ids in the file, ends of documents counted; unset where it has none.
    """

    @property
    def named(self) -> list[str]:
        """See `Noted`."""
        return [self.name]

    name: str
    bytes: int
    sha256: str
    inputs: tuple[InputRecord, ...]
    rows: int
    unreadable: int
    renamed: int
    empty: dict[str, int]
    blank: int | msgspec.UnsetType = msgspec.UNSET
    tokens: int | msgspec.UnsetType = msgspec.UNSET


class IdsRecord(msgspec.Struct, kw_only=True, frozen=True):
    """How rows became ids.

    Attributes:
        dtype: of an id, as it stands in the files.
        text: source of the texts; None where rows were ids already.
        tokenizer: that made them; None likewise.
    """

    dtype: str
    text: str | None
    tokenizer: TokenizerRecord | None

    @property
    def settings(self) -> JsonObject:
        """What makes an id what it is, whatever the tokenizer's files are called."""
        made = self.tokenizer
        same = {} if made is None else {"tokenizer": made.sha256, "eos": made.eos_id}
        return {"dtype": self.dtype, "text": self.text, **same}


class ListRecord(msgspec.Struct, kw_only=True, frozen=True):
    """A list of uids: the hash of its file, and its entries."""

    sha256: str
    entries: int


class ColumnRecord(msgspec.Struct, kw_only=True, frozen=True):
    """A column of edited texts: its role, and the editors that it comes through, the last first."""

    role: str
    editors: tuple[JsonObject, ...]


class About(msgspec.Struct, kw_only=True, frozen=True):
    """What tells one export from another: the same, the same files.

    Attributes:
        decision: whose rows leave.
        pool: `PoolRecord.id`.
        format: name of the format that is written.
        select: glob over reasons; None for kept rows.
        uids: the list whose rows leave instead; None for none.
        scores: names of the scores that go along.
        target_bytes: files close at the first shard boundary past this size.
        columns: edited texts.
        roles: whether the rows of a union became one table of the roles of its parts.
        ids: how rows became ids, where the files are made of those.
    """

    decision: str
    pool: str
    format: str
    select: str | None
    uids: ListRecord | None
    scores: tuple[str, ...]
    target_bytes: int
    columns: dict[str, ColumnRecord] | msgspec.UnsetType = msgspec.UNSET
    roles: bool | msgspec.UnsetType = msgspec.UNSET
    ids: IdsRecord | msgspec.UnsetType = msgspec.UNSET

    def to_json(self) -> JsonObject:
        """As JSON values."""
        plain: JsonObject = msgspec.to_builtins(self)
        return plain

    def with_columns(self, columns: dict[str, ColumnRecord]) -> Self:
        """The same with edited texts."""
        return msgspec.structs.replace(self, columns=columns)


class ExportIndex(About, kw_only=True, frozen=True):
    """`_export.json`: its presence means that the export is whole.

    Attributes:
        export: id of the export, a hash of what `About` says.
        out, target: the run's folder and the export's.
        rows, bytes: of all files.
        unreadable: rows that were asked for, but can't be read.
        renamed: samples that got another key.
        missing: different entries of the list that the pool has not.
        warnings: for people.
        files: in order.
        also: further files that were written.
        left_out: columns that the format can't hold.
        versions: of what the files may depend on.
    """

    export: str
    out: str
    target: str
    rows: int
    bytes: int
    unreadable: int
    renamed: int
    missing: int
    warnings: tuple[str, ...]
    files: tuple[FileRecord, ...]
    also: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    versions: dict[str, str]

    @property
    def id(self) -> str:
        """See `Whole`."""
        return self.export

    @property
    def tokens(self) -> int:
        """Ids in all files, where they are made of ids; else 0."""
        return sum(record.tokens or 0 for record in self.files)

    @property
    def names(self) -> list[str]:
        """Every file that was written, the index left out."""
        return [*(record.name for record in self.files), *self.also]

    @property
    def named(self) -> list[str]:
        """See `Noted`."""
        return [self.export, *self.names]


class PlanNote(msgspec.Struct, kw_only=True, frozen=True):
    """`plan.json` of unfinished work: the files that it will write."""

    files: tuple[str, ...]

    @property
    def named(self) -> list[str]:
        """See `Noted`."""
        return list(self.files)


class Noted(Protocol):
    """What is kept as a small JSON file in a folder that files are written to."""

    @property
    def named(self) -> list[str]:
        """Names that it has of files in the folder: what they name may be removed."""
        ...


class Whole(Protocol):
    """An index: its presence means that all files in the folder are whole."""

    @property
    def id(self) -> str:
        """Tells one set of files from another."""
        ...

    @property
    def names(self) -> list[str]:
        """Every file that was written, the index left out."""
        ...


Record = TypeVar("Record", bound=Noted)


def read_record(url: str, kind: type[Record]) -> Record | None:
    """A small JSON file; None if there is none.

    Raises:
        PlanError: if it is something else.
    """
    try:
        found: Any = json.loads(fs.read_bytes(url))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise PlanError(f"{url} is damaged ({error}): remove it, and run again with --replace") from error
    try:
        made = msgspec.convert(found, kind)
        _check_names(made)
        return made
    except msgspec.ValidationError as error:
        raise PlanError(
            f"{url} is not one of poolsieve's, or of another version ({error}): remove it, or write to another folder "
            "with --to"
        ) from error


def _check_names(record: Noted) -> None:
    """Refuses names that lead out of the folder: what they name may be removed."""
    for name in record.named:
        if "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
            raise msgspec.ValidationError(f"{name!r} is no name of a file in the folder")


def read_index(folder: str) -> ExportIndex | None:
    """The index of an export; None where there is no whole one.

    Raises:
        PlanError: if something else is in its place.
    """
    return read_record(fs.join(folder, INDEX), ExportIndex)
