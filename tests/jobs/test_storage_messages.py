"""What storage can refuse, told by the command line in one message that says what and what to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner, Result

from poolsieve.dataflow import fs, retries
from poolsieve.jobs.cli import main
from tests import forked
from tests.dataflow.test_object_store import Storage, bucket, faulty, server  # noqa: F401  (fixtures)

RECIPE = """
from poolsieve import Pool
from poolsieve.filters import Keep, col
def recipe(pool: str):
    return Pool.parquet(pool, uid="uid", text="text") | Keep(col("text").word_count() >= 3, reason="caption.short")
"""

Poolsieve = Callable[..., Result]


@pytest.fixture
def poolsieve(tmp_path: Path, pool: Path, monkeypatch: pytest.MonkeyPatch) -> Poolsieve:
    """Runs `poolsieve run` over a pool into an OUT."""
    (tmp_path / "recipe.py").write_text(RECIPE)
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.002)

    def call(pool: str = f"{pool}/*.parquet", out: str = f"{tmp_path}/out", command: str = "run", *more: str) -> Result:
        return CliRunner().invoke(main, [command, f"{tmp_path}/recipe.py", "-p", f"pool={pool}", "--out", out, *more])

    return call


def told(result: Result, *words: str) -> None:
    """One line, an exit status of 1 or 2, and the words in it."""
    beside = re.compile(r"warning:|INFO werkzeug|poolsieve \d+:\d\d")  # progress, where the machine is slow
    lines = [line for line in result.output.splitlines() if line and not beside.match(line)]
    assert result.exit_code in (1, 2) and len(lines) == 1 and lines[0].startswith("poolsieve: "), result.output
    assert not [word for word in words if word not in lines[0]], lines[0]
    assert "Error:" not in lines[0] and len(lines[0]) < 600


@pytest.fixture
def nobody(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # noqa: F811
    """No credentials anywhere."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_no_credentials(nobody: None, poolsieve: Poolsieve) -> None:
    for pool in ("*.parquet", "a.parquet", "{0..20}.parquet"):
        told(poolsieve(f"s3://private/{pool}"), "no credentials for s3://private", "AWS_ACCESS_KEY_ID", "anon")
    told(poolsieve(out="s3://private/out"), "no credentials for s3://private/out")


