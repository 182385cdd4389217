"""Exports of real runs over real files: what leaves is what was kept, as it came."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsieve.dataflow import Pool, fs
from poolsieve.dataflow.export.export import export, write_part
from poolsieve.dataflow.export.index import ExportIndex, read_index
from poolsieve.dataflow.export.parts import ShardExtract, plan_parts
from poolsieve.dataflow.export.rows import matching
from poolsieve.dataflow.export.sink import sink
from poolsieve.dataflow.export.target import WORK
from poolsieve.dataflow.pools.formats.outgoing import safe_key
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.store.manifest import read_manifest
from poolsieve.filters import Keep, col
from poolsieve.filters.lists import PAIR, hex_pairs
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests.conftest import ledger, run, text_table, write_pool

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(200))
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(99))


def words(n: int) -> str:
    return " ".join(["word"] * n)


def add(archive: tarfile.TarFile, name: str, data: bytes, **fields: Any) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    archive.addfile(info, io.BytesIO(data))


def uid_of(shard: int, i: int) -> str:
    return hashlib.md5(f"{shard}/{i}".encode()).hexdigest()


def write_tar(
    path: Path, shard: int, n: int, *, keys: Sequence[str] = (), format: int = tarfile.PAX_FORMAT, longest: int = 0
) -> Path:
    """A tar of n samples: directories in names, PAX names, owners and dates; every third caption is too short."""
    with tarfile.open(path, "w", format=format) as archive:
        for i in range(n):
            key = keys[i] if keys else f"set/{shard:03d}{i:05d}"
            if longest and i % 5 == 0:
                key = f"set/{'x' * longest}é{shard:03d}{i:05d}"
            meta = json.dumps({"uid": uid_of(shard, i), "original_width": 100 + i}).encode()
            dated = {"mtime": 1.6e9 + i + 0.25, "uname": "jo", "gname": "staff", "uid": 501, "mode": 0o600}
            add(archive, f"{key}.JPG" if i % 2 else f"{key}.png", JPEG * (1 + i % 4) if i % 2 else PNG, **dated)
            add(archive, f"{key}.txt", words(1 if i % 3 == 0 else 5).encode(), **dated)
            add(archive, f"{key}.json", meta)
    return path


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    """Three tars of 40, 30 and 50 samples."""
    folder = tmp_path / "tars"
    folder.mkdir()
    for shard, n in enumerate((40, 30, 50)):
        write_tar(folder / f"{shard:05d}.tar", shard, n, longest=120 if shard == 1 else 0)
    return folder


def tar_recipe(folder: Path) -> Any:
    pool = Pool.webdataset(f"{folder}/*.tar", uid="json:uid", text="txt", image="jpg;png")
    return pool | Keep(col("text").word_count() >= 3, reason="caption.too_short")


def parquet_recipe(folder: Path, **roles: Any) -> Any:
    pool = Pool.parquet(f"{folder}/*.parquet", **{"uid": "uid", "text": "text", **roles})
    return (
        pool
        | Keep(col("text").word_count() >= 3, reason="caption.too_short")
        | Keep(col("text").word_count() <= 17, reason="caption.too_long")
    )


def read_back(out: Path | str, found: ExportIndex) -> pa.Table:
    folder = Path(found.target)
    assert folder.is_relative_to(out)
    return pa.concat_tables(pq.read_table(folder / file.name) for file in found.files)


def same(a: pa.Table, b: pa.Table) -> bool:
    """Equal schemas, metadata and values; NaN is itself here."""
    return bool(a.schema.equals(b.schema, check_metadata=True)) and repr(a.to_pylist()) == repr(b.to_pylist())


def pool_table(folder: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob("*.parquet")))


def raw_samples(path: Path) -> list[tuple[str, bytes]]:
    """(key, all bytes of the sample, headers and padding included), by tarfile's word for where members are."""
    data = path.read_bytes()
    out: list[tuple[str, bytes]] = []
    with tarfile.open(path) as archive:
        infos = archive.getmembers()
    for info in infos:
        end = info.offset_data + -(-info.size // 512) * 512
        key = info.name.rpartition("/")[0] + "/" + info.name.rpartition("/")[2].split(".")[0]
        if out and out[-1][0] == key:
            out[-1] = (key, out[-1][1] + data[info.offset : end])
        else:
            out.append((key, data[info.offset : end]))
    return out


def tar_files(found: ExportIndex) -> list[Path]:
    return [Path(found.target) / file.name for file in found.files]


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder, by its hash; export.json apart."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "_export.json"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# Parquet


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


def _keeps(out: Path) -> list[list[bool]]:
    folder = out / read_manifest(str(out)).ledger
    return [pq.read_table(path)["keep"].to_pylist() for path in sorted(folder.glob("*.parquet"))]


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
    footer = pq.read_metadata(made).row_group(0).column(0)
    assert footer.compression == "ZSTD"
    assert footer.has_offset_index


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


def _keep_some() -> Any:
    return Keep(col("text").word_count() >= 3, reason="caption.too_short")


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


def _word_counts(table: pa.Table) -> pa.Array:
    return pa.array([len(text.split()) for text in table["text"].to_pylist()])


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


# What is exported


def test_reasons_by_glob(pool: Path, tmp_path: Path) -> None:
    run(parquet_recipe(pool), tmp_path / "out")
    for glob in ("caption.too_short", "caption.*"):
        found = export(str(tmp_path / "out"), target=str(tmp_path / "out" / glob[:-1]), select=glob)
        reasons = [
            reason is not None and fnmatch.fnmatch(reason, glob)
            for reason in ledger(tmp_path / "out")["reason"].to_pylist()
        ]
        assert same(read_back(tmp_path, found), pool_table(pool).filter(pa.array(reasons)))
    with pytest.raises(PlanError, match=r"'caption\.too_shrt'.*Did you mean 'caption\.too_short'"):
        export(str(tmp_path / "out"), select="caption.too_shrt")
    with pytest.raises(PlanError, match="one of them"):
        export(str(tmp_path / "out"), select="caption.*", uids="x.npy")


def test_matching_null_never_matches() -> None:
    assert matching(pa.array(["a.b", None, "a.c", "d"]), "*").tolist() == [True, False, True, True]
    assert matching(pa.array([None, None], pa.string()), "*").tolist() == [False, False]


def npy(path: Path, uids: Sequence[str]) -> str:
    pairs, _ = hex_pairs(pa.array(uids))
    np.save(path, np.sort(pairs, order=("f0", "f1")))
    return str(path)


def test_uids_are_a_multiset_in_parquet(pool: Path, tmp_path: Path) -> None:
    run(parquet_recipe(pool), tmp_path / "out")
    table = pool_table(pool)
    every = table["uid"].to_pylist()
    listed = [every[3], every[5], every[5], every[900], every[900], every[900], "0" * 32, "f" * 32, "f" * 32]
    found = export(str(tmp_path / "out"), uids=npy(tmp_path / "list.npy", listed))
    assert read_back(tmp_path, found)["uid"].to_pylist() == [every[i] for i in (3, 5, 5, 900, 900, 900)]
    assert (found.rows, found.missing) == (6, 2)
    assert list(found.warnings) == ["2 of the list's uids are not in the pool"]
    (tmp_path / "list.txt").write_text("\n".join(listed))
    again = export(str(tmp_path / "out"), uids=str(tmp_path / "list.txt"), target=str(tmp_path / "text"))
    assert contents(tmp_path / "text") == contents(Path(found.target))
    assert again.missing == 2


def test_own_subset_gives_the_same_files(pool: Path, tmp_path: Path) -> None:
    run(parquet_recipe(pool), tmp_path / "out")
    first = export(str(tmp_path / "out"))
    subset = next((tmp_path / "out" / "decisions").glob("*/subset.npy"))
    assert np.load(subset).dtype == PAIR
    second = export(str(tmp_path / "out"), uids=str(subset), target=str(tmp_path / "listed"))
    assert second.missing == 0
    assert same(read_back(tmp_path, second), read_back(tmp_path, first))


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


def test_a_uid_that_several_rows_carry(tmp_path: Path) -> None:
    folder = tmp_path / "pool"
    folder.mkdir()
    table = pa.table({"uid": ["a" * 32, "b" * 32, "a" * 32], "text": ["one two three"] * 3, "n": [0, 1, 2]})
    pq.write_table(table, folder / "a.parquet")
    run(parquet_recipe(folder), tmp_path / "out")
    found = export(str(tmp_path / "out"), uids=npy(tmp_path / "l.npy", ["a" * 32] * 2))
    assert read_back(tmp_path, found)["n"].to_pylist() == [0, 0, 2, 2]
    assert found.missing == 0


# Tars


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


# Formats


def image_pool(folder: Path) -> Path:
    folder.mkdir()
    n = 60
    bytes_ = [JPEG, PNG, b"RIFF\0\0\0\0WEBPxx", b"GIF89a..", b"?"]
    table = pa.table(
        {
            "uid": [f"{i:032x}" for i in range(n)],
            "picture": pa.array([{"bytes": bytes_[i % 5], "path": None} for i in range(n)]),
            "text": pa.array([words(1 if i % 3 == 0 else 5) for i in range(n)]),
            "score": pa.array([float("nan") if i == 1 else i / 4 for i in range(n)]),
            "tags": pa.array([["a", str(i)] for i in range(n)]),
            "when": pa.array(range(n), pa.timestamp("s")),
            "raw": pa.array([b"\0"] * n),
        }
    )
    pq.write_table(table, folder / "a.parquet", row_group_size=20)
    return folder


def test_parquet_to_webdataset(tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    folder = image_pool(tmp_path / "pool")
    run(parquet_recipe(folder, image="picture"), tmp_path / "out")
    found = export(str(tmp_path / "out"), format="webdataset", scores=True)
    seen = list(wds.WebDataset([str(path) for path in tar_files(found)], shardshuffle=False))
    rows = [i for i in range(60) if i % 3]
    assert [sample["__key__"] for sample in seen] == [f"{i:032x}" for i in rows]
    for i, sample in zip(rows, seen, strict=True):
        extension = ("jpg", "png", "webp", "gif", "bin")[i % 5]
        assert extension in sample
        meta = json.loads(sample["json"])
        assert meta["uid"] == f"{i:032x}"
        assert meta["tags"] == ["a", str(i)]
        assert meta["score"] == (None if i == 1 else i / 4)
        assert meta["when"].startswith("1970")
        assert set(meta) == {"uid", "score", "tags", "when"}
        assert sample["txt"] == words(5).encode()
        assert json.loads(sample["poolsieve.json"])["scores"] == {"text.word_count": 5}
    assert sum(sample.get("jpg") == JPEG for sample in seen) == sum(i % 5 == 0 for i in rows)


def test_parquet_to_webdataset_keys(tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    folder = tmp_path / "pool"
    folder.mkdir()
    uids = ["a.b/c", "a_b_c", "same", "same", "../../up", "é"]
    pq.write_table(pa.table({"uid": uids, "text": [words(5)] * 6}), folder / "a.parquet")
    run(parquet_recipe(folder), tmp_path / "out")
    found = export(str(tmp_path / "out"), format="webdataset")
    seen = list(wds.WebDataset([str(path) for path in tar_files(found)], shardshuffle=False))
    assert [json.loads(sample["json"])["uid"] for sample in seen] == uids
    keys = [sample["__key__"] for sample in seen]
    assert keys[1:4] == ["a_b_c", "same", "same-1"]
    assert not any("." in key or "/" in key for key in keys)


@given(st.text(max_size=20), st.text(max_size=20))
def test_safe_keys_stay_apart(a: str, b: str) -> None:
    assert (safe_key(a) == safe_key(b)) == (a == b)
    assert safe_key(a).isascii()
    assert not set(safe_key(a)) & set("./\\ ")


def test_webdataset_to_parquet(tars: Path, tmp_path: Path) -> None:
    run(tar_recipe(tars), tmp_path / "out")
    found = export(str(tmp_path / "out"), format="parquet", scores=True, target_bytes=1)
    assert len(found.files) == 3
    made = read_back(tmp_path, found)
    assert made.column_names == ["__key__", "uid", "jpg", "png", "txt", "json", "text.word_count"]
    kept = ledger(tmp_path / "out").filter(pc.field("keep"))
    assert made["uid"].to_pylist() == kept["uid"].to_pylist()
    for row in made.to_pylist():
        assert json.loads(row["json"])["uid"] == row["uid"]
        assert (row["jpg"] is None) != (row["png"] is None)
        assert row["txt"] == words(5)


def test_cross_format_needs_roles(pool: Path, tmp_path: Path) -> None:
    run(Pool.parquet(f"{pool}/*.parquet", uid="uid") | Keep(col("clip") > 0.2, reason="clip.low"), tmp_path / "out")
    with pytest.raises(PlanError, match="neither role"):
        export(str(tmp_path / "out"), format="webdataset")
    with pytest.raises(PlanError, match="not one of same"):
        export(str(tmp_path / "out"), format="arrow")


# The folder


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
        process = subprocess.Popen([sys.executable, "-c", code, out, str(target)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    found = export(out, target=str(target), target_bytes=1)
    names = [name for name in contents(target) if fs.TEMPORARY not in name]
    assert {name: contents(target)[name] for name in names} == contents(tmp_path / "whole")
    assert found.files == whole.files


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


# Planning


@given(
    st.lists(st.tuples(st.integers(1, 50), st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from("xyz"))),
    st.integers(1, 120),
)
def test_plan_takes_every_input_once_in_order(items: list[tuple[int, str, str, str]], target: int) -> None:
    inputs = [
        ShardExtract(shard=Shard(path=f"{i:04d}"), rows=1, nbytes=size, schema=schema, first_key=first, last_key=last)
        for i, (size, schema, first, last) in enumerate(items)
    ]
    parts = plan_parts(inputs, target, lambda i, n, folder: f"{folder}/{i}-of-{n}")
    schemas = list(dict.fromkeys(item.schema for item in inputs))
    assert [item for part in parts for item in part.inputs] == sorted(inputs, key=lambda x: schemas.index(x.schema))
    for k, schema in enumerate(schemas, 1):
        mine = [part for part in parts if part.inputs[0].schema == schema]
        folder = "data" if k == 1 else f"data-{k}"
        assert [part.name for part in mine] == [f"{folder}/{i}-of-{len(mine)}" for i in range(len(mine))]
    for part in parts:
        assert len({item.schema for item in part.inputs}) == 1
        assert sum(item.nbytes for item in part.inputs[:-1]) < target
        assert all(a.last_key != b.first_key for a, b in zip(part.inputs, part.inputs[1:], strict=False))
    for before, after in itertools.pairwise(parts):
        full = sum(item.nbytes for item in before.inputs) >= target
        last, first = before.inputs[-1], after.inputs[0]
        assert full or last.schema != first.schema or last.last_key == first.first_key
