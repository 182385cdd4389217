"""Who may work in a folder beside whom, also when somebody is killed: real processes on real files."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from poolsieve.dataflow import fs, leases, progress
from poolsieve.dataflow.leases import CLOSE, SOLE, WORK, InUse, LeaseLost, held
from poolsieve.dataflow.store.layout import artefact_leases

HOLD = """
import sys, time
from poolsieve.dataflow.leases import held
with held(sys.argv[1], sys.argv[2], "a test"):
    print("held", flush=True)
    time.sleep(60)
"""

COUNT = """
import sys, time
from pathlib import Path
from poolsieve.dataflow.leases import CLOSE, held
counter = Path(sys.argv[2])
for _ in range(int(sys.argv[3])):
    with held(sys.argv[1], CLOSE, "a test", patience=60):
        seen = int(counter.read_text())
        time.sleep(0.002)
        counter.write_text(str(seen + 1))
"""


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "out" / "leases")


@pytest.fixture
def holder(folder: str) -> Iterator[subprocess.Popen[str]]:
    """Another process, which works in the folder."""
    started = subprocess.Popen([sys.executable, "-c", HOLD, folder, WORK], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None and started.stdout.readline() == "held\n"
    yield started
    started.kill()
    started.wait()


def test_any_number_may_work_but_nobody_removes_beside_them(folder: str, holder: subprocess.Popen[str]) -> None:
    with held(folder, WORK, "b"), held(folder, CLOSE, "b"):
        assert len(fs.names(folder)) == 3
    with pytest.raises(InUse) as refused, held(folder, SOLE, "c"):
        pass
    said = str(refused.value)
    assert f"process {holder.pid}" in said and "in use by a test" in said and fs.names(folder)[0] in said


def test_two_do_not_close_at_once(folder: str) -> None:
    with held(folder, CLOSE, "a"), pytest.raises(InUse, match="a \\("), held(folder, CLOSE, "b"):
        pass


def test_what_a_killed_process_held_is_free_at_once(folder: str, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    assert fs.names(folder)
    with held(folder, SOLE, "a"):  # what still holds it is waited for no longer than SETTLE, and then refused
        pass
    assert not os.path.exists(folder)


def test_a_process_number_that_was_given_again_is_another_process(folder: str) -> None:
    mine = leases._me(SOLE, "killed")
    old = msgspec.structs.replace(mine, started="1")
    fs.write_bytes(f"{folder}/sole-x.json", json.dumps(msgspec.to_builtins(old)).encode())
    with held(folder, SOLE, "a"):
        assert not fs.exists(f"{folder}/sole-x.json")


@pytest.mark.skipif(shutil.which("ps") is None, reason="there is no ps")
def test_ps_tells_processes_apart_where_nothing_else_does(holder: subprocess.Popen[str]) -> None:
    started = leases.said_by_ps(holder.pid)
    assert started and leases.said_by_ps(holder.pid) == started
    holder.kill()
    deadline = time.monotonic() + 20
    while leases.said_by_ps(holder.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert leases.said_by_ps(holder.pid) == ""  # a zombie, since nobody has waited for it
    holder.wait()
    assert leases.said_by_ps(holder.pid) == ""


def elsewhere(folder: str, age: float) -> str:
    """A lease of another machine whose last beat is some seconds old."""
    there = msgspec.structs.replace(leases._me(SOLE, "there"), place="another machine")
    url = f"{folder}/sole-there.json"
    fs.write_bytes(url, json.dumps(msgspec.to_builtins(there)).encode())
    os.utime(url, (time.time() - age, time.time() - age))
    return url


def test_another_machine_is_believed_until_it_was_silent_for_long(folder: str) -> None:
    url = elsewhere(folder, leases.STALE / 2)
    with pytest.raises(InUse, match="there"), held(folder, WORK, "a"):
        pass
    assert fs.exists(url)
    elsewhere(folder, leases.STALE * 2)
    with held(folder, WORK, "a"):
        assert not fs.exists(url)


def test_a_process_of_this_machine_that_is_stopped_is_still_there(folder: str, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGSTOP)
    for name in fs.names(folder):
        os.utime(f"{folder}/{name}", (1, 1))
    with pytest.raises(InUse, match=f"process {holder.pid}"), held(folder, SOLE, "a"):
        pass


def test_a_lease_that_says_nothing_is_not_passed_over(folder: str) -> None:
    fs.write_bytes(f"{folder}/sole-odd.json", b"\xff{")
    with pytest.raises(InUse, match="can't be read"), held(folder, WORK, "a"):
        pass


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("kind", [WORK, SOLE])
def test_folders_of_other_leases_hold_nobody_up(
    folder: str, kind: str, killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever makes an artefact has a lease below the run's own, in a folder that is named like the artefact."""
    monkeypatch.setattr(leases, "SETTLE", 0.0)
    below = artefact_leases(folder.rpartition("/")[0], "against-1.json")
    assert below.rpartition("/")[0] == folder
    line = [sys.executable, "-c", HOLD, below, SOLE]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None and maker.stdout.readline() == "held\n"
        if killed:
            maker.kill()
            maker.wait()
        with held(folder, kind, "a"):
            assert len(fs.names(below)) == 1
        with contextlib.suppress(InUse), held(below, SOLE, "a"):
            assert killed
        maker.kill()


