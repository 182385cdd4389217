"""Sends the contents of files, batch by batch, ahead of the one commit that makes them visible.

Where the Hub has Xet, its client cuts files into chunks and sends those that are new. Elsewhere each file is one object
of Git LFS, and the Hub says which it has already.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from poolsieve.dataflow import fs, progress
from poolsieve.dataflow.publish.contents import Item
from poolsieve.dataflow.publish.patience import patiently
from poolsieve.dataflow.publish.repository import Repository
from poolsieve.scoring_models.base.errors import PlanError

BATCH_FILES, BATCH_BYTES = 64, 2 << 30
"""Most of one batch: what a kill makes the next attempt look through again, and what lies on local disk of an OUT that
is elsewhere."""

_BLOCK = 8 << 20
_THREADS = 4

SENT = "publish"
"""Label of the bytes that were sent, in this process' progress."""


class _Counted(io.BufferedReader):
    """A file whose bytes are counted as they are sent; of one that is sent twice, twice."""

    def __init__(self, raw: Any, count: Callable[[int], None]) -> None:
        super().__init__(raw)
        self.count, self.counts = count, False

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes."""
        progress.check()
        data = super().read(size)
        if self.counts:
            self.count(len(data))
        return data


@dataclass
class Uploads:
    """What has been sent to a repository; asked again for the same files, it sends nothing twice.

    Attributes:
        repository: to which.
        xet: whether the Hub has Xet.
        done: path -> (SHA-256, addition), of files that have arrived, or that travel inside the commit.
        sent: bytes that went over the line; by Xet, those of the files, of which the Hub may have had parts.
    """

    repository: Repository
    xet: bool
    done: dict[str, tuple[str, Any]] = field(default_factory=dict)
    sent: int = 0

    def additions(self, items: Sequence[Item]) -> list[Any]:
        """Sends what has not been sent, and returns what the commit needs of each item.

        Raises:
            PlanError: if a file is not the one that the export wrote.
        """
        todo = [item for item in items if self.done.get(item.path, ("",))[0] != item.sha256]
        for batch in batches(todo):
            self._send(batch)
        return [self.done[item.path][1] for item in items]

    def _send(self, batch: Sequence[Item]) -> None:
        from huggingface_hub import CommitOperationAdd

        with contextlib.ExitStack() as stack:
            sources = [self._source(item, stack) for item in batch]
            made = []
            for item, source in zip(batch, sources, strict=True):
                addition = CommitOperationAdd(path_in_repo=item.path, path_or_fileobj=source)
                addition.upload_info.sha256 = bytes.fromhex(item.sha256)
                made.append(addition)
            for source in sources:
                if isinstance(source, _Counted):
                    source.counts = True
            self._arrive(batch, made)
            for item, addition in zip(batch, made, strict=True):
                # A small file travels inside the commit, when its file is closed.
                small = addition._upload_mode == "regular"
                self.done[item.path] = (item.sha256, _small(item) if small else addition)

    def _arrive(self, batch: Sequence[Item], made: Sequence[Any]) -> None:
        repository = self.repository
        with repository.told("upload"), _quiet_client():
            patiently(
                lambda: repository.api.preupload_lfs_files(
                    repository.name,
                    additions=made,
                    repo_type="dataset",
                    revision=repository.revision,
                    num_threads=_THREADS,
                ),
                repository.say,
            )
        for item, addition in zip(batch, made, strict=True):
            if self.xet or addition._upload_mode == "regular":
                self._count(item.size)

    def _count(self, nbytes: int) -> None:
        self.sent += nbytes
        progress.add(SENT, nbytes)

    def _source(self, item: Item, stack: contextlib.ExitStack) -> Any:
        if isinstance(item.source, bytes):
            # The client takes what is no path and no bytes for a reason to leave Xet alone.
            return item.source if self.xet else _Counted(io.BytesIO(item.source), self._count)
        path = stack.enter_context(local(item.source))
        return path if self.xet else stack.enter_context(_Counted(io.FileIO(path, "rb"), self._count))


@contextlib.contextmanager
def _quiet_client() -> Iterator[None]:
    """Without the client's bars, and its hint at each batch that open files don't go by Xet: that is why they are."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    logger, barless = logging.getLogger("huggingface_hub._commit_api"), are_progress_bars_disabled()
    before = logger.level
    logger.setLevel(logging.ERROR)
    disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(before)
        if not barless:
            enable_progress_bars()


def _small(item: Item) -> Any:
    from huggingface_hub import CommitOperationAdd

    data = item.source if isinstance(item.source, bytes) else fs.read_bytes(item.source)
    return CommitOperationAdd(path_in_repo=item.path, path_or_fileobj=data)


def batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Items in batches, in order."""
    batch: list[Item] = []
    for item in items:
        if batch and (len(batch) == BATCH_FILES or sum(one.size for one in batch) + item.size > BATCH_BYTES):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


@contextlib.contextmanager
def local(url: str) -> Iterator[str]:
    """A path of a file on this machine: the file itself, or a copy while it is needed."""
    system, path = fs.connect(url)
    if fs.is_local(system):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix=fs.TEMPORARY) as folder:
        copy = os.path.join(folder, "part")
        fs.download(system, path, copy)
        yield copy


def check_sources(items: Sequence[Item]) -> None:
    """Compares files with what the export wrote, before anything is sent.

    Raises:
        PlanError: for a file that is gone, or has other bytes.
    """
    with ThreadPoolExecutor(_THREADS) as threads:
        for found in threads.map(_problem, [item for item in items if not isinstance(item.source, bytes)]):
            if found:
                raise PlanError(f"{found}: export again with --replace, and publish that")


def _problem(item: Item) -> str | None:
    assert isinstance(item.source, str)
    system, path = fs.connect(item.source)
    try:
        size = fs.stat(system, path).size
        if size != item.size:
            return f"{item.source} has {size:,} bytes, but its export wrote {item.size:,}"
        hashed = hashlib.sha256()
        with system.open(path, "rb") as file:
            while data := file.read(_BLOCK):
                progress.check()
                hashed.update(data)
    except FileNotFoundError:
        return f"{item.source} is gone, which its export wrote"
    return None if hashed.hexdigest() == item.sha256 else f"{item.source} is not the file that its export wrote"
