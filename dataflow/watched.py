"""Pool files on remote storage, read with retries: is a decoder's error about the file, or about reaching it?"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from poolsieve.dataflow.fs import whole
from poolsieve.dataflow.retries import retrying


class Watched(io.RawIOBase):
    """A file on remote storage: reads are tried again, and what the storage refuses for good is remembered.

    A decoder reports a broken connection and a broken file alike. `failure` tells them apart: only the second is a
    verdict on the rows.
    """

    def __init__(self, file: Any, url: str = "") -> None:
        self._file, self.url = file, url
        self.failure: BaseException | None = None

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; all that is left for -1."""
        try:
            return self._read(size)
        except Exception as error:
            self.failure = error
            raise

    def _read(self, size: int) -> bytes:
        length = getattr(self._file, "size", None)
        start = self._file.tell() if isinstance(length, int) else 0

        def read(url: str) -> bytes:
            """From where this read began: one that ended early has moved the file on."""
            if isinstance(length, int):
                self._file.seek(start)
            data = bytes(self._file.read(size))
            if not isinstance(length, int):
                return data
            left = max(length - start, 0)
            return whole(data, left if size < 0 else min(size, left))

        return retrying(read)(self.url)

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
    return Watched(_open(system, path, cache), str(system.unstrip_protocol(path)))


@retrying
def _open(system: Any, path: str, cache: Mapping[str, Any]) -> Any:
    return system.open(path, "rb", **cache)


def is_damage(error: BaseException, file: Any) -> bool:
    """Whether `error` is about the contents of `file` (a verdict on its rows) and not about reaching them."""
    if getattr(file, "failure", None) is not None or isinstance(error, MemoryError):
        return False
    arrow = isinstance(error, pa.ArrowException) and not isinstance(error, pa.ArrowCancelled)
    # Arrow's own decoders raise a bare OSError without a number; the operating system's have one.
    return arrow or (type(error) is OSError and error.errno is None)
