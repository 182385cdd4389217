"""Pools of raw token files: what a row is, what is read, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow.fs import connect
from poolsieve.dataflow.pools.formats.base import NoneReadable, ShardChanged
from poolsieve.dataflow.pools.formats.tokens.layout import DTYPES, parse, source_of
from poolsieve.dataflow.recipes.recipe import Pool, Recipe
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.filters import Keep, Score, Top, col, scorer
from poolsieve.jobs.train.fasttext import pool_of
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import decide, derived_uid, ledger, run

WIDE = pa.list_(pa.uint64())


def write(path: Path, ids: Any, dtype: str = "uint16") -> Path:
    """A token file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.array(ids, np.dtype(dtype).newbyteorder("<")).tofile(path)
    return path


def means(tokens: Any) -> list[float | None]:
    """The mean id of each chunk."""
    return [None if chunk is None else float(np.mean(chunk)) for chunk in tokens.to_pylist()]


def scored(pool: Pool) -> Recipe:
    """The half of the chunks with the smallest mean id."""
    made = Score(mean=scorer(means, reads=("tokens",), columns={"x": "float32"}))
    return pool | made | Top("mean", tau=2, lowest=True)


def read(pool: Pool) -> list[tuple[str, int, list[int]]]:
    """(path, row, ids) of everything."""
    files = pool.located()
    shards = files.listing().shards
    types = files.role_types(shards)
    found = []
    for shard in shards:
        for batch in files.batches(shard, ("tokens",), types):
            assert not batch.read_errors and not batch.role_errors
            for i, chunk in enumerate(batch.roles.column("tokens").to_pylist()):
                found.append((shard.path, batch.start + i, chunk))
    return found


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_listed_type_is_read_to_its_ends(tmp_path: Path, dtype: str) -> None:
    most = np.iinfo(dtype)
    write(tmp_path / "a.bin", [most.min, 0, 1, most.max, 5, 6, 7, 8, 9], dtype)
    pool = Pool.tokens(f"{tmp_path}/*.bin", dtype=dtype, length=4)
    assert read(pool) == [("a.bin", 0, [most.min, 0, 1, most.max]), ("a.bin", 1, [5, 6, 7, 8])]
    types = pool.located().role_types(pool.located().listing().shards)
    assert types == {"tokens": pa.list_(pa.array([0]).cast(dtype).type, 4)}


def test_tails_and_empty_files_are_no_rows(tmp_path: Path) -> None:
    for name, n in (("a", 0), ("b", 3), ("c", 8), ("d", 11), ("e", 1)):
        write(tmp_path / f"{name}.npy", range(n))
    pool = Pool.tokens(f"{tmp_path}/*.npy", length=4)
    assert [(path, row) for path, row, _ in read(pool)] == [("c.npy", 0), ("c.npy", 1), ("d.npy", 0), ("d.npy", 1)]
    found = run(scored(pool), tmp_path / "out")
    assert (found.rows, found.kept, found.quarantined) == (4, 2, 0)
    assert run(scored(Pool.tokens(f"{tmp_path}/a.npy", length=4)), tmp_path / "none").rows == 0


@pytest.mark.parametrize("split_bytes", [1, 16, 17, 100, 1 << 30])
def test_splits_fall_between_chunks(tmp_path: Path, split_bytes: int) -> None:
    write(tmp_path / "p" / "a.npy", np.arange(8 * 57 + 5))
    pool = Pool.tokens(f"{tmp_path}/p/*.npy", length=8, split_bytes=split_bytes)
    shards = pool.located().listing().shards
    assert all(shard.first % 16 == 0 and shard.first == shard.start * 16 for shard in shards)
    assert sum(shard.extent or shard.size for shard in shards) == shards[0].size == 2 * (8 * 57 + 5)
    assert [(row, chunk[0]) for _, row, chunk in read(pool)] == [(i, 8 * i) for i in range(57)]
    run(scored(pool), tmp_path / "out")
    assert ledger(tmp_path / "out")["uid"].to_pylist() == [derived_uid("a.npy", i) for i in range(57)]


