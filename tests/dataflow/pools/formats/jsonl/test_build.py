"""JSON lines from other pools, and other formats from JSON lines."""

from __future__ import annotations

import json
import tarfile
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow import Pool
from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.export.index import ExportIndex
from poolsieve.filters import Keep, col
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import run
from tests.dataflow.exported import tar_files, tar_recipe
from tests.dataflow.pools.formats.jsonl.test_copy import unpacked


def lines_pool(folder: Path, *files: list[Any]) -> Pool:
    """A file of each list: texts as they are, other values as JSON."""
    folder.mkdir()
    for i, rows in enumerate(files):
        text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
        (folder / f"{i}.jsonl").write_text(text)
    return Pool.jsonl(f"{folder}/*.jsonl", text="text", uid="id")


def kept(pool: Pool, out: Path, **how: Any) -> ExportIndex:
    """An export of the rows with two words or more."""
    run(pool | Keep(col("text").word_count() >= 2, reason="t.short"), out)
    return export(str(out), **how)


def table(made: ExportIndex) -> pa.Table:
    return pa.concat_tables([pq.read_table(f"{made.target}/{file.name}") for file in made.files])


def rows_of(made: ExportIndex) -> list[dict[str, Any]]:
    return [json.loads(line) for data in unpacked(Path(made.target)).values() for line in data.splitlines()]


def test_lines_become_columns_that_hold_every_value_of_every_file(tmp_path: Path) -> None:
    """Keys that come late, kinds that change at the last line, nested ones: one schema, and nothing is lost."""
    first = [{"id": f"a{i}", "text": "two words", "n": i, "meta": {"lang": "en"}, "tags": ["x"]} for i in range(300)]
    second = [
        {"id": "b0", "text": "two words", "n": 1.5, "meta": {"lang": "de", "score": 1}, "late": True, "mixed": 7},
        {"id": "b1", "text": "short", "n": "never seen", "meta": [], "only_dropped": 1},
        '{"id": "b2", "text": "broken',
        {"id": "b3", "text": "two words", "mixed": {"a": [1]}, "tags": None, "": "empty name", "dotted.key": "d"},
    ]
    made = kept(lines_pool(tmp_path / "pool", first, second), tmp_path / "out", format="parquet", target_bytes=1)
    assert len(made.files) == 2 and len({str(pq.read_schema(f"{made.target}/{f.name}")) for f in made.files}) == 1
    found = table(made)
    assert {item.name: str(item.type) for item in found.schema} == {
        "id": "string",
        "text": "string",
        "n": "double",
        "meta": "struct<lang: string, score: int64>",
        "tags": "list<element: string>",
        "late": "bool",
        "mixed": "string",
        "": "string",
        "dotted.key": "string",
    }
    assert found.num_rows == made.rows == 302
    assert found["id"].to_pylist() == [row["id"] for row in first] + ["b0", "b3"]
    assert found.slice(300).to_pylist() == [
        {**dict.fromkeys(found.column_names), **second[0], "mixed": "7"},  # type: ignore[dict-item]
        {**dict.fromkeys(found.column_names), **second[3], "mixed": '{"a":[1]}'},  # type: ignore[dict-item]
    ]
    assert made.warnings == ("values that have no one type are JSON text: 'mixed'",)
    again = export(made.out, target=str(tmp_path / "again"), format="parquet", target_bytes=1)
    assert [file.sha256 for file in again.files] == [file.sha256 for file in made.files]


