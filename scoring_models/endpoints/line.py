"""One server as one process talks to it: its connections, its limit of questions under way, its pauses.

All questions of a process are sent by one thread with an event loop: a question that is given up ends at once, with
its connection, which no thread that waits in a socket can do.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

from poolsieve.scoring_models.endpoints.failures import Passing

T = TypeVar("T")

MOST_BYTES = 4 << 20
"""Of an answer's body; what is longer is no answer."""

CONNECTING = 15.0
"""Seconds that a connection may take to be made."""


class Answer(NamedTuple):
    """What a server sent back."""

    status: int
    retry_after: str | None
    body: bytes


class Line:
    """The connections to one address. Lives in the loop's thread.

    httpx2 and not the package `openai`: that one follows redirects, reads a body of any length, repeats by rules of its
    own and adds headers about the machine; what is left of it here would be one POST.

    Args:
        concurrency: questions that may be under way at a time.
    """

    def __init__(self, concurrency: int) -> None:
        import httpx2

        limits = httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        self._client = httpx2.AsyncClient(limits=limits, follow_redirects=False)
        self.slots = asyncio.Semaphore(concurrency)
        self.answered: dict[str, float] = {}
        """Model -> when it last answered a question, by the monotonic clock."""
        self._resume = 0.0

    def hold(self, seconds: float) -> None:
        """Nobody asks for so long: the server said so to one of the questions."""
        self._resume = max(self._resume, time.monotonic() + seconds)

    async def open(self) -> None:
        """Waits until the server may be asked, and a little longer, so that not all ask at once."""
        while (wait := self._resume - time.monotonic()) > 0:
            await asyncio.sleep(wait + random.uniform(0, min(wait, 1.0)))  # noqa: S311

    async def post(self, url: str, headers: dict[str, str], body: bytes, timeout: float) -> Answer:
        """One attempt, `timeout` seconds at most from the first byte sent to the last one read.

        Raises:
            Passing: if there is no whole answer.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._post(url, headers, body, timeout)
        except TimeoutError:
            raise Passing(f"no whole answer in {timeout:g} s") from None

    async def _post(self, url: str, headers: dict[str, str], body: bytes, timeout: float) -> Answer:
        import httpx2

        limit = httpx2.Timeout(timeout, connect=min(timeout, CONNECTING))
        try:
            async with self._client.stream("POST", url, headers=headers, content=body, timeout=limit) as response:
                read = await self._read(response)
                return Answer(response.status_code, response.headers.get("retry-after"), read)
        except httpx2.HTTPError as error:
            # Only its class: texts of some name the address, or a header.
            raise Passing(f"the connection failed ({type(error).__name__})") from None

    async def _read(self, response: Any) -> bytes:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise Passing("an answer that is packed, though nobody asked for that")
        parts, size = [], 0
        async for part in response.aiter_raw():
            parts.append(part)
            size += len(part)
            if size > MOST_BYTES:
                raise Passing(f"an answer of more than {MOST_BYTES:,} bytes")
        return b"".join(parts)


class _Loop:
    """The process's event loop, and the lines in it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._lines: dict[tuple[Any, ...], Line] = {}
        threading.Thread(target=self.loop.run_forever, name="poolsieve-endpoints", daemon=True).start()

    def line(self, key: tuple[Any, ...], concurrency: int) -> Line:
        """The line of an address; called in the loop."""
        if key not in self._lines:
            self._lines[key] = Line(concurrency)
        return self._lines[key]


_loops: dict[int, _Loop] = {}
"""By process: a forked one has no thread of its parent."""
_lock = threading.Lock()


def the_loop() -> _Loop:
    """The loop of this process."""
    with _lock:
        if os.getpid() not in _loops:
            _loops[os.getpid()] = _Loop()
        return _loops[os.getpid()]


def submit(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Has the loop do some work; to cancel the future ends it."""
    return asyncio.run_coroutine_threadsafe(work, the_loop().loop)
