"""Rows of any pool as tars."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsieve.dataflow import Pool
from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.pools.formats.outgoing import safe_key
from poolsieve.filters import Keep, col
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import run
from tests.dataflow.exported import (
    JPEG,
    image_pool,
    parquet_recipe,
    tar_files,
    words,
)


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


def test_cross_format_needs_roles(pool: Path, tmp_path: Path) -> None:
    run(Pool.parquet(f"{pool}/*.parquet", uid="uid") | Keep(col("clip") > 0.2, reason="clip.low"), tmp_path / "out")
    with pytest.raises(PlanError, match="neither role"):
        export(str(tmp_path / "out"), format="webdataset")
    with pytest.raises(PlanError, match="not one of same"):
        export(str(tmp_path / "out"), format="arrow")
