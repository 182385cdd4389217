"""The folder that an export is written to: whose it is, what is removed, what a killed export leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow import Pool, fs
from poolsieve.dataflow.export.export import export, write_part
from poolsieve.dataflow.export.rows import Choice
from poolsieve.dataflow.export.sink import sink
from poolsieve.dataflow.export.target import WORK
from poolsieve.dataflow.pools.formats.outgoing import Picked
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.filters import Keep, col
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests import forked
from tests.conftest import run, text_table
from tests.dataflow.exported import (
    contents,
    parquet_recipe,
    read_back,
    tar_recipe,
    words,
    write_tar,
)


def test_replace_removes_exactly_the_old_files(pool: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    run(parquet_recipe(pool), out)
    first = export(out, target_bytes=1)
    target = Path(first.target)
    (target / "README.md").write_text("mine")
    with pytest.raises(PlanError, match="--replace"):
        export(out)
    assert len(list(target.glob("data/*"))) == 3
    second = export(out, replace=True)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()) == [
        "README.md",
        "_export.json",
        second.files[0].name,
    ]
    third = export(out, format="webdataset", replace=True)
    assert not list(target.rglob("*.parquet"))
    export(out, replace=True)
    assert not list(target.rglob("*.tar"))
    assert not (target / "data" / "sizes.json").exists()
    assert third.also == ("data/sizes.json",)


def test_strangers_and_the_pool_itself_are_left_alone(pool: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    run(parquet_recipe(pool), out)
    target = tmp_path / "mine"
    (target / "data").mkdir(parents=True)
    (target / "data" / "train-00000-of-00009.parquet").write_bytes(b"?")
    for replace in (False, True):
        with pytest.raises(PlanError, match="no export wrote"):
            export(out, target=str(target), replace=replace)
        with pytest.raises(PlanError, match="holds the pool"):
            export(out, target=str(pool), replace=replace)
    assert len(list(pool.iterdir())) == 3


def test_the_same_export_again_writes_nothing(pool: Path, tmp_path: Path) -> None:
    run(parquet_recipe(pool), tmp_path / "out")
    first = export(str(tmp_path / "out"), target_bytes=1)
    target = Path(first.target)
    stamps = {path: path.stat().st_mtime_ns for path in target.rglob("*.parquet")}
    lost = target / first.files[1].name
    lost.unlink()
    again = export(str(tmp_path / "out"), target_bytes=1)
    assert again == first
    changed = [path for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp]
    assert changed == [lost]


def test_a_failed_part_leaves_the_others_and_is_gone_on_with(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path / "out")
    run(parquet_recipe(pool), out)
    whole = export(out, target=str(tmp_path / "whole"), target_bytes=1)

    def failing(part: Any, *args: Any) -> None:
        if part.name.startswith("data/train-00001"):
            with sink(args[-1].path(part.name)) as file:
                file.write(b"half" * 1_000_000)
                raise OSError(28, "No space left on device")
        write_part(part, *args)

    monkeypatch.setattr("poolsieve.dataflow.export.export.write_part", failing)
    with pytest.raises(PoolsieveError, match=r"no space left to write .*train-00001.* run the same export"):
        export(out, target_bytes=1)
    monkeypatch.undo()
    target = tmp_path / "out" / "export"
    done = {path: path.stat().st_mtime_ns for path in target.rglob("*.parquet")}
    assert 1 <= len(done) < 3
    assert not (target / "_export.json").exists()
    assert not list(target.rglob(f"{fs.TEMPORARY}*"))
    with pytest.raises(PlanError, match="unfinished export"):
        export(out)
    found = export(out, target_bytes=1)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in done.items())
    assert contents(target) == contents(Path(whole.target))
    assert found.files == whole.files


def test_replacing_an_unfinished_export_removes_its_files(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path / "out")
    run(parquet_recipe(pool), out)
    monkeypatch.setattr("poolsieve.dataflow.export.export.write_part", _stop_after_two(out))
    with pytest.raises(PoolsieveError, match="enough"):
        export(out, target_bytes=1)
    monkeypatch.undo()
    found = export(out, replace=True)
    assert [path.name for path in (tmp_path / "out" / "export" / "data").iterdir()] == ["train-00000-of-00001.parquet"]
    assert len(found.files) == 1


def _stop_after_two(out: str) -> Callable[..., None]:
    def stopping(part: Any, *args: Any) -> None:
        if len(list(Path(out, "export", "data").glob("train*"))) >= 2:
            raise PoolsieveError("enough")
        write_part(part, *args)

    return stopping


def test_killed_at_random_moments_and_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "tars"
    folder.mkdir()
    for shard in range(12):
        write_tar(folder / f"{shard:05d}.tar", shard, 60)
    out = str(tmp_path / "out")
    run(tar_recipe(folder), out)
    whole = export(out, target=str(tmp_path / "whole"), target_bytes=1)
    # Slowed down, so that a kill falls between and within files.
    code = (
        "import sys, time\nfrom poolsieve.dataflow.pools.formats.webdataset import copy\n"
        "from poolsieve.dataflow.export.export import export\nend = copy.end_archive\n"
        "def slow(sink):\n    time.sleep(0.05)\n    end(sink)\ncopy.end_archive = slow\n"
        "print('go', flush=True)\nexport(sys.argv[1], target=sys.argv[2], target_bytes=1)\n"
    )
    target = tmp_path / "killed"
    for pause in (0.3, 0.5):
        process = forked.Popen([sys.executable, "-c", code, out, str(target)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    found = export(out, target=str(target), target_bytes=1)
    assert contents(target) == contents(tmp_path / "whole"), "nothing is left half-written either"
    assert found.files == whole.files


def test_what_killed_writers_left_beside_the_files_goes_and_no_more(pool: Path, tmp_path: Path) -> None:
    run(parquet_recipe(pool), tmp_path / "out")
    target = tmp_path / "kept"
    left = [target / f"{fs.TEMPORARY}1", target / "data" / f"{fs.TEMPORARY}2"]
    foreign = target / "another" / f"{fs.TEMPORARY}3"
    for one in (*left, foreign):
        one.parent.mkdir(parents=True, exist_ok=True)
        one.write_bytes(b"half")
    export(str(tmp_path / "out"), target=str(target))
    assert foreign.exists() and not any(one.exists() for one in left)


def test_a_pool_file_cut_short_while_it_is_exported(
    tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tar_recipe(tars), tmp_path / "out")
    pick = Choice.pick

    def cut_first(self: Choice, shard: Shard, ledger_sha256: str | None) -> Picked:
        """Between the check of the file and its reading."""
        if shard.path == "00002.tar":
            os.truncate(tars / shard.path, 40_960)
        return pick(self, shard, ledger_sha256)

    monkeypatch.setattr(Choice, "pick", cut_first)
    with pytest.raises(PoolsieveError, match=r"00002\.tar has changed"):
        export(str(tmp_path / "out"), format="parquet")
    assert not list((tmp_path / "out").rglob("train-*"))


def test_a_pool_that_changed_or_went_away(pool: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    run(parquet_recipe(pool), out)
    pq.write_table(text_table(300, 77), pool / "part-001.parquet")
    with pytest.raises(PoolsieveError, match=r"part-001\.parquet has changed"):
        export(out)
    assert not list((tmp_path / "out").rglob("train-*"))
    (pool / "part-001.parquet").unlink()
    with pytest.raises(PoolsieveError, match=r"part-001\.parquet is gone"):
        export(out)


def test_a_pool_that_moved(pool: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    run(parquet_recipe(pool), out)
    here = export(out)
    moved = tmp_path / "elsewhere"
    pool.rename(moved)
    os.utime(moved / "part-000.parquet")
    found = export(out, target=str(tmp_path / "two"), pool=Pool.parquet(f"{moved}/*.parquet"))
    assert contents(tmp_path / "two") == contents(Path(here.target))
    assert found.export == here.export
    with pytest.raises(PlanError, match="parquet pool"):
        export(out, pool=Pool.webdataset("x/*.tar"))


def test_remote_pool_and_target(pool: Path, tars: Path, tmp_path: Path) -> None:
    """An object store, as fsspec's in-memory one: no rename, no seek in what is written."""
    for folder, recipe in ((pool, parquet_recipe), (tars, tar_recipe)):
        out = str(tmp_path / f"out-{folder.name}")
        run(recipe(folder), out)
        local = export(out, target_bytes=1)
        system, _ = fs.connect("memory://bucket")
        for path in folder.iterdir():
            system.pipe_file(f"/bucket/{folder.name}/{path.name}", path.read_bytes())
        kind = Pool.parquet if folder is pool else Pool.webdataset
        moved = kind(f"memory://bucket/{folder.name}/*.{'parquet' if folder is pool else 'tar'}")
        found = export(out, target=f"memory://bucket/to-{folder.name}", pool=moved, target_bytes=1)
        assert found.files == local.files
        name = found.files[0].name
        assert system.cat_file(f"/bucket/to-{folder.name}/{name}") == Path(local.target, name).read_bytes()
        assert not system.exists(f"/bucket/to-{folder.name}/{WORK}")


