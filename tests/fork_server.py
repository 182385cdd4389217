"""A process that has Beam and pyarrow loaded, and forks for each command that `tests.forked` sends: no imports anew.

What is forked is a process of its own: it takes on the arguments, environment, folder and open files of the command, runs
it as `__main__`, and ends as an interpreter ends. Nothing is loaded here that reads the environment then, or starts threads
of Python: those would be missing after the fork. (Those of OpenBLAS and jemalloc come back by themselves.)
"""

from __future__ import annotations

import atexit
import gc
import importlib
import logging
import os
import pickle
import runpy
import signal
import socket
import struct
import sys
import threading
import types
import warnings
from pathlib import Path
from typing import Any, NamedTuple

LOADED = (
    "apache_beam.runners.portability.fn_api_runner",
    "httpx2",
    "numpy",
    "pandas",
    "poolsieve.dataflow.passes.submit",
    "poolsieve.filters",
    "poolsieve.jobs.api",
    "poolsieve.jobs.items",
    "poolsieve.jobs.logs",
    "poolsieve.jobs.parts",
    "poolsieve.jobs.publish",
    "pyarrow.compute",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "rich.progress",
)
READ_WHEN_IMPORTED = ("huggingface_hub", "datasets", "transformers")
HEADER = NUMBER = struct.Struct("q")


class Command(NamedTuple):
    """What is asked for.

    Attributes:
        line: what stands after `python`: `-m` and a module, `-c` and code, or a file; then its arguments.
        folder: where it runs.
        environment: all of it.
        session: whether in a session of its own.
    """

    line: list[str]
    folder: str
    environment: dict[str, str]
    session: bool


class Job(NamedTuple):
    """What a forked process is to become: a command, and the files that are its standard ones."""

    command: Command
    files: list[int]


def received(requests: socket.socket) -> tuple[Any, list[int]]:
    """The next request with its open files; None when nobody asks any more."""
    head, files, _, _ = socket.recv_fds(requests, HEADER.size, 3)
    if not head:
        return None, []
    size, data = HEADER.unpack(head)[0], b""
    while len(data) < size:
        data += requests.recv(size - len(data))
    return pickle.loads(data), list(files)


def serve(requests: socket.socket) -> Job | None:
    """Forks what is asked for, and waits for the processes that are said to have ended; in a forked one what it is to do."""
    while (asked := received(requests))[0] is not None:
        what, files = asked
        if isinstance(what, int):
            requests.sendall(NUMBER.pack(os.waitpid(what, 0)[1]))
        elif not fork():
            return Job(Command(*what), files)
        for file in files:
            os.close(file)
    return None


def fork() -> int:
    """As `os.fork`."""
    assert threading.active_count() == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python counts the threads of OpenBLAS and jemalloc
        return os.fork()


def become(job: Job, interrupted: Any) -> None:
    """Takes on what a new process would have."""
    for place, file in enumerate(job.files):
        os.dup2(file, place)
        os.close(file)
    if job.command.session:
        os.setsid()
    os.chdir(job.command.folder)
    os.environ.clear()
    os.environ.update(job.command.environment)
    signal.signal(signal.SIGINT, interrupted)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    sys.modules["numpy"].random.seed()
    importlib.invalidate_caches()
    atexit.register(gc.unfreeze)  # an interpreter that ends looks at what it has loaded


def carry_out(line: list[str]) -> None:
    """Runs it as `python LINE` would."""
    what, *rest = line
    if what == "-m":
        sys.argv = rest
        sys.path.insert(0, os.getcwd())
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif what == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path.insert(0, "")
        sys.modules["__main__"] = main = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    else:
        sys.argv = line
        sys.path.insert(0, str(Path(what).resolve().parent))
        runpy.run_path(what, run_name="__main__")


def load(also: list[str]) -> None:
    """All of `LOADED` and these, with what they say on the way unheard."""
    unheard = logging.NullHandler()
    logging.getLogger().addHandler(unheard)
    for name in (*LOADED, *also):
        importlib.import_module(name)
    logging.getLogger().removeHandler(unheard)
    early = [name for name in READ_WHEN_IMPORTED if name in sys.modules]
    assert not early, f"{early} would not see the environment of a command"
    gc.collect()
    gc.freeze()


def main() -> None:
    """Loads everything, serves, and in a forked process carries out its command."""
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)
    del sys.path[0]
    load(sys.argv[2:])
    requests = socket.socket(fileno=int(sys.argv[1]))
    if (job := serve(requests)) is not None:
        become(job, interrupted)
        requests.sendall(NUMBER.pack(os.getpid()))  # not before: signals may come from now on
        requests.close()
        carry_out(job.command.line)


if __name__ == "__main__":
    main()
