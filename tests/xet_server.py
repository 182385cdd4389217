"""The storage server that hf_xet speaks to: xet-core's own for tests, `local_cas_server`, built once from crates.io.

    python -m tests.xet_server     # builds it; `make xet-server` does the same

Where it has not been built, tests that need it are skipped. It is the version of the `hf_xet` that is installed.
"""

from __future__ import annotations

import http.client
import importlib.metadata
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = "local_cas_server"
START_SECONDS = 60.0


def version() -> str:
    """xet-core's crates and its wheel are released together."""
    return importlib.metadata.version("hf_xet")


def folder() -> Path:
    """Where the server is kept, for all checkouts."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "poolsieve-tests" / f"xet-client-{version()}"


def program() -> Path | None:
    """The server that was built; None where none was."""
    found = folder() / "bin" / PROGRAM
    return found if found.is_file() else None


def build() -> Path:
    """Builds it, which takes a compiler for C and C++, CMake, and some minutes."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise SystemExit("cargo is not installed: https://rustup.rs")
    what = ("xet-client", "--version", f"={version()}", "--features", "simulation", "--bin", PROGRAM)
    how = ("--debug", "--locked", "--root", str(folder()))
    subprocess.run([cargo, "install", *what, *how], check=True)
    return folder() / "bin" / PROGRAM


class XetServer:
    """One server with nothing in it, in a process of its own."""

    def __init__(self, found: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="xet-server-")
        self.port = _free_port()
        command = [str(found), "--port", str(self.port), "--data-directory", self._folder.name]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, cwd=self._folder.name, **quiet)  # type: ignore[call-overload]
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            try:
                if self.ask("GET", "/health")[0] == 200:
                    return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"{PROGRAM} does not answer")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers by small names, and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, answer.read()
        finally:
            connection.close()

    def contents(self, xet_hash: str) -> bytes | None:
        """A whole file; None where there is none of that hash."""
        status, _, body = self.ask("GET", f"/simulation/files/{xet_hash}/data")
        return body if status == 200 else None


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    sys.stdout.write(f"{program() or build()}\n")