def test_nothing_kept(pool: Path, tars: Path, tmp_path: Path) -> None:
    never = Keep(col("text").word_count() >= 99, reason="caption.too_short")
    run(Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | never, tmp_path / "a")
    found = export(str(tmp_path / "a"))
    assert list(found.warnings) == ["no row was exported"]
    made = read_back(tmp_path, found)
    assert (made.num_rows, made.schema) == (0, pq.read_schema(pool / "part-000.parquet"))
    run(Pool.webdataset(f"{tars}/*.tar", text="txt") | never, tmp_path / "b")
    found = export(str(tmp_path / "b"))
    assert found.files == ()
    assert json.loads(Path(found.target, "data", "sizes.json").read_text()) == {}


def test_read_only_target(pool: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    run(parquet_recipe(pool), tmp_path / "out")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(PoolsieveError, match="can't write"):
        export(str(tmp_path / "out"), target=str(locked))


def test_no_whole_run(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no manifest"):
        export(str(tmp_path))


def jsonl_run(tmp_path: Path, n: int = 3) -> str:
    """A run over n files of JSON lines."""
    (tmp_path / "lines").mkdir()
    for i in range(n):
        lines = (json.dumps({"id": f"{i}-{j}", "text": words(1 + j % 5)}) for j in range(50))
        (tmp_path / "lines" / f"{i}.jsonl").write_text("\n".join(lines))
    pool = Pool.jsonl(f"{tmp_path}/lines/*.jsonl", uid="id", text="text")
    run(pool | Keep(col("text").word_count() >= 3, reason="caption.too_short"), tmp_path / "out")
    return str(tmp_path / "out")


@pytest.mark.parametrize("name", ["x.jsonl.zst", "data/x.jsonl.zst", "data/y.ndjson", "a.tar", "data-2/z.parquet"])
def test_strangers_of_every_format_are_refused(tmp_path: Path, name: str) -> None:
    out, target = jsonl_run(tmp_path), tmp_path / "mine"
    (target / name).parent.mkdir(parents=True)
    (target / name).write_bytes(b"somebody's")
    for replace in (False, True):
        with pytest.raises(PlanError, match="no export wrote"):
            export(out, target=str(target), replace=replace)
    assert [path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()] == [name]


def test_another_unfinished_export_of_lines_is_not_removed_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = jsonl_run(tmp_path)
    monkeypatch.setattr("poolsieve.dataflow.export.export.write_part", _stop_after_two(out))
    with pytest.raises(PoolsieveError, match="enough"):
        export(out, target_bytes=1)
    monkeypatch.undo()
    there = sorted((tmp_path / "out" / "export").rglob("*.jsonl.zst"))
    assert len(there) == 2
    with pytest.raises(PlanError, match="unfinished export"):
        export(out)
    assert sorted((tmp_path / "out" / "export").rglob("*.jsonl.zst")) == there
    assert len(export(out, replace=True).files) == 1
    assert len(list((tmp_path / "out" / "export").rglob("*.jsonl.zst"))) == 1


def test_an_index_that_is_somebody_elses_is_refused(pool: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    run(parquet_recipe(pool), out)
    (tmp_path / "mine").mkdir()
    for text in ("{", "[]", '{"files": 3}'):
        (tmp_path / "mine" / "_export.json").write_text(text)
        with pytest.raises(PlanError, match=r"is damaged|not one of poolsieve's"):
            export(out, target=str(tmp_path / "mine"), replace=True)


@pytest.mark.parametrize("name", ["../precious", "/etc", "data/../../precious", "a//b", "..", "", "data\\..\\x"])
def test_names_that_lead_out_of_the_folder_remove_nothing(pool: Path, tmp_path: Path, name: str) -> None:
    """An index or a plan is data: whoever edits it must not choose what `--replace` removes."""
    precious = tmp_path / "out" / "precious"
    out = str(tmp_path / "out")
    run(parquet_recipe(pool), out)
    precious.mkdir()
    (precious / "file").write_text("x")
    export(out)
    index = tmp_path / "out" / "export" / "_export.json"
    whole = json.loads(index.read_text())
    for broken in ({**whole, "also": [name]}, {**whole, "export": name}):
        index.write_text(json.dumps(broken))
        with pytest.raises(PlanError, match="no name of a file in the folder"):
            export(out, replace=True, target_bytes=1)
    index.unlink()
    note = tmp_path / "out" / "export" / ".poolsieve-export" / "other" / "plan.json"
    note.parent.mkdir(parents=True)
    note.write_text(json.dumps({"files": [name]}))
    with pytest.raises(PlanError, match="no name of a file in the folder"):
        export(out, replace=True, target_bytes=1)
    assert (precious / "file").read_text() == "x"
