"""Pool, scores, ledger and export on an S3 server of our own, in a thread."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from poolsieve.dataflow import Pool, fs
from poolsieve.dataflow.store.manifest import read_manifest
from poolsieve.filters import Keep, Top, col
from tests.conftest import decide, fingerprint_of, run

moto_server = pytest.importorskip("moto.server")
pytest.importorskip("s3fs")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket, reached as a user would reach it: through the environment."""
    server = moto_server.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    system: Any = fsspec.filesystem("s3", skip_instance_cache=True)
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    system.mkdir(name)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield f"s3://{name}"
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.stop()


def recipe_of(pool: str, words: int = 3) -> Any:
    return (
        Pool.parquet(f"{pool}/part-{{000..002}}.parquet", uid="uid", text="text")
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
