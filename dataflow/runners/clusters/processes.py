"""Processes that outlive whoever started them: their output goes to files, and they are known by pid and start."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from poolsieve.dataflow.leases import said_by_ps, started_at

_PATIENCE = 15.0
"""Seconds between the request to end and the end by force."""


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One of a cluster's.

    Attributes:
        name: for people.
        pid: its number, and that of its session.
        started: when, as the system counts, since numbers are given again.
        log: file of its output.
    """

    name: str
    pid: int
    started: str
    log: str

    @property
    def alive(self) -> bool:
        """Whether it runs still."""
        with contextlib.suppress(ChildProcessError, OSError):
            os.waitpid(self.pid, os.WNOHANG)  # one of this process' own would stay a zombie
        return bool(self.started) and _began(self.pid) == self.started

    def end(self) -> None:
        """Ends it and its session, such as the executors that a worker of Spark has started."""
        for number, seconds in ((signal.SIGTERM, _PATIENCE), (signal.SIGKILL, _PATIENCE)):
            until = time.monotonic() + seconds
            if self.alive:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, number)
            while self.alive and time.monotonic() < until:
                time.sleep(0.05)

    def last_words(self, most: int = 300) -> str:
        """The end of its log."""
        lines = [line.strip() for line in Path(self.log).read_text(errors="replace").splitlines() if line.strip()]
        return " ".join(lines[-3:])[-most:]


def _began(pid: int) -> str:
    return started_at(pid) if os.path.exists("/proc/self") else said_by_ps(pid)


def start(name: str, command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> Process:
    """Starts a process of its own session in `folder`, with a log there.

    Args:
        name: also the log's.
        command: what to run.
        folder: its working folder.
        env: variables beside those of this process.
    """
    log = folder / f"{name}.log"
    with log.open("ab", buffering=0) as output:
        made = subprocess.Popen(  # noqa: S603  (of a cluster's own file)
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    return Process(name=name, pid=made.pid, started=_began(made.pid), log=str(log))
