"""Decontamination: planted leaks are found, near misses are not; the artefact is built once."""

from __future__ import annotations

import collections
import random
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.dataflow import Pool
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.filters import Keep, col, decontaminate
from poolsieve.filters.decontamination import LoadedNgrams, Ngrams, ngram_hashes, normalised_words
from poolsieve.filters.words.marks import decomposed
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests.conftest import decide, fingerprint_of, ledger, run

VOCABULARY = [a + b for a in "bcdfghklmnprstvw" for b in ("ana", "eno", "ilu", "omi", "ura", "ako", "iva", "ost")]


def sentence(seed: int, n: int) -> list[str]:
    return random.Random(seed).choices(VOCABULARY, k=n)


QUESTIONS = {
    "arc": [" ".join(sentence(i, 20)) for i in range(5)],
    "boolq": [" ".join(sentence(50 + i, 30)) for i in range(5)],
}


def table(path: Path, texts: list[str | None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), path)


@pytest.fixture
def benchmarks(tmp_path: Path) -> dict[str, Pool]:
    for name, texts in QUESTIONS.items():
        table(tmp_path / "bench" / f"{name}.parquet", [*texts, "too short"])
    return {name: Pool.parquet(f"{tmp_path}/bench/{name}.parquet", text="text") for name in QUESTIONS}


def documents() -> list[str | None]:
    """Clean ones, leaks of exactly 13 words in other dress, and near misses of 12 words or with one word changed."""
    made: list[str | None] = [" ".join(sentence(1000 + i, 200)) for i in range(40)]
    for i, question in enumerate(QUESTIONS["arc"]):
        part = question.split()[3:16]
        made.append(
            " ".join([*sentence(2000 + i, 30), part[0].upper() + ",", *part[1:-1], f"«{part[-1]}»!", *sentence(1, 9)])
        )
        made.append(" ".join([*sentence(3000 + i, 30), "far", *part[:12], "near", *sentence(2, 9)]))
        made.append(" ".join([*sentence(4000 + i, 30), *part[:6], "other", *part[7:], *sentence(3, 9)]))
    return [*made, QUESTIONS["boolq"][2], None, "", "short"]


def test_planted_leaks_are_found_and_near_misses_are_not(benchmarks: dict[str, Pool], tmp_path: Path) -> None:
    table(tmp_path / "pool" / "a.parquet", documents())
    source = Pool.parquet(f"{tmp_path}/pool/*.parquet", text="text")
    summary = run(source | decontaminate(benchmarks), tmp_path / "out")
    found = ledger(tmp_path / "out")
    matches, benchmark = found["leak.matches"].to_pylist(), found["leak.benchmark"].to_pylist()
    assert matches[:40] == [0] * 40
    assert matches[40:55] == [1, 0, 0] * 5 and benchmark[40:55] == ["arc", None, None] * 5
    assert matches[55:] == [18, None, 0, 0] and benchmark[55] == "boolq"
    assert summary.reasons == {"leak.contaminated": 7}
    artefact = pq.read_table(next((tmp_path / "out" / "artefacts").iterdir()))
    assert artefact.schema.metadata == {b"n": b"13", b"texts": b"12", b"too_short": b"2"}
    assert artefact.num_rows == 5 * 8 + 5 * 18


def test_the_artefact_is_built_once_and_another_benchmark_file_is_another_one(
    benchmarks: dict[str, Pool], tmp_path: Path
) -> None:
    table(tmp_path / "pool" / "a.parquet", documents())
    source = Pool.parquet(f"{tmp_path}/pool/*.parquet", text="text")
    folder = tmp_path / "out" / "artefacts"
    run(source | decontaminate(benchmarks), tmp_path / "out")
    (first,) = folder.iterdir()
    made = first.stat().st_mtime_ns
    run(source | decontaminate(benchmarks), tmp_path / "two", workers=2)
    assert fingerprint_of(tmp_path / "two") == fingerprint_of(tmp_path / "out")
    assert run(source | decontaminate(benchmarks, at_most=5), tmp_path / "out").work.scored == {}
    assert first.stat().st_mtime_ns == made
    table(tmp_path / "bench" / "boolq.parquet", ["something else entirely"])
    assert run(source | decontaminate(benchmarks), tmp_path / "out").kept == 53
    assert len(list(folder.iterdir())) == 2


def test_another_column_of_a_benchmark_is_another_artefact(tmp_path: Path) -> None:
    """The file is the same: what is read of it is not. (The null text counts as a leak.)"""
    columns = {"question": QUESTIONS["arc"], "answer": QUESTIONS["boolq"]}
    pq.write_table(pa.table(columns), tmp_path / "bench.parquet")
    table(tmp_path / "pool" / "a.parquet", documents())
    source = Pool.parquet(f"{tmp_path}/pool/*.parquet", text="text")
    for count, (column, dropped) in enumerate({"question": 6, "answer": 2}.items(), 1):
        bench = Pool.parquet(f"{tmp_path}/bench.parquet", text=column)
        made = run(source | decontaminate({"bench": bench}), tmp_path / "out")
        assert made.reasons == {"leak.contaminated": dropped}
        assert len(list((tmp_path / "out" / "artefacts").iterdir())) == count


