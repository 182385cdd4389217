"""DSIR: the weights are the package's; counts don't depend on who counts; wrong pools are refused."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.dataflow import Pool
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.filters import Dsir, Score, Top, dsir
from poolsieve.filters.importance import MOST_BUCKETS
from poolsieve.filters.words import hashed
from poolsieve.filters.words.hashed import HashedNgrams, split
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from poolsieve.scoring_models.feeding.driver import score_rows
from tests.conftest import decide, fingerprint_of, ledger, run
from tests.filters.corpus import built, real
from tests.filters.make_dsir import FILE, SELDOM, SETTINGS, package_weights

SOME = Pool.parquet("some/*.parquet", text="text")


def table(path: Path, texts: Sequence[str | None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), path)


def batch(texts: Sequence[str | None]) -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array(texts, pa.string())})


def built_from(raw: Sequence[str], target: Sequence[str], folder: Path, **fields: int) -> Dsir:
    """A scorer whose artefact is there."""
    scorer = Dsir(SOME, SOME, **fields)
    path = folder / f"{scorer.n}-{scorer.buckets}.parquet"
    pq.write_table(scorer.build([("raw", batch(raw)), ("target", batch(target))]), path)
    return replace(scorer, artefact=str(path))


def check_equal(scorer: Dsir, texts: Sequence[str], weights: Sequence[float], lengths: Sequence[int]) -> None:
    """With the package's numbers: its sums are made in another order, and its lengths hold from n - 1 words on."""
    made = {name: column.to_pylist() for name, column in scorer.score(batch(texts)).columns.items()}
    words = [len(buckets_one_by_one(text, 1, 2)) for text in texts]
    assert made["words"] == [count or None for count in words]
    assert [found for found, count in zip(lengths, words, strict=True) if count >= scorer.n - 1] == [
        count for count in words if count >= scorer.n - 1
    ]
    np.testing.assert_allclose([one or 0.0 for one in made[""]], weights, rtol=1e-9, atol=1e-9)
    assert [one is None for one in made[""]] == [one is None for one in made["mean"]] == [not count for count in words]
    grams = [len(buckets_one_by_one(text, scorer.n, 2)) for text in texts]
    np.testing.assert_allclose(np.array([one or 0.0 for one in made["mean"]]) * grams, weights, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("n", "buckets"), SETTINGS)
def test_weights_are_the_packages(n: int, buckets: int, tmp_path: Path) -> None:
    known = json.loads(FILE.read_text())[f"{n} {buckets}"]
    scorer = built_from(built(), built()[::SELDOM], tmp_path, n=n, buckets=buckets)
    check_equal(scorer, built(), known["weights"], known["words"])


def test_the_package_itself_says_so_of_real_documents(tmp_path: Path) -> None:
    pytest.importorskip("data_selection")
    texts = list(real(90))
    weights, words = package_weights(texts, texts[:9], 2, 10_000)
    check_equal(built_from(texts, texts[:9], tmp_path), texts, weights, words)


def buckets_one_by_one(text: str, n: int, buckets: int) -> list[int]:
    words = re.findall(r"\w+|[^\w\s]+", text.lower())
    grams = [" ".join(words[i : i + size]) for size in range(1, n + 1) for i in range(len(words) - size + 1)]
    return [int(hashlib.sha256(gram.encode()).hexdigest(), 16) % buckets for gram in grams]


ODD = st.text(st.sampled_from("ab_1.,(\u3002\u00e9\u0301 \n\x1c\x85\u2028\u200d\U0001f600\u0130\u03a3'")) | st.text()


@settings(max_examples=60, deadline=None)
@given(st.lists(ODD, max_size=6), st.integers(1, 4), st.integers(1, 40))
def test_buckets_are_those_of_a_plain_loop_wherever_a_text_is_cut(texts: list[str], n: int, part: int) -> None:
    values = np.random.default_rng(0).normal(size=53)
    whole, hashed.PART = hashed.PART, part
    try:
        counts, (sums, words) = HashedNgrams(n, 53).counts(texts), HashedNgrams(n, 53).sums(texts, values)
    finally:
        hashed.PART = whole
    plain = [buckets_one_by_one(text, n, 53) for text in texts]
    assert counts.tolist() == np.bincount(np.array([*itertools.chain(*plain)], dtype=int), minlength=53).tolist()
    np.testing.assert_allclose(sums, [values[found].sum() for found in plain], atol=1e-9)
    assert words.tolist() == [len(buckets_one_by_one(text, 1, 53)) for text in texts]


@given(st.text() | ODD)
def test_words_are_those_of_the_pattern(text: str) -> None:
    found = list(re.finditer(r"\w+|[^\w\s]+", text))
    words = split(text.encode())
    assert words.apart() == [one.group().encode() for one in found]
    assert words.begins.tolist() == [len(text[: one.start()].encode()) for one in found]


