"""Our pool of workers: what Beam's own hangs on, versions, and what becomes of its processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2

from poolsieve.dataflow.leases import started_at
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.runners.versions import versions
from poolsieve.dataflow.runners.worker_pool import WorkerPool, ask
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests.cluster import free_port, job_service, wait_for
from tests.conftest import fingerprint_of, run

RECIPE = """
import pyarrow as pa
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, Top, col, scorer

def weigh(text: pa.Array) -> pa.Array:
    print("x" * 200_000)
    return pa.array([None if t is None else len(t) * 1.5 for t in text.to_pylist()])

def recipe(pool: str):
    return (
        Pool.parquet(pool, uid="uid", text="text")
        | Score(weight=scorer(weigh, reads=("text",), columns={"w": "float32"}))
        | Top("weight", fraction=0.4, of="pool")
    )
"""


@pytest.fixture
def workers() -> Iterator[WorkerPool]:
    made = WorkerPool()
    yield made
    made.stop()


def start(pool: WorkerPool, worker_id: str, endpoint: str, **params: str) -> str:
    """What the pool answers to a runner that wants a worker."""
    request = beam_fn_api_pb2.StartWorkerRequest(
        worker_id=worker_id, control_endpoint=endpoints_pb2.ApiServiceDescriptor(url=endpoint), params=params
    )
    with grpc.insecure_channel(pool.address) as channel:
        answer = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel).StartWorker(request, timeout=60)
    return str(answer.error)


def stop(pool: WorkerPool, worker_id: str) -> None:
    with grpc.insecure_channel(pool.address) as channel:
        stub = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
        stub.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id=worker_id), timeout=60)


def wait_until(true: Callable[[], Any], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it never came to be"
        time.sleep(0.05)


@pytest.fixture
def executor() -> Iterator[str]:
    """Something that takes connections and never speaks, as a runner that has nothing to do."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield f"127.0.0.1:{made.getsockname()[1]}"


def test_two_executors_at_once_with_the_same_ids_and_a_scorer_that_prints(
    pool: Path, tmp_path: Path, recipe_file: Callable[..., RecipeSource], workers: WorkerPool
) -> None:
    source = recipe_file(RECIPE, pool=str(pool / "*.parquet"))
    run(source, tmp_path / "local")
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    with job_service(folders[0], workers.port) as first, job_service(folders[1], workers.port) as second:
        both = [
            threading.Thread(
                target=run, args=(source, folder / "out"), kwargs={"runner": "portable", "beam_flags": flags}
            )
            for folder, flags in zip(folders, (first, second), strict=True)
        ]
        for one in both:
            one.start()
        for one in both:
            one.join(timeout=300)
    for folder in folders:
        assert fingerprint_of(folder / "out") == fingerprint_of(tmp_path / "local")
    wait_until(lambda: workers.workers.alive() == 0)  # they ended with their executors
    said = ask(workers.address)
    assert said is not None and said.started >= 2 and said.versions == versions()


def test_only_a_worker_whose_id_is_its_own_is_stopped(workers: WorkerPool, executor: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert start(workers, "4-1", f"127.0.0.1:{other.getsockname()[1]}") == ""
        (first,) = workers.workers.pids()
        assert start(workers, "4-1", executor) == start(workers, "4-2", executor) == ""
        assert workers.workers.alive() == 3
        stop(workers, "4-1")
        assert workers.workers.alive() == 3
        stop(workers, "4-2")
        wait_until(lambda: workers.workers.alive() == 2)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: workers.workers.alive() == 1)
        stop(workers, "4-1")  # by the executor whose worker has ended: the one that is left is the other's
        assert workers.workers.alive() == 1


@pytest.mark.parametrize("what", ["poolsieve", "beam", "python"])
def test_other_versions_are_refused(workers: WorkerPool, executor: str, what: str) -> None:
    refused = start(workers, "1", executor, **versions() | {what: "0.0.1"})
    assert what in refused and "0.0.1" in refused and PlanError.__name__ in refused
    assert start(workers, "1", executor, **versions()) == ""


def test_a_runner_passes_the_refusal_on(
    pool: Path, tmp_path: Path, recipe_file: Callable[..., RecipeSource], workers: WorkerPool
) -> None:
    with job_service(tmp_path, workers.port) as flags:
        flags[-1] = f'--environment_config={{"url": "{workers.address}", "params": {{"python": "2.7"}}}}'
        with pytest.raises(PoolsieveError, match="versions differ: python 3"):
            run(
                recipe_file(RECIPE, pool=str(pool / "*.parquet")), tmp_path / "out", runner="portable", beam_flags=flags
            )


def test_a_taken_port_and_no_pool_at_all(workers: WorkerPool, capfd: pytest.CaptureFixture[str]) -> None:
    for host in ("127.0.0.1", "192.0.2.1", "no.such.host.invalid"):  # taken, and no addresses here
        with pytest.raises(PlanError, match=f"can't listen on {host}:{workers.port}"):
            WorkerPool(host, port=workers.port)
    assert capfd.readouterr().err == "", "gRPC has a line of its own"
    assert ask(f"127.0.0.1:{free_port()}", timeout=1) is None


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_command_listens_on_loopback_and_leaves_no_worker(how: signal.Signals, executor: str) -> None:
    port = free_port()
    command = [sys.executable, "-m", "poolsieve.jobs.cli", "pool", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_for(port)
        assert process.stdout is not None and f"127.0.0.1:{port}" in process.stdout.readline()
        with pytest.raises(OSError), socket.create_connection(("127.0.0.2", port), timeout=5):
            pass
        request = beam_fn_api_pb2.StartWorkerRequest(
            worker_id="1", control_endpoint=endpoints_pb2.ApiServiceDescriptor(url=executor)
        )
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel).StartWorker(request, timeout=60)
        left = below(process.pid)
        assert left
        process.send_signal(how)
        process.wait(timeout=120)
        wait_until(lambda: not any(map(started_at, left)))
    finally:
        process.kill()
        process.wait()


def below(pid: int) -> list[int]:
    """Processes that a process and those below it have started."""
    found: list[int] = []
    for one in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat[1]) == pid:
            found += [int(one), *below(int(one))]
    return found