def test_unwanted_chunks_are_not_read_and_batches_stay_small(tmp_path: Path) -> None:
    write(tmp_path / "a.npy", np.arange(8 * 10_000) % 60_000)
    files = Pool.tokens(f"{tmp_path}/*.npy", length=8).located()
    (shard,) = files.listing().shards
    types = files.role_types([shard])
    asked = [0, 255, 256, 5000, 9999]
    found = list(files.batches(shard, ("tokens",), types, lambda start, n: any(start <= i < start + n for i in asked)))
    rows = [row for batch in found for row in range(batch.start, batch.start + batch.num_rows)]
    assert set(asked) <= set(rows) and len(rows) == len(set(rows)) <= 256 * 4
    assert rows == sorted(rows)
    every = [batch.num_rows for batch in files.batches(shard, ("tokens",), types, lambda start, n: True)]
    assert sum(every) == 10_000 and max(every) <= 4096 and len(every) == 3
    assert files.needed_bytes(shard, ("uid",)) == 0 and files.needed_bytes(shard, ("tokens",)) == shard.size


def test_another_length_or_type_is_another_reading(tmp_path: Path) -> None:
    """Rows and scores of one are not taken for those of the other, in the same OUT and back again."""
    write(tmp_path / "p" / "a.npy", np.arange(64))
    out, marks = tmp_path / "out", []
    for dtype, length, rows in (
        ("uint16", 8, 8),
        ("uint16", 16, 4),
        ("int16", 16, 4),
        ("uint8", 16, 8),
        ("uint16", 8, 8),
    ):
        pool = Pool.tokens(f"{tmp_path}/p/*.npy", dtype=dtype, length=length)
        assert run(scored(pool), out).rows == rows
        table = ledger(out)
        ids = np.fromfile(tmp_path / "p" / "a.npy", np.dtype(dtype).newbyteorder("<"))
        assert table["mean"].to_pylist() == ids.reshape(-1, length).mean(axis=1).tolist()
        marks.append(json.loads((out / "manifest.json").read_text())["fingerprints"]["mean"])
    assert len(set(marks)) == 4 and marks[0] == marks[-1]
    assert decide(scored(Pool.tokens(f"{tmp_path}/p/*.npy", length=8)), out).kept == 4


def test_sources_and_spelling(tmp_path: Path) -> None:
    pool = Pool.tokens("c4/*.npy", dtype="uint32", length=16)
    assert pool.roles == {"tokens": source_of("uint32", 16)} == {"tokens": "uint32[16]"}
    assert pool.located().sources(("tokens", "uid")) == {"tokens": "chunk uint32[16]", "uid": "derived uint32[16]"}
    assert pool.to_dict()["roles"] == {"tokens": "uint32[16]"}


@pytest.mark.parametrize("dtype", ["float32", "<u2", "uint24", "str", "", None, np.uint16, 2])
def test_types_that_are_no_ids_are_refused(dtype: Any) -> None:
    with pytest.raises(PlanError, match=r"no type of ids.*uint"):
        Pool.tokens("a.npy", dtype=dtype)


@pytest.mark.parametrize("length", [1, 0, -512, 512.0, "512", True, None, 1 << 40])
def test_lengths_that_are_no_chunks_are_refused(length: Any) -> None:
    with pytest.raises(PlanError, match="length"):
        Pool.tokens("a.npy", length=length)


@pytest.mark.parametrize("roles", [{}, {"text": "x"}, {"tokens": "uint16"}, {"tokens": "uint16[08]"}, {"tokens": ""}])
def test_a_pool_without_a_layout_is_refused(roles: dict[str, str]) -> None:
    with pytest.raises(PlanError):
        Pool("tokens", ("a.npy",), roles)
    with pytest.raises(PlanError, match="nothing but 'tokens'"):
        Pool("tokens", ("a.npy",), {"tokens": "uint16[8]", "uid": "id"})


