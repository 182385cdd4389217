"""Documents as a crawl has them, through every text stage at once: each is scored or quarantined, neighbours stay."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from poolsieve.dataflow import Pool, Recipe
from poolsieve.filters import (
    Edit,
    Keep,
    Masked,
    PersonalData,
    Score,
    c4,
    celadon,
    col,
    decontaminate,
    fineweb,
    gopher,
    language,
)
from poolsieve.scoring_models import Classifier, FastText, Language, Tokens
from tests.conftest import ledger, run
from tests.filters.corpus import PROSE, real
from tests.scoring_models.encoders import tiny_celadon, tiny_classifier

ODD: dict[str, str | None] = {
    "null": None,
    "empty": "",
    "one character": "x",
    "blanks": " \n\t \r\n\u3000 ",
    "control characters": "a\x00b\x07\x1b[31m \x7f and\x0c \x85 that \ufffe\uffff",
    "mixed scripts": "Привет, мир! Hello 世界 שלום and مرحبا to all of you. " * 30,
    "right to left": "שלום עולם, זה טקסט בעברית. \u202eabc\u202c " * 30,
    "no letters": "12345 67890 !!! ??? ... --- *** " * 30,
    "emoji": "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 " * 60,
    "combining": "e\u0301" * 500 + "\u0300" * 500,
    "one long word": "x" * 100_000,
    "one long line of marks": "." * 20_000 + "-" * 20_000,
    "bullets": "- point\n" * 500,
    "labels": "__label__hq __label__lq [CLS] [SEP] <s> </s> [PAD]",
}


def broken_lines() -> Iterator[tuple[str, bytes]]:
    """Lines that are no document: name -> bytes."""
    yield "list", b'["text"]'
    yield "number", b"7"
    yield "lone surrogate", b'{"text": "a \\ud800 b"}'
    yield "no UTF-8", b'{"text": "caf\xe9"}'
    yield "open", b'{"text": "a'
    yield "another type", b'{"text": {"a": 1}}'


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_celadon.make(folder / "celadon")
    tiny_classifier.make(folder / "edu", num_labels=1)
    (folder / "bench.jsonl").write_text(json.dumps({"text": PROSE}) + "\n")
    return folder


def everything(pool: str, models: Path) -> Recipe:
    """Every text stage, with limits that drop nothing, so that every document meets every scorer."""
    score = Score(
        pii=PersonalData(),
        fr=FastText(str(Language().files()["lid.176.ftz"]), label="fr"),
        tokens=Tokens(str(models / "celadon")),
        edu=Classifier(str(models / "edu")),
    )
    loose = Keep(col("pii.emails") >= 0, reason="pii.none")
    off: dict[str, Any] = {f"{side}_words": None for side in ("min", "max")}
    stages = (
        language("en", at_least=0.0)
        | gopher.repetition()
        | gopher.quality(**off)
        | c4.quality(edit=True)
        | Edit(text=Masked())
        | fineweb.quality()
        | decontaminate({"bench": Pool.jsonl(str(models / "bench.jsonl"), text="text")})
        | celadon(str(models / "celadon"), keep="mild")
    )
    return Pool.jsonl(pool, text="text") | score | loose | stages


def by_uid(out: Path) -> dict[str, dict[str, Any]]:
    return {row["uid"]: row for row in ledger(out).to_pylist()}


def test_odd_documents_cost_no_neighbour_anything(models: Path, tmp_path: Path) -> None:
    good = list(real(40))
    texts = [text for pair in zip(good, [*ODD.values(), *[None] * 40], strict=False) for text in pair]
    lines = [json.dumps({"text": text}).encode() for text in texts] + [line for _, line in broken_lines()]
    for name, made in (("odd", lines), ("good", [json.dumps({"text": text}).encode() for text in good])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jsonl").write_bytes(b"\n".join(made) + b"\n")
        run(everything(f"{tmp_path}/{name}/*.jsonl", models), tmp_path / f"out-{name}")
    odd = ledger(tmp_path / "out-odd").drop_columns(["row", "uid"]).to_pylist()
    alone = ledger(tmp_path / "out-good").drop_columns(["row", "uid"]).to_pylist()
    assert odd[0 : 2 * len(good) : 2] == alone
    kinds = [row["reason"] for row in odd[-len(dict(broken_lines())) :]]
    assert kinds == ["quarantine.json_decode"] * 5 + ["quarantine.json_type"]
    reasons = dict(zip(ODD, (row["reason"] for row in odd[1 : 2 * len(ODD) : 2]), strict=True))
    assert not any((reason or "").startswith("quarantine.") for reason in reasons.values()), reasons
    assert reasons["null"] == "pii.none"


def test_duplicate_keys_are_the_last_one(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one", "text": "one two three"}\n')
    run(Pool.jsonl(f"{tmp_path}/a.jsonl", text="text") | Keep(col("text").word_count() == 3), tmp_path / "out")
    assert ledger(tmp_path / "out")["keep"].to_pylist() == [True]


def test_a_gzip_member_cut_short_costs_what_is_behind_the_cut(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"{text}"}) for text in real(200)]
    packed = gzip.compress("\n".join(lines).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "b.jsonl").write_text("\n".join(lines[:5]))
    run(Pool.jsonl(f"{tmp_path}/*", text="text") | Keep(col("text").word_count() >= 0), tmp_path / "out")
    reasons = ledger(tmp_path / "out")["reason"].to_pylist()
    assert reasons.count(None) == len(reasons) - 1 and 30 < len(reasons) < 205
    assert next(filter(None, reasons)).startswith("quarantine.")


@pytest.mark.parametrize("text", [f"{PROSE}\n" * (10_000_000 // len(PROSE)), "x" * 50_000_000], ids=["prose", "word"])
def test_a_document_of_many_megabytes(text: str, models: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"text": part}) for part in (PROSE * 3, text, PROSE * 3)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    stages = (
        gopher.quality() | c4.quality(edit=True) | fineweb.quality() | Score(tokens=Tokens(str(models / "celadon")))
    )
    pool = Pool.jsonl(f"{tmp_path}/a.jsonl", text="text", max_document_bytes=64 << 20)
    run(pool | gopher.repetition() | stages, tmp_path / "out")
    rows = ledger(tmp_path / "out").to_pylist()
    first, big, last = ({name: value for name, value in row.items() if name not in ("row", "uid")} for row in rows)
    assert first == last and big["gopher.repetition.char_count"] == len(text)
    assert big["reason"] in ("gopher.dup_line_frac", "gopher.too_few_words")
