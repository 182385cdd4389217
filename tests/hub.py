"""A server in a thread that speaks as much of the Hub's protocol as a download needs, and counts what it is asked."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests import forked

COMMIT = "c" * 40


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that had no more patience, or was killed, has gone: nothing to print."""


class Hub:
    """Repositories at one commit each, with SHA-256 ETags as files of Git LFS have.

    Attributes:
        repositories: `organisation/name` -> its folder.
        commits: `organisation/name` -> commit, of those that are not at `COMMIT`.
        counts: (method, file) -> requests.
        answers: status of every answer to come, with the hub's error code; None: what is asked for.
        wrong_size: file -> bytes that a HEAD says it has.
        slow: file -> seconds between two 4 KiB of it.
        stuck: files of which the first half is sent, and no more.
        also: commits that are there beside each repository's own.
        stalled: no request is answered while it is true.
        loaded: modules that processes have from their start; no client of the Hub, which reads the environment.
    """

    def __init__(self, repositories: Mapping[str, Path], loaded: Sequence[str] = ()) -> None:
        self.loaded = loaded
        self.repositories = dict(repositories)
        self.commits: dict[str, str] = {}
        self.counts: Counter[tuple[str, str]] = Counter()
        self.answers: tuple[int, str] | None = None
        self.wrong_size: dict[str, int] = {}
        self.slow: dict[str, float] = {}
        self.stuck: set[str] = set()
        self.also: set[str] = set()
        self.stalled = False
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self.stalled, self.stuck = False, set()
        self._server.shutdown()
        self._server.server_close()

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """For a process that knows this hub and no other, with a cache of its own."""
        bare = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        ours = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        return {**bare, **ours, "HF_HUB_DISABLE_PROGRESS_BARS": "1", **more}

    def start(self, code: str, home: Path, **more: str) -> subprocess.Popen[str]:
        """A Python process that runs `code`."""
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        env = self.environment(home, **more)
        return forked.Popen([sys.executable, "-c", code], also=self.loaded, env=env, text=True, **pipes)

    def run(self, code: str, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
        """What a Python process that runs `code` says."""
        process = self.start(code, home, **more)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(code, process.returncode, out, err)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        hub, parts = self.hub, self.path.lstrip("/").split("/")
        name = parts[-1]
        with hub.lock:
            hub.counts[self.command, name] += 1
        while hub.stalled:
            time.sleep(0.05)
        if len(parts) != 5 or parts[2] != "resolve":
            self.refuse(404, "")
            return
        repository = "/".join(parts[:2])
        if hub.answers is not None:
            self.refuse(*hub.answers)
        elif repository not in hub.repositories:
            self.refuse(404, "RepoNotFound")
        elif parts[3] not in ("main", self.commit(repository), *hub.also):
            self.refuse(404, "RevisionNotFound")
        else:
            self.file(repository, name, body)

    def commit(self, repository: str) -> str:
        """That of the request's revision."""
        asked = self.path.split("/")[4]
        return asked if asked in self.hub.also else self.hub.commits.get(repository, COMMIT)

    def refuse(self, status: int, code: str, commit: str = "") -> None:
        self.send_response(status)
        if commit:
            self.send_header("X-Repo-Commit", commit)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def file(self, repository: str, name: str, body: bool) -> None:
        path = self.hub.repositories[repository] / name
        if not path.is_file():
            self.refuse(404, "EntryNotFound", self.commit(repository))
            return
        data = path.read_bytes()
        self.send_response(200)
        self.send_header("X-Repo-Commit", self.commit(repository))
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        size = len(data) if body else self.hub.wrong_size.get(name, len(data))
        self.send_header("Content-Length", str(size))
        self.end_headers()
        if body and name in self.hub.stuck:
            self.wfile.write(data[: len(data) // 2])
            while name in self.hub.stuck:
                time.sleep(0.05)
        elif body:
            self.send(data, self.hub.slow.get(name, 0.0))

    def send(self, data: bytes, pause: float) -> None:
        for start in range(0, len(data), 4096 if pause else max(len(data), 1)):
            self.wfile.write(data[start : start + (4096 if pause else len(data))])
            time.sleep(pause)
