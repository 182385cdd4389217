"""The small part of Dataflow's REST service that Beam's client speaks, on loopback, beside a stand-in for its storage.

Jobs wait until they are cancelled, fail with a message, or are carried out here from the graph that was staged, by
Beam's runner of this machine: what the service would hand to its workers is what is run.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import fsspec

from tests.cluster import free_port

BUCKET = "my-bucket"


class DataflowService:
    """Serves from when it is made until `stop`.

    Attributes:
        jobs: id -> the job as it was sent, with its state.
        carry_out: called in a thread with each job that was created; its state is then DONE.
        error: what jobs fail with when they are asked for; empty for those that go on until they are cancelled.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.carry_out: Callable[[dict[str, Any]], None] | None = None
        self.error, self.questions = "", 0
        self.changed = threading.Condition()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                said = service.answer(self.command, self.path.partition("?")[0], self.rfile.read(length))
                data = json.dumps(said).encode()
                self.send_response(200 if said is not None else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = _answer

            def log_message(self, *_: Any) -> None:
                """Nothing: pytest shows what a test prints."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: bytes) -> Any:
        """What the service says; None for a path that it does not know."""
        found = re.fullmatch(r"/v1b3/projects/my-project/locations/us-central1/jobs(?:/([\w-]+))?(/messages)?", path)
        if found is None:
            return None
        job, messages = found.groups()
        if messages:
            return {"jobMessages": [self._message()] if self.error else []}
        if method == "POST":
            return self._created(json.loads(body))
        if method == "PUT":
            self._become(job, _name_of(json.loads(body)["requestedState"]))
        if method == "GET":
            self._asked(job)
        return self.jobs.get(job)

    def _created(self, job: dict[str, Any]) -> dict[str, Any]:
        made = {**job, "id": f"job-{len(self.jobs)}", "projectId": "my-project", "location": "us-central1"}
        with self.changed:
            self.jobs[made["id"]] = made
        self._become(made["id"], "JOB_STATE_RUNNING")
        if self.carry_out is not None:
            threading.Thread(target=self._carry_out, args=(self.carry_out, made), daemon=True).start()
        return made

    def _asked(self, job: str) -> None:
        with self.changed:
            self.questions += 1
            self.changed.notify_all()
        if self.error:
            self._become(job, "JOB_STATE_FAILED")

    def _carry_out(self, carry_out: Callable[[dict[str, Any]], None], job: dict[str, Any]) -> None:
        carry_out(job)
        self._become(job["id"], "JOB_STATE_DONE")

    def _become(self, job: str, state: str) -> None:
        with self.changed:
            self.jobs[job]["currentState"] = state
            self.changed.notify_all()

    def _message(self) -> dict[str, Any]:
        return {
            "id": "1",
            "time": "2026-01-01T00:00:00Z",
            "messageText": self.error,
            "messageImportance": "JOB_MESSAGE_ERROR",
        }

    def state(self, job: str = "job-0") -> str:
        return str(self.jobs.get(job, {}).get("currentState", ""))

    def wait_for_questions(self, count: int, seconds: float = 900.0) -> None:
        """Until the client has asked so often how its job does: it is in the middle of waiting."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.questions >= count, seconds), self.questions

    def wait_for(self, state: str, job: str = "job-0", seconds: float = 900.0) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.state(job) == state, seconds), self.state(job)


def _name_of(state: int | str) -> str:
    """Of a state that the client sends as a number."""
    from google.cloud.dataflow_v1beta3 import JobState

    return state if isinstance(state, str) else str(JobState(state).name)


@contextmanager
def storage() -> Iterator[dict[str, str]]:
    """Google's storage on loopback, in memory, with one bucket; the variables by which its clients find it."""
    from gcp_storage_emulator.server import create_server

    port = free_port()
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
    server.start()
    # Else gcsfs asks for the kind of each bucket by gRPC, and Google's machines for credentials.
    found = {
        "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}",
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        "FSSPEC_GS": '{"token": "anon"}',
        "GOOGLE_CLOUD_PROJECT": "my-project",
    }
    try:
        yield found
    finally:
        server.stop()


def graph_of(job: dict[str, Any]) -> Any:
    """The job's graph, as it was staged, with its steps in this process instead of in an image."""
    from apache_beam.portability import python_urns
    from apache_beam.portability.api import beam_runner_api_pb2

    url = job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
    with fsspec.open(url, "rb") as file:
        graph = beam_runner_api_pb2.Pipeline.FromString(file.read())
    for environment in graph.components.environments.values():
        environment.urn = python_urns.EMBEDDED_PYTHON
        environment.ClearField("payload")
    return graph


def carry_out_here(job: dict[str, Any]) -> None:
    """Runs the job by Beam's runner of this machine."""
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    FnApiRunner().run_via_runner_api(graph_of(job), PipelineOptions([])).wait_until_finish()
