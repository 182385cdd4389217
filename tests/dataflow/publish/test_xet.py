"""Publishing by Xet: the real client sends to xet-core's own server (`tests/xet_server.py`), behind a loopback Hub."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow.publish.publish import Publication
from tests.dataflow.publish.conftest import NAME, decided
from tests.hub_server import Fault
from tests.hub_xet import XetHub, forget_chunks, xet_hub

Publish = Callable[..., Publication]
XORBS = "/v1/xorbs/|/simulation/xorb-uploads/"
"""Where chunks are sent to: directly, or by a grant."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[XetHub]:
    with xet_hub(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Two files of 6 MB each, random but for their spelling. A hundred rows in a row are of one word, others of six."""
    folder = tmp_path / "large"
    folder.mkdir()
    for number in range(2):
        random = np.random.default_rng(number)
        texts = [f"{'word ' * (0 if 1000 <= i < 1100 else 5)}{random.bytes(750).hex()}" for i in range(4000)]
        uids = [f"{number * 4000 + i:032x}" for i in range(4000)]
        pq.write_table(pa.table({"uid": uids, "text": texts}), folder / f"{number}.parquet")
    return folder


def exported(out: Path) -> dict[str, bytes]:
    return {f"data/{path.name}": path.read_bytes() for path in sorted((out / "export/data").iterdir())}


def data(hub: XetHub) -> dict[str, bytes]:
    return {path: contents for path, contents in hub.repos[NAME].files().items() if path.startswith("data/")}


def sent(hub: XetHub) -> int:
    return hub.received("POST", XORBS) + hub.received("PUT", XORBS)


def test_a_publication_goes_by_xet_and_a_second_one_sends_nothing(
    hub: XetHub, out: Path, publish: Publish, tmp_path: Path
) -> None:
    first = publish(out)
    repo = hub.repos[NAME]
    assert data(hub) == exported(out) and first.commits == 1 and len(repo.commits()) == 2
    assert hub.count("PUT", "/lfs/") == hub.count("POST", "/info/lfs/") == 0 < sent(hub)
    assert all(entry.xet for path, entry in repo.at().files.items() if path.startswith("data/"))
    hub.forget()
    forget_chunks()
    second = publish(out)
    assert second.commit == first.commit and second.commits == second.sent == sent(hub) == 0 and not second.changes
    assert hub.count("GET", "/v1/|/v2/") == hub.count("POST", "/v1/|/v2/") == hub.count("PUT") == 0


def test_it_is_read_back_by_xet(hub: XetHub, out: Path, publish: Publish, tmp_path: Path) -> None:
    from huggingface_hub import hf_hub_download

    made = publish(out)
    hub.forget()
    for name, contents in exported(out).items():
        got = hf_hub_download(
            NAME, name, repo_type="dataset", revision=made.commit, endpoint=hub.url, cache_dir=tmp_path / "downloaded"
        )
        assert Path(got).read_bytes() == contents
    assert hub.count("GET", "/reconstructions/") > 0 == hub.count("GET", "/resolve/")


@pytest.mark.parametrize("cache", ["warm", "cold"])
def test_a_moved_cut_sends_only_chunks_that_changed(
    hub: XetHub, large: Path, tmp_path: Path, publish: Publish, cache: str
) -> None:
    """Content-defined chunking: rows that stay make the same chunks, wherever they stand.

    The client asks the storage for few of them (one in 1,024): of a small file it knows what it has sent itself.
    """
    out = tmp_path / "out"
    decided(out, large, least=1)
    publish(out)
    before, first = exported(out), sent(hub)
    whole = sum(map(len, before.values()))
    assert first > 0.9 * whole / 2  # hexadecimal, which is stored in half
    decided(out, large, least=2)
    hub.forget()
    forget_chunks()
    assert (tmp_path / "hf/xet").is_dir()
    if cache == "cold":
        shutil.rmtree(tmp_path / "hf")
    made = publish(out)
    after = exported(out)
    assert data(hub) == after and all(contents not in before.values() for contents in after.values())
    assert made.sent >= sum(map(len, after.values()))  # what was offered; only the client knows of chunks
    assert 0 < sent(hub) < (0.6 if cache == "warm" else 1.0) * first


CODE = """
import sys
from tests.dataflow.publish.conftest import card
from poolsieve.dataflow.publish.publish import Wishes, publish
out, name, endpoint = sys.argv[1:]
publish(out, Wishes(repo=name, license="cc0-1.0", token="hf_write", endpoint=endpoint), card, say=print)
"""


def test_one_that_was_killed_half_way_goes_on(
    hub: XetHub, large: Path, tmp_path: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    decided(out, large, least=1)
    poolsieve.export(out)
    hub.faults.append(Fault("POST", "/shards", delay=600.0, times=1000))
    going = subprocess.Popen([sys.executable, "-c", CODE, str(out), NAME, hub.url], start_new_session=True)
    until = time.monotonic() + 240
    while not sent(hub):
        assert time.monotonic() < until and going.poll() is None
        time.sleep(0.01)
    os.killpg(going.pid, signal.SIGKILL)
    going.wait()
    hub.faults.clear()
    assert len(hub.repos[NAME].commits()) == 1 and data(hub) == {}  # readers see nothing of it
    first = sent(hub)
    hub.forget()
    forget_chunks()
    made = publish(out)
    assert made.commits == 1 and data(hub) == exported(out)
    assert first > 3_000_000 and sent(hub) == 0  # the storage has the chunks, though nothing says yet whose they are


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", "xet-write-token", 503, times=2),
        Fault("POST", "/v1/xorb", 503, times=2),
        Fault("POST", "/shards", drop=True, times=2),
        Fault("POST", "/commit/", drop=True, after=True),
    ],
    ids=lambda fault: f"{fault.method} {fault.pattern} {fault.status}",
)
def test_what_may_pass_is_tried_again_and_a_commit_is_made_once(
    hub: XetHub, out: Path, publish: Publish, fault: Fault
) -> None:
    hub.faults.append(fault)
    made = publish(out)
    assert data(hub) == exported(out) and made.commit == hub.repos[NAME].head()
    assert len(hub.repos[NAME].commits()) == 2 and fault.times == 0
