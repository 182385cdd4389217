"""Files anywhere fsspec reaches: absolute URLs, identities, retries, and the one atomic write that everything uses."""

from __future__ import annotations

import contextlib
import datetime
import io
import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from typing import IO, Any, NamedTuple

import fsspec
import pyarrow as pa
import tenacity
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

TEMPORARY = ".poolsieve-tmp-"
"""Prefix of files that are being written; a listing skips them and `prune` removes them."""


StorageOptions = Mapping[str, Any]
"""Keywords for fsspec's file systems: keys, endpoints. May hold secrets, so they are never stored."""


class Stat(NamedTuple):
    """Size in bytes and the storage's word for a file's contents: an ETag or checksum, else mtime."""

    size: int
    tag: str


def absolute(url: str) -> str:
    """`url` with a scheme, or an absolute local path without `.` and `..`; works from any directory afterwards."""
    if "://" in url or url.startswith("memory:"):
        return url.removeprefix("file://") if url.startswith("file://") else url
    return os.path.abspath(os.path.expanduser(url))


def connect(url: str, options: StorageOptions | None = None) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of `url` and the path in it."""
    system, path = url_to_fs(url, **dict(options or {}))
    return system, path


def join(base: str, *parts: str) -> str:
    """`base/part/...` for URLs and paths alike."""
    return "/".join([base.rstrip("/") or "/", *parts])


def _transient(error: BaseException) -> bool:
    """Whether trying again may help: storage and network trouble, not a missing file, permission or a full disk."""
    final = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)
    if isinstance(error, final) or getattr(error, "errno", None) in (28, 30, 36, 122):
        return False
    return isinstance(error, (TimeoutError, ConnectionError)) or type(error).__name__ in _TRANSIENT_NAMES


_TRANSIENT_NAMES = {
    "ClientConnectorError",
    "ClientPayloadError",
    "ConnectTimeoutError",
    "EndpointConnectionError",
    "HttpError",
    "IncompleteReadError",
    "ReadTimeoutError",
    "ResponseStreamingError",
    "ServerDisconnectedError",
    "ServerTimeoutError",
    "SlowDown",
}

retrying = tenacity.retry(
    retry=tenacity.retry_if_exception(_transient),
    wait=tenacity.wait_exponential_jitter(multiplier=0.5, max=30),
    stop=tenacity.stop_after_attempt(6),
    reraise=True,
)
"""Decorator: tries again, with growing pauses, what failed for a reason that may pass."""


@retrying
def stat(system: fsspec.AbstractFileSystem, path: str) -> Stat:
    """Size and contents tag of a file.

    Raises:
        FileNotFoundError: when there is none.
    """
    return stat_of(system.info(path))


def stat_of(info: Mapping[str, Any]) -> Stat:
    """`stat` from a listing's entry."""
    tag = next((info[key] for key in ("ETag", "etag", "md5Hash", "checksum", "mtime", "created") if info.get(key)), "")
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
    with system.open(path, "rb") as file:
        return bytes(file.read())


@retrying
def names(url: str) -> list[str]:
    """File and folder names directly below `url`, sorted, without temporary files; empty if there is no such folder."""
    system, path = connect(url)
    system.invalidate_cache()
    try:
        entries = system.ls(path, detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return []
    bases = (str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries)
    return sorted(base for base in bases if not base.startswith(TEMPORARY))


def remove(url: str) -> None:
    """Removes a file or a folder; none there is fine."""
    system, path = connect(url)
    with contextlib.suppress(FileNotFoundError):
        system.rm(path, recursive=True)
    system.invalidate_cache()


@contextlib.contextmanager
def atomic_write(url: str) -> Iterator[IO[bytes]]:
    """A binary file that appears at `url` whole, when the block ends well, or not at all.

    Local: a temporary file beside it, fsync and rename. Elsewhere: a local temporary file and one upload, since an
    fsspec file that is open for writing commits what it has when an exception leaves its `with` block.
    """
    with atomic_path(url) as temporary, open(temporary, "wb") as file:
        yield file


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
        yield temporary
        retrying(system.put_file)(temporary, path)
    system.invalidate_cache()


@contextlib.contextmanager
def _temporary(path: str, data: bytes) -> Iterator[str]:
    """A whole file beside `path`, for a moment."""
    with _beside(path) as temporary:
        with open(temporary, "wb") as file:
            file.write(data)
            os.fsync(file.fileno())
        yield temporary


@contextlib.contextmanager
def _local(path: str) -> Iterator[str]:
    with _beside(path) as temporary:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)


