"""Rows of any pool as Parquet."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.compute as pc

from poolsieve.dataflow.export.export import export
from tests.conftest import ledger, run
from tests.dataflow.exported import (
    read_back,
    tar_recipe,
    words,
)


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
