"""What bringing up a cluster has in common: processes one after the other, each awaited by a sign of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from poolsieve.dataflow.runners.base import threads_for
from poolsieve.dataflow.runners.clusters.artefacts import Say
from poolsieve.dataflow.runners.clusters.processes import Process, start
from poolsieve.dataflow.runners.clusters.state import Cluster
from poolsieve.dataflow.runners.network import wait_until
from poolsieve.dataflow.runners.worker_pool import LOOPBACK, ask
from poolsieve.scoring_models.base.errors import PoolsieveError

STEP_SECONDS = 180.0
"""Seconds that each step has to show its sign."""


@dataclass
class Rising:
    """A cluster that is being started.

    Attributes:
        folder: of its logs and working files.
        say: is told each step.
        note: is given the processes after each one that was started: they outlive an `up` that is killed.
    """

    folder: Path
    say: Say
    note: Callable[[Sequence[Process]], None] = lambda _: None
    processes: list[Process] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> Process:
        """One more process."""
        made = start(name, command, self.folder, env)
        self.processes.append(made)
        self.note(self.processes)
        self.say(f"{name}: process {made.pid}, {made.log}")
        return made

    def until(self, what: str, sign: Callable[[], Any], seconds: float = STEP_SECONDS) -> Any:
        """What `sign` returns, once that is something.

        Raises:
            PoolsieveError: if a process has died, or time is over: in one line, with what its log says last.
        """
        try:
            return wait_until(sign, seconds, self._died)
        except TimeoutError as error:
            last = self.processes[-1]
            raise PoolsieveError(
                f"{what} did not come up: {error}; {last.log} ends with: {last.last_words() or 'nothing'}"
            ) from error

    def _died(self) -> str:
        dead = [one for one in self.processes if not one.alive]
        return f"{dead[0].name} has ended by itself ({dead[0].last_words() or 'its log is empty'})" if dead else ""

    def pool(self, python: str, port: int, workers: int) -> str:
        """Starts a pool of Python workers, so many at a time; its address, once it answers."""
        address, threads = f"{LOOPBACK}:{port}", threads_for(workers)
        self.start("pool", [python, "-m", "poolsieve.jobs.cli", "pool", "--port", str(port), "--threads", str(threads)])
        self.until("the worker pool", lambda: ask(address, timeout=2.0))
        return address

    def end(self) -> None:
        """Ends what was started, the last first."""
        for process in reversed(self.processes):
            process.end()


class Kind(Protocol):
    """How one engine is brought up. A file of its own and one line in `up.KINDS`."""

    def fetch(self, say: Say) -> None:
        """Fetches and builds what is missing.

        Raises:
            PlanError: if that can't be had.
        """
        ...

    def start(self, rising: Rising, workers: int) -> Cluster:
        """Starts everything and waits for each step.

        Raises:
            PoolsieveError: if a step shows no sign.
        """
        ...
