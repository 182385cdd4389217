"""Clusters of this machine, for a user of their own. Skipped where what they are made of can't be had."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from poolsieve.dataflow.runners.clusters import up as clusters
from poolsieve.dataflow.runners.clusters.artefacts import engines_folder
from poolsieve.dataflow.runners.clusters.state import Cluster, stored
from poolsieve.scoring_models.base.errors import PlanError
from tests.held_work import Work


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    made = Work(tmp_path)
    yield made
    made.go()  # a worker that was left behind goes on
    made.end()


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """URL of an S3 server, one for all modules: clients of a process stay, and so does what the server keeps."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture(scope="module")
def place(object_store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A user of their own, with this user's engines, and an S3 server that the environment names; its bucket."""
    folder, engines = tmp_path_factory.mktemp("cache"), Path(engines_folder())
    engines.mkdir(parents=True, exist_ok=True)
    os.symlink(engines, folder / "engines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POOLSIEVE_CACHE", str(folder))
        patch.setenv("AWS_ENDPOINT_URL", object_store)
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        bucket = f"bucket-{uuid.uuid4().hex[:8]}"
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir(bucket)
        yield f"s3://{bucket}"


def fetched(kind: str) -> None:
    """Skips a test where what such a cluster is made of can't be had."""
    try:
        clusters.KINDS[kind].fetch(print)
    except PlanError as error:
        pytest.skip(str(error))


def brought_up(kind: str, workers: int = 2) -> Iterator[Cluster]:
    fetched(kind)
    made = clusters.up(kind, workers, print)
    try:
        yield made
    finally:
        clusters.down(kind, print)
        assert not [one for one in made.processes if one.alive]
        assert stored(kind) is None


@pytest.fixture(scope="module")
def prism(place: str) -> Iterator[Cluster]:
    yield from brought_up("prism")


@pytest.fixture(scope="module")
def spark(place: str) -> Iterator[Cluster]:
    yield from brought_up("spark")


@pytest.fixture(scope="module")
def first_flink(place: str) -> Iterator[Cluster]:
    yield from brought_up("flink")


@pytest.fixture
def flink(first_flink: Cluster) -> Cluster:
    """A whole one: a test kills task managers, and tests run in any order."""
    found = stored("flink")
    if found is None or found.dead():
        clusters.down("flink", print)
        found = clusters.up("flink", first_flink.workers, print)
    return found
