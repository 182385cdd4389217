"""What stopped a job on a cluster, in one line, out of hundreds that engines print of it."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from poolsieve.dataflow.caches import cache_folder
from poolsieve.dataflow.storage_errors import explained
from poolsieve.scoring_models.base.errors import PoolsieveError

_OURS = re.compile(r"\bpoolsieve(?:\.[a-z_]\w*)+\.[A-Z]\w*: (.+)")
"""An error of ours, as a trace prints it."""

_SYSTEM = re.compile(r"\b\w*Error: \[Errno (\d+)\] ([^:\[]*)(?:: '([^']*)')?")
"""An error of the operating system as Python prints it: its number, its text, and mostly a path."""

_STEP = re.compile(r"(?:^|[\s:])([A-Za-z_][\w.]*): (.*) \[while running '([^']+)'")
"""Whatever a step raised: Beam adds the step's name."""

_RUNNING = " [while running "

_NO_PACKAGE = re.compile(r"ModuleNotFoundError: No module named '([^']+)'")

_KNOWN: tuple[tuple[str, str], ...] = (
    (
        r"Only one SparkContext should be running",
        "that Spark job server has a job already, or one that was left behind: leave --job_endpoint out, and each run "
        "has a job server of its own",
    ),
    (
        r"Insufficient number of network buffers[^\n]*",
        "Flink has too little memory for network buffers: raise taskmanager.memory.network.min and .max, or lower "
        "taskmanager.network.sort-shuffle.min-buffers",
    ),
    (
        r"NoResourceAvailableException|Could not acquire the minimum required resources",
        "Flink has no free slot for the job: start a task manager, or wait for other jobs",
    ),
    (
        r"(?:unable to start sdk worker|StatusRuntimeException: UNAVAILABLE: io exception)(?s:.*?)"
        r"(?:onnection refused)",
        "no worker pool answers where the job's flags say: start one with `poolsieve pool`",
    ),
    (
        r"InvalidClassException: [^\n]*local class incompatible",
        "the job server's jar and the cluster have other versions of Spark, Scala or Flink: take the cluster's jar",
    ),
    (
        r"(?:NoClassDefFoundError|ClassNotFoundException): org[./]apache[./](?:spark|flink)[./][^\n]*",
        "the job server has not the engine's jars on its class path, or those of another version: start it with those "
        "of the cluster",
    ),
    (
        r"ClassNotFoundException: org\.apache\.beam\.[^\n]*",
        "the cluster has not got Beam's classes from the job server: name its jar by -- --files_to_stage=JAR",
    ),
    (r"State: CANCELLED", "somebody cancelled the job: the same command goes on from there"),
    (r"java\.lang\.OutOfMemoryError[^\n]*", "the engine's Java ran out of memory: give its executors more"),
    (r"No space left on device", "a disk of the cluster is full"),
)
"""What engines say -> what it means. The first that is found counts."""

_GONE = (
    r"SDK worker disconnected|Socket closed|Cancelled multiplexer|Call was cancelled|CANCELLED: client cancelled"
    r"|SDK Harness .{0,40}(?:disconnected|died)|is not connected|closed before|Stream removed|Channel shutdown",
    "a worker process ended in the middle of its work (killed, or out of memory?): its pool's log says more, and the "
    "same command goes on from there",
)
"""The same of a connection that broke, which is also what follows from any other cause."""

_SHOWN = 300
"""Characters of an engine's own words that a message repeats."""


def cause_in(*texts: str, ended: str = "") -> BaseException | None:
    """The error that a job's texts tell of: the last of ours, or of the system, of a step, or one that is known.

    Each text is searched before the next; only when none has a cause, and nothing else has `ended`, does a broken
    connection count as one.
    """
    found = (find(text) for text in texts for find in (_ours, _systems, _packages, _steps, _known))
    cause = next((one for one in found if one is not None), PoolsieveError(ended) if ended else None)
    return cause or next((one for one in map(_gone, texts) if one is not None), None)


