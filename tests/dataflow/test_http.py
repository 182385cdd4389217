"""A pool on a web server that has a bad day: what can't be had is never taken for what isn't there."""

from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolsieve.dataflow import Pool, retries
from poolsieve.dataflow.storage_errors import StorageAway, StorageForbidden
from poolsieve.filters import Keep, col
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import fingerprint_of, run, write_pool
from tests.faulty import FaultyProxy

RULE = Keep(col("text").word_count() >= 3, reason="caption.short")


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Python's own file server with ranges, which it lacks."""

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        path = self.translate_path(self.path)
        asked = self.headers.get("Range", "").removeprefix("bytes=").split("-")
        if len(asked) != 2 or not os.path.isfile(path):
            super().do_GET()
            return
        data = Path(path).read_bytes()
        first, last = int(asked[0]), min(int(asked[1] or len(data)), len(data) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(data[first : last + 1])


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a server of a small pool."""
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.002)
    write_pool(tmp_path / "pool", sizes=(40, 30, 50))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Ranges, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("fault", ["", "internal", "cut", "no_answer"])
def test_a_pool_on_a_web_server(web: str, tmp_path: Path, fault: str) -> None:
    run(Pool.parquet(f"{tmp_path}/pool/*.parquet", uid="uid", text="text") | RULE, tmp_path / "local")
    proxy = FaultyProxy(web, lambda method, path, times: fault if times < 2 else "")
    for files in ("*.parquet", "part-{000..002}.parquet"):
        out = tmp_path / f"out{len(files)}"
        run(Pool.parquet(f"{proxy.url}/pool/{files}", uid="uid", text="text") | RULE, out)
        assert fingerprint_of(out) == fingerprint_of(tmp_path / "local")
    assert proxy.counts[fault] > 5
    proxy.stop()


@pytest.mark.parametrize(("fault", "kind"), [("unavailable", StorageAway), ("denied", StorageForbidden)])
def test_what_can_not_be_had_is_no_gap(web: str, fault: str, kind: type[OSError]) -> None:
    proxy = FaultyProxy(web, lambda method, path, times: fault if "001" in path else "")
    for files in ("*.parquet", "part-{000..002}.parquet"):
        with pytest.raises(kind, match=f"{proxy.url}/pool/part-001.parquet"):
            Pool.parquet(f"{proxy.url}/pool/{files}", allow_gaps=True).located().listing()
    with pytest.raises(PlanError, match=r"1 of the 4 names .*part-003\.parquet"):
        Pool.parquet(f"{web}/pool/part-{{000..003}}.parquet").located().listing()
    proxy.stop()


def test_a_server_without_ranges(tmp_path: Path, web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ranges, "do_GET", http.server.SimpleHTTPRequestHandler.do_GET)
    with pytest.raises(OSError, match=r"can't be read in parts.*copy the pool"):
        run(Pool.parquet(f"{web}/pool/*.parquet", uid="uid", text="text") | RULE, tmp_path / "out")
