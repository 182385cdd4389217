"""The recipes of the repository, run on real documents."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)

from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.recipes.source import RecipeSource
from tests.conftest import decide, fingerprint_of, ledger, run
from tests.filters.corpus import real
from tests.scoring_models.encoders.tiny_celadon import make

RECIPES = Path(__file__).parents[1] / "recipes"
CHAIN = (
    GopherRepetitionFilter(),
    GopherQualityFilter(),
    C4QualityFilter(filter_no_terminal_punct=False),
    FineWebQualityFilter(),
)


def test_fineweb_keeps_what_datatrove_keeps(tmp_path: Path) -> None:
    texts = [*real(360), *real(40)]
    for part in range(2):
        urls = [f"https://site{i}.example.org/{i}" for i in range(part, 400, 2)]
        pq.write_table(pa.table({"text": texts[part::2], "url": urls}), tmp_path / f"{part}.parquet")
    (tmp_path / "domains.txt").write_text("site4.example.org\n")
    given = {"pool": f"{tmp_path}/*.parquet", "url": "url", "at_least": "0", "deduplicate": "false"}
    source = RecipeSource.read(str(RECIPES / "fineweb.py"), given)
    run(source, tmp_path / "out")
    found = ledger(tmp_path / "out")
    assert {"language.probability", "gopher.repetition.top_2_gram", "c4.sentences", "pii.emails"} < set(
        found.column_names
    )
    order = [*range(0, 400, 2), *range(1, 400, 2)]
    english = [reason != "language.other" for reason in found["reason"].to_pylist()]
    expected = []
    for text in (texts[i] for i in order):
        document = Document(text=text, id="0")
        expected.append(all(one.filter(document) is True for one in CHAIN))
    kept = found["keep"].to_pylist()
    assert kept == [e and ok for e, ok in zip(expected, english, strict=True)]
    assert 10 < sum(kept) < sum(english) < 400
    stricter = decide(source.with_parameters({"at_least": "0.9"}), tmp_path / "out")
    assert 0 < stricter.kept < sum(kept)
    run(source.with_parameters({"deduplicate": "true"}), tmp_path / "out")
    unique = ledger(tmp_path / "out").to_pylist()
    again = [row for row, ok in zip(unique, kept, strict=True) if ok and not row["keep"]]
    assert [row["keep"] or row["reason"] == "dup.near" for row in unique] == kept and len(again) >= 3
    for row in again:
        assert any(other["keep"] and other["dup.of"] == row["dup.of"] for other in unique)
        assert row["pii.emails"] is None  # personal data is looked for in what is unique
    run(source.with_parameters({"domains": str(tmp_path / "domains.txt")}), tmp_path / "out")
    assert ledger(tmp_path / "out")["reason"].to_pylist().count("urls.subdomain") == 1


def test_fineweb_and_celadon_from_json_lines(tmp_path: Path) -> None:
    model = make(tmp_path / "celadon")
    texts = list(real(300))
    lines = [json.dumps({"text": text}).encode() for text in texts]
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(b"\n".join(lines)))
    given = {"pool": f"{tmp_path}/*.jsonl.zst", "model": str(model), "at_least": "0"}
    source = RecipeSource.read(str(RECIPES / "fineweb_celadon.py"), given)
    summary = run(source, tmp_path / "out")
    found = ledger(tmp_path / "out")
    asked = [level is not None for level in found["celadon.level"].to_pylist()]
    reasons = found["reason"].to_pylist()
    assert 5 < sum(asked) < 150
    for level, reason in zip(found["celadon.level"].to_pylist(), reasons, strict=True):
        if level is not None:
            assert (reason or "celadon.none").split(".")[1] == level
    run(source, tmp_path / "two", workers=2)
    assert fingerprint_of(tmp_path / "two") == fingerprint_of(tmp_path / "out")
    index = export(str(tmp_path / "out"), select="celadon.*", target=str(tmp_path / "toxic"))
    assert index.rows + summary.kept == sum(asked)
