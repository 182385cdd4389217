"""`subprocess` for commands of poolsieve, without its imports each time: processes are forked by one that has them.

`Popen` and `run` are as `subprocess` has them, for `[python, "-m", MODULE, ...]`, `[python, "-c", CODE, ...]`,
`[python, FILE, ...]` and `[poolsieve, ...]`. Whatever else is asked for, or where an interpreter would start otherwise,
is a process of `subprocess`. Not for tests of imports, of memory, or of how a command starts.
"""

from __future__ import annotations

import atexit
import functools
import inspect
import os
import pickle
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, AnyStr

from tests.fork_server import HEADER, NUMBER, Command

POOLSIEVE = str(Path(sys.executable).parent / "poolsieve")
PATIENCE = 120.0
"""Seconds for the server to load everything on a machine that is busy."""

TORCH = ("torchvision.ops",)
"""For `also`, where a command loads torch: another server, which takes longer to start."""

_AT_START = (
    "PYTHON",
    "LD_",
    "LC_",
    "LANG",
    "TZ",
    "OMP_",
    "OPENBLAS",
    "MKL_",
    "ARROW_",
    "GRPC_",
    "MALLOC",
    "JEMALLOC",
    "TORCH",
)
"""What is read when an interpreter or a library starts: beginnings of names."""

_PLAIN = {
    **dict.fromkeys(("executable", "preexec_fn", "gid", "gids", "uid")),
    **{"pass_fds": (), "shell": False, "umask": -1, "process_group": -1},
}


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_AT_START)}


class _Server:
    """One for each process that asks, and for what it has loaded beside the usual."""

    def __init__(self, also: Sequence[str]) -> None:
        self.ours, theirs = socket.socketpair()
        self.ours.settimeout(PATIENCE)
        self.environment = _read_at_start(os.environ)
        self.lock = threading.Lock()
        file = Path(__file__).with_name("fork_server.py")
        line = [sys.executable, str(file), str(theirs.fileno()), *also]
        self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        theirs.close()
        atexit.register(self.close)

    def asked(self, what: Any, files: Sequence[int] = ()) -> int:
        """The pid of a command that was started; or, for the pid of one that ended, its status."""
        data = pickle.dumps(what)
        with self.lock:
            socket.send_fds(self.ours, [HEADER.pack(len(data))], files)
            self.ours.sendall(data)
            answer = self.ours.recv(NUMBER.size)
        assert answer, "the process that forks commands has gone"
        return int(NUMBER.unpack(answer)[0])

    def close(self) -> None:
        self.ours.close()
        self.process.wait(PATIENCE)


@functools.cache
def _server_of(pid: int, also: Sequence[str]) -> _Server:
    return _Server(also)


def _line(arguments: Any) -> list[str] | None:
    """What stands after `python`, if that is all."""
    if isinstance(arguments, str | bytes | os.PathLike):
        return None
    first, *rest = (os.fspath(one) for one in arguments)
    if first == POOLSIEVE:
        return [first, *rest]
    plain = first == sys.executable and rest and (rest[0] in ("-m", "-c") or not rest[0].startswith("-"))
    return rest if plain else None


class Popen(subprocess.Popen[AnyStr]):
    """A process that was forked with everything loaded, where that makes no difference; `also`: with these modules too."""

    _ended: int | None = None  # readable when the process has ended

    def __init__(self, *given: Any, also: Sequence[str] = (), **how: Any) -> None:
        self._also = also
        super().__init__(*given, **how)

    @property
    def _server(self) -> _Server:
        return _server_of(os.getpid(), self._also)

    def _execute_child(self, *given: Any) -> None:
        start = super()._execute_child  # type: ignore[misc]
        how = inspect.signature(start).bind(*given).arguments
        environment = dict(os.environ if how["env"] is None else how["env"])
        folder, line = os.path.abspath(how["cwd"] or "."), _line(how["args"])
        plain = all(how.get(name, value) == value for name, value in _PLAIN.items()) and os.path.isdir(folder)
        if line is None or not plain or not self._starts_alike(environment):
            start(*given)
            return
        self._fork(Command(line, folder, environment, how["start_new_session"]), how)

    def _starts_alike(self, environment: Mapping[str, str]) -> bool:
        return hasattr(os, "pidfd_open") and _read_at_start(environment) == self._server.environment

    def _fork(self, command: Command, how: Mapping[str, Any]) -> None:
        standard = [how[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        try:
            files = [place if file == -1 else file for place, file in enumerate(standard)]
            self.pid = self._server.asked(tuple(command), files)
            self._ended, self._child_created = os.pidfd_open(self.pid), True
        finally:
            self._close_pipe_fds(*(how[name] for name in _PIPES))  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        """As `os.waitpid`, by the parent."""
        if self._ended is None:
            return super()._try_wait(wait_flags)  # type: ignore[misc,no-any-return]
        watch = select.poll()
        watch.register(self._ended, select.POLLIN)
        if not watch.poll(0 if wait_flags & os.WNOHANG else None):
            return 0, 0
        os.close(self._ended)
        return self.pid, self._server.asked(self.pid)

    def _internal_poll(self, *given: Any, **how: Any) -> int | None:
        if self._ended is None:
            return super()._internal_poll(*given, **how)  # type: ignore[misc,no-any-return]
        if self.returncode is None and self._waitpid_lock.acquire(False):
            try:
                pid, status = self._try_wait(os.WNOHANG) if self.returncode is None else (0, 0)
                if pid:
                    self._handle_exitstatus(status)  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()
        return self.returncode


_PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")


def run(
    arguments: Any, *, capture_output: bool = False, timeout: float | None = None, check: bool = False, **how: Any
) -> subprocess.CompletedProcess[Any]:
    """As `subprocess.run`, without its `input`."""
    if capture_output:
        how.update(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with Popen(arguments, **how) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(arguments, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done
