"""Ports and small questions to services: is something there, what does it say. Nothing waits without a limit."""

from __future__ import annotations

import http.client
import json
import socket
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from poolsieve.scoring_models.base.errors import PlanError

ANSWER = 10.0
"""Seconds in which a service must take a connection."""

_PAUSE = 0.2


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has, all different. Another process may still take one before it is used."""
    open_ones = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in open_ones]
    finally:
        for one in open_ones:
            one.close()


def host_and_port(address: str, what: str) -> tuple[str, int]:
    """`spark://host:7077` or `host:7077` -> its parts.

    Raises:
        PlanError: for anything else.
    """
    host, colon, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    if not colon or not host or not port.isdecimal():
        raise PlanError(f"{address!r} is no address of {what}: write HOST:PORT")
    return host.strip("[]"), int(port)


def listens(host: str, port: int, timeout: float = ANSWER) -> bool:
    """Whether something takes connections there."""
    try:
        with socket.create_connection((host, port), timeout=timeout):
            return True
    except OSError:
        return False


def check_listens(address: str, what: str, hint: str) -> None:
    """Refuses an address where nothing answers.

    Raises:
        PlanError: naming it and what to do.
    """
    host, port = host_and_port(address, what)
    if not listens(host, port):
        raise PlanError(f"{what} does not answer at {host}:{port}: {hint}")


def is_loopback(address: str) -> bool:
    """Whether an address means the machine that it is used on."""
    return host_and_port(address, "a service")[0] in ("localhost", "::1") or address.rpartition("://")[2].startswith(
        "127."
    )


def get_json(url: str, timeout: float = ANSWER, method: str = "GET") -> Any:
    """What a REST service says; None if it says nothing that can be read."""
    try:
        # A service of the cluster, by http; never a file.
        request = urllib.request.Request(url, method=method)  # noqa: S310
        with _direct.open(request, timeout=timeout) as answer:
            return json.loads(answer.read() or b"null")
    except (OSError, ValueError, http.client.HTTPException):
        return None


_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Without the environment's proxy, which knows no loopback."""


def wait_until(true: Callable[[], Any], seconds: float, failed: Callable[[], str] = lambda: "") -> Any:
    """What `true` returns once that is something.

    Args:
        true: asked again and again.
        seconds: after which nothing more is awaited.
        failed: says why waiting has become pointless, or "".

    Raises:
        TimeoutError: with what `failed` says, or when time is over.
    """
    until = time.monotonic() + seconds
    while not (found := true()):
        if why := failed():
            raise TimeoutError(why)
        if time.monotonic() > until:
            raise TimeoutError(f"nothing within {seconds:.0f} s")
        time.sleep(_PAUSE)
    return found
