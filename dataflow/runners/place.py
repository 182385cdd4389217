"""Where one pipeline runs: what must stand there first, how its end is awaited, and what ends with it."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from poolsieve.dataflow import progress
from poolsieve.dataflow.runners.clusters.state import gone, hopeless
from poolsieve.dataflow.runners.failures import cause_in, known_in, lacking_in, told
from poolsieve.dataflow.runners.guard import Guard, cancel_flink, flink_failures
from poolsieve.dataflow.runners.worker_pool import ask
from poolsieve.scoring_models.base.errors import PoolsieveError

Sign = Callable[[], bool]
"""Whether anything of the job was seen to be done since it was asked last."""

START_SECONDS = 600.0
"""Seconds that may pass with no worker at work and nothing done, unless `--start_seconds` says otherwise."""

_LOOK, _LOOK_AGAIN = 0.2, 10.0
"""Seconds between two looks at the flag that asks to stop; between two looks for a sign of work."""

_CANCEL = 20.0
"""Seconds that an engine has to take the word that a job is cancelled."""


class Place:
    """This process: Beam's runner ends when the job has."""

    flags: Sequence[str] = ()

    def run(self, pipeline: Any, sign: Sign) -> None:
        """Runs a pipeline to its end."""
        pipeline.run().wait_until_finish()


@contextlib.contextmanager
def guarded(guard: Guard) -> Iterator[Guard]:
    """Ends the guard with the block: what it watches has come to its own end, unless the block raises."""
    orderly = False
    with _quiet_threads():  # which still read from a service that the guard ends
        try:
            yield guard
            orderly = True
        finally:
            guard.end(orderly=orderly)


@dataclass
class Elsewhere(Place):
    """A job service. The job is cancelled when this process is asked to stop, dies, or has waited too long.

    Attributes:
        what: the engine, for people.
        endpoint: of the job service; empty for one that is no service of Beam's.
        guard: stands by the job.
        flags: Beam's, beside those of the preset.
        pool: where workers come from, if this process can ask there; else empty.
        flink: URL of Flink's REST service, or empty.
        start_seconds: that may pass without a sign of work.
        cluster: kind of this machine's, if it is on one; else empty.
        engine_log: what the engine itself says, of this job and others; None if it is not here.
        name: the job's.
    """

    what: str
    endpoint: str
    guard: Guard
    flags: Sequence[str] = ()
    pool: str = ""
    flink: str = ""
    start_seconds: float = START_SECONDS
    cluster: str = ""
    engine_log: Path | None = None
    name: str = field(default_factory=lambda: f"poolsieve-{uuid.uuid4().hex[:12]}")

    def run(self, pipeline: Any, sign: Sign) -> None:
        """Runs a pipeline to its end, and ends it whenever nobody wants it any more.

        Raises:
            PoolsieveError: in one line, what stopped it; the whole trace is in a file that it names.
        """
        moves, said = self._moving(sign), self._engine_said()
        if self.flink:
            self.guard.watch(flink=self.flink, name=self.name)  # which is known before there is a job
        job = Submitted(pipeline, self._name)
        job.start()
        try:
            self._wait(job, moves)
        except BaseException:
            self._cancel(job)
            raise
        if job.error is not None:
            self._cancel(job)  # an engine may go on with other branches of a job that has failed
            self._check_cluster()  # what broke off without it tells less
            texts = [str(job.error), *job.messages(), _tail(self.guard.log), self._engine_said(said)[1]]
            ended = (gone(self.cluster) if self.cluster else "") or self.guard.ended()
            raise told(texts, what=f"the job on {self.what}", ended=ended)

    def _engine_said(self, before: tuple[int, str] = (0, "")) -> tuple[int, str]:
        """(length of the engine's log, what it says since it had the length before)."""
        if self.engine_log is None or not self.engine_log.exists():
            return 0, ""
        size = self.engine_log.stat().st_size
        return size, _tail(self.engine_log, before[0]) if before[0] else ""

    def _moving(self, sign: Sign) -> Sign:
        """Whether a worker that was started since now is at work, or something was done since the last look."""
        said = ask(self.pool) if self.pool else None
        before = said.started if said is not None else 0

        def moves() -> bool:
            said = ask(self.pool, timeout=_LOOK_AGAIN) if self.pool else None
            return (said is not None and said.started > before and said.alive > 0) or sign()

        return moves

    def _wait(self, job: Submitted, moves: Sign) -> None:
        moved = looked = time.monotonic()
        while not job.done.wait(_LOOK):
            progress.check()
            if time.monotonic() - looked > min(_LOOK_AGAIN, self.start_seconds):
                looked = time.monotonic()
                self._check_hope()
                moved = looked if not math.isfinite(self.start_seconds) or moves() else moved
                if looked - moved > self.start_seconds:
                    raise self._nothing_moves()

    def _check_hope(self) -> None:
        """Raises what an engine that begins a job anew again and again would tell late, or never."""
        self._check_cluster()
        traces = flink_failures(self.flink, self.name) if self.flink else ""
        if lacking_in(traces):
            raise told([traces], what=f"the job on {self.what}")

    def _check_cluster(self) -> None:
        if why := hopeless(self.cluster) if self.cluster else "":
            raise PoolsieveError(why)

    def _name(self, job: Submitted) -> None:
        self.guard.watch(endpoint=self.endpoint, job=str(job.id))

    def _nothing_moves(self) -> PoolsieveError:
        why = (
            known_in(_tail(self.guard.log))
            or (cause_in(flink_failures(self.flink, self.name)) if self.flink else None)
            or "it may have no free place, not reach the worker pool or this machine, or have executors that share "
            "a worker pool of Beam's own"
        )
        return PoolsieveError(
            f"no worker at work and nothing done for {self.start_seconds:.0f} s on {self.what}: {why}; "
            f"{self.guard.log} may say more. -- --start_seconds=N waits longer"
        )

    def _cancel(self, job: Submitted) -> None:
        thread = threading.Thread(target=job.cancel, daemon=True)  # an engine that is stuck must not hold us
        thread.start()
        thread.join(timeout=_CANCEL)
        if self.flink:
            cancel_flink(self.flink, self.name)
        elif job.cancelled:
            self.guard.settled()


