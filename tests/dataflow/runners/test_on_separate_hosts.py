"""Spark on hosts of their own, as far as the network goes: each worker has the pool on its own `localhost`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolsieve.dataflow.leases import started_at
from poolsieve.dataflow.runners.clusters import artefacts
from poolsieve.dataflow.runners.clusters.base import Rising
from poolsieve.dataflow.runners.clusters.processes import Process
from poolsieve.dataflow.runners.java import BRIEF, OPENS, JobServer, java
from poolsieve.dataflow.runners.network import listens
from poolsieve.dataflow.runners.spark import MAIN, PROPERTIES, alive_workers
from tests.dataflow.runners.conftest import fetched
from tests.held_work import LIMIT, Work, wait_until
from tests.separate_hosts import Host, joined, skip_without_namespaces

pytestmark = pytest.mark.clusters

SPARK, PAGE, JOBS, POOL = 7077, 8080, 8099, 50000  # every host has all ports for itself


@pytest.fixture(scope="module")
def hosts() -> Iterator[list[Host]]:
    """One for the master, the job server and the client, two with a worker of Spark."""
    skip_without_namespaces()
    with joined(3) as made:
        yield made


@pytest.fixture(scope="module")
def flags(place: str, hosts: list[Host], tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Beam's flags for a cluster on these hosts, whose job server was started by hand, as docs/clusters.md has it."""
    fetched("spark")
    rising = Rising(tmp_path_factory.mktemp("spark"), print)
    home = artefacts.SPARK.fetched(print)
    jar = artefacts.job_server("beam-runners-spark-3", MAIN, print)
    try:
        started(rising, hosts, home, jar)
        yield [
            f"--spark_master_url=spark://{hosts[0].address}:{SPARK}",
            f"--job_endpoint=localhost:{JOBS}",
            f"--environment_config=localhost:{POOL}",
            f"--files_to_stage={jar}",
        ]
    finally:
        rising.end()


def started(rising: Rising, hosts: list[Host], home: str, jar: str) -> None:
    """Master, a worker on each other host, job server."""
    first, *rest = hosts
    master, page = f"spark://{first.address}:{SPARK}", f"http://{first.address}:{PAGE}"
    daemon = [java(), "-Xmx256m", *BRIEF, *OPENS, "-cp", f"{home}/jars/*"]

    def start(name: str, host: Host, command: list[str]) -> None:
        env = {"SPARK_HOME": home, "SPARK_LOCAL_IP": host.address, "SPARK_SCALA_VERSION": "2.12"}
        rising.start(name, [*host.inside, *command], env)

    where = ["--host", first.address, "--port", str(SPARK), "--webui-port", str(PAGE)]
    start("master", first, [*daemon, "org.apache.spark.deploy.master.Master", *where])
    rising.until("the master", lambda: first.seen(lambda: alive_workers(page, master)) is not None)
    for i, host in enumerate(rest, 1):
        room = [
            "--host",
            host.address,
            "--cores",
            "1",
            "--memory",
            "1g",
            "--work-dir",
            str(rising.folder / f"work-{i}"),
        ]
        start(f"worker-{i}", host, [*daemon, "org.apache.spark.deploy.worker.Worker", *room, master])
    brief = [*BRIEF, f"-Dspark.executor.extraJavaOptions={' '.join(BRIEF)}", "-Dspark.executor.memory=768m"]
    server = JobServer(
        jar=jar,
        main=MAIN,
        home=f"{home}/jars/*",
        arguments=[f"--spark-master-url={master}"],
        properties=[*PROPERTIES, *brief],
    )
    start("job-server", first, server.command(java(), JOBS, str(rising.folder / "artifacts")))
    rising.until("the workers", lambda: first.seen(lambda: alive_workers(page, master)) == len(rest))
    rising.until("the job server", lambda: first.seen(lambda: listens("127.0.0.1", JOBS)))


@pytest.fixture
def pools(hosts: list[Host], flags: list[str], tmp_path: Path) -> Iterator[list[Process]]:
    """One beside each worker of Spark; a test's own, since it kills one."""
    rising = Rising(tmp_path, print)
    command = [sys.executable, "-m", "poolsieve.jobs.cli", "pool", "--port", str(POOL), "--threads", "1"]
    try:
        for i, host in enumerate(hosts[1:], 1):
            rising.start(f"pool-{i}", [*host.inside, *command])
        rising.until("the pools", lambda: all(host.seen(lambda: listens("127.0.0.1", POOL)) for host in hosts[1:]))
        yield rising.processes
    finally:
        rising.end()


@pytest.fixture
def client(work: Work, hosts: list[Host], flags: list[str], pools: list[Process]) -> subprocess.Popen[str]:
    """A run from the master's host, once each other host has a worker in the middle of a shard."""
    work.before = hosts[0].inside
    made = work.start("out", "spark", *flags)

    def at_work() -> bool:
        assert made.poll() is None, work.said()
        return {host.network for host in hosts[1:]} <= {network_of(pid) for pid in work.at_work()}

    wait_until(at_work, "a host had no part in it")
    return made


def network_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""


def test_the_other_host_does_the_part_of_one_whose_pool_is_killed(
    client: subprocess.Popen[str], work: Work, hosts: list[Host], pools: list[Process]
) -> None:
    """Until then each host had a worker of its own pool at work. Without the kill it is the same with less to see."""
    os.kill(pools[0].pid, signal.SIGKILL)
    lost = [pid for pid in work.at_work() if network_of(pid) == hosts[1].network]
    wait_until(lambda: not any(map(started_at, lost)), "a worker outlived its pool")
    work.go()
    assert client.wait(LIMIT) == 0, work.said()
    assert work.fingerprint("out") == work.local()
