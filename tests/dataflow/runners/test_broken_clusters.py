"""Clusters of this machine that lose all of a sort in mid-job: one line that names it, before the run the next time."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

from tests.dataflow.runners.conftest import brought_up
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
