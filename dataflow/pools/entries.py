"""What a listing says of a file, and walking through folders for a pattern: trouble is told, not passed over.

fsspec's own `glob` takes a folder that can't be listed (a busy service, no right to read) for an empty one, and
describes a link by itself where `info` describes what it leads to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fsspec.utils import glob_translate

from poolsieve.dataflow import fs
from poolsieve.scoring_models.base.errors import PlanError

Info = dict[str, Any]

_MAGIC = re.compile(r"[*?\[]")
_THREADS = 16

Chain = tuple[str, ...]
"""Real paths of the folders that the links of a path have led to so far."""


def base_of(info: Info) -> str:
    """The file's own name."""
    return str(info["name"]).rstrip("/").rpartition("/")[2]


def is_folder(info: Info) -> bool:
    """Whether an entry is a folder."""
    return info.get("type") == "directory"


def list_folder(system: Any, folder: str) -> Iterator[Info]:
    """The entries of a folder, links as what they lead to; without files that are being written.

    Raises:
        FileNotFoundError, NotADirectoryError: if there is none.
        StorageError: if it can't be listed.
    """
    for info in fs.entries(system, folder):
        if not base_of(info).startswith(fs.TEMPORARY):
            yield _followed(system, info) if info.get("islink") else info


def _followed(system: Any, info: Info) -> Info:
    """What a link leads to, under the link's name; as it is where it leads nowhere, which `usable` refuses."""
    try:
        found: Info = system.info(str(info["name"]))
    except OSError as error:
        return {**info, "type": "link", "broken": error}
    return found


def describe(system: Any, path: str) -> Info | None:
    """One file's entry; None where there is none.

    Raises:
        PlanError: if it is a link that leads nowhere.
    """
    try:
        found: Info = fs.info(system, path)
    except (FileNotFoundError, NotADirectoryError) as error:
        if fs.is_local(system) and os.path.islink(system._strip_protocol(path)):
            raise _broken(path, error) from error
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _broken(path, error) from error
        raise
    return None if base_of(found).startswith(fs.TEMPORARY) else found


def usable(info: Info) -> bool:
    """Whether a matching entry is a file that can be read; a folder is not.

    Raises:
        PlanError: for a link that leads nowhere, for what is neither file nor folder, and for a name that is no UTF-8.
    """
    path = str(info["name"])
    if "broken" in info:
        raise _broken(path, info["broken"])
    if info.get("type") == "other":
        raise PlanError(
            f"{path!r} in the pool is neither a file nor a folder but a pipe, a socket or a device, which may be read "
            "for ever: move it away, or write a pattern that leaves it out"
        )
    if not is_folder(info) and not _is_utf8(path):
        raise PlanError(
            f"the name of the pool's file {path!r} is not UTF-8, so that no report or list could name it: rename it"
        )
    return not is_folder(info)


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _broken(path: str, error: BaseException) -> PlanError:
    what = (
        "a link in a circle" if getattr(error, "errno", None) == errno.ELOOP else "a link to a file that is not there"
    )
    return PlanError(f"{path!r} in the pool is {what}: remove or mend it")


def refuse_folder(info: Info, pattern: str) -> None:
    """Refuses a folder that bears a file's name, as Spark writes them: its rows would be missing without a word.

    A pattern that ends in a bare `*` passes over folders, since it asks for no kind of file.

    Raises:
        PlanError: naming the folder and what to write to have its files.
    """
    last = pattern.rpartition("/")[2]
    if "." in last.strip("."):
        ending = posixpath.splitext(last)[1]
        raise PlanError(
            f"{str(info['name'])!r} is a folder with the name of a file. To read it write {pattern}/*{ending}"
            "; else move it away, or write a pattern that leaves it out"
        )


def glob(system: Any, pattern: str) -> Iterator[tuple[str, Info]]:
    """(path, entry) of the files that a pattern without braces matches, in every folder that it leads through.

    Args:
        system: of the pool.
        pattern: path in it; `*`, `?` and `[..]` match within one name, `**` any number of folders.

    Raises:
        PlanError: for what matches and can't be a shard (see `usable`, `refuse_folder`).
        StorageError: if a folder can't be listed.
    """
    parts = pattern.split("/")
    first = next((i for i, part in enumerate(parts) if _MAGIC.search(part)), len(parts) - 1)
    try:
        matches = re.compile(glob_translate(pattern)).match
    except ValueError as error:
        raise PlanError(f"the pool's pattern {pattern!r} can't be read: {error}") from error
    for info in _walk(system, "/".join(parts[:first]), parts[first:]):
        path = str(info["name"])
        if not matches(path):
            continue
        if usable(info):
            yield path, info
        else:
            refuse_folder(info, pattern)


def _walk(system: Any, root: str, parts: list[str]) -> Iterator[Info]:
    """Entries that may match, folder by folder; the folders of one depth are listed at the same time."""
    level: list[tuple[str, list[str], Chain]] = [(root, parts, ())]
    with ThreadPoolExecutor(_THREADS) as threads:
        while level:
            below: list[tuple[str, list[str], Chain]] = []
            listings = _listings(system, [folder for folder, _, _ in level], threads)
            for (_, rest, chain), entries in zip(level, listings, strict=True):
                matches = re.compile(glob_translate(rest[0])).match
                for info in entries:
                    if not matches(base_of(info)):
                        continue
                    yield info
                    if deeper := _below(info, rest):
                        folder = str(info["name"]).rstrip("/")
                        below.append((folder, deeper, _led_to(folder, info, chain) if deeper[0] == "**" else chain))
            level = below


def _listings(system: Any, folders: list[str], threads: ThreadPoolExecutor) -> Iterator[Iterable[Info]]:
    """The entries of each folder: a few folders are looked at at a time, and no more of them are held."""
    if len(folders) == 1:
        yield _entries(system, folders[0])
        return
    for i in range(0, len(folders), _THREADS):
        yield from threads.map(lambda folder: list(_entries(system, folder)), folders[i : i + _THREADS])


def _entries(system: Any, folder: str) -> Iterator[Info]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        yield from list_folder(system, folder or ("/" if fs.is_local(system) else ""))


def _below(info: Info, parts: list[str]) -> list[str]:
    """What of a pattern is to be looked for in a folder; empty for a file, or where the pattern ends."""
    if not is_folder(info):
        return []
    return parts if parts[0] == "**" else parts[1:]


def _led_to(folder: str, info: Info, chain: Chain) -> Chain:
    """The chain with what a linked folder is.

    Raises:
        PlanError: if it has been walked through on the way to it, so that `**` would find its files for ever.
    """
    if not info.get("islink"):
        return chain
    real = os.path.realpath(folder)
    before = (*chain, os.path.realpath(os.path.dirname(folder)))
    if any(f"{one}/".startswith(f"{real}/") for one in before):
        raise PlanError(f"{folder!r} in the pool is a link back to a folder above it ({real}): remove it")
    return (*chain, real)
