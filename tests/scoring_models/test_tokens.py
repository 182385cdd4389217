"""Token counts, by a small tokenizer that is trained here."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.store.manifest import TokenCounts
from poolsieve.filters import Keep, Score, Top, col
from poolsieve.scoring_models import Tokens
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import ledger, run

TEXTS = ["a cat sat on the mat", "", "the the the", None, "zebra " * 3000, "日本語 \U0001f600", "x" * 200]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=["<unk>", "<s>"], show_progress=False)
    made.train_from_iterator(["a cat sat on the mat and the dog ate the cat"] * 3, trainer)
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made.enable_truncation(16)
    made.enable_padding()
    path = tmp_path_factory.mktemp("tokenizer")
    made.save(str(path / "tokenizer.json"))
    return path


def counts(scorer: Tokens, texts: list[str | None]) -> list[int | None]:
    found: list[int | None] = (
        scorer.score(pa.record_batch({"text": pa.array(texts, pa.string())})).columns[""].to_pylist()
    )
    return found


def test_counts_are_those_of_the_tokenizer_alone_and_whole(folder: Path) -> None:
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    plain.no_truncation()
    plain.no_padding()
    expected = [None if t is None else len(plain.encode(t, add_special_tokens=False).ids) for t in TEXTS]
    assert counts(Tokens(str(folder)), TEXTS) == expected
    assert expected[4] is not None and expected[4] > 3000
    assert [counts(Tokens(str(folder / "tokenizer.json")), [text])[0] for text in TEXTS] == expected
    assert counts(Tokens(str(folder)), []) == []


def test_a_budget_of_tokens(folder: Path, tmp_path: Path) -> None:
    texts = ["the cat"] * 30 + ["a dog sat and ate"] * 30
    pq.write_table(pa.table({"text": texts, "quality": [float(i) for i in range(60)]}), tmp_path / "a.parquet")
    stages = Score(tokens=Tokens(str(folder))) | Top("quality", budget="0.1K tokens")
    run(Pool.parquet(f"{tmp_path}/a.parquet", text="text") | stages, tmp_path / "out")
    found = ledger(tmp_path / "out")
    kept = found.filter(found["keep"])
    total = sum(kept["tokens"].to_pylist())
    next_one = found["tokens"].to_pylist()[59 - len(kept)]
    assert total <= 100 < total + next_one
    assert kept["quality"].to_pylist() == [float(i) for i in range(60 - len(kept), 60)]


def test_what_is_no_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    assert Tokens(str(folder)).to_dict() == {"type": "Tokens", "tokenizer": folder.name}
    with pytest.raises(PlanError, match="reads fast tokenizers only"):
        Tokens(str(tmp_path)).files()
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(PlanError, match="is no tokenizer"):
        counts(Tokens(str(tmp_path)), ["a"])


def test_a_table_of_budgets_and_tokens_in_funnel_manifest_and_report(folder: Path, tmp_path: Path) -> None:
    rows = [
        {"text": text, "quality": float(i), "lang": lang}
        for i in range(40)
        for text, lang in (("the cat sat", "en"), ("a dog ate the mat", "fr"), ("x" * 9, "de"))
    ]
    (tmp_path / "pool").mkdir()
    for part in range(3):
        pq.write_table(pa.Table.from_pylist(rows[part::3]), tmp_path / "pool" / f"{part}.parquet")
    recipe = (
        Pool.parquet(f"{tmp_path}/pool/*.parquet", text="text")
        | Keep(col("quality") >= 2, reason="quality.low")
        | Score(size=Tokens(str(folder)))
        | Top("quality", by="lang", budget={"en": "20 size", "*": "50 size"}, reason="budget.spent")
    )
    done = poolsieve.run(recipe, tmp_path / "out")
    summary = done.summary
    found = ledger(tmp_path / "out")
    kept = found.filter(found["keep"]).to_pylist()
    for lang, budget in (("en", 20), ("fr", 50), ("de", 50)):
        sizes = [row["size"] for row in kept if row["lang"] == lang]
        assert sum(sizes) <= budget < sum(sizes) + sizes[0]
    total, left = sum(found["size"].drop_null().to_pylist()), sum(row["size"] for row in kept)
    assert (summary.tokens, summary.kept_tokens) == (total, left)
    lines = [(line.step, line.tokens) for line in summary.funnel]
    assert lines == [
        *(("quality", None), ("quality.low", None), ("size", total), ("lang", total), ("budget.spent", left)),
    ]
    assert summary.funnel[-1].bytes == summary.kept_bytes < summary.nbytes
    html = Path(done.report).read_text()
    assert "tokens left" in html and f"{left} tokens" in html
    assert done.manifest.tokens == TokenCounts(counted=total, kept=left)


def test_an_integer_column_named_tokens_counts_as_well(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b", "c"], "tokens": [5, 6, None]}), tmp_path / "a.parquet")
    found = run(Pool.parquet(f"{tmp_path}/a.parquet", text="text") | Keep(col("tokens") >= 6), tmp_path / "out")
    assert (found.tokens, found.kept_tokens) == (11, 6)
    pq.write_table(pa.table({"text": ["a"], "tokens": ["5"]}), tmp_path / "b.parquet")
    rule = Keep(col("tokens") == "5", reason="x.y")
    assert run(Pool.parquet(f"{tmp_path}/b.parquet", text="text") | rule, tmp_path / "out2").tokens is None
