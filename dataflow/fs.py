"""Files anywhere fsspec reaches: absolute URLs, identities, retries, and the one atomic write that everything uses."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import IO, Any, NamedTuple

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from poolsieve.dataflow.credentials import check_url, hide, without
from poolsieve.dataflow.retries import retrying
from poolsieve.dataflow.storage_errors import FULL, explained
from poolsieve.scoring_models.base.errors import PlanError

TEMPORARY = ".poolsieve-tmp-"
"""Prefix of files that are being written; a listing skips them and `prune` removes them."""


StorageOptions = Mapping[str, Any]
"""Keywords for fsspec's file systems: keys, endpoints. May hold secrets, so they are never stored."""


class Stat(NamedTuple):
    """Size in bytes and the storage's word for a file's contents: an ETag or checksum, else mtime."""

    size: int
    tag: str


_LOCAL = re.compile(r"(?:file|local):(?://)?")
"""What fsspec takes for the beginning of a local path."""


def absolute(url: str | os.PathLike[str]) -> str:
    """`url` with a scheme, or an absolute local path without `.` and `..`; works from any directory afterwards.

    Raises:
        PlanError: if it is empty, as that of a variable that is not set, which would be this very folder; if it carries
            credentials, which would be stored with it.
    """
    url = os.fspath(url)
    if not url.strip():
        raise PlanError("the name of a file or folder is empty: is a variable not set?")
    check_url(url)
    url = _LOCAL.sub("", url, count=1) if _LOCAL.match(url) else url
    if "://" in url or url.startswith("memory:"):
        return url
    return os.path.abspath(os.path.expanduser(url))


LOCAL = LocalFileSystem()
"""This machine's files, as fsspec has them; it keeps nothing."""


def connect(url: str, options: StorageOptions | None = None) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of `url` and the path in it.

    Raises:
        PlanError: for a scheme that nothing here reads, and for options that its file system does not take.
    """
    if url.startswith("/") and "::" not in url and not options:  # asked for with each file of OUT
        return LOCAL, url.rstrip("/") or "/"
    try:
        if _BUCKET.match(url):
            return _bucket(url, options or {})
        system, path = url_to_fs(url, **dict(options or {}))
    except (ImportError, TypeError, ValueError) as error:
        said = without(" ".join(str(error).split()), options or {})
        raise PlanError(f"can't open {hide(url)}: {said}") from error
    return system, path


_BUCKET = re.compile(r"hf://buckets/")


def _bucket(url: str, options: StorageOptions) -> tuple[fsspec.AbstractFileSystem, str]:
    from poolsieve.dataflow.buckets import Buckets

    path = str(Buckets._strip_protocol(url))
    if path.count("/") < 2:
        raise PlanError(f"{url} names no bucket: write hf://buckets/org/name, and a folder in it")
    return Buckets(**options), path


def join(base: str, *parts: str) -> str:
    """`base/part/...` for URLs and paths alike."""
    return "/".join([base.rstrip("/") or "/", *parts])


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


@retrying
def read_bytes(url: str) -> bytes:
    """A whole (small) file."""
    system, path = connect(url)
    if isinstance(system, LocalFileSystem):
        with open(path, "rb", buffering=0) as local:
            return local.read()
    with system.open(path, "rb") as file:
        return whole(bytes(file.read()), getattr(file, "size", None))


@retrying
def download(system: fsspec.AbstractFileSystem, path: str, local: str) -> None:
    """Copies a file of `system` to a path on this machine."""
    system.get_file(path, local)


def whole(data: bytes, size: Any) -> bytes:
    """`data`, which should be `size` bytes where that is known.

    Raises:
        ConnectionError: if it is less: an answer that ended early is a lost connection, whatever the client made of it.
    """
    if isinstance(size, int) and len(data) < size:
        raise ConnectionError(f"the answer ended after {len(data)} of {size} bytes")
    return data


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


def remove(url: str) -> None:
    """Removes a file or a folder; none there is fine."""
    system, path = connect(url)
    with contextlib.suppress(FileNotFoundError):
        _remove(system, path)
    system.invalidate_cache()


@retrying
def _remove(system: fsspec.AbstractFileSystem, path: str) -> None:
    system.rm(path, recursive=True)


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


def files(url: str) -> Iterator[tuple[str, Stat]]:
    """(name, `stat`) of the files directly below `url`, without temporary files; nothing if there is no such folder."""
    system, path = connect(url)
    system.invalidate_cache()
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for entry in entries(system, path):
            if entry["type"] == "file" and not (name := _name(entry)).startswith(TEMPORARY):
                yield name, stat_of(entry)


def stats(url: str) -> dict[str, Stat]:
    """Name -> `stat` of the same files."""
    return dict(files(url))


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry["name"]).rsplit("/", 1)[-1]


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


def remove_leftovers(url: str) -> list[str]:
    """Removes what interrupted writers left below `url`; returns the paths. Only safe while no run is going on."""
    system, path = connect(url)
    left = [name for name in system.find(path) if str(name).rsplit("/", 1)[-1].startswith(TEMPORARY)]
    for name in left:
        system.rm_file(name)
    return [str(name) for name in left]


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
        why = getattr(error, "strerror", None) or error
        text = str(found) if found else f"nothing can be written to {url}: {why}"
        raise PlanError(_PROBE.sub("", text)) from error


def _try_local(path: str) -> None:
    """Writes a byte into a file without a name, in the folder or where the folder would be made."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    if not os.path.isdir(path):
        raise NotADirectoryError(errno.ENOTDIR, f"{path} is a file, and a folder is needed")
    with tempfile.TemporaryFile(dir=path) as file:
        file.write(b"x")
        file.flush()


def is_local(system: Any) -> bool:
    """Whether files can be opened by the operating system itself."""
    return isinstance(system, LocalFileSystem)
