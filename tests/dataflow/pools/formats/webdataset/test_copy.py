"""Tars to tars: samples leave byte for byte."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pyarrow.compute as pc
import pytest

from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.store.manifest import read_manifest
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import ledger, run
from tests.dataflow.exported import (
    npy,
    raw_samples,
    tar_files,
    tar_recipe,
    uid_of,
    write_tar,
)


def test_uids_are_a_multiset_in_tars(tars: Path, tmp_path: Path) -> None:
    run(tar_recipe(tars), tmp_path / "out")
    listed = [uid_of(0, 0), uid_of(1, 5), uid_of(1, 5), uid_of(2, 7)]
    found = export(str(tmp_path / "out"), uids=npy(tmp_path / "list.npy", [*listed, "0" * 32]))
    made = raw_samples(tar_files(found)[0])
    u = uid_of(1, 5)
    assert [key for key, _ in made] == ["set/00000000", f"/{u}-0", f"/{u}-1", "set/00200007"]
    assert made[0][1] == raw_samples(tars / "00000.tar")[0][1]
    with tarfile.open(tar_files(found)[0]) as archive, tarfile.open(tars / "00001.tar") as source:
        before = [info for info in source if "00100005" in info.name]
        for j in range(2):
            after = [info for info in archive if info.name.startswith(f"{u}-{j}.")]
            assert [info.name.split(".")[1] for info in after] == ["JPG", "txt", "json"]
            for a, b in zip(after, before, strict=True):
                assert archive.extractfile(a).read() == source.extractfile(b).read()  # type: ignore[union-attr]
                assert (a.mtime, a.mode, a.uid, a.uname) == (b.mtime, b.mode, b.uid, b.uname)
    assert (found.rows, found.missing) == (4, 1)
    assert json.loads((Path(found.target) / "data" / "sizes.json").read_text()) == {"train-00000-of-00001.tar": 4}


def test_tar_samples_are_byte_identical_and_in_order(tars: Path, tmp_path: Path) -> None:
    run(tar_recipe(tars), tmp_path / "out")
    found = export(str(tmp_path / "out"))
    made = [sample for path in tar_files(found) for sample in raw_samples(path)]
    everything = [sample for path in sorted(tars.glob("*.tar")) for sample in raw_samples(path)]
    keep = ledger(tmp_path / "out")["keep"].to_pylist()
    assert made == [sample for sample, kept in zip(everything, keep, strict=True) if kept]
    data = tar_files(found)[0].read_bytes()
    assert len(data) % tarfile.RECORDSIZE == 0
    assert data[-1024:] == bytes(1024)
    assert json.loads((Path(found.target) / "data" / "sizes.json").read_text()) == {
        "train-00000-of-00001.tar": sum(keep)
    }


def test_tars_close_past_the_target_and_webdataset_reads_them(tars: Path, tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    run(tar_recipe(tars), tmp_path / "out")
    found = export(str(tmp_path / "out"), target_bytes=1)
    assert [file.name for file in found.files] == [f"data/train-0000{i}-of-00003.tar" for i in range(3)]
    seen = list(wds.WebDataset([str(path) for path in tar_files(found)], shardshuffle=False))
    kept = ledger(tmp_path / "out").filter(pc.field("keep"))
    assert [json.loads(sample["json"])["uid"] for sample in seen] == kept["uid"].to_pylist()
    assert all(len(sample["txt"].split()) == 5 for sample in seen)


def test_equal_keys_never_meet(tmp_path: Path) -> None:
    """Across two tars the file closes; within one, where what stood between stays behind, the second is renamed."""
    wds = pytest.importorskip("webdataset")
    folder = tmp_path / "tars"
    folder.mkdir()
    # Samples 0 and 3 are dropped for their captions.
    write_tar(folder / "0.tar", 0, 5, keys=["x", "same", "b", "y", "last"])
    write_tar(folder / "1.tar", 1, 6, keys=["x", "last", "same", "mid", "same", "end"])
    run(tar_recipe(folder), tmp_path / "out")
    found = export(str(tmp_path / "out"))
    assert [file.rows for file in found.files] == [3, 4]
    seen = list(wds.WebDataset([str(path) for path in tar_files(found)], shardshuffle=False))
    assert [s["__key__"] for s in seen] == ["same", "b", "last", "last", "same", "same-1", "end"]
    assert found.renamed == 1
    assert "new key" in found.warnings[0]


def test_scores_as_members(tars: Path, tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    run(tar_recipe(tars), tmp_path / "out")
    found = export(str(tmp_path / "out"), scores=True)
    seen = list(wds.WebDataset([str(path) for path in tar_files(found)], shardshuffle=False))
    assert len(seen) == found.rows
    for sample in seen:
        added = json.loads(sample["poolsieve.json"])
        assert added == {"uid": json.loads(sample["json"])["uid"], "scores": {"text.word_count": 5}}
    with tarfile.open(tar_files(found)[0]) as archive:
        own = [info for info in archive if info.name.endswith(".poolsieve.json")]
    assert {(info.mtime, info.uid, info.gid, info.uname) for info in own} == {(0, 0, 0, "")}
    run(tar_recipe(Path(found.target) / "data"), tmp_path / "second")
    with pytest.raises(PlanError, match=r"\.poolsieve\.json already"):
        export(str(tmp_path / "second"), scores=True)
    assert export(str(tmp_path / "second")).rows == found.rows


def test_tar_without_its_last_padding(tmp_path: Path) -> None:
    folder = tmp_path / "tars"
    folder.mkdir()
    path = write_tar(folder / "0.tar", 0, 3)
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1]
    whole = raw_samples(path)
    os.truncate(path, last.offset_data + last.size)
    run(tar_recipe(folder), tmp_path / "out")
    found = export(str(tmp_path / "out"))
    assert raw_samples(tar_files(found)[0]) == whole[1:]


def test_quarantined_rows_without_bytes_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "tars"
    folder.mkdir()
    path = write_tar(folder / "0.tar", 0, 9)
    samples = raw_samples(path)
    cut = sum(len(data) for _, data in samples[:7]) + 700
    path.write_bytes(path.read_bytes()[:cut])
    run(tar_recipe(folder), tmp_path / "out")
    quarantined = [r for r in read_manifest(str(tmp_path / "out")).reasons if r.startswith("quarantine")]
    assert len(quarantined) == 1
    found = export(str(tmp_path / "out"), select="quarantine.*")
    assert (found.rows, found.unreadable) == (0, 1)
    kept = export(str(tmp_path / "out"), target=str(tmp_path / "kept"))
    assert raw_samples(tar_files(kept)[0]) == [s for i, s in enumerate(samples[:7]) if i % 3]


def test_what_is_exported_from_a_tar_with_gaps_has_none(tars: Path, tmp_path: Path) -> None:
    pieces = [path.read_bytes() for path in sorted(tars.iterdir())]
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "a.tar").write_bytes(b"".join(pieces))
    summary = run(tar_recipe(tmp_path / "pool"), tmp_path / "out")
    apart = run(tar_recipe(tars), tmp_path / "apart")
    assert summary.rows == apart.rows + 2 and summary.kept == apart.kept
    found = [sample for path in tar_files(export(str(tmp_path / "out"))) for sample in raw_samples(path)]
    assert found == [sample for path in tar_files(export(str(tmp_path / "apart"))) for sample in raw_samples(path)]