@pytest.fixture
def nothing_there(server: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """An endpoint where nothing listens."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(retries, "AWAY_SECONDS", 0.0)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": {"retries": {"max_attempts": 0}}})
    monkeypatch.setattr(fsspec.get_filesystem_class("s3"), "retries", 1)


def test_an_endpoint_that_is_not_there(nothing_there: None, poolsieve: Poolsieve) -> None:
    told(poolsieve("s3://data/*.parquet"), "s3://data", "can't be reached", "AWS_ENDPOINT_URL")
    told(poolsieve(out="s3://data/out"), "s3://data/out", "can't be reached")
    told(poolsieve("https://127.0.0.1:9/{0..3}.parquet"), "https://127.0.0.1:9", "can't be reached")


def test_a_bucket_that_is_not_there(bucket: str, poolsieve: Poolsieve, tmp_path: Path) -> None:  # noqa: F811
    for pool in ("*.parquet", "*/*.parquet", "a.parquet", "{0..20}.parquet"):
        told(poolsieve(f"s3://none-such/{pool}"), "no such bucket: s3://none-such", "Create it")
    told(poolsieve(out="s3://none-such/out"), "no such bucket: s3://none-such/out")
    assert poolsieve().exit_code == 0
    result = CliRunner().invoke(main, ["export", f"{tmp_path}/out", "--to", "s3://none-such/kept"])
    told(result, "no such bucket: s3://none-such/kept")


@pytest.mark.parametrize(("fault", "words"), [("denied", "may not be read or written"), ("expired", "expired")])
def test_rights_that_are_missing(faulty: Storage, poolsieve: Poolsieve, fault: str, words: str) -> None:  # noqa: F811
    faulty(lambda method, path, times: fault)
    told(poolsieve("s3://data/*.parquet"), "s3://data", words if fault == "denied" else "not accepted")
    told(poolsieve("s3://data/a.parquet"), "s3://data/a.parquet", words)
    told(poolsieve(out="s3://data/out"), "s3://data/out", words)


def test_an_out_that_may_be_read_alone(bucket: str, faulty: Storage, poolsieve: Poolsieve) -> None:  # noqa: F811
    """Refused before a row is read, and nothing is left behind."""
    faulty(lambda method, path, times: "denied" if method in ("PUT", "POST") else "")
    told(poolsieve(out=f"{bucket}/out"), f"{bucket}/out", "may not be read or written")
    assert fs.names(bucket) == []


def test_a_store_that_goes_on_failing(bucket: str, faulty: Storage, poolsieve: Poolsieve) -> None:  # noqa: F811
    """From a worker, in the middle of a run."""
    faulty(lambda method, path, times: "internal" if "/rows/" in path and method == "PUT" else "")
    told(poolsieve(out=f"{bucket}/out"), f"{bucket}/out/rows/", "goes on failing", "goes on from")


def test_an_out_that_is_a_file(poolsieve: Poolsieve, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    told(poolsieve(out=f"{tmp_path}/file"), f"{tmp_path}/file", "is a file, and a folder is needed")
    told(poolsieve(out=f"{tmp_path}/file/a/b"), f"{tmp_path}/file", "is a file, and a folder is needed")
    told(poolsieve(command="plan", out=f"{tmp_path}/file/a/b"), "is a file, and a folder is needed")
    (tmp_path / "link").symlink_to("nowhere")
    told(poolsieve(out=f"{tmp_path}/link/out"), f"{tmp_path}/link")


def test_schemes_that_nothing_reads(poolsieve: Poolsieve) -> None:
    told(poolsieve("nothing://a/*.parquet"), "can't open nothing://a", "Protocol not known")
    told(poolsieve(out="nothing://a"), "can't open nothing://a", "Protocol not known")


def test_a_plan_that_is_refused_makes_no_folder(poolsieve: Poolsieve, tmp_path: Path) -> None:
    told(poolsieve(f"{tmp_path}/none/*.parquet", out=f"{tmp_path}/new/out"), "the pool is empty")
    assert poolsieve(command="plan", out=f"{tmp_path}/new/out").exit_code == 0
    assert not (tmp_path / "new").exists()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 96 KB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "none", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs to mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_disk_that_gets_full(small: Path, poolsieve: Poolsieve, workers: str) -> None:
    told(
        poolsieve(f"{small.parent}/pool/*.parquet", f"{small}/out", "run", "--workers", workers),
        "No space left",
        f"{small}/out/",
    )
    assert not [path for path in small.rglob(f"{fs.TEMPORARY}*") if path.is_file()]
    (small / "fill").write_bytes(b"x" * (os.statvfs(small).f_bavail * os.statvfs(small).f_frsize))
    told(poolsieve(out=f"{small}/other"), "No space left", f"{small}/other")


def test_an_out_that_is_read_only(small: Path, poolsieve: Poolsieve) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    told(poolsieve(out=f"{small}/out"), f"{small}/out can't be written", "read-only")
    told(poolsieve(out=f"{small}/out", command="plan"), "read-only")


def test_a_limit_on_the_size_of_files(poolsieve: Poolsieve, tmp_path: Path, pool: Path) -> None:
    """As quotas have it, in a process of its own."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "from poolsieve.jobs.cli import main; main(sys.argv[1:])\n"
    )
    args = ["run", f"{tmp_path}/recipe.py", "-p", f"pool={pool}/*.parquet", "--out", f"{tmp_path}/out"]
    done = forked.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "No space left to write" in done.stderr and "(File too large)" in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 2, done.stderr


def test_what_a_library_logs_of_errors_that_it_raises_is_not_said_twice() -> None:
    code = (
        "import logging; from poolsieve.jobs import logs; logs.configure()\n"
        "for name in ('gcsfs', 'apache_beam.x', 'another'): logging.getLogger(name).error('out of retries')"
    )
    environment = {name: value for name, value in os.environ.items() if name != "POOLSIEVE_LOG"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stderr == "ERROR another: out of retries\n"
