"""Repositories of a Hub in memory: commits, branches, pull requests, and one store of large objects for all of them."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

ATTRIBUTES = b"*.parquet filter=lfs diff=lfs merge=lfs -text\n*.png filter=lfs diff=lfs merge=lfs -text\n"
LARGE = (".parquet", ".tar", ".png", ".zst", ".gz", ".bin", ".idx", ".npy", ".arrow")
LARGE_BYTES = 10 << 20


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def is_large(path: str, size: int) -> bool:
    return size > LARGE_BYTES or path.endswith(LARGE)


class Refused(Exception):
    """An answer that is none of the good ones."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(status, code, message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True)
class Entry:
    """A file at a commit: contents, whether it is one of LFS, and its hash where it is one of Xet."""

    data: bytes
    lfs: bool
    xet: str | None = None

    def info(self, path: str) -> dict[str, object]:
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n"
        if not self.lfs:
            return {"type": "file", "path": path, "size": len(self.data), "oid": git_hash(self.data)}
        oid = sha256(self.data)
        text = pointer % (oid.encode(), len(self.data))
        lfs = {"oid": oid, "size": len(self.data), "pointerSize": len(text)}
        # The Hub keeps all of LFS in Xet by now, and its client copies nothing that has no such hash.
        large = {"lfs": lfs, "xetHash": self.xet or oid}
        return {"type": "file", "path": path, "size": len(self.data), "oid": git_hash(text), **large}


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    title: str
    description: str
    files: Mapping[str, Entry]

    @property
    def contents(self) -> dict[str, bytes]:
        return {path: entry.data for path, entry in self.files.items()}


@dataclass
class Pull:
    number: int
    title: str
    author: str
    description: str = ""
    status: str = "draft"
    merged: str | None = None

    @property
    def ref(self) -> str:
        return f"refs/pr/{self.number}"


_serial = itertools.count(1)


@dataclass
class Repo:
    """One repository; `files(rev)` and `head(rev)` are for tests."""

    name: str
    private: bool = False
    gated: bool = False
    by_oid: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pulls: dict[int, Pull] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def head(self, rev: str = "main") -> str:
        oid = self.refs.get(rev) or self.tags.get(rev, rev)
        if oid not in self.by_oid:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {rev}")
        return oid

    def at(self, rev: str = "main") -> Commit:
        return self.by_oid[self.head(rev)]

    def files(self, rev: str = "main") -> dict[str, bytes]:
        return self.at(rev).contents

    def commits(self, rev: str = "main") -> list[Commit]:
        """From the newest to the first."""
        found: list[Commit] = []
        oid: str | None = self.head(rev)
        while oid is not None:
            found.append(self.by_oid[oid])
            oid = found[-1].parent
        return found

    def put(self, files: Mapping[str, Entry], title: str, rev: str = "main", description: str = "") -> Commit:
        """One more commit on a branch, of just these files."""
        parent = self.refs.get(rev)
        oid = hashlib.sha1(f"{self.name} {next(_serial)}".encode()).hexdigest()
        made = Commit(oid, parent, title, description, dict(files))
        self.by_oid[oid] = made
        self.refs[rev] = oid
        return made

    def change(self, changed: Mapping[str, bytes | None], title: str = "by somebody", rev: str = "main") -> Commit:
        """A commit of somebody else: path -> contents, None for a file that goes."""
        files = dict(self.at(rev).files)
        for path, data in changed.items():
            files.pop(path, None)
            if data is not None:
                files[path] = Entry(data, is_large(path, len(data)))
        return self.put(files, title, rev)

    def open_pull(self, title: str, author: str, description: str) -> Pull:
        number = len(self.pulls) + 1
        self.pulls[number] = pull = Pull(number, title, author, description)
        self.refs[pull.ref] = self.head()
        return pull

    def merge(self, pull: Pull) -> None:
        """Squashes the pull request's changes onto main; what both sides changed is a conflict."""
        base = self.by_oid[self._fork(pull)].files
        theirs, ours = self.at(pull.ref).files, self.at().files
        files = dict(ours)
        for path in {*base, *theirs}:
            if theirs.get(path) == base.get(path):
                continue
            if ours.get(path) not in (base.get(path), theirs.get(path)):
                raise Refused(409, "", f"conflict in {path}")
            files.pop(path, None)
            if path in theirs:
                files[path] = theirs[path]
        pull.merged = self.put(files, f"{pull.title} (#{pull.number})").oid
        pull.status = "merged"

    def _fork(self, pull: Pull) -> str:
        mains = {commit.oid for commit in self.commits()}
        return next(commit.oid for commit in self.commits(pull.ref) if commit.oid in mains)
