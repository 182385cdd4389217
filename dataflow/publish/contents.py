"""What a published dataset holds, before anybody looks at the Hub: its files, and the tables that they make."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from poolsieve.dataflow.export.index import ExportIndex
from poolsieve.dataflow.store.out import OutFolder

SPLIT = "train"
"""The one split of what is published: an export's files are called so."""


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file of a dataset on the Hub, at a commit: `path` in the repository `repo`."""

    repo: str
    commit: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Item:
    """One file of the published dataset.

    Attributes:
        path: in the repository.
        size, sha256: of its contents; bytes, and hexadecimal digits.
        source: the URL or path that it is read from, or its contents.
        rows: that it holds; None where it holds none.
        copy_of: the file of the pool, on the Hub, whose bytes it has: nothing needs to be sent.
    """

    path: str
    size: int
    sha256: str
    source: str | bytes = field(repr=False)
    rows: int | None = None
    copy_of: HubFile | None = None

    @classmethod
    def of(cls, path: str, data: bytes) -> Item:
        """A small file that is made for the repository."""
        return cls(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest(), source=data)


@dataclass(frozen=True, kw_only=True)
class Table:
    """What `load_dataset(repo, name)` gives: files of one schema, in one folder.

    Attributes:
        name: of the configuration: `default`, `data-2`, `scores`.
        pattern: of its files' paths, as a card's `configs` has it: `data/train-*`.
        format: name of their format, a key of `FORMATS`.
        schema: of Parquet by the footers, of others as `datasets` finds it (`inferred`); None where it finds none.
        items: the files, in order.
        memory: bytes of the rows once they are read, as near as footers say; None where nothing says it.
    """

    name: str
    pattern: str
    format: str
    schema: pa.Schema | None
    items: tuple[Item, ...]
    memory: int | None = None

    @property
    def rows(self) -> int:
        """Of all files."""
        return sum(item.rows or 0 for item in self.items)

    @property
    def nbytes(self) -> int:
        """Of all files."""
        return sum(item.size for item in self.items)


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A dataset of the Hub that the pool's files are of.

    Attributes:
        repo: its name.
        commit: that the pool was read at.
        license: as its card says it; None where it says none.
    """

    repo: str
    commit: str
    license: str | None = None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a card and Croissant speak of. The same subject gives the same bytes: no clock is asked.

    Attributes:
        repo: the dataset's name, `org/name`.
        url: of its page.
        license: as the Hub spells it.
        run: the run in OUT.
        index: the export.
        tables: what can be loaded; none where no loader of `datasets` reads the files.
        others: further files: manifest, subset, an export's side files.
        revision: the branch that it is published on.
        parents: where the pool is from, as far as that is the Hub.
        started, ended: of the run, UTC, whole seconds; None where the storage does not say.
        published: the day on which these data were first published.
        pictures: path in the repository -> what it shows, in words.
    """

    repo: str
    url: str
    license: str
    run: OutFolder
    index: ExportIndex
    tables: tuple[Table, ...]
    others: tuple[Item, ...] = ()
    revision: str = "main"
    parents: tuple[Parent, ...] = ()
    started: datetime.datetime | None = None
    ended: datetime.datetime | None = None
    published: datetime.date
    pictures: Mapping[str, str] = field(default_factory=dict)
