"""`make demo-dedup`: its planted duplicates, and its recipe over them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import zstandard

from poolsieve.dataflow.recipes.source import RecipeSource
from tests import forked
from tests.conftest import decide, ledger, run

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's documents, fewer of them in two shards."""
    target = tmp_path_factory.mktemp("demo") / "duplicates"
    script = REPOSITORY / "recipes" / "demo" / "make_duplicates.py"
    given = ["--documents", "400", "--families", "25", "--shards", "2"]
    forked.run([sys.executable, script, target, *given], check=True)
    return target


def source(pool: Path, **given: str) -> RecipeSource:
    parameters = {"pool": f"{pool}/*.jsonl.zst", "uid": "id", "best": "quality", **given}
    return RecipeSource.read(str(REPOSITORY / "recipes" / "dedup.py"), parameters)


def rows_of(pool: Path) -> dict[str, dict[str, str]]:
    files = [zstandard.ZstdDecompressor().stream_reader(path.open("rb")).readall() for path in pool.glob("*.zst")]
    return {row["id"]: row for data in files for row in map(json.loads, data.splitlines())}


def test_one_document_of_each_family_stays_and_the_near_misses(pool: Path, tmp_path: Path) -> None:
    rows = rows_of(pool)
    run(source(pool), tmp_path / "out")
    truth = {row["uid"]: row["matches"] for row in pq.read_table(pool / "truth.parquet").to_pylist()}
    found = ledger(tmp_path / "out").to_pylist()
    kinds = {
        kind: [row for row in found if rows[row["uid"]]["kind"] == kind] for kind in {r["kind"] for r in rows.values()}
    }
    assert len(found) == len(truth) == len(rows) >= 400 and len(kinds) == 9
    for kind in ("alone", "base", "near miss"):
        assert all(row["keep"] and truth[row["uid"]] for row in kinds[kind]), kind
    for kind in ("copy", "1 % other words", "beginning", "end"):
        assert not any(row["keep"] or truth[row["uid"]] for row in kinds[kind]), kind
    for row in found:
        of = "" if row["keep"] else next(one for one in found if one["dup.of"] == row["dup.of"] and one["keep"])["uid"]
        assert row["keep"] or rows[of]["family"] == rows[row["uid"]]["family"]
    stricter = decide(source(pool, threshold="0.7"), tmp_path / "out")
    assert stricter.kept > sum(row["keep"] for row in found)
