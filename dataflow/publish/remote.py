"""What the Hub has at one commit, and what must change there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from poolsieve.dataflow import fs
from poolsieve.dataflow.publish.contents import HubFile, Item
from poolsieve.dataflow.publish.record import CARD, OF_THE_HUB, RECORD, PublishedFile, Record


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file of a repository: its size, its hash as git has it, and its SHA-256 where it is one of LFS or Xet."""

    size: int
    blob: str
    sha256: str | None = None

    def has(self, item: Item) -> bool:
        """Whether its contents are those of `item`."""
        if self.size != item.size:
            return False
        return self.sha256 == item.sha256 if self.sha256 is not None else self.blob == git_blob(item)

    def may_be(self, known: PublishedFile) -> bool:
        """Whether it can be the file on record: of a regular file, the Hub says no SHA-256."""
        return self.size == known.bytes and self.sha256 in (None, known.sha256)


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A repository at one commit.

    Attributes:
        head: the commit.
        files: path -> file.
        record: what poolsieve wrote of an earlier version; None where there is none.
        card: its card's text; None where there is none.
        damage: why what stands in the record's place is none.
    """

    head: str
    files: Mapping[str, RemoteFile] = field(default_factory=dict)
    record: Record | None = None
    card: str | None = None
    damage: str | None = None

    def strangers(self, items: Sequence[Item]) -> list[str]:
        """Paths of files that are neither ours nor what is published now, sorted."""
        known = {file.path: file for file in (self.record.files if self.record else ())}
        now = {item.path: item for item in items}
        found = []
        for path, file in sorted(self.files.items()):
            ours = path in known and file.may_be(known[path])
            if path not in (CARD, RECORD, *OF_THE_HUB) and not ours and not (path in now and file.has(now[path])):
                found.append(path)
        return found


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What makes a repository hold just `items`.

    Attributes:
        add: files that the Hub has nowhere near.
        copy: files whose bytes it has: in this repository, or in the pool's.
        delete: paths of what goes.
        same: files that are there.
    """

    add: tuple[Item, ...]
    copy: tuple[tuple[Item, HubFile], ...]
    delete: tuple[str, ...]
    same: tuple[Item, ...]

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.add or self.copy or self.delete)

    def __len__(self) -> int:
        """Operations of a commit."""
        return len(self.add) + len(self.copy) + len(self.delete)


def changes(repo: str, remote: Remote, items: Sequence[Item], *, copies: bool = True) -> Changes:
    """The difference between a repository and what it should hold.

    Args:
        repo: its name.
        remote: what it holds.
        items: what it should hold, and nothing else.
        copies: whether files of other repositories may be copied.
    """
    # Of two paths with the same bytes, the first by name, so that a plan is the same each time.
    by_hash = {file.sha256: path for path, file in sorted(remote.files.items(), reverse=True) if file.sha256}
    add, copy, same = [], [], []
    for item in items:
        there = remote.files.get(item.path)
        inside = by_hash.get(item.sha256)
        if there is not None and there.has(item):
            same.append(item)
        elif inside is not None:
            copy.append((item, HubFile(repo=repo, commit=remote.head, path=inside)))
        elif item.copy_of is not None and copies:
            copy.append((item, item.copy_of))
        else:
            add.append(item)
    wanted = {item.path for item in items} | OF_THE_HUB
    delete = tuple(path for path in sorted(remote.files) if path not in wanted)
    return Changes(add=tuple(add), copy=tuple(copy), delete=delete, same=tuple(same))


def git_blob(item: Item) -> str:
    """The hash by which git knows a file's contents: SHA-1 of `blob <size>`, a zero byte and the contents."""
    data = item.source if isinstance(item.source, bytes) else fs.read_bytes(item.source)
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