def test_files_with_a_header_are_refused_and_one_among_others_costs_a_line(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", np.arange(64, dtype="<u2"))
    with pytest.raises(NoneReadable, match=r"b\.npy was written by numpy\.save.*tofile"):
        run(scored(Pool.tokens(f"{tmp_path}/*.npy", length=8)), tmp_path / "out")
    assert not (tmp_path / "out" / "rows").exists()
    write(tmp_path / "a.npy", np.arange(64))
    for split_bytes in (1 << 30, 64):
        out = tmp_path / f"out-{split_bytes}"
        found = run(scored(Pool.tokens(f"{tmp_path}/*.npy", length=8, split_bytes=split_bytes)), out)
        assert found.reasons["quarantine.numpy_header"] == found.quarantined == (1 if split_bytes > 64 else 4)
        assert (found.kept, found.dropped) == (4, 4)


def test_half_an_id_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "b.npy").write_bytes(bytes(range(41)))
    with pytest.raises(NoneReadable, match=r"b\.npy has 41 bytes, no whole number of uint16 ids \(2 bytes each\)"):
        run(scored(Pool.tokens(f"{tmp_path}/*.npy", length=8)), tmp_path / "out")
    write(tmp_path / "a.npy", np.arange(64))
    run(scored(Pool.tokens(f"{tmp_path}/*.npy", length=8, split_bytes=16)), tmp_path / "out")
    table = ledger(tmp_path / "out")
    assert table["reason"].to_pylist().count("quarantine.odd_bytes") == 1
    assert table["mean"].drop_null().length() == 8 + 2 and len(table) == 11


def test_a_file_that_shrinks_is_no_shorter_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npy", np.arange(64))
    files = Pool.tokens(f"{tmp_path}/*.npy", length=8).located()
    (shard,) = files.listing().shards
    types = files.role_types([shard])
    write(path, np.arange(60))
    with pytest.raises(ShardChanged, match=r"a\.npy has become shorter than the 128 bytes"):
        list(files.batches(shard, ("tokens",), types))
    path.write_bytes(b"")
    with pytest.raises(ShardChanged):
        list(files.batches(shard, ("tokens",), types))


def test_storage_that_is_no_disk(tmp_path: Path) -> None:
    url = f"memory://tokens-{tmp_path.name}/a.npy"
    system, path = connect(url)
    system.pipe_file(path, np.arange(70, dtype="<u2").tobytes())
    pool = Pool.tokens(url.replace("a.npy", "*.npy"), length=8, split_bytes=50)
    assert [(row, chunk[0]) for _, row, chunk in read(pool)] == [(i, 8 * i) for i in range(8)]


def test_texts_are_not_looked_for_in_tokens(tmp_path: Path) -> None:
    write(tmp_path / "a.npy", np.arange(64))
    pool = Pool.tokens(f"{tmp_path}/*.npy", length=8)
    with pytest.raises(PlanError, match=r"reads role 'text', which the pool has not\. There is instance, tokens"):
        run(pool | Keep(col("text").word_count() > 3), tmp_path / "out")
    with pytest.raises(PlanError, match="token files hold ids alone"):
        pool.located().role_types(pool.located().listing().shards, ["width"])
    with pytest.raises(PlanError, match="can't tell what"):
        pool_of("c4/*.npy", None)


YAML = """
pool:
  {pool}
stages:
  - top: {{name: row_score, tau: 2}}
"""


def of_yaml(pool: str) -> Pool:
    """The pool of a YAML recipe."""
    text = YAML.format(pool=pool.replace("\n", "\n  "))
    return RecipeSource("r.yaml", text).recipe().pool


def test_yaml_says_it_too() -> None:
    made = of_yaml("tokens: ['c4/*.npy']\ndtype: uint32\nlength: 1024\nsplit_bytes: 4096")
    assert made == Pool.tokens("c4/*.npy", dtype="uint32", length=1024, split_bytes=4096)
    assert of_yaml("tokens: c4/*.npy") == Pool.tokens("c4/*.npy", dtype="uint16", length=512)
    with pytest.raises(PlanError, match=r"r\.yaml, line 5.*`length: .half.`"):
        of_yaml("tokens: c4/*.npy\ndtype: uint16\nlength: half")
    with pytest.raises(PlanError, match=r"r\.yaml.*no type of ids"):
        of_yaml("tokens: c4/*.npy\ndtype: float16")