def test_decide_needs_no_benchmark(benchmarks: dict[str, Pool], tmp_path: Path) -> None:
    table(tmp_path / "pool" / "a.parquet", documents())
    source = Pool.parquet(f"{tmp_path}/pool/*.parquet", text="text")
    run(source | decontaminate(benchmarks), tmp_path / "out")
    for file in (tmp_path / "bench").iterdir():
        file.unlink()
    assert decide(source | decontaminate(benchmarks, at_most=5), tmp_path / "out").reasons == {"leak.contaminated": 2}


@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=40), st.integers(1, 6))
def test_hashes_are_those_of_the_word_tuples(given_words: list[str], n: int) -> None:
    grams = [tuple(given_words[i : i + n]) for i in range(len(given_words) - n + 1)]
    hashes = ngram_hashes(" ".join(given_words), n).tolist()
    assert len(hashes) == len(grams)
    assert len(set(hashes)) == len(set(grams)) == len(set(zip(hashes, grams, strict=True)))


@settings(deadline=None)
@given(st.text())
def test_any_text_has_words(text: str) -> None:
    assert all(word and not word.isspace() for word in normalised_words(text))
    assert normalised_words(text) == normalised_words(f"  {text}. \n")


def test_words_ignore_case_marks_punctuation_and_digits() -> None:
    assert normalised_words("Él costó 3,50 € -- naïve_idea!") == ["el", "costo", "0", "naive", "idea"]


def test_words_of_scripts_with_vowel_signs_stay_whole() -> None:
    assert normalised_words("தமிழ் மொழி") == ["தமிழ", unicodedata.normalize("NFD", "மொழி")]
    assert normalised_words("मैं ४٫५ में लिखा।") == ["म", "0", "म", "लिखा"]
    assert normalised_words("می\u200cخواهم") == ["می\u200cخواهم"]


def test_ties_between_benchmarks_go_to_the_first_by_name() -> None:
    scorer = Ngrams({"b": None, "a": None}, n=2)
    both = [("a", pa.record_batch({"text": ["x y z"]})), ("b", pa.record_batch({"text": ["x y", "q r"]}))]
    loaded = LoadedNgrams(scorer.build(both), 2, "text")
    assert [loaded.match(text) for text in ("x y", "q r", "y z q", "z")] == [(1, "a"), (1, "b"), (1, "a"), (0, None)]
    assert (np.diff(loaded.hashes.astype(object)) > 0).all()
    assert collections.Counter(loaded.names) == {"a": 1, "b": 1}


def test_wrong_benchmarks_are_refused(benchmarks: dict[str, Pool], tmp_path: Path) -> None:
    table(tmp_path / "pool" / "a.parquet", ["x"])
    source = Pool.parquet(f"{tmp_path}/pool/*.parquet", text="text")
    for given_pools, message in (
        ({"arc": Pool.parquet(f"{tmp_path}/none/*.parquet", text="text")}, "benchmark 'arc': the pool is empty"),
        ({"arc": Pool.parquet(f"{tmp_path}/bench/*.parquet")}, "benchmark 'arc': the pool declares no role 'text'"),
        ({"arc": Pool.parquet(f"{tmp_path}/bench/*.parquet", text="no")}, "benchmark 'arc': .*no"),
    ):
        with pytest.raises(PlanError, match=message):
            prepare(source | decontaminate(given_pools), str(tmp_path / "out"))
    with pytest.raises(PlanError, match="at least one benchmark"):
        decontaminate({})
    with pytest.raises(PlanError, match="1 or more"):
        decontaminate(benchmarks, n=0)
    (tmp_path / "bench" / "arc.parquet").write_bytes(b"PAR1 cut short")
    both = Pool.parquet(f"{tmp_path}/bench/*.parquet", text="text")
    with pytest.raises(PoolsieveError, match=r"benchmark 'all': arc.parquet, row 0 can't be read"):
        run(source | decontaminate({"all": both}) | Keep(col("text").word_count() > 0, reason="x.y"), tmp_path / "out")


def test_a_benchmark_has_to_be_a_pool() -> None:
    with pytest.raises(PlanError, match="benchmark 'arc' is a string: give a pool"):
        decontaminate({"arc": "arc.jsonl"})


def test_texts_that_are_too_short_to_be_found_are_named(caplog: pytest.LogCaptureFixture) -> None:
    batches = [
        ("a", pa.record_batch({"text": ["one two", "one two three"]})),
        ("b", pa.record_batch({"text": ["x y z"]})),
    ]
    Ngrams({"a": None, "b": None}, n=3).build(batches)
    assert [record.getMessage() for record in caplog.records] == [
        "benchmark 'a': 1 texts have fewer than 3 words and can't be found"
    ]


def test_marks_in_a_row_are_ordered_as_unicode_has_it() -> None:
    dice = random.Random(0)
    marks = [c for c in map(chr, range(0x20000)) if unicodedata.combining(c) or c in "\u0f73\u0f75\u0f81"]
    for rare in (0, 0.003, 0.02, 0.5):
        for _ in range(40):
            other = dice.choices(["a", "é", "각", "ǖ", "x\u0301", "日"], k=400)
            text = "".join(one if dice.random() < rare else dice.choice(marks) for one in other)
            assert decomposed(text) == unicodedata.normalize("NFD", text)
