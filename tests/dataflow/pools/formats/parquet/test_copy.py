"""Parquet to Parquet: what leaves is what was kept, as it came."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow import Pool
from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.export.index import read_index
from poolsieve.dataflow.export.target import WORK
from poolsieve.dataflow.passes.estimate import describe_plan
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.store.manifest import read_manifest
from poolsieve.filters import Keep, col
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import ledger, run, text_table, write_pool
from tests.dataflow.exported import (
    JPEG,
    contents,
    parquet_recipe,
    pool_table,
    read_back,
    same,
    words,
)
from tests.dataflow.pools.formats.jsonl.test_copy import unpacked


def _keeps(out: Path) -> list[list[bool]]:
    folder = out / read_manifest(str(out)).ledger
    return [pq.read_table(path)["keep"].to_pylist() for path in sorted(folder.glob("*.parquet"))]


def _keep_some() -> Any:
    return Keep(col("text").word_count() >= 3, reason="caption.too_short")


def _word_counts(table: pa.Table) -> pa.Array:
    return pa.array([len(text.split()) for text in table["text"].to_pylist()])


def test_parquet_kept_rows_schema_and_metadata(pool: Path, tmp_path: Path) -> None:
    run(parquet_recipe(pool), tmp_path / "out")
    found = export(str(tmp_path / "out"))
    everything = pool_table(pool)
    kept = everything.filter(ledger(tmp_path / "out")["keep"].combine_chunks())
    assert same(read_back(tmp_path, found), kept)
    assert [file.name for file in found.files] == ["data/train-00000-of-00001.parquet"]
    assert found == read_index(str(tmp_path / "out" / "export"))
    assert found.rows == kept.num_rows == found.files[0].rows
    assert [item.rows for item in found.files[0].inputs] == [
        int(n) for n in (sum(part) for part in _keeps(tmp_path / "out"))
    ]
    path = Path(found.target) / found.files[0].name
    assert hashlib.sha256(path.read_bytes()).hexdigest() == found.files[0].sha256
    assert path.stat().st_size == found.files[0].bytes == found.bytes
    assert not (tmp_path / "out" / "export" / WORK).exists()


def test_parquet_types_and_metadata_survive(tmp_path: Path) -> None:
    folder = tmp_path / "pool"
    folder.mkdir()
    n = 600
    image = pa.array([{"bytes": JPEG * (i % 7), "path": f"{i}.jpg"} for i in range(n)])
    features = {"info": {"features": {"image": {"_type": "Image"}, "text": {"dtype": "string", "_type": "Value"}}}}
    columns = {
        "image": image,
        "text": pa.array([words(i % 20) for i in range(n)], pa.large_string()),
        "tag": pa.array([f"t{i % 3}" for i in range(n)]).dictionary_encode(),
        "when": pa.array(range(n), pa.timestamp("ns", "UTC")),
        "small": pa.array([i % 100 for i in range(n)], pa.uint8()),
        "vector": pa.array([[float(i)] * 4 for i in range(n)], pa.list_(pa.float32(), 4)),
        "nested": pa.array([[{"a": i, "b": None}] * (i % 3) for i in range(n)]),
        "half": pa.array(np.arange(n, dtype=np.float16)),
        "price": pa.array(range(n), pa.decimal128(12, 2)),
        "nothing": pa.nulls(n),
    }
    fields = [
        pa.field(name, values.type, metadata={"unit": "1"} if name == "small" else None)
        for name, values in columns.items()
    ]
    pandas = pa.Table.from_pandas(pa.table({"x": [1, 2]}).to_pandas()).schema.metadata[b"pandas"]
    metadata = {"huggingface": json.dumps(features), "pandas": pandas, "mine": "ours"}
    table = pa.table(list(columns.values()), schema=pa.schema(fields, metadata=metadata))
    pq.write_table(table, folder / "a.parquet", row_group_size=100)
    pq.write_table(table, folder / "b.parquet")
    run(parquet_recipe(folder, uid=None, image="image"), tmp_path / "out")
    found = export(str(tmp_path / "out"))
    assert len(found.files) == 1
    made = Path(found.target) / found.files[0].name
    assert pq.read_schema(made).equals(pq.read_schema(folder / "a.parquet"), check_metadata=True)
    kept = pool_table(folder).filter(ledger(tmp_path / "out")["keep"].combine_chunks())
    assert same(pq.read_table(made), kept)
    group = pq.read_metadata(made).row_group(0)
    found_codecs = {group.column(i).path_in_schema: group.column(i).compression for i in range(group.num_columns)}
    assert found_codecs["image.bytes"] == "UNCOMPRESSED" and found_codecs["text"] == found_codecs["tag"] == "ZSTD"
    assert all(group.column(i).has_offset_index for i in range(group.num_columns))


def test_parquet_whole_file_is_copied_as_it_is(tmp_path: Path) -> None:
    folder = write_pool(tmp_path / "pool")
    all_kept = pa.table({"uid": ["a", "b"], "text": [words(5), words(6)]})
    pq.write_table(all_kept, folder / "part-001.parquet", compression="gzip")
    run(Pool.parquet(f"{folder}/*.parquet", uid="uid", text="text") | _keep_some(), tmp_path / "out")
    found = export(str(tmp_path / "out"))
    folders = ["data/train-00000-of-00001", "data-2/train-00000-of-00001"]  # the schema changes, and changes back
    assert [file.name for file in found.files] == [f"{name}.parquet" for name in folders]
    assert "2 different schemas" in found.warnings[0]
    copied = Path(found.target) / found.files[1].name
    assert copied.read_bytes() == (folder / "part-001.parquet").read_bytes()


def test_parquet_files_close_past_the_target(tmp_path: Path) -> None:
    folder = write_pool(tmp_path / "pool", sizes=[300] * 8)
    run(parquet_recipe(folder), tmp_path / "out")
    size = (folder / "part-000.parquet").stat().st_size
    found = export(str(tmp_path / "out"), target_bytes=size)
    assert [len(file.inputs) for file in found.files] == [2, 2, 2, 2]
    assert [file.name for file in found.files][-1] == "data/train-00003-of-00004.parquet"
    kept = pool_table(folder).filter(ledger(tmp_path / "out")["keep"].combine_chunks())
    assert same(read_back(tmp_path, found), kept)
    again = export(str(tmp_path / "out"), target=str(tmp_path / "two"), target_bytes=size, engine=Engine(workers=2))
    assert contents(Path(again.target)) == contents(Path(found.target))


def test_parquet_readable_by_datasets(pool: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    run(parquet_recipe(pool), tmp_path / "out")
    found = export(str(tmp_path / "out"), scores=["text.word_count"])
    loaded = datasets.load_dataset(found.target, cache_dir=str(tmp_path / "cache"))["train"]
    assert len(loaded) == found.rows
    assert loaded.column_names == [*pq.read_schema(pool / "part-000.parquet").names, "text.word_count"]


def test_parquet_row_group_shards(tmp_path: Path) -> None:
    folder = tmp_path / "pool"
    folder.mkdir()
    pq.write_table(text_table(2000, 7), folder / "big.parquet", row_group_size=150)
    pool = Pool.parquet(f"{folder}/*.parquet", uid="uid", text="text", split_bytes=20_000)
    assert len(pool.located().listing().shards) > 2
    run(pool | _keep_some(), tmp_path / "out")
    found = export(str(tmp_path / "out"), target_bytes=1)
    assert len(found.files) == len(pool.located().listing().shards)
    kept = pool_table(folder).filter(pc.greater_equal(_word_counts(pool_table(folder)), 3))
    assert same(read_back(tmp_path, found), kept)


def test_parquet_small_row_groups_and_batches(pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What leaves does not depend on batches; row groups of the output are no larger than asked for."""
    monkeypatch.setattr("poolsieve.dataflow.pools.formats.parquet.copy.BATCH_ROWS", 7)
    monkeypatch.setattr("poolsieve.dataflow.pools.formats.parquet.writer.ROW_GROUP_BYTES", 20_000)
    run(parquet_recipe(pool), tmp_path / "out")
    found = export(str(tmp_path / "out"))
    kept = pool_table(pool).filter(ledger(tmp_path / "out")["keep"].combine_chunks())
    assert same(read_back(tmp_path, found), kept)
    assert pq.read_metadata(Path(found.target) / found.files[0].name).num_row_groups > 2