def test_parquet_becomes_lines(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    columns = {
        "text": ["two words", "one", None, "three words é"],
        "n": [1, 2, 3, 1 << 62],
        "x": [0.5, float("nan"), float("inf"), float("nan")],
        "when": pa.array([datetime(2020, 1, 2, 3)] * 4),
        "price": [Decimal("1.50")] * 4,
        "nested": [{"a": [1, None]}, None, None, {"a": []}],
        "raw": [b"\0"] * 4,
        "image": [{"bytes": b"\xff\xd8\xff", "path": "a.jpg"}] * 4,
    }
    pq.write_table(pa.table(columns), tmp_path / "pool" / "a.parquet")
    said: list[str] = []
    pool = Pool.parquet(f"{tmp_path}/pool/*.parquet", text="text")
    made = kept(pool, tmp_path / "out", format="jsonl", say=said.append)
    day = {"when": "2020-01-02T03:00:00", "price": "1.50"}
    assert rows_of(made) == [
        {"text": "two words", "n": 1, "x": 0.5, **day, "nested": {"a": [1, None]}},
        {"text": "three words é", "n": 1 << 62, "x": None, **day, "nested": {"a": []}},
    ]
    assert made.left_out == ("raw", "image") and said == list(made.warnings)
    assert said == ["'raw', 'image' hold bytes that have no place in JSON lines, and stay behind"]


def test_a_pool_of_bytes_alone_can_not_be_lines(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    with tarfile.open(tmp_path / "pool" / "0.tar", "w") as archive:
        for i in range(3):
            archive.addfile(tarfile.TarInfo(f"{i}.jpg"))
    run(
        Pool.webdataset(f"{tmp_path}/pool/*.tar", image="jpg", uid="__key__")
        | Keep(col("uid").char_count() > 0, reason="a.b"),
        tmp_path / "out",
    )
    with pytest.raises(PlanError, match=r"JSON lines hold no bytes.*'jpg'.*export as parquet"):
        export(str(tmp_path / "out"), format="jsonl")
    assert not (tmp_path / "out" / "export").exists()


def test_tars_become_lines(tars: Path, tmp_path: Path) -> None:
    run(tar_recipe(tars), tmp_path / "out")
    made = export(str(tmp_path / "out"), format="jsonl", scores=True)
    rows = rows_of(made)
    assert len(rows) == made.rows > 50
    for row in rows:
        assert row["uid"] == row["json"]["uid"] and row["json"]["original_width"] >= 100
        assert set(row) == {"__key__", "uid", "txt", "json", "poolsieve"}
        assert row["poolsieve"] == {"text.word_count": len(row["txt"].split())}
    assert made.left_out == ("jpg", "png")


def test_lines_become_tars(tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    rows = [{"id": f"r.{i}", "text": f"text {i}", "meta": {"n": i}, "mixed": i if i % 2 else str(i)} for i in range(9)]
    made = kept(
        lines_pool(tmp_path / "pool", rows, [{"id": "z", "text": "a b"}]), tmp_path / "out", format="webdataset"
    )
    seen = list(wds.WebDataset([str(path) for path in tar_files(made)], shardshuffle=False))
    for row, sample in zip(rows, seen, strict=False):
        assert sample["txt"].decode() == row["text"]
        assert json.loads(sample["json"]) == {
            "id": row["id"],
            "meta": row["meta"],
            "mixed": row["mixed"],
            "uid": row["id"],
        }
    assert json.loads(seen[9]["json"]) == {"id": "z", "meta": None, "mixed": None, "uid": "z"}
    assert "." not in seen[0]["__key__"]


def test_scores_beside_columns_must_have_a_name_of_their_own(tmp_path: Path) -> None:
    pool = lines_pool(tmp_path / "pool", [{"id": "a", "text": "two words", "n": 1.0}])
    run(
        pool | Keep(col("text").word_count() >= 2, reason="t.short") | Keep(col("n") > 0, reason="n.low"),
        tmp_path / "out",
    )
    made = export(str(tmp_path / "out"), format="parquet", scores=True)
    assert table(made).to_pylist() == [{"id": "a", "text": "two words", "n": 1, "text.word_count": 2}]
    with pytest.raises(PlanError, match=r"column 'n'.*can't stand beside"):
        export(str(tmp_path / "out"), format="parquet", scores=["n"], target=str(tmp_path / "two"))


def test_nothing_kept_still_has_columns(tmp_path: Path) -> None:
    pool = lines_pool(tmp_path / "pool", [{"id": "a", "text": "one"}, {"id": "b", "text": "one", "n": 1}])
    made = kept(pool, tmp_path / "out", format="parquet")
    assert table(made).schema.names == ["id", "text", "n"] and made.rows == 0
    assert made.warnings == ("no row was exported",)
