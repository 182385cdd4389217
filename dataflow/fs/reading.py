"""Whole files, read."""

from __future__ import annotations

from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from poolsieve.dataflow.fs.places import connect
from poolsieve.dataflow.retries import retrying


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
