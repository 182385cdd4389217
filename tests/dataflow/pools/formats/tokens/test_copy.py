"""Exports of token files: kept chunks leave byte for byte, or as lists."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.recipes.recipe import Pool
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests.conftest import derived_uid, ledger, run
from tests.dataflow.pools.formats.tokens.test_read import scored, write

SIZES = {"a/0": 8 * 30 + 3, "a/1": 8 * 7, "b/0": 2, "b/1": 8 * 50 + 7}


def pool_of(folder: Path, ending: str, **options: Any) -> Pool:
    """A pool of four files with tails."""
    r = np.random.default_rng(7)
    for name, n in SIZES.items():
        write(folder / f"{name}{ending}", r.integers(0, 1 << 16, n))
    return Pool.tokens(f"{folder}/**/*{ending}", length=8, **options)


def kept_chunks(folder: Path, ending: str, out: Path) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """The kept chunks of the files in their order, by the ledger, cut by NumPy alone."""
    table = ledger(out)
    keep = {uid for uid, kept in zip(table["uid"].to_pylist(), table["keep"].to_pylist(), strict=True) if kept}
    made = []
    for name, n in SIZES.items():
        ids = np.fromfile(folder / f"{name}{ending}", "<u2")[: n // 8 * 8].reshape(-1, 8)
        made += [chunk for i, chunk in enumerate(ids) if derived_uid(f"{name}{ending}", i) in keep]
    return np.array(made)


def exported(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("data*/*") if not path.name.startswith("_"))


@pytest.mark.parametrize("ending", [".npy", ".bin"])
@pytest.mark.parametrize("split_bytes", [100, 1 << 30])
def test_kept_chunks_leave_raw_with_their_ending(tmp_path: Path, ending: str, split_bytes: int) -> None:
    run(scored(pool_of(tmp_path / "p", ending, split_bytes=split_bytes)), tmp_path / "out")
    index = export(str(tmp_path / "out"))
    expected = kept_chunks(tmp_path / "p", ending, tmp_path / "out")
    (path,) = exported(tmp_path / "out" / "export")
    assert path.name == f"train-00000-of-00001{ending}" and index.rows == len(expected) == 43
    assert path.read_bytes() == expected.astype("<u2").tobytes()
    small = export(str(tmp_path / "out"), target=str(tmp_path / "small"), target_bytes=1)
    assert len(small.files) >= 3
    assert b"".join(part.read_bytes() for part in exported(tmp_path / "small")) == path.read_bytes()


def test_two_endings_are_two_folders(tmp_path: Path) -> None:
    write(tmp_path / "p" / "a.npy", range(32))
    write(tmp_path / "p" / "b.bin", range(100, 132))
    write(tmp_path / "p" / "c.npy", range(200, 232))
    run(scored(Pool.tokens(f"{tmp_path}/p/*", length=8)), tmp_path / "out")
    index = export(str(tmp_path / "out"), select="mean.*")
    assert [file.name for file in index.files] == ["data/train-00000-of-00001.bin", "data-2/train-00000-of-00001.npy"]
    assert any("data-2" in warning for warning in index.warnings)
    found = [np.fromfile(tmp_path / "out" / "export" / file.name, "<u2").tolist() for file in index.files]
    assert found == [list(range(116, 132)), list(range(200, 232))]


def test_lists_of_uids_copy_chunks_as_often_as_they_say(tmp_path: Path) -> None:
    write(tmp_path / "p" / "a.npy", range(64))
    run(scored(Pool.tokens(f"{tmp_path}/p/*", length=8)), tmp_path / "out")
    uids = ledger(tmp_path / "out")["uid"].to_pylist()
    (tmp_path / "list.txt").write_text("\n".join([uids[6], uids[1], uids[6], uids[2]]))
    export(str(tmp_path / "out"), uids=str(tmp_path / "list.txt"))
    (path,) = exported(tmp_path / "out" / "export")
    found = np.fromfile(path, "<u2").reshape(-1, 8)[:, 0].tolist()
    assert found == [8, 16, 48, 48]


def test_as_parquet_with_a_list_column_and_scores(tmp_path: Path) -> None:
    run(scored(pool_of(tmp_path / "p", ".npy")), tmp_path / "out")
    export(str(tmp_path / "out"), format="parquet", scores=True)
    (path,) = exported(tmp_path / "out" / "export")
    table = pq.read_table(path)
    assert table.schema.names == ["uid", "tokens", "mean"]
    assert table.schema.field("tokens").type.value_type == pa.uint16()
    expected = kept_chunks(tmp_path / "p", ".npy", tmp_path / "out")
    assert table["tokens"].to_pylist() == expected.tolist()
    assert table["mean"].to_pylist() == expected.mean(axis=1).tolist()
    again = Pool.parquet(str(path), tokens="tokens")
    assert run(scored(again), tmp_path / "again").kept == len(expected) // 2


def test_as_json_lines(tmp_path: Path) -> None:
    run(scored(pool_of(tmp_path / "p", ".npy")), tmp_path / "out")
    export(str(tmp_path / "out"), format="jsonl")
    (path,) = exported(tmp_path / "out" / "export")
    with path.open("rb") as file:
        rows = [json.loads(line) for line in zstandard.ZstdDecompressor().stream_reader(file).readall().splitlines()]
    assert [row["tokens"] for row in rows] == kept_chunks(tmp_path / "p", ".npy", tmp_path / "out").tolist()


def test_what_token_files_cannot_hold_is_refused_before_a_byte_is_written(tmp_path: Path) -> None:
    run(scored(pool_of(tmp_path / "p", ".npy")), tmp_path / "out")
    out = str(tmp_path / "out")
    with pytest.raises(PlanError, match=r"no place for scores.*--format parquet"):
        export(out, scores=True)
    with pytest.raises(PlanError, match="not from token files to token files"):
        export(out, columns={"tokens": "tokens"})
    with pytest.raises(PlanError, match="need an image or a text"):
        export(out, format="webdataset")
    assert not (tmp_path / "out" / "export").exists()


def test_a_file_that_changed_gives_nothing(tmp_path: Path) -> None:
    run(scored(pool_of(tmp_path / "p", ".npy")), tmp_path / "out")
    write(tmp_path / "p" / "b" / "1.npy", range(8 * 50 - 1))
    with pytest.raises(PoolsieveError, match=r"b/1\.npy has changed"):
        export(str(tmp_path / "out"))
    assert not list((tmp_path / "out").glob("export/data/*"))


def test_compressed_files_are_no_token_files(tmp_path: Path) -> None:
    (tmp_path / "a.npy.gz").write_bytes(gzip.compress(np.arange(64, dtype="<u2").tobytes()))
    with pytest.raises(PlanError, match="compressed"):
        Pool.tokens(f"{tmp_path}/*.npy.gz", length=8)