@contextlib.contextmanager
def _beside(path: str) -> Iterator[str]:
    """A temporary name beside `path`, whose folder is made; nothing of that name is there afterwards."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = os.path.join(os.path.dirname(path), f"{TEMPORARY}{uuid.uuid4().hex}")
    try:
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def write_bytes(url: str, data: bytes) -> None:
    """Writes a small file atomically."""
    with atomic_write(url) as file:
        file.write(data)


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


@retrying
def sizes(url: str) -> dict[str, int]:
    """Name -> size of the files directly below `url`, without temporary files; empty if there is no such folder."""
    system, path = connect(url)
    system.invalidate_cache()
    try:
        entries = system.ls(path, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    found = {str(entry["name"]).rsplit("/", 1)[-1]: entry for entry in entries if entry["type"] == "file"}
    return {name: stat_of(entry).size for name, entry in found.items() if not name.startswith(TEMPORARY)}


@retrying
def modified(url: str) -> datetime.datetime:
    """When a file was written, by the storage's clock.

    Raises:
        NotImplementedError: for a storage that does not say.
    """
    system, path = connect(url)
    system.invalidate_cache()
    found: datetime.datetime = system.modified(path)
    return found


def remove_leftovers(url: str) -> list[str]:
    """Removes what interrupted writers left below `url`; returns the paths. Only safe while no run is going on."""
    system, path = connect(url)
    left = [name for name in system.find(path) if str(name).rsplit("/", 1)[-1].startswith(TEMPORARY)]
    for name in left:
        system.rm_file(name)
    return [str(name) for name in left]


class Watched(io.RawIOBase):
    """A file on remote storage: reads are tried again, and what the storage refuses for good is remembered.

    A decoder reports a broken connection and a broken file alike. `failure` tells them apart: only the second is a
    verdict on the rows.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self.failure: BaseException | None = None

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; all that is left for -1."""
        try:
            return bytes(retrying(self._file.read)(size))
        except Exception as error:
            self.failure = error
            raise

    def readinto(self, buffer: Any, /) -> int:
        """Fills `buffer` as far as the file goes; the number of bytes that were read."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Moves to a position; returns it."""
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        """The position of the next byte."""
        return int(self._file.tell())

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always: object stores serve ranges."""
        return True

    def close(self) -> None:
        """Closes the storage's file as well."""
        if not self.closed:
            self._file.close()
        super().close()


def open_remote(system: Any, path: str, **cache: Any) -> Watched:
    """A shard on remote storage, for reading; `cache` goes to fsspec's `open`."""
    return Watched(retrying(system.open)(path, "rb", **cache))


def is_local(system: Any) -> bool:
    """Whether files can be opened by the operating system itself."""
    return isinstance(system, LocalFileSystem)


def is_damage(error: BaseException, file: Any) -> bool:
    """Whether `error` is about the contents of `file` (a verdict on its rows) and not about reaching them."""
    if getattr(file, "failure", None) is not None or isinstance(error, MemoryError):
        return False
    arrow = isinstance(error, pa.ArrowException) and not isinstance(error, pa.ArrowCancelled)
    # Arrow's own decoders raise a bare OSError without a number; the operating system's have one.
    return arrow or (type(error) is OSError and error.errno is None)
