"""A pool of workers: starts a Python process for each worker that a Beam runner asks for (environment EXTERNAL).

Beam's own pool keeps its processes by the worker's id, which two executors give alike, and pipes their output without
reading it: a second executor's worker is lost, and one that prints much hangs. This one keeps a list and lets output
go where its own goes, starts its own Python, listens on loopback unless told otherwise, and refuses a client of other
versions: those travel with the request, as parameters of the environment.

Flink wants new workers for each stage of a job. So they are forked from a process that has imported Beam and poolsieve,
and no more: no thread, no connection and no model is in it.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import socket
import threading
from collections import defaultdict
from concurrent import futures
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any

from poolsieve.dataflow.runners import pool_worker
from poolsieve.dataflow.runners.base import import_beam, spare_loopback
from poolsieve.dataflow.runners.versions import differences, versions
from poolsieve.scoring_models.base.errors import PlanError

LOOPBACK = "127.0.0.1"

STATUS = "/poolsieve.WorkerPool/Status"
"""A method of our own beside Beam's: versions, and how many workers were started."""

_GOODBYE = 10.0
"""Seconds between the request that a worker end, and its end by force."""

_LOOK = 1.0
"""Seconds between two looks for workers that have ended."""

_log = logging.getLogger(__name__)


@dataclass
class Worker:
    """One process; `id` is what its executor calls it, `endpoint` where that executor is."""

    id: str
    endpoint: str
    process: BaseProcess

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.is_alive()

    def end(self) -> None:
        """Asks, waits, insists."""
        self.process.terminate()
        self.process.join(timeout=_GOODBYE)
        if self.alive:
            self.process.kill()
            self.process.join()


def _forks() -> Any:
    """Starts processes from one that has imported what every worker needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["poolsieve.dataflow.runners.pool_worker", "poolsieve.dataflow.runners.preloaded"])
    return context


@dataclass
class Workers:
    """The processes of a pool. Ids are unique within an executor only."""

    started: int = 0
    _executors: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _list: list[Worker] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, worker_id: str, endpoint: str) -> Worker:
        """One more, for the executor at `endpoint`; its output goes where the pool's goes."""
        process = _forks().Process(target=pool_worker.work, args=(os.getpid(), endpoint, worker_id), name=worker_id)
        made = Worker(worker_id, endpoint, process)
        with self._lock:
            process.start()
            self._list.append(made)
            self._executors[worker_id].add(endpoint)
            self.started += 1
        _log.info("worker %s of %s is process %s", worker_id, endpoint, process.pid)
        return made

    def stop(self, worker_id: str) -> None:
        """Ends the workers of that id, if a single executor ever asked for it.

        Else it may be another's that is left: those end by themselves, when their executor lets them go.
        """
        with self._lock:
            alone = len(self._executors[worker_id]) == 1
            named = [one for one in self._list if one.id == worker_id and one.alive]
        for one in named if alone else ():
            one.end()

    def sweep(self) -> None:
        """Forgets those that have ended, and says how."""
        with self._lock:
            ended = [one for one in self._list if not one.alive]
            self._list = [one for one in self._list if one not in ended]
        for one in ended:
            _log.info("worker %s of %s ended with status %s", one.id, one.endpoint, one.process.exitcode)

    def pids(self) -> list[int]:
        """Of those that run, in the order in which they were started."""
        with self._lock:
            return [int(one.process.pid or 0) for one in self._list if one.alive]

    def alive(self) -> int:
        """How many run."""
        return len(self.pids())

    def end_all(self) -> None:
        """When the pool ends."""
        with self._lock:
            rest, self._list = self._list, []
        for one in rest:
            one.process.terminate()
        for one in rest:
            one.end()


class WorkerPool:
    """A pool that serves from when it is made until `stop`.

    Args:
        host: to listen on. Whoever reaches it can have processes started.
        port: 0 takes a free one; `address` says which.

    Raises:
        PlanError: if the port is taken.
    """

    def __init__(self, host: str = LOOPBACK, port: int = 0) -> None:
        import_beam()
        import grpc

        _check_free(host, port)
        self.workers, self._over = Workers(), threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=[("grpc.so_reuseport", 0)])
        _add_services(self._server, self.workers)
        try:
            self.port = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise _not_free(host, port) from error
        self.address = f"{host}:{self.port}"
        self._server.start()
        threading.Thread(target=self._sweep, daemon=True, name="poolsieve-pool").start()

    def _sweep(self) -> None:
        while not self._over.wait(_LOOK):
            self.workers.sweep()

    def wait(self) -> None:
        """Until `stop`, or Ctrl-C."""
        while not self._over.wait(3600.0):
            pass

    def stop(self) -> None:
        """Ends the pool and every worker of it."""
        self._over.set()
        self._server.stop(grace=0)
        self.workers.end_all()


def _check_free(host: str, port: int) -> None:
    """Asks before gRPC does, which would print a line of its own."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, number) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what was just closed is free
            probe.bind(address)
    except OSError as error:
        raise _not_free(host, port) from error


def _not_free(host: str, port: int) -> PlanError:
    return PlanError(f"a pool can't listen on {host}:{port}: something else does, or it is no address here")


def _add_services(server: Any, workers: Workers) -> None:
    import grpc
    from apache_beam.portability.api import beam_fn_api_pb2_grpc

    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(_Servicer(workers), server)
    service, method = STATUS.strip("/").split("/")
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: _status(workers))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))


def _status(workers: Workers) -> bytes:
    return json.dumps({"versions": versions(), "started": workers.started, "alive": workers.alive()}).encode()


class _Servicer:
    """Beam's service, as it calls it."""

    def __init__(self, workers: Workers) -> None:
        self.workers = workers

    def StartWorker(self, request: Any, context: Any) -> Any:  # noqa: N802  (Beam's name)
        """Starts a worker, or says why not: the runner fails the job with these words."""
        from apache_beam.portability.api import beam_fn_api_pb2

        wrong = differences(dict(request.params), versions(), "worker pool")
        if wrong:
            return beam_fn_api_pb2.StartWorkerResponse(error=refusal(wrong))
        try:
            self.workers.start(request.worker_id, request.control_endpoint.url)
        except OSError as error:
            return beam_fn_api_pb2.StartWorkerResponse(error=f"{type(error).__name__}: {error}")
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: Any, context: Any) -> Any:  # noqa: N802  (Beam's name)
        """Ends a worker."""
        from apache_beam.portability.api import beam_fn_api_pb2

        self.workers.stop(request.worker_id)
        return beam_fn_api_pb2.StopWorkerResponse()


def refusal(wrong: str) -> str:
    """A refused handshake, as an error of ours is spelled in a trace, so that it is found there."""
    kind = f"{PlanError.__module__}.{PlanError.__qualname__}"
    return f"{kind}: versions differ: {wrong}. Install the same on both sides"


@dataclass(frozen=True)
class PoolStatus:
    """What a pool says of itself. `versions` is empty for Beam's own pool, which says nothing."""

    versions: dict[str, str] = field(default_factory=dict)
    started: int = 0
    alive: int = 0


def ask(address: str, timeout: float = 10.0) -> PoolStatus | None:
    """What the pool at an address says; None if nothing that speaks gRPC answers there within `timeout` seconds."""
    import grpc

    spare_loopback()
    with grpc.insecure_channel(address) as channel:
        try:
            said = channel.unary_unary(STATUS)(b"", timeout=timeout, wait_for_ready=True)
        except grpc.RpcError as error:
            return PoolStatus() if error.code() == grpc.StatusCode.UNIMPLEMENTED else None
    return PoolStatus(**json.loads(said))
