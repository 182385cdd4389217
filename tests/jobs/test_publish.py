"""`poolsieve publish` as a user runs it: a process of its own, which knows a loopback Hub and may be killed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.filters import Keep, Top, col
from tests import forked
from tests.hub_server import Fault, HubServer
from tests.published import data, exported

NAME = "org/kept"
FILES = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decision with its export, that each test gets a copy of."""
    tmp_path = tmp_path_factory.mktemp("made")
    folder = tmp_path / "pool"
    folder.mkdir()
    for number in range(FILES):
        texts = [f"{i} " + "word " * (i % 20) for i in range(300)]
        uids = [f"{number * 300 + i:032x}" for i in range(300)]
        table = pa.table({"uid": uids, "text": texts, "length": pa.array(map(len, texts), pa.float32())})
        pq.write_table(table, folder / f"{number}.parquet")
    made = poolsieve.Pool.parquet(f"{folder}/*.parquet", uid="uid", text="text")
    recipe = made | Keep(col("text").word_count() >= 3, reason="text.short") | Top("length", fraction=0.5)
    poolsieve.run(recipe, tmp_path / "out")
    poolsieve.export(tmp_path / "out", target_bytes=1)
    return tmp_path / "out"


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "out"))


def command(out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "poolsieve.jobs.cli", "publish", str(out), "--repo", NAME, *options]


def publish(
    hub: HubServer, out: Path, *options: str, token: str | None = "hf_write"
) -> subprocess.CompletedProcess[str]:
    env = hub.environment(out.parent / "home", token)
    args = command(out, "--license", "cc0-1.0", *options)
    return forked.run(args, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_what_was_published_is_loaded_as_the_card_says(hub: HubServer, out: Path) -> None:
    done = publish(hub, out, "--with", "scores", "--with", "subset")
    assert done.returncode == 0, done.stderr
    assert f"/datasets/{NAME}" in done.stdout and f"commit   {hub.repos[NAME].head()}" in done.stdout
    code = f"""
from datasets import load_dataset
kept = load_dataset({NAME!r}, split="train")
scores = load_dataset({NAME!r}, "scores", split="train")
print(len(kept), sorted(kept.features), len(scores), sum(scores["keep"]))
"""
    env = hub.environment(out.parent / "home")
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    counts = poolsieve.open(out).counts
    assert loaded.returncode == 0, loaded.stderr[-2000:]
    assert loaded.stdout.strip() == f"{counts.kept} ['length', 'text', 'uid'] {counts.rows_in} {counts.kept}"
    assert json.loads(hub.repos[NAME].files()["croissant.json"])["license"]


def test_a_second_command_says_that_everything_was_there(hub: HubServer, out: Path) -> None:
    publish(hub, out)
    hub.forget()
    done = publish(hub, out)
    assert done.returncode == 0 and "everything was there" in done.stdout
    assert hub.count("PUT") == hub.count("POST", "/commit/") == 0 and len(hub.repos[NAME].commits()) == 2


def test_what_people_wrote_into_the_card_stays(hub: HubServer, out: Path) -> None:
    publish(hub, out)
    repo = hub.repos[NAME]
    repo.change({"README.md": repo.files()["README.md"] + b"\n## Who to ask\n\nMe.\n"})
    assert "everything was there" in publish(hub, out).stdout
    assert publish(hub, out, "--with", "manifest").returncode == 0
    assert repo.files()["README.md"].endswith(b"\n## Who to ask\n\nMe.\n") and "manifest.json" in repo.files()


def test_a_card_that_is_edited_while_files_are_sent_keeps_what_was_written(hub: HubServer, out: Path) -> None:
    publish(hub, out)
    repo = hub.repos[NAME]

    class Meanwhile(Fault):
        def hits(self, method: str, path: str) -> bool:
            if super().hits(method, path):
                repo.change({"README.md": repo.files()["README.md"] + b"\nby me\n"})
            return False

    hub.faults.append(Meanwhile("POST", "/commit/"))
    done = publish(hub, out, "--with", "manifest")
    assert done.returncode == 0, done.stderr
    assert repo.files()["README.md"].endswith(b"\nby me\n") and "manifest.json" in repo.files()


@pytest.mark.parametrize("moment", ["/lfs/", "/commit/", "/batch"])
def test_killed_in_the_middle_nothing_is_seen_and_nothing_is_sent_twice(hub: HubServer, out: Path, moment: str) -> None:
    hub.faults.append(
        Fault("PUT" if moment == "/lfs/" else "POST", moment, delay=30, skip=2 if moment == "/lfs/" else 0)
    )
    args = command(out, "--license", "cc0-1.0")
    with forked.Popen(args, env=hub.environment(out.parent / "home"), stderr=subprocess.PIPE) as process:
        wait_for(lambda: not hub.faults[0].times)
        process.send_signal(signal.SIGKILL)
    arrived = len(hub.objects)
    assert NAME not in hub.repos or not data(hub.repos[NAME].files())
    hub.faults.clear()
    hub.forget()
    assert publish(hub, out).returncode == 0
    assert data(hub.repos[NAME].files()) == exported(out)
    assert hub.count("PUT") == len(hub.objects) - arrived


def wait_for(true: object) -> None:
    deadline = time.monotonic() + 60
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ctrl_c_ends_it_quickly_and_says_how_to_go_on(hub: HubServer, out: Path) -> None:
    hub.faults.append(Fault("POST", "/commit/", 429, {"Retry-After": "200"}, times=100))
    args = command(out, "--license", "cc0-1.0")
    pipe = subprocess.PIPE
    with forked.Popen(args, env=hub.environment(out.parent / "home"), stderr=pipe, text=True) as process:
        wait_for(lambda: hub.faults[0].times < 100)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "waiting 200 s" in err.replace("201", "200") and "the same command" in err


def test_two_commands_at_once_leave_one_dataset(hub: HubServer, out: Path) -> None:
    args = command(out, "--license", "cc0-1.0")
    env = hub.environment(out.parent / "home")
    both = [forked.Popen(args, env=env, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert data(hub.repos[NAME].files()) == exported(out) and len(hub.repos[NAME].commits()) == 2


@pytest.mark.parametrize(
    ("options", "token", "said"),
    [
        ((), None, "hf auth login"),
        (("--license", "cc0-1.0", "--repo", "nobody"), "hf_write", "org/name"),
        (("--with", "everything"), "hf_write", "'scores'"),
        (("--pr", "--revision", "dev"), "hf_write", "--pr"),
    ],
)
def test_mistakes_are_told_in_one_line(
    hub: HubServer, out: Path, options: tuple[str, ...], token: str | None, said: str
) -> None:
    done = publish(hub, out, *options, token=token)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert not hub.count("POST") and not hub.repos


def test_offline_says_so(hub: HubServer, out: Path) -> None:
    env = {**hub.environment(out.parent / "home"), "HF_HUB_OFFLINE": "1"}
    done = forked.run(command(out), env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "HF_HUB_OFFLINE" in done.stderr


def test_from_python(hub: HubServer, out: Path) -> None:
    made = poolsieve.open(out).publish(NAME, license="cc0-1.0", token="hf_write", endpoint=hub.url)
    assert made.commit == hub.repos[NAME].head()
    assert set(data(hub.repos[NAME].files())) == set(exported(out))


def test_a_dry_run_lists_what_it_would_do(hub: HubServer, out: Path) -> None:
    done = publish(hub, out, "--dry-run")
    assert (
        done.returncode == 0 and "+ data/train-00000-of-00004.parquet" in done.stdout and "+ README.md" in done.stdout
    )
    assert not hub.repos
