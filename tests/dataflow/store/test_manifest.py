"""The truth of a run, typed: what is written is read back, and what is no manifest is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

import poolsieve
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.store.layout import shards_url
from poolsieve.dataflow.store.manifest import Manifest, read_manifest
from poolsieve.dataflow.store.shard_lines import SHARDS_SCHEMA, ShardLine, read_shards
from poolsieve.dataflow.store.summary import Summary
from poolsieve.dataflow.store.tables import write_table
from poolsieve.filters import Keep, Top, col
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError


@pytest.fixture
def out(pool: Path, tmp_path: Path) -> Path:
    source = poolsieve.Pool.parquet(
        f"{pool}/*.parquet", uid="uid", text="text", split_bytes=2000, max_document_bytes=3000
    )
    poolsieve.run(source | Keep(col("text").word_count() >= 2) | Top("clip", fraction=0.3), tmp_path / "out")
    return tmp_path / "out"


def test_manifest_and_summary_come_back_as_they_were(out: Path) -> None:
    text = json.loads((out / "manifest.json").read_text())
    found = read_manifest(str(out))
    assert json.loads(json.dumps(found.to_json())) == text
    assert Manifest.from_json(text) == found
    summary = poolsieve.open(out).summary
    assert Summary.from_json(json.loads(json.dumps(summary.to_json()))) == summary
    assert summary.cuts == found.cuts and isinstance(next(iter(summary.cuts["clip.below_cut"].values())).key, int)


def test_the_pool_comes_back_with_what_is_not_at_its_default(out: Path, pool: Path) -> None:
    made = read_manifest(str(out)).pool.pool()
    assert (made.split_bytes, made.max_document_bytes) == (2000, 3000) and made.roles == {"uid": "uid", "text": "text"}
    assert made.located().root == str(pool)


def test_what_is_no_manifest_is_refused(out: Path) -> None:
    path = out / "manifest.json"
    text = path.read_text()
    for broken, message in (
        ("{", "is damaged"),
        ("[]", "is not a poolsieve manifest"),
        (text.replace('"kept"', '"kpt"'), "damaged or of another version.*kept"),
        (text.replace('"reasons": {', '"reasons": {"x": "many", '), "damaged or of another version.*reasons"),
    ):
        path.write_text(broken)
        with pytest.raises(PlanError, match=message):
            read_manifest(str(out))


def test_a_missing_or_damaged_summary_says_what_makes_it_again(out: Path) -> None:
    found = poolsieve.open(out)
    path = next(out.glob("decisions/*/summary.json"))
    path.write_text('{"decision": 3}')
    with pytest.raises(PoolsieveError, match=r"summary\.json is damaged.*poolsieve decide"):
        _ = found.summary
    path.unlink()
    with pytest.raises(PlanError, match=r"summary\.json is missing.*poolsieve decide"):
        _ = found.summary


def test_a_part_of_a_file_of_many_gigabytes_has_a_line(tmp_path: Path) -> None:
    """JSON lines are cut by bytes, which a 32-bit number could not hold beyond 2 GiB."""
    far = {"path": "a.jsonl", "first": 5 << 30, "extent": 3 << 30, "start": 10, "size": 9 << 30, "tag": "t"}
    counts = {"rows": 1, "kept": 1, "dropped": 0, "quarantined": 0, "nbytes": 1, "kept_bytes": 1}
    name = Shard(**far).name
    line = ShardLine(**far, **counts, name=name)
    table = pa.Table.from_pylist([{**far, **counts, "name": name}], schema=SHARDS_SCHEMA)
    write_table(shards_url(str(tmp_path), "d"), table)
    assert read_shards(str(tmp_path), "d") == [line] and line.shard.extent == 3 << 30
