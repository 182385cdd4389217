"""The demo's documents, its small Celadon and the recipe over both."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import zstandard

pytest.importorskip("torch")

from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.recipes.source import RecipeSource
from tests import forked
from tests.conftest import decide, fingerprint_of, ledger, run

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's documents, 400 of them in two shards."""
    target = tmp_path_factory.mktemp("demo") / "documents"
    script = REPOSITORY / "recipes" / "demo" / "make_documents.py"
    forked.run([sys.executable, script, target, "--documents", "400", "--shards", "2"], check=True)
    return target


def source(pool: Path, **given: str) -> RecipeSource:
    recipe = REPOSITORY / "recipes" / "fineweb_celadon.py"
    model = str(REPOSITORY / "recipes" / "demo" / "celadon")
    return RecipeSource.read(str(recipe), {"pool": f"{pool}/*.jsonl.zst", "uid": "id", "model": model, **given})


def kinds(pool: Path) -> dict[str, str]:
    found = {}
    for path in pool.glob("*.zst"):
        for line in zstandard.ZstdDecompressor().stream_reader(path.open("rb")).readall().splitlines():
            if line.endswith(b"}"):
                row = json.loads(line)
                found[row["id"]] = row["meta"]["kind"]
    return found


def test_each_kind_of_document_falls_at_the_rule_that_is_meant_for_it(pool: Path, tmp_path: Path) -> None:
    run(source(pool), tmp_path / "out")
    truth = {row["uid"]: row["matches"] for row in pq.read_table(pool / "truth.parquet").to_pylist()}
    reasons: dict[str, list[str]] = {}
    for row in ledger(tmp_path / "out").to_pylist():
        kind = kinds(pool).get(row["uid"], "broken line")
        assert row["keep"] == (kind != "broken line" and truth[row["uid"]]), (kind, row["reason"])
        reasons.setdefault(kind, []).append(row["reason"] or "")
    for kind, start in (
        *(("mildly toxic", "celadon.mild."), ("toxic", "celadon.toxic."), ("code", "c4.curly_bracket")),
        *(("filler", "c4.lorem_ipsum"), ("short", "gopher."), ("repeated lines", "gopher.dup_line_frac")),
        *(("other language", "language."), ("broken line", "quarantine."), ("chant", "gopher.top_")),
    ):
        assert reasons[kind] and all(reason.startswith(start) for reason in reasons[kind]), (kind, reasons[kind])


def test_the_same_ledger_with_two_workers_and_an_edited_export(pool: Path, tmp_path: Path) -> None:
    kept = run(source(pool, uid=""), tmp_path / "out").kept
    run(source(pool, uid=""), tmp_path / "two", workers=2)
    assert fingerprint_of(tmp_path / "out") == fingerprint_of(tmp_path / "two")
    index = export(str(tmp_path / "out"), columns={"text": "text"}, target=str(tmp_path / "clean"))
    (path,) = (tmp_path / "clean" / "data").glob("*.zst")
    lines = zstandard.ZstdDecompressor().stream_reader(path.open("rb")).readall().splitlines()
    assert len(lines) == index.rows == kept
    texts = [json.loads(line)["text"] for line in lines]
    assert not any("javascript" in text or "cookie" in text for text in texts)
    assert any("enable javascript" in row for row in _texts(pool))
    stricter = decide(source(pool, uid="", at_least="0.99"), tmp_path / "out")
    assert 0 < stricter.kept < kept


def _texts(pool: Path) -> list[str]:
    return [
        zstandard.ZstdDecompressor().stream_reader(path.open("rb")).readall().decode() for path in pool.glob("*.zst")
    ]