def test_parquet_damage_costs_the_rows_behind_it(tmp_path: Path) -> None:
    """A page of a column that no role reads is broken: its kept rows can't leave whole, all others do."""
    folder = tmp_path / "pool"
    folder.mkdir()
    rng = np.random.default_rng(0)
    extra = pa.array([rng.bytes(300) for _ in range(400)])
    path = folder / "a.parquet"
    pq.write_table(
        text_table(400, 1, extra=extra), path, row_group_size=100, write_page_checksum=True, use_dictionary=False
    )
    data = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(1).column(5)
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 255
    path.write_bytes(bytes(data))
    run(parquet_recipe(folder), tmp_path / "out")
    found = export(str(tmp_path / "out"))
    keep = ledger(tmp_path / "out")["keep"].to_pylist()
    lost = sum(keep[100:200])
    assert (found.rows, found.unreadable) == (sum(keep) - lost, lost)
    assert any("could not be read" in warning for warning in found.warnings)


def test_scores_as_columns(pool: Path, tmp_path: Path) -> None:
    recipe = parquet_recipe(pool) | Keep(col("clip") >= 0.2, reason="clip.low")
    run(recipe, tmp_path / "out")
    found = export(str(tmp_path / "out"), scores=True)
    made = read_back(tmp_path, found)
    kept = ledger(tmp_path / "out").filter(pc.field("keep"))
    assert made.column_names == [*pq.read_schema(pool / "part-000.parquet").names, "text.word_count"]
    assert made["text.word_count"].to_pylist() == kept["text.word_count"].to_pylist()
    assert made["uid"].to_pylist() == kept["uid"].to_pylist()
    with pytest.raises(PlanError, match="column 'clip'"):
        export(str(tmp_path / "out"), scores=["clip"], replace=True)
    with pytest.raises(PlanError, match=r"no score 'text\.words'.*'text\.word_count'"):
        export(str(tmp_path / "out"), scores=["text.words"], replace=True)


