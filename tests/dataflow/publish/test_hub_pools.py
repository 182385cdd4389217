"""A pool on the Hub that is published there: what left whole is copied by the Hub, at the commit that was read."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import forked
from tests.dataflow.publish.conftest import NAME
from tests.hub_server import HubServer

POOL = "org/pool"

RUN = """
import sys
import poolsieve
from poolsieve import Pool
from poolsieve.filters import Keep, col
recipe = Pool.hub("org/pool", text="text") | Keep(col("text").word_count() >= 3, reason="text.short")
poolsieve.run(recipe, sys.argv[1])
poolsieve.export(sys.argv[1], target_bytes=1)
"""


def parquet(number: int, words: int) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": [f"{number} {i} " + "word " * (words + i % 2) for i in range(500)]}), sink)
    return sink.getvalue()


@pytest.fixture
def files(hub: HubServer) -> dict[str, bytes]:
    """Two files of which every row is kept, and one of which half are; a card with a license."""
    made = {f"data/train-{i:05d}-of-00003.parquet": parquet(i, words) for i, words in enumerate((5, 0, 9))}
    hub.create(POOL, {**made, "README.md": b"---\nlicense: odc-by\n---\n# The pool\n"})
    return made


def called(hub: HubServer, out: Path, *words: str) -> str:
    env = hub.environment(out.parent / "home", HF_HUB_DISABLE_XET="1")
    done = forked.run([sys.executable, *words], env=env, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def publish(hub: HubServer, out: Path) -> str:
    return called(hub, out, "-m", "poolsieve.jobs.cli", "publish", str(out), "--repo", NAME)


@pytest.fixture
def out(hub: HubServer, files: dict[str, bytes], tmp_path: Path) -> Path:
    called(hub, tmp_path / "out", "-c", RUN, str(tmp_path / "out"))
    return tmp_path / "out"


def data(hub: HubServer) -> list[bytes]:
    return [contents for path, contents in sorted(hub.repos[NAME].files().items()) if path.startswith("data/")]


def sent(hub: HubServer) -> set[str]:
    return {one.path.removeprefix("/lfs/") for one in hub.requests if one.method == "PUT"}


def test_files_that_left_whole_are_copied_by_the_hub(hub: HubServer, files: dict[str, bytes], out: Path) -> None:
    from tests.hub_store import sha256

    whole = [contents for path, contents in files.items() if "00001-of" not in path]
    for contents in whole:
        del hub.objects[sha256(contents)]  # so that a copy can't be an upload that was not needed
    hub.objects.update({sha256(contents): contents for contents in whole})
    hub.forget()
    said = publish(hub, out)
    assert "2 files copied by the Hub" in said
    assert not sent(hub) & {sha256(contents) for contents in whole}
    assert hub.count("POST", "lfs-files/duplicate") == 1
    found = data(hub)
    assert found[0] == whole[0] and found[2] == whole[1] and len(found) == 3
    card = hub.repos[NAME].files()["README.md"].decode()
    assert "license: odc-by" in card and POOL in card
    assert "everything was there" in publish(hub, out)


def test_the_commit_that_was_read_is_copied_though_the_pool_has_moved_on(
    hub: HubServer, files: dict[str, bytes], out: Path
) -> None:
    hub.repos[POOL].change({path: parquet(7, 1) for path in files}, "all anew")
    publish(hub, out)
    assert data(hub)[0] == files["data/train-00000-of-00003.parquet"]


def test_what_the_hub_does_not_copy_is_sent_and_a_warning_says_so(
    hub: HubServer, files: dict[str, bytes], out: Path
) -> None:
    hub.copies = False
    said = publish(hub, out)
    assert "does not copy" in said and "0 files copied by the Hub" in said
    assert data(hub)[0] == files["data/train-00000-of-00003.parquet"] and len(hub.repos[NAME].commits()) == 2
