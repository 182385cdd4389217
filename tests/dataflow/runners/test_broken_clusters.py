"""Clusters of this machine that lose all of a sort in mid-job, and one that is stopped as it comes up: one line each."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from poolsieve.dataflow.runners.clusters.state import stored
from tests.dataflow.runners.conftest import brought_up, fetched
from tests.held_work import LIMIT, Work, one_line

pytestmark = pytest.mark.clusters


@pytest.mark.parametrize(("kind", "lost"), [("flink", "task-manager"), ("flink", "pool"), ("spark", "pool")])
def test_a_loss_that_no_job_survives_is_one_line(place: str, work: Work, kind: str, lost: str) -> None:
    with contextlib.contextmanager(brought_up)(kind) as cluster:
        victims = [one for one in cluster.processes if one.name.startswith(lost)]
        client = work.start("out", kind)
        work.wait_for_work(client)
        for one in victims:
            os.kill(one.pid, signal.SIGKILL)
        work.go()
        said = f"the {kind} cluster of this machine has lost {', '.join(one.name for one in victims)} (see "
        assert client.wait(LIMIT) == 1, work.said()
        assert said in one_line(work)
        assert work.start("out", kind).wait(LIMIT) == 2
        assert said in one_line(work) and f"`poolsieve cluster down --{kind}`" in one_line(work)
    work.run("out", "local")
    assert work.fingerprint("out") == work.local()


def test_up_that_is_stopped_leaves_nothing(place: str) -> None:
    fetched("prism")
    command = [sys.executable, "-m", "poolsieve.jobs.cli", "cluster", "up", "--prism"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("pool: process ")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=LIMIT)
    assert (process.returncode, said) == (130, "poolsieve: stopped.\n")
    assert stored("prism") is None
