"""Spark on this machine, a master and two workers: the local bytes, whatever is killed, and no job without its client."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from poolsieve.dataflow.caches import cache_folder
from poolsieve.dataflow.leases import started_at
from poolsieve.dataflow.runners.clusters.state import Cluster
from poolsieve.dataflow.runners.network import get_json
from tests.held_work import LIMIT, Work, demo_gives_the_local_bytes, one_line, rounds_give_the_local_bytes, wait_until

pytestmark = pytest.mark.clusters


def test_rows_meet_by_rounds_on_spark_as_one_worker_sees_them(spark: Cluster, tmp_path: Path) -> None:
    rounds_give_the_local_bytes("spark", tmp_path)


def test_the_demo_on_spark_gives_the_local_bytes_with_no_flag_to_look_up(spark: Cluster, tmp_path: Path) -> None:
    demo_gives_the_local_bytes("spark", tmp_path)


def test_spark_gives_the_local_bytes_though_a_worker_process_is_killed(spark: Cluster, work: Work) -> None:
    client = work.start("out", "spark", cuts=2)
    os.kill(work.wait_for_work(client), signal.SIGKILL)
    work.go()
    assert client.wait(LIMIT) == 0, work.said()
    assert work.fingerprint("out") == work.local(cuts=2)


def executors() -> list[int]:
    """Executors of Spark's, of this session's clusters and no other's."""
    folder, found = cache_folder(""), []
    for one in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{one}/cmdline").read_text()
            place = os.readlink(f"/proc/{one}/cwd")
        except OSError:
            continue
        if "CoarseGrainedExecutorBackend" in command and place.startswith(os.path.realpath(folder)):
            found.append(int(one))
    return found


def test_spark_goes_on_when_an_executor_is_killed_and_writes_to_object_storage(
    spark: Cluster, work: Work, place: str
) -> None:
    out = f"{place}/spark"
    client = work.start(out, "spark")
    work.wait_for_work(client)
    os.kill(executors()[0], signal.SIGKILL)
    work.go()
    assert client.wait(LIMIT) == 0, work.said()
    assert work.fingerprint(out) == work.local()


def test_an_error_on_spark_is_one_line(spark: Cluster, work: Work) -> None:
    (work.folder / "fail").touch()
    work.go()
    assert work.start("out", "spark").wait(LIMIT) == 1
    said = one_line(work)
    assert "MemoryError: no room (in the step Pass1/Score)" in said
    assert "the whole trace is in " in said and "excludeOnFailure" not in said


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_on_spark_ends_with_its_client_and_another_runner_goes_on(
    spark: Cluster, work: Work, how: signal.Signals
) -> None:
    client = work.start("out", "spark")
    worker = work.wait_for_work(client)
    assert len(get_json(f"{spark.web}/json/")["activeapps"]) == 1
    client.send_signal(how)
    assert client.wait(LIMIT) == (143 if how == signal.SIGTERM else -how)
    wait_until(lambda: not get_json(f"{spark.web}/json/")["activeapps"], "the job goes on without its client")
    wait_until(lambda: not started_at(worker), "a worker goes on without its executor")
    work.run("out", "local")
    assert work.fingerprint("out") == work.local()
