"""Pool, scores, ledger and export on an S3 server of our own, in a thread; and on one that has a bad day."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import pickle
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

import poolsieve
from poolsieve.dataflow import Pool, fs, leases, retries, watched
from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.storage_errors import StorageAway, StorageForbidden
from poolsieve.dataflow.store.manifest import read_manifest
from poolsieve.filters import Keep, Top, col
from tests.conftest import decide, fingerprint_of, run, write_pool
from tests.faulty import FAULTS, FaultyProxy, by_chance

moto_server = pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")


Storage = Callable[[Callable[[str, str, int], str]], FaultyProxy]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an S3 server, which the environment names as it would for a user."""
    moto = moto_server.ThreadedMotoServer(port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield f"http://{host}:{port}"
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    moto.stop()


@pytest.fixture
def bucket(server: str) -> str:
    """An empty bucket."""
    system: Any = fsspec.filesystem("s3", skip_instance_cache=True)
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    system.mkdir(name)
    return f"s3://{name}"


@pytest.fixture
def faulty(server: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """Puts a faulty proxy before the server; what was connected before goes on without it.

    The client tries nothing again by itself and waits half a second for an answer, so that all faults reach us.
    """
    made: list[FaultyProxy] = []

    def make(fault: Callable[[str, str, int], str]) -> FaultyProxy:
        made.append(FaultyProxy(server, fault))
        monkeypatch.setenv("AWS_ENDPOINT_URL", made[-1].url)
        impatient = {"config_kwargs": {"retries": {"max_attempts": 0}, "read_timeout": 0.5}}
        monkeypatch.setitem(fsspec.config.conf, "s3", impatient)
        monkeypatch.setattr(retries, "FIRST_PAUSE", 0.002)
        monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        return made[-1]

    yield make
    for proxy in made:
        proxy.stop()


def recipe_of(pool: str, files: str = "part-{000..002}.parquet", words: int = 3) -> Any:
    return (
        Pool.parquet(f"{pool}/{files}", uid="uid", text="text")
        | Keep(col("text").word_count() >= words, reason="caption.short")
        | Top("clip", fraction=0.3, of="pool")
    )


def test_everything_on_s3_gives_the_ledger_of_local_files(bucket: str, pool: Path, tmp_path: Path) -> None:
    for path in pool.iterdir():
        fs.write_bytes(f"{bucket}/pool/{path.name}", path.read_bytes())
    run(recipe_of(str(pool)), tmp_path / "local")
    run(recipe_of(f"{bucket}/pool"), f"{bucket}/out")
    again = run(recipe_of(f"{bucket}/pool"), f"{bucket}/out")
    assert again.work.scored == {}
    decided = decide(recipe_of(f"{bucket}/pool", words=8), f"{bucket}/out")
    assert decided.kept <= again.kept
    run(recipe_of(f"{bucket}/pool"), f"{bucket}/out")
    system, _ = fs.connect(bucket)
    system.get(f"{bucket}/out", str(tmp_path / "copy"), recursive=True)
    assert read_manifest(str(tmp_path / "copy")).rows.rows_in == 1200
    assert fingerprint_of(tmp_path / "copy") == fingerprint_of(tmp_path / "local")


def test_a_failed_write_leaves_no_object(bucket: str) -> None:
    with pytest.raises(ZeroDivisionError), fs.atomic_write(f"{bucket}/half.bin") as file:
        file.write(b"x" * 100)
        raise ZeroDivisionError
    assert not fs.exists(f"{bucket}/half.bin")


def contents(folder: Path) -> dict[str, str]:
    """Name -> SHA-256 of an export's data files."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("data/*"))}


def test_a_store_on_a_bad_day_loses_and_doubles_nothing(bucket: str, faulty: Storage, tmp_path: Path) -> None:
    """500, 503, slow answers, none at all, and connections cut before or within an answer: on a fifth of all calls."""
    clean = fsspec.filesystem("s3", skip_instance_cache=True)
    for path in write_pool(tmp_path / "pool", sizes=(40, 30, 50)).iterdir():
        clean.put_file(str(path), f"{bucket}/pool/{path.name}")
    for base, out in ((str(tmp_path), f"{tmp_path}/local"), (bucket, f"{bucket}/out")):
        if base == bucket:
            proxy = faulty(by_chance(1, 0.2))
        run(recipe_of(base, "p*l/*.parquet"), out, workers=2)
        decide(recipe_of(base, "p*l/*.parquet", words=8), out)
        export(out)
    assert set(FAULTS) <= set(proxy.counts), proxy.counts
    clean.invalidate_cache()
    clean.get(f"{bucket}/out", str(tmp_path / "copy"), recursive=True)
    assert fingerprint_of(tmp_path / "copy") == fingerprint_of(tmp_path / "local")
    assert contents(tmp_path / "copy/export") == contents(tmp_path / "local/export") != {}
    found = {name.removeprefix(bucket[5:]) for name in clean.find(bucket)}
    assert not [name for name in found if fs.TEMPORARY in name or "/runs/" in name]
    assert sum("/rows/" in name for name in found) == 3 == sum("/pool/" in name for name in found)


@pytest.mark.parametrize("fault", ["internal", "unavailable", "slow_down", "bad_gateway", "no_answer", "cut"])
def test_every_call_survives_each_fault(bucket: str, faulty: Storage, fault: str) -> None:
    fs.write_bytes(f"{bucket}/a/b.bin", b"0123456789" * 1000)
    proxy = faulty(lambda method, path, times: fault if times < 2 else "")
    system, path = fs.connect(f"{bucket}/a/b.bin")
    assert fs.names(f"{bucket}/a") == ["b.bin"] and fs.exists(f"{bucket}/a/b.bin")
    assert fs.stat(system, path).size == 10_000 and len(fs.read_bytes(f"{bucket}/a/b.bin")) == 10_000
    with watched.open_remote(system, path, cache_type="none") as file:
        assert file.read(15)[-5:] == b"01234" and file.seek(9_995) and file.read() == b"56789"
    fs.write_bytes(f"{bucket}/a/c.bin", b"new")
    assert fs.read_bytes(f"{bucket}/a/c.bin") == b"new"
    fs.check_writable(f"{bucket}/a")
    fs.remove(f"{bucket}/a/c.bin")
    assert fs.names(f"{bucket}/a") == ["b.bin"] and proxy.counts[fault] >= 8


def test_a_folder_that_can_not_be_listed_is_no_empty_one(bucket: str, faulty: Storage) -> None:
    """fsspec's glob leaves out what it can't list: the pool would have lost half of its files without a word."""
    for name in ("a/1.parquet", "b/1.parquet"):
        fs.write_bytes(f"{bucket}/pool/{name}", b"x")
    pool = Pool.parquet(f"{bucket}/pool/*/*.parquet").located()
    proxy = faulty(lambda method, path, times: "unavailable" if "pool%2Fb" in path and times < 3 else "")
    assert [shard.path for shard in pool.listing().shards] == ["a/1.parquet", "b/1.parquet"]
    assert proxy.counts["unavailable"] == 3
    faulty(lambda method, path, times: "unavailable" if "pool%2Fb" in path else "")
    with pytest.raises(StorageAway, match=rf"{bucket}/pool/b.*goes on failing"):
        pool.listing()


def test_what_is_final_is_not_tried_again(bucket: str, faulty: Storage) -> None:
    for fault, kind, text in [("denied", StorageForbidden, "may not be read"), ("expired", OSError, "not accepted")]:
        proxy = faulty(lambda method, path, times, fault=fault: fault)
        with pytest.raises(kind, match=text):
            fs.names(f"{bucket}/a")
        assert proxy.counts[fault] == 1


def test_retries_end(bucket: str, faulty: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = faulty(lambda method, path, times: "internal")
    with pytest.raises(StorageAway, match=r"goes on failing") as caught:
        fs.read_bytes(f"{bucket}/a.bin")
    assert proxy.counts["internal"] == retries.ATTEMPTS and caught.value.errno == errno.EREMOTEIO
    monkeypatch.setattr(retries, "RETRY_SECONDS", 0.0)
    with pytest.raises(StorageAway):
        fs.read_bytes(f"{bucket}/a.bin")
    assert proxy.counts["internal"] == retries.ATTEMPTS + 1


def test_leases_hold_on_s3(bucket: str) -> None:
    folder, seen = f"{bucket}/out/leases", [0]

    def count() -> None:
        for _ in range(4):
            with leases.held(folder, leases.CLOSE, "a", patience=120):
                now = seen[0]
                time.sleep(0.005)
                seen[0] = now + 1

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    assert seen == [12] and not fs.names(folder)
    with (
        leases.held(folder, leases.WORK, "poolsieve run"),
        pytest.raises(leases.InUse, match="in use by poolsieve run"),
        leases.held(folder, leases.SOLE, "poolsieve prune"),
    ):
        pass
    fs.write_bytes(f"{bucket}/out/a", b"")
    assert abs(fs.modified(f"{bucket}/out/a").timestamp() - time.time()) < 60


def test_one_of_many_creates_an_object(bucket: str) -> None:
    start = threading.Barrier(6)
    wrote: list[int] = []

    def write(i: int) -> None:
        start.wait()
        if fs.write_new(f"{bucket}/new", str(i).encode()):
            wrote.append(i)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(wrote) == 1 and fs.read_bytes(f"{bucket}/new") == str(wrote[0]).encode()


def test_what_was_kept_is_fetched_once_and_asked_by_other_processes(bucket: str, tmp_path: Path) -> None:
    """The list of a remote run lies in the cache of this machine; row keys come from the ledgers."""
    write_pool(tmp_path / "pool")
    run(recipe_of(str(tmp_path / "pool")), f"{bucket}/out")
    kept, ledger = poolsieve.kept(f"{bucket}/out", cache=tmp_path / "cache"), poolsieve.open(f"{bucket}/out").ledger()
    uids, keep = ledger.column("uid").to_pylist(), ledger.column("keep").to_pylist()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(kept.mask, [uids, uids], chunksize=1)[0].tolist() == keep
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["uids.npy"]
    assert [key in kept for key in zip(ledger["path"].to_pylist(), ledger["row"].to_pylist(), strict=True)] == keep
    fs.remove(f"{bucket}/out/decisions/{kept.decision}")
    assert pickle.loads(pickle.dumps(kept)).mask(uids).tolist() == keep