def test_in_yaml_tokens_beside_another_kind_is_a_role() -> None:
    assert of_yaml("parquet: ['a/*.parquet']\ntokens: input_ids") == Pool.parquet("a/*.parquet", tokens="input_ids")
    with pytest.raises(PlanError, match="exactly one of"):
        of_yaml("parquet: a.parquet\njsonl: b.jsonl\ntokens: input_ids")


def test_a_run_says_what_its_rows_are_and_shows_their_ids(tmp_path: Path) -> None:
    write(tmp_path / "p" / "a.npy", np.arange(64 * 20))
    made = poolsieve.run(scored(Pool.tokens(f"{tmp_path}/p/*.npy", length=64)), tmp_path / "out")
    assert made.manifest.pool.roles == {"tokens": "uint16[64]"}
    assert replace(made.manifest.pool.pool(), split_bytes=None) == Pool.tokens(f"{tmp_path}/p/*.npy", length=64)
    assert made.manifest.role_types == {"instance": "int64", "tokens": "fixed_size_list<item: uint16>[64]"}
    (path,) = (tmp_path / "out" / "decisions").glob("*/report.json")
    samples = json.loads(path.read_text())["samples"]
    assert not samples["notes"] and len(samples["kept"]) > 2
    for row in samples["kept"]:
        first = 64 * row["row"]
        shown = " ".join(str(first + i) for i in range(40))
        assert row["caption"] == f"64 tokens: {shown} \N{HORIZONTAL ELLIPSIS}"
    page = path.with_name("report.html").read_text()
    assert "64 tokens: 0 1 2 3 4" in page


def test_lists_of_a_parquet_pool_are_shown_too(tmp_path: Path) -> None:
    table = pa.table({"ids": pa.array([[i, i + 1] for i in range(20)], pa.large_list(pa.int32()))})
    pq.write_table(table, tmp_path / "a.parquet")
    pool = Pool.parquet(f"{tmp_path}/*.parquet", tokens="ids")
    poolsieve.run(scored(pool), tmp_path / "out")
    (path,) = (tmp_path / "out" / "decisions").glob("*/report.json")
    kept = json.loads(path.read_text())["samples"]["kept"]
    assert [row["caption"] for row in kept] == [f"2 tokens: {row['row']} {row['row'] + 1}" for row in kept] != []


@pytest.mark.parametrize("seed", range(8))
def test_any_bytes_in_any_splits_are_what_numpy_reads(tmp_path: Path, seed: int) -> None:
    r = Random(seed)
    for i in range(25):
        data, length = r.randbytes(r.randrange(3000)), r.choice((2, 3, 8, 33))
        dtype = r.choice(DTYPES)
        (tmp_path / f"{i}.bin").write_bytes(data)
        pool = Pool.tokens(f"{tmp_path}/{i}.bin", dtype=dtype, length=length, split_bytes=r.choice((1, 777, 1 << 30)))
        files, found, errors = pool.located(), [], []
        kinds = {"tokens": r.choice((pa.list_(pa.int64()), parse(pool.roles["tokens"]).type))}
        for shard in files.listing().shards:
            for batch in files.batches(shard, ("tokens",), kinds if dtype != "uint64" else {"tokens": WIDE}):
                errors += [error.kind for error in batch.read_errors.values()]
                found += [] if batch.read_errors else batch.roles.column("tokens").to_pylist()
        item = np.dtype(dtype).newbyteorder("<")
        chunks = np.frombuffer(data, item, len(data) // item.itemsize // length * length).reshape(-1, length)
        assert found == chunks.tolist()
        assert errors == (["odd_bytes"] if len(data) % item.itemsize else [])
