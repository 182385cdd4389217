"""Links, pipes, folders and names of files that a pool's patterns come upon."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from poolsieve.dataflow import fs
from poolsieve.dataflow.pools.listing import find
from poolsieve.dataflow.recipes.recipe import Pool
from poolsieve.dataflow.storage_errors import StorageForbidden
from poolsieve.filters import Keep, col
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import fingerprint_of, run, write_pool
from tests.dataflow.pools.test_files import paths, touch

RULE = Keep(col("text").word_count() >= 3, reason="caption.short")


def hub_cache(pool: Path, cache: Path) -> Path:
    """The pool as the Hub's cache keeps it: `snapshots/<revision>/data/<name>` links into `blobs/`."""
    data = cache / "snapshots/abc/data"
    data.mkdir(parents=True)
    (cache / "blobs").mkdir()
    for number, path in enumerate(sorted(pool.iterdir())):
        blob = cache / f"blobs/{number:064x}"
        shutil.copy(path, blob)
        os.utime(blob, (1e9, 1e9))  # older than the link to it
        (data / path.name).symlink_to(f"../../../blobs/{number:064x}")
    return data


@pytest.mark.parametrize("files", ["*.parquet", "part-{000..002}.parquet", "part-{000..011}.parquet", "**/*.parquet"])
def test_links_are_the_files_that_they_lead_to(pool: Path, tmp_path: Path, files: str) -> None:
    data = hub_cache(pool, tmp_path / "cache")
    linked = Pool.parquet(f"{data}/{files}", uid="uid", text="text", allow_gaps=True)
    run(linked | RULE, tmp_path / "linked")
    run(Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | RULE, tmp_path / "plain")
    again = run(linked | RULE, tmp_path / "linked")
    assert again.work.scored == {} and again.work.read_bytes == 0
    assert fingerprint_of(tmp_path / "linked") == fingerprint_of(tmp_path / "plain")


def test_a_changed_target_is_another_file(pool: Path, tmp_path: Path) -> None:
    data = hub_cache(pool, tmp_path / "cache")
    before = Pool.parquet(f"{data}/*.parquet").located().listing().shards
    os.utime(tmp_path / f"cache/blobs/{0:064x}", (1, 1))
    after = Pool.parquet(f"{data}/*.parquet").located().listing().shards
    assert [one.identity == other.identity for one, other in zip(before, after, strict=True)] == [False, True, True]


def test_linked_folders_are_walked_through(tmp_path: Path) -> None:
    touch(tmp_path, "real/a/1.tar", "real/2.tar", "pool/0.tar")
    (tmp_path / "pool/more").symlink_to("../real")
    assert paths(Pool.webdataset(f"{tmp_path}/pool/**/*.tar")) == ["0.tar", "more/2.tar", "more/a/1.tar"]
    assert paths(Pool.webdataset(f"{tmp_path}/pool/*/*.tar")) == ["more/2.tar"]


def broken_link(folder: Path) -> None:
    (folder / "b.tar").symlink_to("nowhere")


def link_to_itself(folder: Path) -> None:
    (folder / "b.tar").symlink_to("b.tar")


def links_in_a_circle(folder: Path) -> None:
    (folder / "b.tar").symlink_to("c.tar")
    (folder / "c.tar").symlink_to("b.tar")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "b.tar")


def link_to_a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "b.tar").symlink_to("pipe")


def device(folder: Path) -> None:
    (folder / "b.tar").symlink_to("/dev/zero")


def unix_socket(folder: Path) -> None:
    here = os.getcwd()
    os.chdir(folder)  # a socket's path may have 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("b.tar")
    finally:
        os.chdir(here)


def spark_folder(folder: Path) -> None:
    touch(folder, "b.tar/part-0.tar")


def link_to_a_folder(folder: Path) -> None:
    touch(folder, "other/part-0.x")
    (folder / "b.tar").symlink_to("other")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (broken_link, r"b\.tar' .*a link to a file that is not there"),
        (link_to_itself, r"b\.tar' .*a link in a circle"),
        (links_in_a_circle, r"[bc]\.tar' .*a link in a circle"),
        (pipe, r"b\.tar' .*a pipe, a socket or a device"),
        (link_to_a_pipe, r"b\.tar' .*a pipe, a socket or a device"),
        (device, r"b\.tar' .*a pipe, a socket or a device"),
        (unix_socket, r"b\.tar' .*a pipe, a socket or a device"),
        (spark_folder, r"b\.tar' is a folder .*\*\.tar"),
        (link_to_a_folder, r"b\.tar' is a folder .*\*\.tar"),
    ],
)
@pytest.mark.parametrize("files", ["*.tar", "{a,b}.tar", "{a..l}.tar", "**/*.tar", "[ab].tar"])
def test_what_is_no_file_is_refused_by_name(tmp_path: Path, make: object, text: str, files: str) -> None:
    touch(tmp_path, "pool/a.tar")
    make(tmp_path / "pool")  # type: ignore[operator]
    pool = Pool.webdataset(f"{tmp_path}/pool/{files}", allow_gaps=True).located()
    with pytest.raises(PlanError, match=text):
        pool.listing()


