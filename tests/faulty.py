"""A small HTTP proxy in a thread that does to an object store's answers what networks and busy services do."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = ("internal", "unavailable", "slow_down", "no_answer", "cut", "late", "hang")
HANG = 1.0
"""Seconds without an answer; tests give the client a shorter patience."""

_REFUSALS = {
    "internal": (500, "InternalError"),
    "unavailable": (503, "ServiceUnavailable"),
    "slow_down": (503, "SlowDown"),
    "bad_gateway": (502, "BadGateway"),
    "denied": (403, "AccessDenied"),
    "expired": (400, "ExpiredToken"),
}


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that had no more patience has gone: nothing to print among what the tests read."""


class FaultyProxy:
    """Forwards to `upstream`, and treats each request as `fault(method, path, times)` says; "" lets it pass.

    `times` is how often the same request has been made before, so that a client that tries again gets through.
    `counts` has how often each fault was done.
    """

    def __init__(self, upstream: str, fault: Callable[[str, str, int], str]) -> None:
        self.upstream, self.fault = upstream, fault
        self.counts: Counter[str] = Counter()
        self._seen: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def chosen(self, method: str, path: str, part: str) -> str:
        with self._lock:
            times = self._seen[method, path + part]
            self._seen[method, path + part] += 1
        found = self.fault(method, path + part, times)
        with self._lock:
            self.counts[found] += 1
        return found

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def by_chance(seed: int, share: float, most: int = 3) -> Callable[[str, str, int], str]:
    """Faults on `share` of the requests, the same ones for a seed whatever the order; none after `most` tries."""

    def fault(method: str, path: str, times: int) -> str:
        # Names of temporary files and of runs differ from run to run, but not how many requests there are.
        drawn = blake2b(f"{seed} {method} {path} {times}".encode(), digest_size=8).digest()
        if times >= most or int.from_bytes(drawn[:4]) >= share * 2**32:
            return ""
        return FAULTS[drawn[4] % len(FAULTS)]

    return fault


class _Handler(BaseHTTPRequestHandler):
    proxy: FaultyProxy
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = self._chunks()
        fault = self.proxy.chosen(self.command, self.path, self.headers.get("Range", ""))
        if fault in _REFUSALS:
            self._refuse(*_REFUSALS[fault])
            return
        if fault == "hang":
            time.sleep(HANG)
            self._cut()
            return
        if fault == "late":
            time.sleep(0.2)
        status, headers, data = self._forwarded(body)
        if fault == "no_answer":  # what was asked for is done, and nobody hears of it
            self._cut()
            return
        self._answer(status, headers, data, cut=fault == "cut")

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do

    def _chunks(self) -> bytes:
        found = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            found.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(found)

    def _forwarded(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        host = self.proxy.upstream.removeprefix("http://")
        kept = {k: v for k, v in self.headers.items() if k.lower() not in ("transfer-encoding", "content-length")}
        connection = http.client.HTTPConnection(host, timeout=30)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, body, {**kept, "Content-Length": str(len(body))})
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        dropped = ("transfer-encoding", "connection", "content-length")
        for name, value in headers:
            if name.lower() not in dropped:
                self.send_header(name, value)
        stated = {k.lower(): v for k, v in headers}.get("content-length") if self.command == "HEAD" else None
        self.send_header("Content-Length", stated or str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self._cut()

    def _refuse(self, status: int, code: str) -> None:
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        self._answer(status, [("Content-Type", "application/xml")], b"" if self.command == "HEAD" else text)

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(2)