class Submitted(threading.Thread):
    """A submitted pipeline, and the end of it.

    Args:
        pipeline: Beam's.
        named: called as soon as the service has given the job a name.
    """

    def __init__(self, pipeline: Any, named: Callable[[Submitted], None]) -> None:
        super().__init__(daemon=True, name="poolsieve-beam")
        self.pipeline, self.named = pipeline, named
        self.done, self.sent = threading.Event(), threading.Event()
        self.result: Any = None
        self.error: Exception | None = None
        self.cancelled = False
        self._context = contextvars.copy_context()

    def run(self) -> None:
        """Submits and waits."""
        try:
            self._context.run(self._run)
        except Exception as error:  # noqa: BLE001  (the waiting thread tells of it)
            self.error = error
        finally:
            self.sent.set()
            self.done.set()

    def _run(self) -> None:
        with _quiet_messages():
            self.result = self.pipeline.run()
            self.named(self)
            self.sent.set()
            self.result.wait_until_finish()

    @property
    def id(self) -> str | None:
        """The job service's name for it, once it has one."""
        return getattr(self.result, "_job_id", None) or getattr(getattr(self.result, "_job", None), "id", None)

    def cancel(self) -> None:
        """Asks the job service, whatever it says; a job that is just being sent is asked for once it is there."""
        if self.sent.wait(_CANCEL) and self.result is not None:
            with contextlib.suppress(Exception):
                self.result.cancel()
                self.cancelled = True

    def messages(self) -> Iterator[str]:
        """What the job service said of it, the last first."""
        for message in reversed(list(getattr(self.result, "_messages", ()))):
            if message.HasField("message_response"):
                yield message.message_response.message_text


@contextlib.contextmanager
def _quiet_messages() -> Iterator[None]:
    """Beam says what a job service says by the root logger: traces that are told in one line, and kept in a file."""
    root = logging.getLogger()
    root.addFilter(_not_of_a_job)
    try:
        yield
    finally:
        root.removeFilter(_not_of_a_job)


@contextlib.contextmanager
def _quiet_threads() -> Iterator[None]:
    """A thread of Beam's that loses its service prints a trace of it; the job's own error tells it."""
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if args.exc_type.__module__.partition(".")[0] != "grpc":
            before(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        for thread in threading.enumerate():
            if thread.name == _READER:
                thread.join(_READ_ON)  # it may be just about to print
        threading.excepthook = before


_READER, _READ_ON = "wait_until_finish_read", 2.0
"""Thread in which Beam's client reads what a job's service says; seconds that it has to see that this is over."""


def _not_of_a_job(record: logging.LogRecord) -> bool:
    return record.module != "portable_runner" or logging.getLogger("poolsieve").isEnabledFor(logging.INFO)


_TAIL = 1 << 20
"""Bytes of a log that are searched for a cause."""


def _tail(path: Path, start: int = 0) -> str:
    with path.open("rb") as file:
        file.seek(max(start, path.stat().st_size - _TAIL))
        return file.read().decode(errors="replace")
