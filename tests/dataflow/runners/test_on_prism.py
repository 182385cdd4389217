"""Prism on this machine: the local bytes, one line for an error; and what `cluster up` refuses."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from poolsieve.dataflow.runners.clusters import up as clusters
from poolsieve.dataflow.runners.clusters.state import Cluster
from poolsieve.scoring_models.base.errors import PlanError
from tests.held_work import LIMIT, Work, demo_gives_the_local_bytes, one_line, rounds_give_the_local_bytes

pytestmark = pytest.mark.clusters


def test_rows_meet_by_rounds_on_prism_as_one_worker_sees_them(prism: Cluster, tmp_path: Path) -> None:
    rounds_give_the_local_bytes("prism", tmp_path)


def test_the_demo_on_prism_gives_the_local_bytes_with_no_flag_to_look_up(prism: Cluster, tmp_path: Path) -> None:
    demo_gives_the_local_bytes("prism", tmp_path)


def test_prism_gives_the_local_bytes_and_a_cause_in_one_line(prism: Cluster, work: Work) -> None:
    work.run("out", "prism", cuts=2)
    assert work.fingerprint("out") == work.local(cuts=2)
    (work.folder / "fail").touch()
    assert work.start("failed", "prism").wait(LIMIT) == 1
    assert "MemoryError: no room (in the step Pass1/Score)" in one_line(work)


def test_a_worker_that_dies_on_prism_ends_the_run_and_the_next_run_goes_on(prism: Cluster, work: Work) -> None:
    client = work.start("out", "prism")
    os.kill(work.wait_for_work(client), signal.SIGKILL)
    assert client.wait(LIMIT) == 1
    assert "a worker process ended in the middle of its work" in one_line(work)
    work.run("out", "prism")
    assert work.fingerprint("out") == work.local()


def test_up_refuses_a_second_one_and_what_cant_be(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PlanError, match="at least one"):
        clusters.up("prism", 0, print)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert shutil.which("java") is None
    with pytest.raises(PlanError, match="there is no Java here"):
        clusters.up("spark", 1, print)
    assert clusters.down("spark", print) is False


def test_a_second_cluster_of_a_kind_is_refused(prism: Cluster) -> None:
    with pytest.raises(PlanError, match="there is a prism cluster already"):
        clusters.up("prism", 1, print)
    assert clusters.status() and not prism.dead()
