"""Jobs of `--runner dataflow` from their beginning to their end, by Google's own clients, against servers on loopback."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

pytest.importorskip("google.cloud.dataflow_v1beta3", reason="poolsieve[gcp] is not installed; see make test-gcp")
pytest.importorskip("gcp_storage_emulator", reason="see make test-gcp")

from tests.conftest import write_pool
from tests.dataflow_service import BUCKET, DataflowService, carry_out_here, storage
from tests.held_work import LIMIT, fingerprint

FLEX = Path(__file__).parents[3] / "docker" / "flex.py"

RECIPE = """
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Top, col

def recipe(pool: str):
    return (
        Pool.parquet(pool, uid="uid", text="text")
        | Keep(col("text").word_count() >= 3, reason="caption.short")
        | Top("clip", fraction=0.4, of="pool")
    )
"""


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bucket with a pool, which the environment leads to."""
    with storage() as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.setenv("POOLSIEVE_CACHE", str(tmp_path_factory.mktemp("cache")))
        system = fsspec.filesystem("gs", skip_instance_cache=True)
        system.put(
            f"{write_pool(tmp_path_factory.mktemp('made') / 'pool', sizes=(60, 50))}", f"{BUCKET}/", recursive=True
        )
        yield f"gs://{BUCKET}"


@pytest.fixture
def service() -> Iterator[DataflowService]:
    made = DataflowService()
    yield made
    made.stop()


class Client:
    """`poolsieve run` as a user starts it, with an OUT of its own."""

    def __init__(self, bucket: str, folder: Path) -> None:
        self.bucket, self.folder, self.out = bucket, folder, f"{bucket}/{uuid.uuid4().hex[:8]}"
        self.log = folder / f"{self.out.rpartition('/')[2]}.txt"
        (folder / "recipe.py").write_text(RECIPE)
        self.started: list[subprocess.Popen[str]] = []

    def flags(self, service: DataflowService) -> list[str]:
        return [
            "--project=my-project",
            "--region=us-central1",
            f"--temp_location={self.bucket}/tmp",
            "--sdk_container_image=us-docker.pkg.dev/my-project/images/poolsieve:1",
            f"--dataflow_endpoint={service.url}",
            "--no_auth",
        ]

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        said = self.log.open("w")
        made = subprocess.Popen(
            [sys.executable, *command], cwd=self.folder, stdout=subprocess.DEVNULL, stderr=said, text=True
        )
        self.started.append(made)
        return made

    def run(self, *more: str) -> subprocess.Popen[str]:
        settings = ["-p", f"pool={self.bucket}/pool/*.parquet", "--no-samples", *more]
        return self.start(["-m", "poolsieve.jobs.cli", "run", "recipe.py", "--out", self.out, *settings])

    def said(self) -> list[str]:
        """Lines on stderr but those of progress."""
        lines = self.log.read_text().splitlines()
        return [line for line in lines if line.startswith("poolsieve: ") or not line.startswith("poolsieve ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipe")


@pytest.fixture(scope="module")
def local(bucket: str, folder: Path) -> dict[str, str]:
    """What a run of this machine makes."""
    made = Client(bucket, folder)
    assert made.run().wait(LIMIT) == 0, made.said()
    return fingerprint(made.out)


@pytest.fixture
def client(bucket: str, folder: Path) -> Iterator[Client]:
    made = Client(bucket, folder)
    yield made
    for process in made.started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_job_ends_with_its_client(client: Client, service: DataflowService, how: signal.Signals) -> None:
    process = client.run("--runner", "dataflow", "--", *client.flags(service))
    service.wait_for("JOB_STATE_RUNNING")
    service.wait_for_questions(3)  # two of them come at once
    process.send_signal(how)
    service.wait_for("JOB_STATE_CANCELLED")
    assert process.wait(LIMIT) == {signal.SIGINT: 130, signal.SIGTERM: 143}.get(how, -how), client.said()


def test_what_the_service_says_of_a_failure_is_one_line(client: Client, service: DataflowService) -> None:
    service.error = (
        "Traceback (most recent call last):\n  File x\nMemoryError: no room [while running 'Pass1/Score-ptransform-7']"
    )
    process = client.run("--runner", "dataflow", "--", *client.flags(service))
    assert process.wait(LIMIT) == 1
    (line,) = client.said()
    assert "MemoryError: no room (in the step Pass1/Score" in line and "the whole trace is in " in line


@pytest.mark.parametrize("flag", ["--temp_location", "--staging_location"])
def test_a_bucket_that_is_not_there_is_refused_before_the_job(
    client: Client, service: DataflowService, flag: str
) -> None:
    """Beam's client would try to write there for hours."""
    process = client.run("--runner", "dataflow", "--", *client.flags(service), f"{flag}=gs://no-such-bucket/tmp")
    assert process.wait(LIMIT) == 2
    (line,) = client.said()
    assert f"{flag}=gs://no-such-bucket/tmp: there is no bucket gs://no-such-bucket" in line
    assert not service.jobs


def test_out_on_a_bucket_that_is_not_there_is_one_line(client: Client) -> None:
    client.out = "gs://no-such-bucket/out"
    assert client.run().wait(LIMIT) == 2
    (line,) = client.said()
    assert "nothing can be written to gs://no-such-bucket/out: there is no such bucket. Create it" in line


def test_a_run_is_carried_out_and_decided(client: Client, service: DataflowService, local: dict[str, str]) -> None:
    service.carry_out = carry_out_here
    assert client.run("--runner", "dataflow", "--", *client.flags(service)).wait(LIMIT) == 0, client.said()
    assert fingerprint(client.out) == local


def test_a_templates_launcher_hands_its_job_over_and_a_run_afterwards_finds_every_score(
    client: Client, service: DataflowService, local: dict[str, str]
) -> None:
    template = f"{client.bucket}/tmp/{uuid.uuid4().hex}/job_object"
    given = {
        "recipe": f"{client.bucket}/recipe.py",
        "out": client.out,
        "parameters": f"pool={client.bucket}/pool/*.parquet",
    }
    fsspec.filesystem("gs").pipe_file(given["recipe"], RECIPE.encode())
    ours = [f"--{name}={value}" for name, value in given.items()]
    launcher = client.start([str(FLEX), *ours, *client.flags(service), f"--template_location={template}"])
    assert launcher.wait(LIMIT) == 0, client.said()
    assert not service.jobs, "the launcher writes a job down; the service begins it"
    carry_out_here(json.loads(fsspec.filesystem("gs").cat_file(template)))
    scored = {name for name in fingerprint(client.out) if name.startswith(("rows/", "scores/"))}
    assert len(scored) > 2 and "manifest.json" not in fingerprint(client.out)
    assert client.run().wait(LIMIT) == 0, client.said()
    assert {name for name in fingerprint(client.out) if name.startswith(("rows/", "scores/"))} == scored
    assert fingerprint(client.out) == local
