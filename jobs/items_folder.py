"""The folder of items that `poolsieve items` writes: its index, its notes, and who owns it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from poolsieve.dataflow import fs
from poolsieve.dataflow.export.index import INDEX as EXPORT_INDEX
from poolsieve.dataflow.export.index import read_record
from poolsieve.dataflow.export.target import Target
from poolsieve.dataflow.store.summary import dumps
from poolsieve.dataflow.tokenize.index import INDEX as TOKENS_INDEX
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError

INDEX = "_items.json"
LEFT_OUT = "_left_out"
"""Below the folder: a list of the rows left out of each file. Readers of data pass over names with `_`."""


class Left(msgspec.Struct, kw_only=True, frozen=True):
    """A row that is no item: a line of `_left_out/<file>.jsonl`."""

    path: str
    row: int
    uid: str
    reason: str
    message: str


class ItemsFile(msgspec.Struct, kw_only=True, frozen=True):
    """A file that is whole.

    Attributes:
        name, bytes, sha256: of the file.
        path: of the pool's file that it is made of.
        rows: of the pool: rows = those that items are made of + those left out.
        items: of the file.
        unchanged: rows that were open questions already, where items are rewritten.
        left_out: reason -> rows.
        beside: the list of the rows left out; empty where all are items.
        beside_bytes: its size.
    """

    name: str
    bytes: int
    sha256: str
    path: str
    rows: int
    items: int
    unchanged: int
    left_out: dict[str, int]
    beside: str = ""
    beside_bytes: int = 0

    @property
    def named(self) -> list[str]:
        """See `Noted`."""
        return [name for name in (self.name, self.beside) if name]


class ItemsIndex(msgspec.Struct, kw_only=True, frozen=True):
    """`_items.json`: its presence means that the folder is whole.

    Attributes:
        id: hash of what it is made of, and how.
        layout: a name of `items_layout.HOWS`.
        pool: as `Pool.to_dict` has it.
        pool_id: hash of its listing.
        rows, items, unchanged, left_out: of all files.
        warnings: for people.
        files: in pool order.
        versions: of what the files may depend on.
    """

    id: str
    layout: str
    pool: JsonObject
    pool_id: str
    rows: int
    items: int
    unchanged: int
    left_out: dict[str, int]
    warnings: tuple[str, ...]
    files: tuple[ItemsFile, ...]
    versions: dict[str, str]

    @property
    def names(self) -> list[str]:
        """Every file that was written, the index left out."""
        return [name for file in self.files for name in file.named]

    @property
    def named(self) -> list[str]:
        """See `Noted`."""
        return [self.id, *self.names]


@dataclass(frozen=True)
class ItemsTarget(Target):
    """One command's claim to a folder of items."""

    maker: ClassVar[str] = "items"
    index_name: ClassVar[str] = INDEX

    def index(self) -> ItemsIndex | None:
        """What is whole here, this one's or another's."""
        return read_record(self.path(INDEX), ItemsIndex)

    def said(self, index: Any) -> str:
        """What is whole here, in words."""
        return f"{index.items:,} items ({index.layout})"

    def check(self, replace: bool) -> None:
        """Whether these items may be written here.

        Raises:
            PlanError: if something else is here.
        """
        for name in (EXPORT_INDEX, TOKENS_INDEX):
            if fs.exists(self.path(name)):
                raise PlanError(
                    f"{self.url} holds what another command wrote ({name}): write to another folder with --to"
                )
        super().check(replace)

    def records(self, names: Iterable[str]) -> dict[str, ItemsFile]:
        """Name -> record of the files that are whole."""
        index = self.index()
        known = {one.name: one for one in (index.files if index is not None and index.id == self.id else ())}
        for name in fs.names(self.work()):
            record = read_record(self.work(name), ItemsFile) if name != "plan.json" else None
            if record is not None:
                known[record.name] = record
        found = {name: known[name] for name in names if name in known}
        return {name: one for name, one in found.items() if self.has(name, one.bytes) and self._has_list(one)}

    def _has_list(self, record: ItemsFile) -> bool:
        return not record.beside or self.has(record.beside, record.beside_bytes)

    def note(self, record: ItemsFile) -> None:
        """Notes that a file is whole."""
        fs.write_bytes(self.work(f"{record.name.replace('/', '_')}.json"), dumps(record))
