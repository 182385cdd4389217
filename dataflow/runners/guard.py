"""Stands by a job on a cluster, and ends it with the client that wanted it, however that client ends.

`python -m poolsieve.dataflow.runners.guard LOG [COMMAND ...]` starts the command (a job server, its output in LOG) and
reads lines of JSON. `{"job": ID, "endpoint": ADDRESS}` names a job, `{"flink": URL, "name": NAME}` one that Flink knows
by its name, `{"dataflow": ID, "flags": [...]}` one of Google's; `{"done": true}` says that all has come to its end. If
its input closes without that, the client is gone: the jobs are cancelled. The command is ended in either case, and
with it goes the folder that `{"scratch": PATH}` names.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from poolsieve.dataflow.runners.network import get_json

_PATIENCE = 15.0
"""Seconds for a job to be cancelled, and for a command to end by itself."""


def main() -> None:
    """Watches until its input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # What the client gets, it passes on by its own end. No SIG_IGN, which the command would inherit.
        signal.signal(number, lambda *_: None)
    log, *command = sys.argv[1:]
    with Path(log).open("ab", buffering=0) as output:
        child, scratch = _started(command, output) if command else None, list[str]()
        try:
            _watch(scratch)
        finally:
            if child is not None:
                _end(child)
            for folder in scratch:
                shutil.rmtree(folder, ignore_errors=True)


ENDED = "poolsieve: the command ended with status"
"""What the log says last of a command that ended by itself."""


def _started(command: list[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
    # No thread has been started yet, which is what makes a function between fork and exec safe.
    child = subprocess.Popen(command, preexec_fn=_end_with(os.getpid()), **pipes)  # noqa: S603, PLW1509  (the client's)

    def say() -> None:
        output.write(f"{ENDED} {child.wait()}\n".encode())

    threading.Thread(target=say, daemon=True).start()
    return child


_PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that a process gets when its parent ends."""


def _end_with(parent: int) -> Callable[[], None] | None:
    """Has the command end when this process is killed, which could not end it then. Linux alone has such a thing."""
    if sys.platform != "linux":
        return None
    system = ctypes.CDLL(None)

    def ask() -> None:
        system.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # killed before it was asked
            os._exit(1)

    return ask


def _watch(scratch: list[str]) -> None:
    jobs: list[dict[str, Any]] = []
    for line in sys.stdin:
        said = json.loads(line)
        if said.get("done"):
            return
        if "scratch" in said:
            scratch.append(said["scratch"])
        else:
            jobs.append(said)
    for job in sorted(jobs, key=lambda one: "flink" not in one):  # which is quick: it needs no Beam
        try:
            cancel(job)
        except Exception:  # noqa: BLE001  (the next one must be cancelled all the same; the log has this)
            traceback.print_exc()


def cancel(job: dict[str, Any]) -> None:
    """Cancels a job by what its client has said of it."""
    if "flink" in job:
        cancel_flink(job["flink"], job["name"])
        return
    if "dataflow" in job:
        cancel_dataflow(job["dataflow"], job["flags"])
        return
    from poolsieve.dataflow.runners.base import import_beam

    import_beam()
    import grpc
    from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

    with grpc.insecure_channel(job["endpoint"]) as channel:
        stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
        stub.Cancel(beam_job_api_pb2.CancelJobRequest(job_id=job["job"]), timeout=_PATIENCE)


def cancel_dataflow(job: str, flags: list[str]) -> None:
    """Cancels a job of Google's service, which is asked as its client asked it: by Beam's flags."""
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient

    DataflowApplicationClient(PipelineOptions(flags)).modify_job_state(job, "JOB_STATE_CANCELLED")


def cancel_flink(url: str, name: str) -> None:
    """Cancels what Flink runs under a name: a job server that ends leaves its job to go on there."""
    for job in flink_jobs(url, name):
        if job.get("state") not in ("FINISHED", "FAILED", "CANCELED"):
            get_json(f"{url}/jobs/{job['jid']}?mode=cancel", method="PATCH")


def flink_jobs(url: str, name: str) -> list[dict[str, Any]]:
    """What Flink says of the jobs of that name; nothing if it does not answer."""
    jobs = (get_json(f"{url}/jobs/overview") or {}).get("jobs", [])
    return [job for job in jobs if str(job.get("name", "")).startswith(name)]


def flink_failures(url: str, name: str) -> str:
    """The traces of what made Flink begin the jobs of that name anew, which it tells nobody who does not ask."""
    said = [get_json(f"{url}/jobs/{job['jid']}/exceptions") or {} for job in flink_jobs(url, name)]
    entries = [one for each in said for one in each.get("exceptionHistory", {}).get("entries", [])]
    return "\n".join(str(one.get("stacktrace", "")) for one in entries)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


class Guard:
    """The client's side of it.

    Args:
        log: where what the command says goes.
        command: of a job server; without one, only jobs are watched.
        env: of the command.
    """

    def __init__(self, log: Path, command: list[str] | None = None, env: dict[str, str] | None = None) -> None:
        self.log, self._serves = log, bool(command)
        arguments = [sys.executable, "-m", "poolsieve.dataflow.runners.guard", str(log), *(command or [])]
        with log.open("ab", buffering=0) as output:
            self._process = subprocess.Popen(  # noqa: S603  (our own)
                arguments, stdin=subprocess.PIPE, stdout=output, stderr=output, env=env, start_new_session=True
            )

    def watch(self, **job: Any) -> None:
        """Names a job that must not go on without this process."""
        self._say(job)

    def ended(self) -> str:
        """What to say if the command has ended by itself; else empty."""
        said = self.log.read_text(errors="replace")
        if not self._serves or (ENDED not in said and self._process.poll() is None):
            return ""
        return f"the job server ended by itself: {self.log} says why"

    def settled(self) -> None:
        """Says that no job goes on."""
        self._say({"done": True})

    def end(self, *, orderly: bool) -> None:
        """Ends the command; with the jobs, unless they have come to their own end."""
        if orderly:
            self.settled()
        pipe: IO[bytes] | None = self._process.stdin
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
        try:
            self._process.wait(timeout=4 * _PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _say(self, what: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it has gone, and there is nobody to tell
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
            self._process.stdin.flush()


if __name__ == "__main__":
    main()
