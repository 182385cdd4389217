"""A worker of Beam's own pool, which says nothing of what it has: one is started, and asked by Beam's own protocol.

Without it a job would find out: by a trace that its engine keeps to itself, or by waiting.
"""

from __future__ import annotations

import contextlib
import queue
import uuid
from collections.abc import Iterator, Mapping
from concurrent import futures
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2

from poolsieve.dataflow.runners.failures import cause_in
from poolsieve.dataflow.runners.versions import differences, versions
from poolsieve.scoring_models.base.errors import PlanError

COME_SECONDS = 60.0
"""Seconds that a worker has to import Beam and to answer."""

_GOODBYE = 15.0
"""Seconds in which a pool must have ended a worker: it gives it ten."""

_ID = "greeting"


class Greeting(beam.DoFn):
    """Needs no element: it looks at versions where it begins, if the worker can import it at all."""

    def __init__(self, client: Mapping[str, str]) -> None:
        self.client = dict(client)

    def start_bundle(self) -> None:
        """On a worker.

        Raises:
            PlanError: if its versions are others than the client's.
        """
        wrong = differences(self.client, versions(), "worker")
        if wrong:
            raise PlanError(f"versions differ: {wrong}. Install the same on both sides")

    def process(self, element: Any) -> Iterator[Any]:
        """Never called."""
        yield element


def greet(address: str, seconds: float = COME_SECONDS) -> None:
    """Has a pool on this machine start a worker, which says if it could do our work.

    Raises:
        PlanError: naming what the worker lacks; that none came, or that the pool could start none.
    """
    said: queue.Queue[str] = queue.Queue()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    beam_fn_api_pb2_grpc.add_BeamFnControlServicer_to_server(_Control(said), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        wrong = _asked(address, f"localhost:{port}", said, seconds)
    finally:
        server.stop(grace=0)
    if wrong:
        raise PlanError(f"the workers of the pool at {address} can't do the job: {wrong}")


def _asked(address: str, endpoint: str, said: queue.Queue[str], seconds: float) -> str:
    worker, control = f"{_ID}-{uuid.uuid4().hex[:8]}", endpoints_pb2.ApiServiceDescriptor(url=endpoint)
    request = beam_fn_api_pb2.StartWorkerRequest(worker_id=worker, control_endpoint=control)
    with grpc.insecure_channel(address) as channel:
        stub = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
        try:
            refused = stub.StartWorker(request, timeout=seconds).error
            return _told(refused or said.get(timeout=seconds))
        except queue.Empty:
            return f"one that was started did not answer within {seconds:.0f} s; what the pool prints may say why"
        except grpc.RpcError as error:
            return f"it starts none ({error.code().name.lower()}: {str(error.details())[:120]})"
        finally:
            with contextlib.suppress(grpc.RpcError):  # it ends by itself, too: nobody speaks to it any more
                stub.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id=worker), timeout=_GOODBYE)


def _told(trace: str) -> str:
    """What a trace comes to; empty for none."""
    if not trace:
        return ""
    return str(cause_in(trace) or [line for line in trace.splitlines() if line.strip()][-1].strip()[:300])


class _Control(beam_fn_api_pb2_grpc.BeamFnControlServicer):
    """What a worker calls: one request for it, and its answer for us."""

    def __init__(self, said: queue.Queue[str]) -> None:
        self.said = said

    def Control(self, answers: Iterator[Any], context: Any) -> Iterator[Any]:  # noqa: N802  (Beam's name)
        """Sends the request; keeps what went wrong."""
        work = beam_fn_api_pb2.ProcessBundleRequest(process_bundle_descriptor_id=_ID)
        yield beam_fn_api_pb2.InstructionRequest(instruction_id=_ID, process_bundle=work)
        for answer in answers:
            self.said.put(answer.error)
            return

    def GetProcessBundleDescriptor(self, request: Any, context: Any) -> Any:  # noqa: N802  (Beam's name)
        """The step that a worker is to begin."""
        return _descriptor()


def _descriptor() -> Any:
    """A step by itself, cut out of a pipeline: no data goes in or out."""
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    pipeline = beam.Pipeline(runner=FnApiRunner())
    _ = pipeline | beam.Impulse() | beam.ParDo(Greeting(versions()))
    parts = pipeline.to_runner_api().components
    steps = {name: one for name, one in parts.transforms.items() if one.spec.urn == common_urns.primitives.PAR_DO.urn}
    return beam_fn_api_pb2.ProcessBundleDescriptor(
        id=_ID,
        transforms=steps,
        pcollections=dict(parts.pcollections),
        coders=dict(parts.coders),
        windowing_strategies=dict(parts.windowing_strategies),
    )
