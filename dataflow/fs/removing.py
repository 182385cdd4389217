"""What is removed, and what shows that something can be written."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
import uuid
from collections.abc import Iterable, Iterator

import fsspec
from fsspec.implementations.local import LocalFileSystem

from poolsieve.dataflow.fs.places import TEMPORARY, connect, is_local, join
from poolsieve.dataflow.fs.writing import write_bytes
from poolsieve.dataflow.retries import retrying
from poolsieve.dataflow.storage_errors import explained
from poolsieve.scoring_models.base.errors import PlanError


def remove(url: str) -> None:
    """Removes a file or a folder; none there is fine."""
    system, path = connect(url)
    with contextlib.suppress(FileNotFoundError):
        _remove(system, path)
    system.invalidate_cache()


@retrying
def _remove(system: fsspec.AbstractFileSystem, path: str) -> None:
    system.rm(path, recursive=True)


def leftovers(url: str, *, deep: bool = True) -> Iterator[str]:
    """Paths of what is being written in a folder, or was when its writer was killed; local ones one at a time.

    Args:
        url: of the folder.
        deep: and below it.
    """
    system, path = connect(url)
    found = _files_in(path, deep) if is_local(system) else map(str, system.find(path, maxdepth=None if deep else 1))
    yield from (name for name in found if name.rpartition("/")[2].startswith(TEMPORARY))


def _files_in(folder: str, deep: bool) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                yield entry.path
            elif deep:
                yield from _files_in(entry.path, deep)


def remove_leftovers(url: str) -> list[str]:
    """Removes what interrupted writers left below `url`; returns the paths. Only safe while nobody else writes."""
    return _removed(leftovers(url))


def remove_leftovers_beside(urls: Iterable[str]) -> None:
    """Removes what interrupted writers left in the folders of some files. Only safe while nobody else writes there.

    On local disks alone: elsewhere a file is seen when it is whole.
    """
    for folder in {url.rpartition("/")[0] for url in urls}:
        if is_local(connect(folder)[0]):
            _removed(leftovers(folder, deep=False))


def _removed(urls: Iterable[str]) -> list[str]:
    found = sorted(urls)
    for url in found:
        remove(url)
    return found


_PROBE = re.compile(rf"/{re.escape(TEMPORARY)}[0-9a-f]+")


def check_writable(url: str) -> None:
    """Refuses a folder that can't be written, before work starts; leaves nothing behind.

    Raises:
        PlanError: saying why and what to do.
    """
    system, path = connect(url)
    try:
        if isinstance(system, LocalFileSystem):
            _try_local(path)
        else:
            probe = join(url, f"{TEMPORARY}{uuid.uuid4().hex}")
            write_bytes(probe, b"poolsieve: can this be written?")
            remove(probe)
    except (OSError, ValueError) as error:
        found = explained(error, url)
        text = str(found) if found else f"nothing can be written to {url}: {_why(system, error)}"
        raise PlanError(_PROBE.sub("", text)) from error


def _why(system: fsspec.AbstractFileSystem, error: Exception) -> object:
    if isinstance(error, FileNotFoundError) and not is_local(system):  # as gcsfs says it: stores have no other folders
        return "there is no such bucket. Create it, or check its name and the endpoint"
    return getattr(error, "strerror", None) or error


def _try_local(path: str) -> None:
    """Writes a byte into a file without a name, in the folder or where the folder would be made."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    if not os.path.isdir(path):
        raise NotADirectoryError(errno.ENOTDIR, f"{path} is a file, and a folder is needed")
    with tempfile.TemporaryFile(dir=path) as file:
        file.write(b"x")
        file.flush()