def plain_cause_in(text: str) -> BaseException | None:
    """The same, of errors that need no guess: ours, and the system's."""
    return _ours(text) or _systems(text)


def known_in(text: str) -> BaseException | None:
    """The same, of what goes on: only what can't mend itself."""
    return _ours(text) or _known(text)


def lacking_in(text: str) -> BaseException | None:
    """The same, of what a worker has not, however often it is tried."""
    return _packages(text)


def _ours(text: str) -> BaseException | None:
    lines = _OURS.findall(text)
    return PoolsieveError(lines[-1].partition(_RUNNING)[0].strip()) if lines else None


def _systems(text: str) -> BaseException | None:
    found = _SYSTEM.findall(text)
    if not found:
        return None
    number, said, name = found[-1]
    raised = OSError(int(number), said.strip(), name or None)  # of the class that belongs to the number
    return explained(raised) or raised


def _packages(text: str) -> BaseException | None:
    found = _NO_PACKAGE.findall(text)
    if not found:
        return None
    return PoolsieveError(f"a worker has no package {found[-1]!r}: install poolsieve and the scorers' extras there")


def _steps(text: str) -> BaseException | None:
    found = [match for line in text.splitlines() if (match := _STEP.search(line))]
    if not found:
        return None
    kind, said, step = found[-1].groups()
    inner = re.match(r"([A-Z]\w*(?:Error|Exception|Interrupt)): ?(.*)", said)  # of a RuntimeError around it
    if inner is not None:
        kind, said = inner.groups()
    memory = ": the worker ran out of memory; give it more, or fewer workers a machine" if kind == "MemoryError" else ""
    return PoolsieveError(f"{kind}: {said[:_SHOWN]} (in the step {step}){memory}")


def _known(text: str) -> BaseException | None:
    return next((found for one in _KNOWN if (found := _meant(text, *one)) is not None), None)


def _gone(text: str) -> BaseException | None:
    return _meant(text, *_GONE)


def _meant(text: str, pattern: str, meaning: str) -> BaseException | None:
    found = re.search(pattern, text)
    return PoolsieveError(f"{meaning} ({found.group().splitlines()[0][:120]})") if found else None


def told(texts: Iterable[str], *, what: str, ended: str = "") -> PoolsieveError:
    """One line for the user; the texts themselves go to a file that it names.

    Args:
        texts: what the engine said, the most telling first: each is searched before the next.
        what: the job, for an error that nobody knows.
        ended: that the job server or the cluster has ended, which explains connections that broke; else empty.
    """
    texts = [text for text in texts if text]
    where = f"the whole trace is in {kept_trace(texts)}"
    found = cause_in(*texts, ended=ended)
    if found is None:
        return PoolsieveError(f"{what} failed: {_last_line(texts)}; {where}")
    if isinstance(found, PoolsieveError):
        return type(found)(f"{found}; {where}")
    return PoolsieveError(f"{type(found).__name__}: {found}; {where}")


def _last_line(texts: list[str]) -> str:
    said = [[line.strip() for line in text.splitlines()] for text in texts]
    said = [[line for line in lines if line and not line.startswith(("at ", "...", "<_"))] for lines in said]
    telling = [[line for line in lines if re.search(r"(?:Error|Exception|panic)\b", line)] for lines in said]
    found = next((lines for lines in (*telling, *said) if lines), ["it gave no reason"])
    return found[-1][:_SHOWN]


def logs_folder() -> Path:
    """Where job servers and clusters of this user leave what they say."""
    folder = Path(cache_folder("")) / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


_KEPT = 100
"""Traces and logs that stay; older ones go."""


def new_log(name: str) -> Path:
    """A file of its own in the folder of logs, from which old ones are removed."""
    folder = logs_folder()
    for old in sorted(folder.glob("*.log"))[:-_KEPT]:
        old.unlink(missing_ok=True)
    return folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}-{name}.log"


def kept_trace(texts: Iterable[str]) -> Path:
    """Writes what a job said to a file."""
    path = new_log("trace")
    path.write_text("\n\n----\n\n".join(texts))
    return path
