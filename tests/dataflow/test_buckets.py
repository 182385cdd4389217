"""OUT, pool and export on buckets of the Hub, by the real client and Xet; and on a Hub that has a bad day.

The Hub is a loopback one, the storage behind it xet-core's own server (`tests/xet_server.py`): skipped without it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import poolsieve
from poolsieve.dataflow import Pool, fs, leases, retries
from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.storage_errors import StorageError, StorageForbidden
from poolsieve.filters import Keep, Top, col
from poolsieve.scoring_models.base.errors import PlanError
from tests import forked
from tests.conftest import decide, fingerprint_of, ledger, run, write_pool
from tests.hub_server import Fault
from tests.hub_xet import XetHub, xet_hub

OUT = "hf://buckets/org/work/a/out"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[XetHub]:
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.01)
    with xet_hub(tmp_path, monkeypatch) as made:
        made.make_bucket("org/work")
        yield made


def recipe_of(pool: str, words: int = 3) -> Any:
    return (
        Pool.parquet(f"{pool}/part-{{000..002}}.parquet", uid="uid", text="text")
        | Keep(col("text").word_count() >= words, reason="caption.short")
        | Top("clip", fraction=0.3, of="pool")
    )


def copied(hub: XetHub, under: str, folder: Path) -> Path:
    """What a bucket holds below a folder, as local files."""
    for path, data in hub.read("org/work").items():
        if path.startswith(f"{under}/"):
            target = folder / path.removeprefix(f"{under}/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    return folder


def test_everything_on_a_bucket_gives_the_ledger_of_local_files(hub: XetHub, tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool", sizes=(40, 30, 50))
    for path in pool.iterdir():
        fs.write_bytes(f"hf://buckets/org/work/pool/{path.name}", path.read_bytes())
    on_hub = recipe_of("hf://buckets/org/work/pool")
    run(recipe_of(str(pool)), tmp_path / "local")
    run(on_hub, OUT)
    again = run(on_hub, OUT)
    assert again.work.scored == {}
    assert decide(recipe_of("hf://buckets/org/work/pool", words=8), OUT).kept <= again.kept
    run(on_hub, OUT)
    export(OUT)
    export(str(tmp_path / "local"))
    there, here = copied(hub, "a/out", tmp_path / "copy"), tmp_path / "local"
    assert fingerprint_of(there) == fingerprint_of(here)
    data = {path.name: path.read_bytes() for path in (there / "export/data").iterdir()}
    assert data == {path.name: path.read_bytes() for path in (here / "export/data").iterdir()} != {}
    said = ledger(there)
    kept = poolsieve.kept(OUT, cache=tmp_path / "cache")
    assert kept.mask(said["uid"]).tolist() == said["keep"].to_pylist()
    left = [path for path in hub.buckets["org/work"].files if fs.TEMPORARY in path or "/leases/" in path]
    assert left == []


def test_a_run_killed_half_way_goes_on_from_what_is_there(hub: XetHub, tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool", sizes=(40,) * 6)
    code = (
        "import sys, poolsieve; from poolsieve.dataflow import Pool; from poolsieve.filters import Keep, col;"
        "poolsieve.run(Pool.parquet(sys.argv[1] + '/*.parquet', uid='uid', text='text')"
        " | Keep(col('text').word_count() >= 3, reason='short'), sys.argv[2])"
    )
    recipe = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Keep(
        col("text").word_count() >= 3, reason="short"
    )
    going = forked.Popen([sys.executable, "-c", code, str(pool), OUT], start_new_session=True)
    files = hub.buckets["org/work"].files
    until = time.monotonic() + 240
    while sum("/scores/" in path and path.endswith(".parquet") for path in list(files)) < 2:
        assert time.monotonic() < until and going.poll() is None
        time.sleep(0.01)
    os.killpg(going.pid, signal.SIGKILL)
    going.wait()
    before = {path: found for path, found in files.items() if "/scores/" in path}
    assert 0 < len([path for path in before if path.endswith(".parquet")]) < 6 and "a/out/manifest.json" not in files
    made = run(recipe, OUT)
    assert 0 < sum(made.work.scored.values()) < 240
    assert {path: files[path] for path in before if path.endswith(".parquet")} == {
        path: found for path, found in before.items() if path.endswith(".parquet")
    }
    run(recipe, tmp_path / "local")
    assert fingerprint_of(copied(hub, "a/out", tmp_path / "copy")) == fingerprint_of(tmp_path / "local")


def test_others_are_seen_at_once(hub: XetHub) -> None:
    """The client itself remembers a listing for ever, and one for each thread."""
    url = "hf://buckets/org/work/seen/one.json"
    assert not fs.exists(url) and fs.names("hf://buckets/org/work/seen") == []

    def elsewhere(data: bytes) -> None:
        thread = threading.Thread(target=fs.write_bytes, args=(url, data))
        thread.start()
        thread.join()

    elsewhere(b"1")
    assert fs.exists(url) and fs.names("hf://buckets/org/work/seen") == ["one.json"]
    first = fs.stat(*fs.connect(url))
    elsewhere(b"22")
    second = fs.stat(*fs.connect(url))
    assert (first.size, second.size) == (1, 2) and first.tag != second.tag and fs.read_bytes(url) == b"22"
    fs.write_bytes(f"{url}-more", b"other")  # listings of the Hub go by the beginnings of names
    assert fs.sizes("hf://buckets/org/work/seen") == {"one.json": 2, "one.json-more": 5}
    fs.remove("hf://buckets/org/work/seen")
    assert hub.read("org/work") == {} and not fs.exists(url)
    fs.remove(url)


def test_a_file_is_made_once(hub: XetHub) -> None:
    url = "hf://buckets/org/work/new.json"
    assert fs.write_new(url, b"1") and not fs.write_new(url, b"2") and fs.read_bytes(url) == b"1"


def test_a_failed_write_leaves_nothing(hub: XetHub) -> None:
    with pytest.raises(ZeroDivisionError), fs.atomic_write(f"{OUT}/half.bin") as file:
        file.write(b"x" * 100)
        raise ZeroDivisionError
    assert hub.read("org/work") == {}


def test_parts_of_a_file_are_read_by_one_request_each(hub: XetHub) -> None:
    fs.write_bytes(f"{OUT}/large.bin", bytes(range(256)) * 4096)
    system, path = fs.connect(f"{OUT}/large.bin")
    with system.open(path, "rb", block_size=1024, cache_type="none") as file:
        hub.forget()
        for at in (512, 70_000, 300_001):
            file.seek(at)
            assert file.read(100) == bytes((at + i) % 256 for i in range(100))
    assert [one.method for one in hub.requests] == ["GET"] * 3


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST", "/batch", 503, times=2),
        Fault("POST", "/batch", drop=True, after=True),
        Fault("POST", "/paths-info", 503, times=2),
        Fault("GET", "/tree", 500, times=2),
        Fault("GET", "xet-write-token", 503, times=2),
        Fault("POST", "/v1/xorb|/v1/shards|/v2/shards", 503, times=2),
        Fault("GET", "/resolve/", drop=True, times=2),
    ],
    ids=lambda fault: f"{fault.method} {fault.pattern} {fault.status}",
)
def test_what_may_pass_is_tried_again(hub: XetHub, fault: Fault) -> None:
    hub.faults.append(fault)
    fs.write_bytes(f"{OUT}/a/b.json", b"contents")
    assert fs.exists(f"{OUT}/a/b.json") and fs.names(f"{OUT}/a") == ["b.json"]
    assert fs.read_bytes(f"{OUT}/a/b.json") == b"contents"
    assert fault.times == 0


def test_a_hub_that_does_not_answer_is_no_no(hub: XetHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's own `exists` says no then, and a run would begin anew."""
    fs.write_bytes(f"{OUT}/manifest.json", b"{}")
    monkeypatch.setattr(retries, "ATTEMPTS", 1)
    hub.faults.append(Fault("POST", "/paths-info", 403, times=1))
    with pytest.raises(StorageForbidden):
        fs.exists(f"{OUT}/manifest.json")


