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
        """Ends it and its session, such as the executors that a worker of Spark has started.

        What ignores the request is ended by force, also where the process itself has gone by then.
        """
        if not self.alive:
            return  # another one's session may have its number
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            until = time.monotonic() + _PATIENCE
            while (left := self.alive or _runs(self.pid)) and time.monotonic() < until:
                time.sleep(0.05)
            if not left:
                return

    def last_words(self, most: int = 300) -> str:
        """The end of its log."""
        lines = [line.strip() for line in Path(self.log).read_text(errors="replace").splitlines() if line.strip()]
        return " ".join(lines[-3:])[-most:]


def _began(pid: int) -> str:
    return started_at(pid) if os.path.exists("/proc/self") else said_by_ps(pid)


def _runs(group: int) -> bool:
    """Whether anything of a process group runs; one that nobody has waited for (a zombie) does not."""
    if os.path.exists("/proc/self"):
        return any(_is_in(group, Path(entry.path, "stat")) for entry in os.scandir("/proc") if entry.name.isdecimal())
    command, env = ["ps", "-A", "-o", "pgid=,state="], {"LC_ALL": "C", "PATH": os.defpath}
    said = subprocess.run(command, capture_output=True, text=True, check=False, env=env).stdout  # noqa: S603  (fixed)
    lines = [line.split() for line in said.splitlines()]
    return any(line[0] == str(group) and not line[1].startswith("Z") for line in lines if len(line) > 1)


def _is_in(group: int, stat: Path) -> bool:
    try:
        state, _, number, *_ = stat.read_bytes().rpartition(b")")[2].split()
    except OSError:
        return False
    return state not in (b"Z", b"X") and int(number) == group


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
