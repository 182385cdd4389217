"""A server in a thread that speaks chat completions, behaves as it is told, and counts what it is asked."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple


class Sent(NamedTuple):
    """What goes over the wire, byte for byte.

    `stated`: the length that the header names; None for the body's own, -1 for no header. `endless`: the body is sent
    again and again. `wait`: seconds before anything is sent.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})
    stated: int | None = None
    endless: bool = False
    wait: float = 0.0


def said(text: Any, tokens: tuple[int, int] | None = (10, 5), **choice: Any) -> Sent:
    """A proper answer."""
    made: dict[str, Any] = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, **choice}]}
    if tokens is not None:
        made["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return Sent(200, json.dumps(made).encode(), {"Content-Type": "application/json"})


def text_of(asked: dict[str, Any]) -> str:
    """The text of the last message of a request."""
    content = asked["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


class Chat:
    """The server.

    Attributes:
        answer: what it does with a request.
        asked: texts of questions -> requests.
        requests: bodies of all requests, in order; `headers` those of the same.
        most: requests under way at a time, at most.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], Sent] = lambda asked: said("OK")) -> None:
        self.answer = answer
        self.asked: Counter[str] = Counter()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.paths: Counter[str] = Counter()
        self.most = self.now = 0
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"chat": self}))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Chat:
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that had no more patience, or was killed, has gone: nothing to print."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    chat: Chat

    def do_POST(self) -> None:
        chat, asked = self.chat, json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with chat.lock:
            chat.requests.append(asked)
            chat.headers.append(dict(self.headers))
            chat.times.append(time.monotonic())
            chat.paths[self.path] += 1
            chat.asked[text_of(asked)] += 1
            chat.now += 1
            chat.most = max(chat.most, chat.now)
        try:
            self._send(chat.answer(asked))
        finally:
            with chat.lock:
                chat.now -= 1

    def _send(self, sent: Sent) -> None:
        time.sleep(sent.wait)
        self.send_response(sent.status)
        for name, value in sent.headers.items():
            self.send_header(name, value)
        if sent.stated != -1 and not sent.endless:
            self.send_header("Content-Length", str(len(sent.body) if sent.stated is None else sent.stated))
        else:
            self.close_connection = True
        self.end_headers()
        self.wfile.write(sent.body)
        while sent.endless:
            self.wfile.write(sent.body)
        if sent.stated is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass
