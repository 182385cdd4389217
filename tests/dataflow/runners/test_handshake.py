"""Beam's own pool of workers, which says nothing of what it has: asked before a job is sent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apache_beam
import pytest

from poolsieve.dataflow.runners import handshake
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.runners.handshake import greet
from poolsieve.dataflow.runners.preflight import check_pool
from poolsieve.scoring_models.base.errors import PlanError
from tests.cluster import free_port, job_service_alone, wait_for

HERE = Path(sys.executable).parent


@contextmanager
def beams_pool(path: Path | None) -> Iterator[str]:
    """Address of one whose workers are the `python` of a folder; of none for None."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH" or path == HERE}
        | {"PATH": str(path or "")},
        cwd="/",  # not where poolsieve's source is
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def python_with(folder: Path, *packages: Path) -> Path:
    """The `bin` of a Python that has only what is in some folders, and no links of an editable installation there."""
    venv.create(folder, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "more.pth").write_text("".join(f"{one}\n" for one in packages))
    return folder / "bin"


BEAM = Path(apache_beam.__file__).parents[1]


def test_a_worker_that_has_all_is_greeted_and_goes() -> None:
    with beams_pool(HERE) as address:
        greet(address)


@pytest.mark.skipif((BEAM / "poolsieve").exists(), reason="poolsieve and Beam are installed in one folder")
def test_a_worker_without_our_package_is_refused_before_a_job_is_sent(tmp_path: Path) -> None:
    with beams_pool(python_with(tmp_path, BEAM)) as address, job_service_alone() as endpoint:
        flags = [f"--job_endpoint={endpoint}", "--environment_type=EXTERNAL", f"--environment_config={address}"]
        with pytest.raises(PlanError, match=f"pool at {address} can't do the job: a worker has no package 'poolsieve'"):
            Engine("portable", flags=flags)


def test_beams_pool_is_not_shared_by_executors() -> None:
    with beams_pool(HERE) as address:
        with pytest.raises(
            PlanError, match="is Beam's own, which loses workers where 2 executors of a machine share it"
        ):
            check_pool(address, 2)
        check_pool(address, 1)


def test_a_worker_of_other_versions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "versions", lambda: {"python": "2.7"})
    with (
        beams_pool(HERE) as address,
        pytest.raises(PlanError, match=r"versions differ: python 3\.\d+ \(worker\) against 2\.7 \(client\)"),
    ):
        greet(address)


def test_a_worker_that_can_not_start_is_not_waited_for_long(tmp_path: Path) -> None:
    with beams_pool(None) as address, pytest.raises(PlanError, match="No such file or directory: 'python'"):
        greet(address)
    began = time.monotonic()
    with beams_pool(python_with(tmp_path)) as address, pytest.raises(PlanError, match="did not answer within 2 s"):
        greet(address, seconds=2)
    assert time.monotonic() - began < 60