def test_in_memory_too() -> None:
    for _ in range(2):  # where folders that are left stay
        with held("memory://nested/leases/artefact-1.json", SOLE, "a"), held("memory://nested/leases", WORK, "b"):
            pass


def test_a_removed_lease_stops_the_work(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT", 0.05)
    progress.reset()
    with pytest.raises(LeaseLost, match="was removed"), held(folder, WORK, "a") as lease:
        assert lease is not None
        fs.remove(lease.url)
        for _ in range(200):
            time.sleep(0.05)
            progress.check()
    progress.reset()


def test_beats_keep_a_lease_young(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT", 0.05)
    with held(folder, WORK, "a") as lease:
        assert lease is not None
        os.utime(lease.url, (1, 1))
        deadline = time.monotonic() + 20
        while fs.modified(lease.url).timestamp() < 1000 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert fs.modified(lease.url).timestamp() > 1000


def test_who_only_reads_goes_on_where_nothing_can_be_written() -> None:
    with held("/proc/poolsieve/leases", WORK, "a", read_only=True) as lease:
        assert lease is None
    with pytest.raises(OSError), held("/proc/poolsieve/leases", WORK, "a"):
        pass


def test_a_lease_is_taken_while_others_remove_the_empty_folder(folder: str) -> None:
    over = threading.Event()

    def leave() -> None:
        while not over.is_set():
            leases._remove_empty(folder)
            time.sleep(random.uniform(0.0, 0.0004))

    leaving = threading.Thread(target=leave)
    leaving.start()
    try:
        for _ in range(300):
            with held(folder, CLOSE, "a") as lease:
                assert lease is not None and fs.exists(lease.url)
    finally:
        over.set()
        leaving.join()


def test_nothing_is_counted_twice_by_four_processes(folder: str, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    command = [sys.executable, "-c", COUNT, folder, str(counter), "12"]
    started = [subprocess.Popen(command) for _ in range(4)]
    assert [one.wait(120) for one in started] == [0] * 4
    assert counter.read_text() == "48"


def test_nothing_is_counted_twice_in_memory() -> None:
    seen = [0]

    def count() -> None:
        for _ in range(10):
            with held("memory://leases-test/leases", CLOSE, "a", patience=60):
                now = seen[0]
                time.sleep(0.001)
                seen[0] = now + 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert seen == [40]


def test_of_many_who_write_a_new_file_one_did(tmp_path: Path) -> None:
    for base in (str(tmp_path / "new"), "memory://new-test/new"):
        wrote: list[int] = []
        start = threading.Barrier(8)

        def write(i: int, base: str = base, wrote: list[int] = wrote, start: threading.Barrier = start) -> None:
            start.wait()
            if fs.write_new(base, str(i).encode()):
                wrote.append(i)

        threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(wrote) == 1 and fs.read_bytes(base) == str(wrote[0]).encode()
