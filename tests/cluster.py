"""A job service of Beam and an external pool of workers, in processes of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on port {port}")


@contextmanager
def job_service(logs: Path, pool: int = 0) -> Iterator[list[str]]:
    """Beam flags for a job service with an EXTERNAL pool of workers that start in another folder.

    `pool` is the port of one that runs already.
    """
    job, given = free_port(), pool
    pool = given or free_port()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    commands = [["apache_beam.runners.portability.local_job_service_main", "-p", str(job)]]
    if not given:
        commands.append(["apache_beam.runners.worker.worker_pool_main", f"--service_port={pool}"])
    started = [
        subprocess.Popen(
            [sys.executable, "-m", *command],
            env={**os.environ, "PATH": path},
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=(logs / f"{i}.log").open("w"),
            start_new_session=True,
        )
        for i, command in enumerate(commands)
    ]
    try:
        for port in (job, pool):
            wait_for(port)
        yield [
            f"--job_endpoint=localhost:{job}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{pool}",
        ]
    finally:
        for process in started:
            process.kill()
            process.wait()


@contextmanager
def job_service_alone() -> Iterator[str]:
    """Address of a job service of Beam's in this process, to which no job is sent."""
    from apache_beam.runners.portability.local_job_service import LocalJobServicer

    with tempfile.TemporaryDirectory() as folder:
        service = LocalJobServicer(folder)
        port = service.start_grpc_server()
        try:
            yield f"localhost:{port}"
        finally:
            service.stop()