@pytest.mark.parametrize(
    ("token", "bucket", "said"),
    [
        ("hf_read", "org/work", "rights"),
        (None, "org/work", "hf auth login"),
        ("hf_wrong", "org/work", "hf auth login"),
        ("hf_write", "org/none", "hf buckets create org/none"),
        (None, "org/private", "hf auth login"),
        ("hf_other", "org/private", "hf buckets create org/private"),
    ],
)
def test_what_cannot_be_written_is_refused_in_one_line(
    hub: XetHub, pool: Path, monkeypatch: pytest.MonkeyPatch, token: str | None, bucket: str, said: str
) -> None:
    hub.make_bucket("org/private", private=True)
    monkeypatch.setenv("HF_TOKEN", token or "")
    began = time.monotonic()
    with pytest.raises((PlanError, StorageError)) as caught:
        run(recipe_of(str(pool)), f"hf://buckets/{bucket}/out")
    text = str(caught.value)
    assert said in text and f"hf://buckets/{bucket}/out" in text and "\n" not in text and "hf_" not in text, text
    assert time.monotonic() - began < 60 and hub.buckets["org/work"].files == {}  # tried once: nothing here may pass


def test_no_bucket_is_named(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    with pytest.raises(PlanError, match="names no bucket"):
        fs.connect("hf://buckets/org")


def test_a_silent_lease_of_another_machine_is_told_by_the_hubs_clock(hub: XetHub) -> None:
    """A writer's clock may be years off: what it says of a file's time is not asked."""
    folder = f"{OUT}/leases"
    there = msgspec.structs.replace(leases._me(leases.SOLE, "there"), place="another machine")
    fs.write_bytes(f"{folder}/sole-there.json", json.dumps(msgspec.to_builtins(there)).encode())
    stored = hub.buckets["org/work"].files
    path = next(iter(stored))
    hub.clock = leases.STALE / 2
    with pytest.raises(leases.InUse, match="there"), leases.held(folder, leases.WORK, "a"):
        pass
    hub.clock = leases.STALE * 2
    with leases.held(folder, leases.WORK, "a"):
        assert path not in stored
    assert stored == {}


def test_a_beat_is_never_what_the_store_has(hub: XetHub) -> None:
    with leases.held(f"{OUT}/leases", leases.WORK, "a") as lease:
        assert lease is not None
        path = next(iter(hub.buckets["org/work"].files))
        first = hub.buckets["org/work"].files[path]
        lease.write()
        assert hub.buckets["org/work"].files[path].xet_hash != first.xet_hash
        lease.check()
