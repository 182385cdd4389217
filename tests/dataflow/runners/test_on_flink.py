"""Flink on this machine, two task managers: the local bytes, whatever is killed, and no job without its client."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from poolsieve.dataflow.runners.clusters.state import Cluster
from poolsieve.dataflow.runners.network import get_json
from tests.held_work import LIMIT, Work, demo_gives_the_local_bytes, one_line, rounds_give_the_local_bytes, wait_until

pytestmark = pytest.mark.clusters


def test_rows_meet_by_rounds_on_flink_as_one_worker_sees_them(flink: Cluster, tmp_path: Path) -> None:
    rounds_give_the_local_bytes("flink", tmp_path)


def test_the_demo_on_flink_gives_the_local_bytes_with_no_flag_to_look_up(flink: Cluster, tmp_path: Path) -> None:
    demo_gives_the_local_bytes("flink", tmp_path)


def states(flink: Cluster) -> list[str]:
    return [job["state"] for job in get_json(f"{flink.web}/jobs/overview")["jobs"]]


def test_flink_gives_the_local_bytes(flink: Cluster, work: Work, place: str) -> None:
    out = f"{place}/flink"
    work.run(out, "flink", cuts=2)
    assert work.fingerprint(out) == work.local(cuts=2)


def test_an_error_on_flink_is_one_line(flink: Cluster, work: Work) -> None:
    (work.folder / "fail").touch()
    work.go()
    assert work.start("out", "flink").wait(LIMIT) == 1
    assert "MemoryError: no room (in the step Pass1/Score)" in one_line(work)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_job_on_flink_ends_with_its_client_and_another_runner_goes_on(
    flink: Cluster, work: Work, how: signal.Signals
) -> None:
    before = states(flink).count("CANCELED")
    client = work.start("out", "flink")
    work.wait_for_work(client)
    client.send_signal(how)
    assert client.wait(LIMIT) == (130 if how == signal.SIGINT else -how)
    wait_until(lambda: {"RUNNING", "RESTARTING"}.isdisjoint(states(flink)), "the job goes on without its client")
    work.go()
    wait_until(lambda: states(flink).count("CANCELED") > before, "the job is never cancelled")
    work.run("out", "local")
    assert work.fingerprint("out") == work.local()


def test_flink_goes_on_when_a_task_manager_is_killed(flink: Cluster, work: Work) -> None:
    client = work.start("out", "flink", "--parallelism=1")
    work.wait_for_work(client)
    managers = [one for one in flink.processes if one.name.startswith("task-manager")]
    busy = [one for one in get_json(f"{flink.web}/taskmanagers")["taskmanagers"] if not one["freeSlots"]]
    assert len(busy) == 1
    port = int(busy[0]["path"].rpartition("@")[2].partition(":")[2].partition("/")[0])
    victim = next(one for one in managers if port in listening(one.pid))
    os.kill(victim.pid, signal.SIGKILL)
    work.go()
    assert client.wait(LIMIT) == 0, work.said()
    assert work.fingerprint("out") == work.local()


def listening(pid: int) -> set[int]:
    psutil = pytest.importorskip("psutil")
    return {one.laddr.port for one in psutil.Process(pid).net_connections() if one.status == "LISTEN"}