def test_each_schema_has_a_folder_of_its_own_and_the_plan_says_so(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "pool"
    folder.mkdir()
    for i in range(6):
        table = pa.table({"uid": [f"{i}{j}" for j in range(9)], "text": [words(j) for j in range(9)]})
        table = (
            table if i % 2 == 0 else table.append_column("n", pa.array(range(9), pa.int64() if i % 3 else pa.int8()))
        )
        pq.write_table(table, folder / f"{i}.parquet")
    recipe = Pool.parquet(f"{folder}/*.parquet", uid="uid", text="text") | _keep_some()
    (warning,) = describe_plan(prepare(recipe, str(tmp_path / "out"))).warnings
    assert warning.startswith("0.parquet and 3.parquet have different schemas")
    run(recipe, tmp_path / "out")
    found = export(str(tmp_path / "out"))
    assert [(file.name.partition("/")[0], [item.path[0] for item in file.inputs]) for file in found.files] == [
        ("data", ["0", "2", "4"]),
        ("data-2", ["1", "5"]),
        ("data-3", ["3"]),
    ]
    for name, columns, rows in (("data", ["uid", "text"], 18), ("data-2", ["uid", "text", "n"], 12)):
        loaded = datasets.load_dataset(f"{found.target}/{name}", cache_dir=str(tmp_path / "cache"), split="train")
        assert (loaded.column_names, len(loaded)) == (columns, rows)
    assert "3 different schemas" in found.warnings[0] and "data-3" in found.warnings[0]
    whole = export(str(tmp_path / "out"), format="jsonl", target=str(tmp_path / "lines"))
    assert (len(whole.files), whole.rows, whole.warnings) == (1, found.rows, ())
    numbers = [
        json.loads(line)["n"] for line in unpacked(tmp_path / "lines")["train-00000-of-00001.jsonl.zst"].splitlines()
    ]
    assert numbers == 3 * [*[None] * 6, *range(3, 9)]


def test_columns_that_do_not_go_together_are_refused_in_other_formats(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    for i, n in enumerate((1, "one")):
        pq.write_table(pa.table({"text": [words(5)], "n": [n]}), tmp_path / "pool" / f"{i}.parquet")
    run(Pool.parquet(f"{tmp_path}/pool/*.parquet", text="text") | _keep_some(), tmp_path / "out")
    with pytest.raises(PlanError, match=r"don't go into one table.*n.*export in the pool's own format"):
        export(str(tmp_path / "out"), format="jsonl")
    assert len(export(str(tmp_path / "out")).files) == 2


def test_one_schema_is_no_reason_to_warn(pool: Path, tmp_path: Path) -> None:
    assert describe_plan(prepare(parquet_recipe(pool), str(tmp_path / "out"))).warnings == ()
