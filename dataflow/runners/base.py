"""What a runner is: a few settings in, Beam's pipeline options and its runner out. Beam is not imported with this."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from poolsieve.scoring_models.devices.choice import cores

if TYPE_CHECKING:
    from poolsieve.dataflow.runners.place import Place


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What every runner is told.

    Attributes:
        workers: shards at a time.
        processes: whether the program gains nothing from threads, and its workers should be processes.
        flags: further Beam flags, as on a command line.
    """

    workers: int = 1
    processes: bool = False
    flags: Sequence[str] = ()


class Runner(Protocol):
    """One place where pipelines run. Has no state; a module of its own and one line in `engine.RUNNERS`."""

    @property
    def about(self) -> str:
        """One line for `--help`."""
        ...

    def check(self, setting: Setting) -> None:
        """Refuses what can't work, before any work starts.

        Raises:
            PlanError: saying what is missing.
        """
        ...

    def flags(self, setting: Setting) -> list[str]:
        """Beam's flags for this runner, those of the user left out."""
        ...

    def beam_runner(self, setting: Setting) -> Any:
        """What `beam.Pipeline(runner=...)` takes."""
        ...

    def opened(self, setting: Setting) -> contextlib.AbstractContextManager[Place]:
        """Where one pipeline runs: what is started for it ends with the block."""
        ...


def import_beam() -> None:
    """Imports Beam without its remarks on packages that nobody here needs.

    It says them by `logging.warning`, which would also give the user's root logger a handler for good.
    """
    spare_loopback()
    root, silent = logging.getLogger(), logging.NullHandler()
    root.addHandler(silent)
    root.addFilter(_not_of_beams_imports)
    try:
        importlib.import_module("apache_beam")
    finally:
        root.removeFilter(_not_of_beams_imports)
        root.removeHandler(silent)


SPARED = "no_grpc_proxy"
"""The variable by which gRPC knows what it must not ask a proxy for."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def spare_loopback() -> None:
    """Has gRPC reach this machine itself, whatever proxy the environment names: a proxy knows another loopback.

    gRPC takes `http_proxy` for every address that `no_grpc_proxy`, or else `no_proxy`, does not name. What is set here
    holds for this process and those that it starts.
    """
    said = os.environ.get(SPARED) or os.environ.get("no_proxy") or ""
    names = [one for one in said.split(",") if one]
    if missing := [one for one in _LOOPBACK if one not in names]:
        os.environ[SPARED] = ",".join([*names, *missing])


def _not_of_beams_imports(record: logging.LogRecord) -> bool:
    return "apitools" not in str(record.msg)


def threads_for(workers: int) -> int:
    """Threads that one worker may keep busy, so that all of them together fill the machine."""
    return max(1, cores() // max(1, workers))


THREADS = "POOLSIEVE_THREADS"
"""The variable by which a pool tells its workers how many threads each may keep busy."""


def own_threads() -> int:
    """Threads that this process may keep busy: its pool's word, else one for each core of the machine it is on."""
    said = os.environ.get(THREADS, "")
    return int(said) if said.isdecimal() and int(said) else cores()


def quiet_threads() -> None:
    """Keeps Beam's threads from printing the trace of whatever a step raises, besides handing it over.

    They use `print`, which no logging level reaches; the user reads the error once, in words.
    """
    for name in ("sdk_worker", "log_handler"):
        module: Any = importlib.import_module(f"apache_beam.runners.worker.{name}")
        module.print = lambda *_, **__: None