def test_words_with_the_same_beginning_are_not_mixed_up() -> None:
    """Around the 8 and 16 bytes by which short words are known, the longest first; zeros are no padding."""
    sizes = [*range(26, 0, -1), *range(1, 26)]
    texts = [" ".join(letter * size for size in sizes) for letter in ("x", "\0", "\u00e9", "\U00020000")]
    plain = [buckets_one_by_one(text, 2, 9973) for text in texts]
    hashed._memory.cache_clear()
    try:
        for _ in range(2):
            made = [np.flatnonzero(HashedNgrams(2, 9973).counts([text])).tolist() for text in texts]
            assert made == [sorted(set(found)) for found in plain]
    finally:
        hashed._memory.cache_clear()


def test_a_weight_depends_on_its_row_alone_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbours, what is remembered and what was forgotten change nothing; nor do threads that score at once."""
    texts = [*real(60), "\n".join(real(60)) * 2]
    scorer = built_from(texts, texts[:5], tmp_path)
    together = scorer.score(batch(texts)).columns[""].to_pylist()
    assert [scorer.score(batch([text])).columns[""].to_pylist()[0] for text in texts] == together
    made: list[list[float]] = []
    threads = [
        threading.Thread(target=lambda: made.append(scorer.score(batch(texts)).columns[""].to_pylist()))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [together] * 3
    monkeypatch.setattr(hashed, "WORDS", 10)
    monkeypatch.setattr(hashed, "SLOTS", 64)
    monkeypatch.setattr(hashed, "SHORT", 8)
    hashed._memory.cache_clear()
    try:
        assert scorer.score(batch(texts[::-1])).columns[""].to_pylist() == together[::-1]
    finally:
        hashed._memory.cache_clear()


@pytest.fixture
def pools(tmp_path: Path) -> dict[str, Pool]:
    texts = real(60)
    for i in range(3):
        table(tmp_path / "raw" / f"{i}.parquet", [*texts[20 * i : 20 * i + 20], None, "", "short"])
    table(tmp_path / "target" / "a.parquet", texts[:15])
    return {name: Pool.parquet(f"{tmp_path}/{name}/*.parquet", text="text") for name in ("raw", "target")}


def test_the_job_counts_what_build_counts_and_workers_change_nothing(pools: dict[str, Pool], tmp_path: Path) -> None:
    recipe = pools["raw"] | dsir(**pools, min_words=20)
    run(recipe, tmp_path / "out")
    run(recipe, tmp_path / "two", workers=2)
    assert fingerprint_of(tmp_path / "two") == fingerprint_of(tmp_path / "out")
    texts = real(60)
    made = Dsir(**pools).build(
        [("target", batch(texts[:15])), ("raw", batch(texts[30:])), ("raw", batch([*texts[:30], *["short"] * 3]))]
    )
    files = [next((tmp_path / name / "artefacts").iterdir()) for name in ("out", "two")]
    assert all(pq.read_table(file).equals(made) for file in files)
    found = ledger(tmp_path / "out")
    assert found["reason"].to_pylist().count("dsir.too_short") >= 9
    weight, mean, words = (found[name].to_pylist() for name in ("dsir", "dsir.mean", "dsir.words"))
    assert [row is None for row in weight] == [row is None for row in words] == [row is None for row in mean]
    assert words[22] == 1 and words[20:22] == [None, None]


def test_top_keeps_the_targets_own_documents(pools: dict[str, Pool], tmp_path: Path) -> None:
    recipe = pools["raw"] | Score(dsir=Dsir(**pools)) | Top("dsir.mean", count=10)
    run(recipe, tmp_path / "out")
    kept = ledger(tmp_path / "out")["keep"].to_pylist()
    assert sum(kept) == 10 and sum(kept[:15]) >= 9  # the target is the first shard's first 15


def test_the_artefact_is_made_once_and_again_for_another_pool(pools: dict[str, Pool], tmp_path: Path) -> None:
    folder = tmp_path / "out" / "artefacts"
    run(pools["raw"] | dsir(**pools), tmp_path / "out")
    (first,) = folder.iterdir()
    made = first.stat().st_mtime_ns
    assert run(pools["raw"] | dsir(**pools, fraction=0.5, min_words=20), tmp_path / "out").work.scored == {}
    assert first.stat().st_mtime_ns == made
    table(tmp_path / "target" / "a.parquet", real(60)[40:])
    assert run(pools["raw"] | dsir(**pools), tmp_path / "out").work.scored == {"dsir": 69}
    assert len(list(folder.iterdir())) == 2


def test_decide_needs_no_pool_and_refuses_another_target(pools: dict[str, Pool], tmp_path: Path) -> None:
    run(pools["raw"] | dsir(**pools), tmp_path / "out")
    (tmp_path / "target" / "a.parquet").unlink()
    assert decide(pools["raw"] | dsir(**pools, min_words=1), tmp_path / "out").kept == 63
    other = {**pools, "target": Pool.parquet(f"{tmp_path}/other/*.parquet", text="text")}
    with pytest.raises(PlanError, match="no scores of 'dsir' as the recipe has it"):
        decide(pools["raw"] | dsir(**other), tmp_path / "out")


def test_rows_that_cannot_be_read_are_left_out_and_said(
    pools: dict[str, Pool], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [json.dumps({"text": text}) for text in real(20)]
    (tmp_path / "raw.jsonl").write_text("\n".join([*lines[:10], '{"text": ', *lines[10:]]) + "\n")
    raw = Pool.jsonl(f"{tmp_path}/raw.jsonl", text="text")
    with caplog.at_level(logging.WARNING):
        summary = run(raw | dsir(target=pools["target"], raw=raw, min_words=1), tmp_path / "out")
    assert summary.kept == 20 and summary.reasons == {"quarantine.json_decode": 1}
    assert "dsir: 1 rows of the pool 'raw' can't be read and are left out" in caplog.text


def test_a_broken_file_is_left_out_and_said(
    pools: dict[str, Pool], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "target" / "b.parquet").write_bytes(b"PAR1 cut short")
    with caplog.at_level(logging.WARNING):
        run(pools["raw"] | dsir(**pools), tmp_path / "out")
    assert "1 rows of the pool 'target' can't be read" in caplog.text


@pytest.mark.parametrize("texts", [[None, "", " \n"], []])
def test_a_target_without_words_is_an_error(texts: list[str | None], pools: dict[str, Pool], tmp_path: Path) -> None:
    table(tmp_path / "target" / "a.parquet", texts)
    with pytest.raises(PoolsieveError, match="pool 'target' of Dsir has no text with a word in it"):
        run(pools["raw"] | dsir(**pools), tmp_path / "out")
    assert not list(tmp_path.glob("out/artefacts/*"))


def test_wrong_pools_and_numbers_are_refused(pools: dict[str, Pool], tmp_path: Path) -> None:
    table(tmp_path / "pool" / "a.parquet", ["x"])
    for target, message in (
        (Pool.parquet(f"{tmp_path}/none/*.parquet", text="text"), "pool 'target': the pool is empty"),
        (Pool.parquet(f"{tmp_path}/target/*.parquet"), "pool 'target': the pool declares no role 'text'"),
    ):
        with pytest.raises(PlanError, match=message):
            prepare(pools["raw"] | dsir(target=target, raw=pools["raw"]), str(tmp_path / "out"))
    with pytest.raises(PlanError, match=r"Dsir\(target='wiki.jsonl'\): give a pool"):
        dsir(target="wiki.jsonl", raw=pools["raw"])
    for fields, message in (
        ({"n": 0}, "1 or more"),
        ({"n": True}, "1 or more"),
        ({"buckets": 1}, "from 2 to"),
        ({"buckets": MOST_BUCKETS + 1}, "from 2 to"),
    ):
        with pytest.raises(PlanError, match=message):
            Dsir(SOME, SOME, **fields)


def test_a_long_document_is_like_a_short_one(tmp_path: Path) -> None:
    """20 MB, and 20 MB of one word."""
    text = "\n".join(real(90)) + "\n"
    texts = [text, text * (20_000_000 // len(text)), "x" * 20_000_000, "(" * 20_000_000]
    scorer = built_from(texts[:1], real(9), tmp_path)
    made = scorer.score(batch(texts)).columns
    words = made["words"].to_pylist()
    assert words[1] == words[0] * (20_000_000 // len(text)) and words[2:] == [1, 1]
    assert made["mean"].to_pylist()[1] == pytest.approx(made["mean"].to_pylist()[0], rel=1e-3, abs=1e-4)


def test_a_damaged_artefact_costs_no_row(tmp_path: Path) -> None:
    scorer = built_from(["a b"], ["a c"], tmp_path)
    for wrong in (Path(scorer.artefact).read_bytes()[:-40], b"", None):
        damage(Path(scorer.artefact), wrong)
        with pytest.raises(PoolsieveError, match=r"\.parquet can't be read \(.*\): remove .*\.parquet, and run again"):
            score_rows(scorer, batch(["a text"]), scorer.columns, threads=1)


def damage(file: Path, wrong: bytes | None) -> None:
    if wrong is None:
        file.unlink()
    else:
        file.write_bytes(wrong)
