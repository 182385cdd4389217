"""One file of an export on its way out: written and hashed at once, visible only when it is whole."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import queue
import threading
from collections.abc import Iterator
from typing import Any

from poolsieve.dataflow import fs
from poolsieve.scoring_models.base.errors import PoolsieveError

_BLOCK = 1 << 20
"""Small pieces are gathered to this many bytes, since a call to the system for each would cost more than the copy."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


class Sink:
    """A file that is being written: counts and hashes what goes through it. Enough of a file for Arrow's writers.

    The hash is made in a thread of its own: SHA-256 at some 2 GB/s would else cost a third of a tar's copy.
    """

    def __init__(self, file: Any) -> None:
        self._file, self._size = file, 0
        self._pending: list[bytes] = []
        self._position = 0
        self._hash = hashlib.sha256()
        self._blocks: queue.Queue[bytes | None] = queue.Queue(maxsize=4)
        self._hasher = threading.Thread(target=self._hash_blocks, daemon=True, name="poolsieve-sha256")
        self._hasher.start()
        self.closed = False

    def write(self, data: Any) -> int:
        """Takes bytes, in memory until there are enough of them."""
        if self.closed:
            return len(data)  # Arrow's writer may still say goodbye to a file that failed
        block = data if isinstance(data, bytes) else bytes(data)
        self._pending.append(block)
        self._size += len(block)
        if self._size >= _BLOCK:
            self._drain()
        return len(block)

    def tell(self) -> int:
        """Bytes taken so far."""
        return self._position + self._size

    def flush(self) -> None:
        """Nothing: `finish` writes what is pending."""

    def close(self) -> None:
        """Nothing: the file belongs to whoever opened it."""

    def writable(self) -> bool:
        """Always."""
        return True

    def finish(self) -> None:
        """Writes what is pending and waits for the hash."""
        self._drain()
        self.stop()

    def stop(self) -> None:
        """Ends the hash's thread; what is written afterwards is thrown away."""
        if not self.closed:
            self.closed = True
            self._blocks.put(None)
            self._hasher.join()

    @property
    def sha256(self) -> str:
        """The hash of all bytes, once `finish` is through."""
        return self._hash.hexdigest()

    def _drain(self) -> None:
        block = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        self._pending, self._size = [], 0
        self._blocks.put(block)
        self._position += len(block)
        view = memoryview(block)
        while view:
            view = view[self._file.write(view) :]

    def _hash_blocks(self) -> None:
        while (block := self._blocks.get()) is not None:
            self._hash.update(block)


@contextlib.contextmanager
def sink(url: str) -> Iterator[Sink]:
    """A `Sink` whose file appears at `url` whole, when the block ends well, or not at all.

    Raises:
        PoolsieveError: when the storage is full or may not be written, naming the file and what to do.
    """
    try:
        with fs.atomic_path(url) as temporary, open(temporary, "wb", buffering=0) as file:
            made = Sink(file)
            try:
                yield made
                made.finish()
            finally:
                made.stop()
    except OSError as error:
        explained = explain(error, url)
        if explained is None:
            raise
        raise explained from error


def explain(error: OSError, url: str) -> PoolsieveError | None:
    """What a full or forbidden storage means for the user; None for any other trouble."""
    if error.errno in _FULL:
        return PoolsieveError(
            f"no space left to write {url} ({error.strerror}). Make room, or export elsewhere, and run the same export "
            "again: files that are whole are not written a second time"
        )
    folder = url.rpartition("/")[0]
    if error.errno in _REFUSED and str(error.filename or folder).startswith(fs.connect(folder)[1]):
        return PoolsieveError(f"can't write {url} ({error.strerror}): export to a folder that you may write to")
    return None
