"""The invariants of the design, each against a whole job on real files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow import Pool, fs
from poolsieve.dataflow.decisions.record import Record
from poolsieve.dataflow.decisions.summary import check_whole
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.store.shard_lines import ShardLine, packed
from poolsieve.filters import Keep, Score, Top, all_of, any_of, col, larger, scorer, smaller
from poolsieve.scoring_models.base.errors import PoolsieveError
from tests.conftest import decide, derived_uid, fingerprint_of, ledger, run, text_table, write_pool

Make = Callable[..., RecipeSource]


def letters(text: pa.Array) -> pa.Array:
    """A user's own scorer."""
    return pc.utf8_length(text)


def fussy(text: pa.Array) -> pa.Array:
    """A user's scorer that can't stand texts of seven words."""
    if any(value is not None and len(value.split()) == 7 for value in text.to_pylist()):
        raise ValueError("seven words")
    return pc.utf8_length(text)


FILE = """
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, Top, col, scorer, smaller
import pyarrow.compute as pc

def letters(text):
    return pc.utf8_length(text)

def recipe(pool: str, words: int = 3, fraction: str = "0.3"):
    return (
        Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text", width="original_width", height="original_height")
        | Keep(col("text").word_count() >= words, reason="caption.too_short")
        | Score(letters=scorer(letters, reads=("text",), columns={"n": "float32"}))
        | Keep(smaller(col("width"), col("height")) >= 100, reason="image.too_small")
        | Top("clip", fraction=fraction, of="pool")
    )
"""


def recipe_of(pool: Path, words: int = 3, fraction: str = "0.3") -> Recipe:
    """Statistics, a user's scorer, pool columns and a cut with ties."""
    return (
        Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text", width="original_width", height="original_height")
        | Keep(col("text").word_count() >= words, reason="caption.too_short")
        | Score(letters=scorer(letters, reads=("text",), columns={"n": "float32"}))
        | Keep(smaller(col("width"), col("height")) >= 100, reason="image.too_small")
        | Top("clip", fraction=fraction, of="pool")
    )


def test_conservation_every_row_of_the_pool_has_one_line(pool: Path, tmp_path: Path) -> None:
    summary = run(recipe_of(pool), tmp_path / "out")
    found = ledger(tmp_path / "out")
    in_pool = pa.concat_tables(pq.read_table(path) for path in sorted(pool.glob("*.parquet")))
    assert found.column("uid").to_pylist() == in_pool.column("uid").to_pylist()
    assert summary.rows == in_pool.num_rows == summary.kept + summary.dropped + summary.quarantined
    assert pc.sum(found.column("keep")).as_py() == summary.kept == int(in_pool.num_rows * 0.3)
    assert all(
        (reason is None) == keep
        for reason, keep in zip(found["reason"].to_pylist(), found["keep"].to_pylist(), strict=True)
    )


def test_conservation_a_lost_or_doubled_shard_fails_the_job(pool: Path, tmp_path: Path) -> None:
    prepared = prepare(recipe_of(pool), str(tmp_path / "out"))
    counts = {"rows": 5, "kept": 0, "dropped": 5, "quarantined": 0, "nbytes": 0, "kept_bytes": 0}
    lines = [ShardLine(**s.to_dict(), name=s.name, **counts) for s in prepared.shards]
    assert check_whole(prepared.job, Record(rows=15, shards=[packed(lines[1:]), packed(lines[:1])])) == len(lines)
    with pytest.raises(PoolsieveError, match="lost, doubled"):
        check_whole(prepared.job, Record(rows=10, shards=[packed(lines[1:])]))
    with pytest.raises(PoolsieveError, match="lost, doubled"):
        check_whole(prepared.job, Record(rows=20, shards=[packed(lines), packed(lines[:1])]))
    with pytest.raises(PoolsieveError, match="rows in are not"):
        check_whole(prepared.job, Record(rows=16, shards=[packed(lines)]))


