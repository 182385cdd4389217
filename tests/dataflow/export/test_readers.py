"""Exports as other libraries read them: the folder as it stands, our own notes in it."""

from __future__ import annotations

import io
import json
import tarfile
from glob import glob
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.json
import pyarrow.parquet as pq
import pytest
from PIL import Image

from poolsieve.dataflow import Pool
from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.export.index import ExportIndex
from poolsieve.filters import Keep, col
from tests.conftest import run
from tests.dataflow.exported import add

N = 90
KEPT = [i for i in range(N) if i % 3]


def png(i: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (i, 0, 0)).save(file, "PNG")
    return file.getvalue()


def exported(tmp_path: Path, to: str, kind: str = "") -> ExportIndex:
    """An export of two files, and of two more with another `kind` of pool."""
    folder = tmp_path / "pool"
    folder.mkdir()
    for part in range(2):
        rows = [{"id": f"{i:05d}", "text": "word " * (1 + 4 * bool(i % 3)), "n": i} for i in range(N)][part::2]
        if (kind or to) == "webdataset":
            _tar(folder / f"{part}.tar", rows)
        elif (kind or to) == "jsonl":
            (folder / f"{part}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        else:
            pq.write_table(pa.Table.from_pylist(rows), folder / f"{part}.parquet")
    run(_pool(kind or to, folder) | Keep(col("text").word_count() >= 3, reason="t.short"), tmp_path / "out")
    return export(str(tmp_path / "out"), format=to, target_bytes=1)


def _tar(path: Path, rows: list[dict[str, Any]]) -> None:
    with tarfile.open(path, "w") as archive:
        for row in rows:
            add(archive, f"{row['id']}.png", png(row["n"]))
            add(archive, f"{row['id']}.txt", row["text"].encode())
            add(archive, f"{row['id']}.json", json.dumps({"id": row["id"], "n": row["n"]}).encode())


def _pool(kind: str, folder: Path) -> Pool:
    if kind == "webdataset":
        return Pool.webdataset(f"{folder}/*.tar", uid="json:id", text="txt", image="png")
    return Pool(kind, (f"{folder}/*",), {"uid": "id", "text": "text"})


def in_order(found: list[dict[str, Any]]) -> list[int]:
    return sorted(row["n"] for row in found)


@pytest.mark.parametrize("to", ["parquet", "jsonl"])
@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_tables_are_read_by_everybody(tmp_path: Path, kind: str, to: str) -> None:
    datasets, duckdb, polars = (pytest.importorskip(name) for name in ("datasets", "duckdb", "polars"))
    made = exported(tmp_path, to, kind)
    assert len(made.files) == 2
    folder, ending = made.target, made.files[0].name.partition(".")[2]
    loaded = datasets.load_dataset(folder, cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"] and in_order(loaded["train"].to_list()) == KEPT
    assert in_order(duckdb.sql(f"FROM '{folder}/data/*.{ending}'").to_arrow_table().to_pylist()) == KEPT
    scan = polars.scan_parquet if to == "parquet" else polars.scan_ndjson
    for place in (f"{folder}/data", f"{folder}/**/*.{ending}"):
        assert in_order(scan(place).collect().to_dicts()) == KEPT
    if to == "parquet":
        assert in_order(ds.dataset(folder).to_table().to_pylist()) == KEPT
        return
    with pytest.raises(pa.ArrowInvalid, match="Is this a 'json' file"):  # Arrow's JSON datasets unpack nothing
        ds.dataset(folder, format="json")
    tables = [pa.json.read_json(path) for path in sorted(glob(f"{folder}/data/*"))]
    assert in_order(pa.concat_tables(tables).to_pylist()) == KEPT


@pytest.mark.parametrize("kind", ["parquet", "webdataset", "jsonl"])
def test_tars_are_read_by_datasets_and_webdataset(tmp_path: Path, kind: str) -> None:
    datasets, wds = pytest.importorskip("datasets"), pytest.importorskip("webdataset")
    made = exported(tmp_path, "webdataset", kind)
    loaded = datasets.load_dataset(made.target, cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"] and in_order(loaded["train"]["json"]) == KEPT
    url = f"{made.target}/data/train-{{00000..00001}}-of-00002.tar"
    assert in_order([json.loads(sample["json"]) for sample in wds.WebDataset(url, shardshuffle=False)]) == KEPT
    sizes = json.loads(Path(made.target, "data", "sizes.json").read_text())
    assert sizes == {Path(file.name).name: file.rows for file in made.files}


def test_images_of_tars_are_images_in_parquet(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = exported(tmp_path, "parquet", "webdataset")
    loaded = datasets.load_dataset(made.target, cache_dir=str(tmp_path / "cache"))["train"]
    assert isinstance(loaded.features["png"], datasets.Image)
    for row in loaded:
        fields = json.loads(row["json"])
        assert row["uid"] == row["__key__"] == fields["id"]
        assert row["png"].getpixel((0, 0)) == (fields["n"], 0, 0)
    assert in_order([json.loads(text) for text in loaded["json"]]) == KEPT
    plain = ds.dataset(made.target).to_table().to_pylist()
    assert plain[0]["png"] == {"bytes": png(int(plain[0]["uid"])), "path": f"{plain[0]['uid']}.png"}


def test_texts_of_tars_are_read_from_json_lines(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = exported(tmp_path, "jsonl", "webdataset")
    loaded = datasets.load_dataset(made.target, cache_dir=str(tmp_path / "cache"))["train"]
    assert in_order(loaded["json"]) == KEPT and set(loaded.column_names) == {"__key__", "uid", "txt", "json"}
    assert made.left_out == ("png",)
    assert made.warnings == ("'png' hold bytes that have no place in JSON lines, and stay behind",)
