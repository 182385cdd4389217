"""What storage says of files and folders, without opening them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import fsspec

from poolsieve.dataflow.fs.places import TEMPORARY, connect, is_local
from poolsieve.dataflow.retries import retrying


class Stat(NamedTuple):
    """Size in bytes and the storage's word for a file's contents: an ETag or checksum, else mtime."""

    size: int
    tag: str


@retrying
def stat(system: fsspec.AbstractFileSystem, path: str) -> Stat:
    """Size and contents tag of a file.

    Raises:
        FileNotFoundError: when there is none.
    """
    return stat_of(system.info(path))


@retrying
def info(system: fsspec.AbstractFileSystem, path: str) -> dict[str, Any]:
    """What the storage says of a file or folder: `name`, `size`, `type`, and more by its kind.

    Raises:
        FileNotFoundError: when there is none.
    """
    return dict(system.info(path))


def entries(system: fsspec.AbstractFileSystem, folder: str) -> Iterable[dict[str, Any]]:
    """What is needed of the `info` of everything in a folder; of a local one an entry at a time.

    Raises:
        FileNotFoundError, NotADirectoryError: when there is none.
    """
    found = _scanned(system, _opened(system, folder)) if is_local(system) else _listed(system, folder)
    return ({key: info[key] for key in _KEPT if key in info} for info in found)


@retrying
def _listed(system: fsspec.AbstractFileSystem, folder: str) -> list[dict[str, Any]]:
    return list(system.ls(folder, detail=True))


@retrying
def _opened(system: fsspec.AbstractFileSystem, folder: str) -> Any:
    return os.scandir(system._strip_protocol(folder))


def _scanned(system: fsspec.AbstractFileSystem, found: Any) -> Iterator[dict[str, Any]]:
    """fsspec's own entries, of which each holds a kilobyte."""
    with found:
        for one in found:
            with contextlib.suppress(FileNotFoundError):  # it has got its name meanwhile, or was removed
                yield _entry(system, one.path, one)


@retrying
def _entry(system: fsspec.AbstractFileSystem, path: str, found: os.DirEntry[str]) -> dict[str, Any]:
    """`info` of what stands at `path`."""
    return dict(system.info(found))


_TAGS = ("ETag", "etag", "md5Hash", "checksum", "blob_id", "xet_hash", "mtime", "created")
"""What says a file's contents, the surest first; `blob_id` and `xet_hash` are the Hub's."""


_KEPT = ("name", "type", "size", "islink", "lfs", *_TAGS)
"""Of what a listing says of a file."""


def stat_of(info: Mapping[str, Any]) -> Stat:
    """`stat` from a listing's entry."""
    found = (info[key] for key in _TAGS if info.get(key))
    # A large file on the Hub is known by its SHA-256, in every repository and at every commit.
    tag = getattr(info.get("lfs"), "sha256", None) or next(found, "")
    if "mtime" not in info and isinstance(tag, datetime):
        tag = tag.timestamp()  # `memory://` says it in two ways
    return Stat(int(info.get("size") or 0), str(tag).strip('"'))


@retrying
def exists(url: str) -> bool:
    """Whether there is a file at `url`."""
    system, path = connect(url)
    return bool(system.exists(path))


def names(url: str) -> list[str]:
    """File and folder names directly below `url`, sorted, without temporary files; empty if there is no such folder."""
    return sorted(bases(url))


def bases(url: str) -> Iterator[str]:
    """The same in any order; of a local folder one at a time."""
    system, path = connect(url)
    system.invalidate_cache()
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        found = _names(system, path)
        yield from (name for one in found if not (name := _base(one)).startswith(TEMPORARY))


@retrying
def _names(system: fsspec.AbstractFileSystem, path: str) -> Iterable[str | os.DirEntry[str]]:
    return os.scandir(path) if is_local(system) else list(system.ls(path, detail=False))


def _base(found: str | os.DirEntry[str]) -> str:
    return found.name if isinstance(found, os.DirEntry) else str(found).rstrip("/").rsplit("/", 1)[-1]


def files(url: str) -> Iterator[tuple[str, Stat]]:
    """(name, `stat`) of the files directly below `url`, without temporary files; nothing if there is no such folder."""
    system, path = connect(url)
    system.invalidate_cache()
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for entry in entries(system, path):
            if entry["type"] == "file" and not (name := _base(str(entry["name"]))).startswith(TEMPORARY):
                yield name, stat_of(entry)


def stats(url: str) -> dict[str, Stat]:
    """Name -> `stat` of the same files."""
    return dict(files(url))


def sizes(url: str) -> dict[str, int]:
    """Name -> size of the same files."""
    return {name: found.size for name, found in files(url)}


@retrying
def modified(url: str) -> datetime:
    """When a file was written, by the storage's clock.

    Raises:
        NotImplementedError: for a storage that does not say.
    """
    system, path = connect(url)
    system.invalidate_cache()
    found: datetime = system.modified(path)
    return found