def test_determinism_workers_batches_and_history(
    pool: Path, tmp_path: Path, recipe_file: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_file(FILE, pool=str(pool))
    strict = recipe.with_parameters({"words": "9", "fraction": "0.1"})
    run(recipe, tmp_path / "one")
    run(recipe, tmp_path / "two", workers=2)
    run(strict, tmp_path / "steps")
    run(recipe, tmp_path / "steps")
    for module in ("formats.base", "formats.parquet.read", "formats.webdataset.read"):
        monkeypatch.setattr(f"poolsieve.dataflow.pools.{module}.BATCH_ROWS", 37)
    run(recipe, tmp_path / "small")
    first = fingerprint_of(tmp_path / "one")
    assert len(first) == 4
    for other in ("two", "steps", "small"):
        assert fingerprint_of(tmp_path / other) == first


def test_determinism_the_cut_is_the_sorted_one(pool: Path, tmp_path: Path) -> None:
    """Against NumPy on the whole table at once, ties broken by the same hash."""
    from poolsieve.filters.dsl.cuts import tie_hashes

    summary = run(recipe_of(pool), tmp_path / "out")
    table = pa.concat_tables(pq.read_table(path) for path in sorted(pool.glob("*.parquet")))
    words = np.array([len(t.split()) for t in table["text"].to_pylist()])
    sides = np.minimum(table["original_width"].to_numpy(), table["original_height"].to_numpy())
    score = table["clip"].to_numpy()
    alive = np.flatnonzero((words >= 3) & (sides >= 100) & ~np.isnan(score))
    order = sorted(
        alive,
        key=lambda i: (
            -score[i],
            tie_hashes(pa.array([table["uid"][int(i)].as_py()]), 0)[0],
        ),
    )
    k = int(Decimal("0.3") * table.num_rows)
    wanted = {table["uid"][int(i)].as_py() for i in order[:k]}
    found = ledger(tmp_path / "out")
    assert set(found.filter(found["keep"])["uid"].to_pylist()) == wanted
    assert summary.cuts["clip.below_cut"][""].value == pytest.approx(float(score[order[k - 1]]), abs=0)


def test_resume_nothing_is_computed_twice(pool: Path, tmp_path: Path) -> None:
    first = run(recipe_of(pool), tmp_path / "out")
    again = run(recipe_of(pool), tmp_path / "out")
    assert first.work.scored and not again.work.scored and again.work.read_bytes == 0
    changed = pool / "part-001.parquet"
    pq.write_table(text_table(300, 99), changed)
    third = run(recipe_of(pool), tmp_path / "out")
    assert third.work.scored["text.word_count"] == 300
    assert third.work.read_bytes == changed.stat().st_size


def test_resume_a_loosened_rule_scores_only_what_it_lets_through(pool: Path, tmp_path: Path) -> None:
    run(recipe_of(pool, words=10), tmp_path / "out")
    before = ledger(tmp_path / "out")["letters"].null_count
    looser = run(recipe_of(pool, words=5), tmp_path / "out")
    after = ledger(tmp_path / "out")["letters"].null_count
    assert looser.work.scored["letters"] == before - after > 0
    assert "text.word_count" not in looser.work.scored


def test_resume_version_and_role_source_are_part_of_the_fingerprint(pool: Path, tmp_path: Path) -> None:
    def made(version: int, column: str) -> Recipe:
        own = scorer(letters, reads=("text",), columns={"n": "float32"}, version=version)
        return Pool.parquet(f"{pool}/*.parquet", text=column) | Score(letters=own)

    run(made(1, "text"), tmp_path / "out")
    assert run(made(1, "text"), tmp_path / "out").work.scored == {}
    assert run(made(2, "text"), tmp_path / "out").work.scored == {"letters": 1200}
    assert run(made(1, "uid"), tmp_path / "out").work.scored == {"letters": 1200}


def test_a_strict_recipe_hides_scores_that_are_stored(pool: Path, tmp_path: Path) -> None:
    """A score is null wherever this recipe would not compute it, even if an earlier run did."""
    run(recipe_of(pool, words=1), tmp_path / "out")
    run(recipe_of(pool, words=12), tmp_path / "out")
    run(recipe_of(pool, words=12), tmp_path / "fresh")
    assert fingerprint_of(tmp_path / "out") == fingerprint_of(tmp_path / "fresh")


def test_atomic_write_shows_nothing_of_a_failed_write(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.bin"
    with pytest.raises(ZeroDivisionError), fs.atomic_write(str(target)) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert not target.exists() and not list(target.parent.iterdir())
    fs.write_bytes(str(target), b"whole")
    with pytest.raises(ZeroDivisionError), fs.atomic_write(str(target)) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert target.read_bytes() == b"whole"


def test_atomic_write_on_an_object_store_commits_nothing_on_failure() -> None:
    with pytest.raises(ZeroDivisionError), fs.atomic_write("memory://atomic/file.bin") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert not fs.exists("memory://atomic/file.bin")


def test_one_bad_row_costs_one_row(pool: Path, tmp_path: Path) -> None:
    recipe = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Score(
        fussy=scorer(fussy, reads=("text",), columns={"n": "float32"})
    )
    summary = run(recipe, tmp_path / "out")
    table = pa.concat_tables(pq.read_table(path) for path in sorted(pool.glob("*.parquet")))
    seven = sum(len(text.split()) == 7 for text in table["text"].to_pylist())
    assert seven and summary.reasons == {"quarantine.value_error": seven}
    assert summary.kept == table.num_rows - seven
    again = run(recipe, tmp_path / "out")
    assert again.work.scored == {} and again.reasons == summary.reasons
    retried = run(recipe, tmp_path / "out", retry_quarantined=True)
    assert retried.work.scored == {"fussy": seven}


def moody(texts: pa.Array) -> dict[str, pa.Array]:
    """Fails on texts of seven words as long as POOLSIEVE_TEST_MOOD says so."""
    if os.environ.get("POOLSIEVE_TEST_MOOD") and any(len(text.split()) == 7 for text in texts.to_pylist()):
        raise ValueError("seven")
    return {"n": pa.array([float(len(text)) for text in texts.to_pylist()], pa.float32())}


def test_what_is_tried_again_never_changes_a_decision_that_is_there(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Score(
        moody=scorer(moody, reads=("text",), columns={"n": "float32"})
    )
    monkeypatch.setenv("POOLSIEVE_TEST_MOOD", "bad")
    first = run(recipe, tmp_path / "out")
    seen = {path: path.read_bytes() for path in (tmp_path / "out" / "decisions" / first.decision).rglob("*.parquet")}
    monkeypatch.delenv("POOLSIEVE_TEST_MOOD")
    again = run(recipe, tmp_path / "out", retry_quarantined=True)
    assert first.quarantined and not again.quarantined and again.decision != first.decision
    assert {path: path.read_bytes() for path in seen} == seen
    assert run(recipe, tmp_path / "out").decision == again.decision == decide(recipe, tmp_path / "out").decision
    whole = run(recipe, tmp_path / "whole")
    assert fingerprint_of(tmp_path / "out") == fingerprint_of(tmp_path / "whole") and whole.decision == first.decision


def test_max_error_rate_fails_the_job_and_leaves_no_manifest(pool: Path, tmp_path: Path) -> None:
    recipe = Pool.parquet(f"{pool}/*.parquet", text="text") | Score(
        fussy=scorer(fussy, reads=("text",), columns={"n": "float32"})
    )
    with pytest.raises(PoolsieveError, match="max-error-rate"):
        run(recipe, tmp_path / "out", max_error_rate=0.001)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_decide_needs_neither_pool_nor_model(pool: Path, tmp_path: Path) -> None:
    run(recipe_of(pool, words=3), tmp_path / "out")
    run(recipe_of(pool, words=6, fraction="0.2"), tmp_path / "wanted")
    shutil.move(pool, tmp_path / "away")
    decide(recipe_of(pool, words=6, fraction="0.2"), tmp_path / "out")
    assert fingerprint_of(tmp_path / "out") == fingerprint_of(tmp_path / "wanted")
    with pytest.raises(PoolsieveError, match=r"\d+ rows need scores.*poolsieve run"):
        decide(recipe_of(pool, words=1), tmp_path / "out")


def test_what_if_writes_nothing_and_counts_the_overlap(pool: Path, tmp_path: Path) -> None:
    first = run(recipe_of(pool), tmp_path / "out")
    before = sorted(p for p in (tmp_path / "out").rglob("*") if p.is_file())
    found = decide(recipe_of(pool, words=8), tmp_path / "out", write=False)
    assert sorted(p for p in (tmp_path / "out").rglob("*") if p.is_file()) == before
    assert found.overlap["both"] + found.overlap["old"] == first.kept
    assert found.overlap["both"] + found.overlap["new"] == found.kept


def test_frozen_cuts_judge_new_shards_by_the_old_cut(pool: Path, tmp_path: Path) -> None:
    from poolsieve.dataflow.store.manifest import read_cuts

    first = run(recipe_of(pool), tmp_path / "out")
    pq.write_table(text_table(250, 77), pool / "part-009.parquet")
    url = tmp_path / "out" / "decisions" / first.decision / "cuts.json"
    grown = run(recipe_of(pool), tmp_path / "grown", frozen=read_cuts(str(url)))
    old = ledger(tmp_path / "out").filter(ledger(tmp_path / "out")["keep"])["uid"].to_pylist()
    new = ledger(tmp_path / "grown").filter(ledger(tmp_path / "grown")["keep"])["uid"].to_pylist()
    assert set(old) <= set(new) and len(new) > len(old)
    assert grown.cuts == first.cuts


def test_combinations_score_everything_alive_at_entry(pool: Path, tmp_path: Path) -> None:
    recipe = Pool.parquet(
        f"{pool}/*.parquet", uid="uid", text="text", width="original_width", height="original_height"
    ) | any_of(
        Top("clip", fraction=0.1),
        all_of(
            Keep(col("text").word_count() >= 15), ~Keep(larger(col("width"), col("height")) >= 500, "w"), reason="x"
        ),
        reason="neither",
    )
    summary = run(recipe, tmp_path / "out")
    found = ledger(tmp_path / "out")
    assert set(summary.reasons) == {"neither"}
    assert found["text.word_count"].null_count == 0
    words, wide = found["text.word_count"].to_numpy(), np.maximum(found["width"].to_numpy(), found["height"].to_numpy())
    both = (words >= 15) & (wide < 500)
    assert np.all(found["keep"].to_numpy()[both])


def test_uids_are_derived_where_the_pool_has_none(pool: Path, tmp_path: Path) -> None:
    run(Pool.parquet(f"{pool}/*.parquet", text="text") | Keep(col("text").word_count() > 2), tmp_path / "out")
    found = ledger(tmp_path / "out")
    assert found["uid"][0].as_py() == derived_uid("part-000.parquet", 0)
    assert len(set(found["uid"].to_pylist())) == found.num_rows


def test_subset_is_sorted_and_names_exactly_the_kept(pool: Path, tmp_path: Path) -> None:
    summary = run(recipe_of(pool), tmp_path / "out")
    subset = np.load(tmp_path / "out" / "decisions" / summary.decision / "subset.npy", allow_pickle=False)
    assert subset.dtype == np.dtype("u8,u8")
    made = [f"{int(high):016x}{int(low):016x}" for high, low in subset]
    found = ledger(tmp_path / "out")
    assert made == sorted(found.filter(found["keep"])["uid"].to_pylist())


def test_two_stores_of_the_same_pool_in_another_place_agree(tmp_path: Path) -> None:
    for place in ("a", "b"):
        write_pool(tmp_path / place / "pool")
        run(recipe_of(tmp_path / place / "pool"), tmp_path / place / "out")
    assert fingerprint_of(tmp_path / "a" / "out") == fingerprint_of(tmp_path / "b" / "out")


def test_a_pool_file_changed_while_the_job_waits_is_refused(pool: Path, tmp_path: Path) -> None:
    from poolsieve.dataflow.passes.submit import execute

    prepared = prepare(recipe_of(pool), str(tmp_path / "out"))
    os.utime(pool / "part-002.parquet", ns=(1, 1))
    with pytest.raises(PoolsieveError, match="has changed"):
        execute(prepared)


def cut_the_file(texts: pa.Array) -> dict[str, pa.Array]:
    """Scores that come while somebody cuts the pool file short."""
    os.truncate(os.environ["POOLSIEVE_TEST_CUT"], 9 << 20)
    return {"x": pa.array([1.0] * len(texts), pa.float32())}


def test_a_pool_file_cut_short_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "{"x" * 1990}"}}\n' * 16_000)
    monkeypatch.setenv("POOLSIEVE_TEST_CUT", str(path))
    cutting = scorer(cut_the_file, reads=("text",), columns={"x": "float32"})
    with pytest.raises(PoolsieveError, match=r"a\.jsonl has changed"):
        run(Pool.jsonl(str(path), text="text") | Score(s=cutting), tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.parquet")) and not (tmp_path / "out" / "manifest.json").exists()
