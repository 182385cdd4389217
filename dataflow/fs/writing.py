"""The one atomic write that everything uses: a file is there whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextvars import ContextVar
from typing import IO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from poolsieve.dataflow.fs.places import TEMPORARY, connect
from poolsieve.dataflow.retries import retrying
from poolsieve.dataflow.storage_errors import FULL, explained


@contextlib.contextmanager
def atomic_write(url: str) -> Iterator[IO[bytes]]:
    """A binary file that appears at `url` whole, when the block ends well, or not at all.

    Local: a temporary file beside it, fsync and rename. Elsewhere: a local temporary file and one upload, since an
    fsspec file that is open for writing commits what it has when an exception leaves its `with` block.
    """
    with atomic_path(url) as temporary, open(temporary, "wb") as file:
        yield file
        if _waiting.get() is not None:
            file.flush()
            _begin_writing(file.fileno())


@contextlib.contextmanager
def atomic_path(url: str) -> Iterator[str]:
    """Like `atomic_write`, for libraries that want a local path to write to."""
    system, path = connect(url)
    if isinstance(system, LocalFileSystem):
        with _local(path) as temporary:
            yield temporary
        return
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        temporary = os.path.join(folder, "part")
        with _full_disks_named(temporary):
            yield temporary
        _put(system, path, temporary)
    system.invalidate_cache()


@retrying
def _put(system: fsspec.AbstractFileSystem, path: str, temporary: str) -> None:
    system.put_file(temporary, path)


@contextlib.contextmanager
def _full_disks_named(url: str) -> Iterator[None]:
    """Gives an error of a full disk the name of the file: the operating system leaves it out.

    Other errors pass as they are, since what is written may be read from elsewhere meanwhile.
    """
    try:
        yield
    except OSError as error:
        found = explained(error, url) if error.errno in FULL else None
        if found is None or found is error:
            raise
        raise found from error


@contextlib.contextmanager
def _temporary(path: str, data: bytes) -> Iterator[str]:
    """A whole file beside `path`, for a moment."""
    with _beside(path) as temporary:
        with open(temporary, "wb") as file:
            file.write(data)
            os.fsync(file.fileno())
        yield temporary


_waiting: ContextVar[list[tuple[str, str]] | None] = ContextVar("waiting", default=None)
"""(temporary, final) paths of whole local files that get their names at the end of `together`; None outside of it."""


@contextlib.contextmanager
def together() -> Iterator[None]:
    """What this thread writes atomically to local disks in the block gets its names at its end, in the same order.

    The disk then settles many small files at once: a file by itself costs it a commit of its journal, a millisecond and
    more. Files that were whole when the block failed get their names as well.
    """
    if _waiting.get() is not None:
        yield  # the outer block's
        return
    waiting: list[tuple[str, str]] = []
    token = _waiting.set(waiting)
    try:
        yield
    finally:
        _waiting.reset(token)
        _settle(waiting)


def _settle(waiting: list[tuple[str, str]]) -> None:
    try:
        while waiting:
            temporary, path = waiting[0]
            with _full_disks_named(path):
                _sync(temporary)
                os.replace(temporary, path)
            del waiting[0]
    finally:
        for temporary, _ in waiting:
            _unlink(temporary)


def _begin_writing(file: int) -> None:
    """Has the system begin to write a file to its disk, where it can be asked to, without waiting for it."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def _sync(path: str) -> None:
    with _descriptor(path) as file:
        os.fsync(file)


@contextlib.contextmanager
def _descriptor(path: str, flags: int = os.O_RDONLY) -> Iterator[int]:
    """A file without the object that Python makes of one, which costs more than opening it."""
    file = os.open(path, flags, 0o666)
    try:
        yield file
    finally:
        os.close(file)


@contextlib.contextmanager
def _local(path: str) -> Iterator[str]:
    temporary = _name_beside(path)
    try:
        with _full_disks_named(path):
            yield temporary
    except BaseException:
        _unlink(temporary)
        raise
    _is_whole(temporary, path)


def _is_whole(temporary: str, path: str) -> None:
    """Gives a whole file its name: at once, or at the end of `together`."""
    waiting = _waiting.get()
    if waiting is None:
        _settle([(temporary, path)])
    else:
        waiting.append((temporary, path))


@contextlib.contextmanager
def _beside(path: str) -> Iterator[str]:
    """A temporary name beside `path`, whose folder is made; nothing of that name is there afterwards."""
    temporary = _name_beside(path)
    try:
        yield temporary
    finally:
        _unlink(temporary)


def _name_beside(path: str) -> str:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        os.makedirs(folder, exist_ok=True)
    return _new_name(path)


def _new_name(path: str) -> str:
    return os.path.join(os.path.dirname(path), f"{TEMPORARY}{uuid.uuid4().hex}")


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def write_bytes(url: str, data: bytes | memoryview) -> None:
    """Writes a small file atomically."""
    system, path = connect(url)
    if isinstance(system, LocalFileSystem):
        _write_local(path, data)
        return
    with atomic_write(url) as file:
        file.write(data)


def _write_local(path: str, data: bytes | memoryview) -> None:
    """What `atomic_write` does, for contents that are there: a small shard costs little more than its system calls."""
    temporary = _new_name(path)
    try:
        with _full_disks_named(path):
            _fill_in_folder(temporary, data)
    except BaseException:
        _unlink(temporary)
        raise
    _is_whole(temporary, path)


def _fill_in_folder(path: str, data: bytes | memoryview) -> None:
    try:
        _fill(path, data)
    except FileNotFoundError:  # looked for only then: the folder is there for all files but its first
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _fill(path, data)


def _fill(path: str, data: bytes | memoryview) -> None:
    with _descriptor(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)) as file:
        left = memoryview(data)
        while left:
            left = left[os.write(file, left) :]
        if _waiting.get() is not None:
            _begin_writing(file)


def write_new(url: str, data: bytes) -> bool:
    """Writes a small file atomically if there is none; whether it did.

    Exact on local disks and on stores that can create if absent (S3, GCS, memory); elsewhere fsspec looks first.
    """
    system, path = connect(url)
    try:
        if isinstance(system, LocalFileSystem):
            with _temporary(path, data) as temporary:
                _link(temporary, path)
        else:
            retrying(system.pipe_file)(path, data, mode="create")
    except FileExistsError:
        return False
    system.invalidate_cache()
    return True


def _link(temporary: str, path: str) -> None:
    """A second name for a whole file, unless it is taken; a copy where the disk has no such links."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        with open(temporary, "rb") as whole, open(path, "xb") as file:
            file.write(whole.read())