def test_a_bare_star_passes_over_folders_and_what_does_not_match_is_nobodys_business(tmp_path: Path) -> None:
    touch(tmp_path, "pool/a.tar", "pool/.cache/x", "pool/meta.d/y")
    os.mkfifo(tmp_path / "pool/fifo")
    (tmp_path / "pool/link").symlink_to("nowhere")
    assert paths(Pool.webdataset(f"{tmp_path}/pool/*.tar")) == ["a.tar"]
    (tmp_path / "pool/fifo").unlink()
    (tmp_path / "pool/link").unlink()
    assert paths(Pool.webdataset(f"{tmp_path}/pool/*")) == ["a.tar"]


def test_folders_that_lead_back_into_themselves_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "pool/a/1.tar", "pool/b/2.tar")
    (tmp_path / "pool/a/up").symlink_to("..")
    (tmp_path / "pool/a/up2").symlink_to("..")
    with pytest.raises(PlanError, match=r"pool/a/up2?' .*a link back to a folder above it"):
        Pool.webdataset(f"{tmp_path}/pool/**/*.tar").located().listing()
    (tmp_path / "pool/a/up").unlink()
    (tmp_path / "pool/a/up2").unlink()
    (tmp_path / "pool/a/b").symlink_to("../b")
    (tmp_path / "pool/b/a").symlink_to("../a")
    with pytest.raises(PlanError, match="a link back to a folder above it"):
        Pool.webdataset(f"{tmp_path}/pool/**/*.tar").located().listing()
    assert len(paths(Pool.webdataset(f"{tmp_path}/pool/*/*.tar"))) == 2


@pytest.mark.parametrize("files", ["*.tar", "**/*.tar", "?.tar"])
def test_a_name_that_is_not_utf8_is_refused_escaped(tmp_path: Path, files: str) -> None:
    (tmp_path / "pool").mkdir()
    with open(os.fsencode(f"{tmp_path}/pool/") + b"\xff.tar", "wb"):
        pass
    with pytest.raises(PlanError, match=r"\\udcff\.tar' is not UTF-8.*rename") as caught:
        Pool.webdataset(f"{tmp_path}/pool/{files}").located().listing()
    str(caught.value).encode()


def test_a_folder_whose_name_is_not_utf8(tmp_path: Path) -> None:
    os.mkdir(os.fsencode(f"{tmp_path}/") + b"\xe9t\xe9")
    with open(os.fsencode(f"{tmp_path}/") + b"\xe9t\xe9/a.tar", "wb"):
        pass
    with pytest.raises(PlanError, match=r"\\udce9t\\udce9/a\.tar' is not UTF-8"):
        Pool.webdataset(f"{tmp_path}/*/*.tar").located().listing()


def test_patterns_match_what_fsspec_matches(tmp_path: Path) -> None:
    touch(
        tmp_path, "p/a1/x.tar", "p/a1/b/y.tar", "p/a2/x.tar", "p/.h/z.tar", "p/[q]/x.tar", "p/q/x.tar", "p/a1/b/c/d.tar"
    )
    system, _ = fs.connect(str(tmp_path))
    for pattern in (
        "*/*.tar",
        "**/*.tar",
        "a?/x.tar",
        "a[!1]/*.tar",
        "**/b/**/*.tar",
        "a1/**",
        ".h/*.tar",
        "*/b/*",
        "[[]q]/*",
    ):
        url = f"{tmp_path}/p/{pattern}"
        found, _ = find([url], f"{tmp_path}/p", {})
        wanted = [name for name, info in system.glob(url, detail=True).items() if info["type"] == "file"]
        assert [f"{tmp_path}/p/{shard.path}" for shard in found] == sorted(wanted) != [], pattern


def test_a_pattern_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=re.escape("a**b.tar' can't be read: ")):
        Pool.webdataset(f"{tmp_path}/a**b.tar").located().listing()


def test_a_folder_that_may_not_be_read_is_no_empty_one(tmp_path: Path) -> None:
    """As another user, since root may read everything."""
    touch(tmp_path, "a/1.tar", "b/1.tar")
    if os.geteuid():
        pytest.skip("needs to become another user")
    code = (
        "import os, sys; os.setuid(65534)\n"
        "from poolsieve.dataflow import Pool\n"
        "try: Pool.webdataset(sys.argv[1]).located().listing()\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    for folder in [tmp_path, *tmp_path.parents[:2]]:
        folder.chmod(0o755)
    (tmp_path / "b").chmod(0)
    done = subprocess.run(
        [sys.executable, "-c", code, f"{tmp_path}/*/*.tar"], capture_output=True, text=True, check=False, env=os.environ
    )
    if "No module" in done.stderr or "ermission" in done.stderr:
        pytest.skip("another user may not read this installation")
    assert done.stdout.startswith(f"{StorageForbidden.__name__} {tmp_path}/b may not be read"), done.stderr


def test_a_pool_written_meanwhile_is_not_listed(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool", sizes=[2])
    (tmp_path / "pool/.poolsieve-tmp-1.parquet").write_bytes(b"")
    assert paths(Pool.parquet(f"{tmp_path}/pool/*.parquet")) == ["part-000.parquet"]
