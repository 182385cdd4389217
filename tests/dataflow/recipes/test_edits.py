"""Edits: roles that are derived, fingerprinted, and read by later stages in the place of the pool's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow import Pool
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.store.manifest import read_manifest
from poolsieve.dataflow.transforms import apply_stages, program_for
from poolsieve.filters import Edit, Keep, Score, Top, col, editor, scorer
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import decide, fingerprint_of, ledger, run

TEXTS = ["one two three", "<b>one</b> two", "<i>", None, "a <b>b</b> <i>c</i> d", "boom <b>"]


def untagged(text: pa.Array) -> pa.Array:
    """Without <b> and <i>."""
    return pc.replace_substring_regex(text, "</?[bi]>", "")


def fussy(text: pa.Array) -> pa.Array:
    if any(value is not None and "boom" in value for value in text.to_pylist()):
        raise ValueError("boom")
    return untagged(text)


def shouted(text: pa.Array) -> list[str | None]:
    return [None if value is None else value.upper() for value in text.to_pylist()]


def first_word(text: pa.Array) -> list[str | None]:
    return [value.split()[0] if value and value.split() else None for value in text.to_pylist()]


def letters(text: pa.Array) -> pa.Array:
    return pc.utf8_length(text)


@pytest.fixture
def source(tmp_path: Path) -> Pool:
    for part in range(2):
        table = pa.table({"uid": [f"{part}{i:031x}" for i in range(len(TEXTS))], "text": TEXTS})
        (tmp_path / "pool").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "pool" / f"{part}.parquet")
    return Pool.parquet(f"{tmp_path}/pool/*.parquet", uid="uid", text="text")


def words(limit: int, reason: str = "words.few") -> object:
    return Keep(col("text").word_count() >= limit, reason=reason)


def test_later_stages_read_the_edited_text_and_both_counts_are_kept(source: Pool, tmp_path: Path) -> None:
    recipe = (
        source
        | Keep(col("text").char_count() >= 1, reason="text.empty")
        | Edit(text=untagged)
        | Keep(col("text").char_count() >= 1, reason="text.only_tags")
        | Score(
            now=scorer(letters, reads=("text",), columns={"n": "int64"}),
            before=scorer(letters, reads=("pool.text",), columns={"n": "int64"}),
        )
    )
    run(recipe, tmp_path / "out")
    found = ledger(tmp_path / "out").slice(0, len(TEXTS))
    assert found.column_names[4:] == ["text.char_count", "text.edited.char_count", "now", "before"]
    assert found["text.char_count"].to_pylist() == [13, 14, 3, None, 21, 8]
    assert found["text.edited.char_count"].to_pylist() == [13, 7, 0, None, 7, 5]
    assert found["now"].to_pylist() == [13, 7, None, None, 7, 5]
    assert found["before"].to_pylist() == [13, 14, None, None, 21, 8]
    assert found["reason"].to_pylist() == [None, None, "text.only_tags", "text.empty", None, None]


def test_edits_chain_and_add_roles(source: Pool, tmp_path: Path) -> None:
    recipe = (
        source
        | Edit(text=untagged)
        | Edit(text=shouted)
        | Edit(first=editor(first_word, reads=("text",)))
        | Keep(col("first").is_in(["ONE", "A"]), reason="first.other")
        | Keep(col("text").word_count() >= 1, reason="text.empty")
    )
    run(recipe, tmp_path / "out")
    found = ledger(tmp_path / "out").slice(0, len(TEXTS))
    assert found["first.edited"].to_pylist() == ["ONE", "ONE", None, None, "A", "BOOM"]
    assert found["text.edited2.word_count"].to_pylist() == [3, 2, None, None, 4, None]


def test_an_edit_that_fails_costs_one_row(source: Pool, tmp_path: Path) -> None:
    summary = run(source | Edit(text=fussy) | words(2), tmp_path / "out")
    assert summary.reasons == {"words.few": 4, "quarantine.value_error": 2}
    assert ledger(tmp_path / "out").slice(0, 6)["text.edited.word_count"].to_pylist() == [3, 2, 0, None, 4, None]


def test_an_edit_is_part_of_later_fingerprints_alone(source: Pool, tmp_path: Path) -> None:
    def recipe(version: int) -> Recipe:
        clean = editor(untagged, reads=("text",), version=version)
        return source | words(1, "words.none") | Edit(text=clean) | words(2)

    first = run(recipe(1), tmp_path / "out")
    again = run(recipe(1), tmp_path / "out")
    newer = run(recipe(2), tmp_path / "out")
    assert first.work.scored == {"text.word_count": 12, "text.edited.word_count": 10}
    assert again.work.scored == {}
    assert newer.work.scored == {"text.edited.word_count": 10}
    assert "Edit" in str(read_manifest(str(tmp_path / "out")).recipe)


FILE = """
import pyarrow.compute as pc
from poolsieve.dataflow import Pool
from poolsieve.filters import Edit, Keep, Top, col

def clean(text):
    return pc.replace_substring_regex(text, "</?[bi]>", "")

def recipe(pool: str, least: int = 2):
    return (
        Pool.parquet(pool, uid="uid", text="text")
        | Keep(col("text").char_count() >= least, reason="text.short")
        | Edit(text=clean)
        | Keep(col("text").word_count() >= least, reason="words.few")
        | Top("text.word_count", fraction=0.5)
    )
"""


def test_the_same_ledger_in_steps_with_workers_and_decided_without_the_pool(
    source: Pool, tmp_path: Path, recipe_file: Callable[..., RecipeSource]
) -> None:
    loose = recipe_file(FILE, pool=source.urls[0])
    strict = loose.with_parameters({"least": "4"})
    run(loose, tmp_path / "one")
    run(strict, tmp_path / "steps")
    run(loose, tmp_path / "steps", workers=2)
    assert fingerprint_of(tmp_path / "steps") == fingerprint_of(tmp_path / "one")
    run(strict, tmp_path / "strict")
    for file in (tmp_path / "pool").iterdir():
        file.unlink()
    decide(strict, tmp_path / "one")
    assert fingerprint_of(tmp_path / "one") == fingerprint_of(tmp_path / "strict")
    assert "text.edited.word_count" in ledger(tmp_path / "one").column_names


def test_edits_in_somebody_elses_pipeline() -> None:
    batch = pa.record_batch({"text": pa.array(TEXTS, pa.string())})
    program = program_for(Edit(text=fussy) | Keep(col("text").word_count() >= 2, reason="words.few"), batch.schema)
    found = apply_stages(program, batch)
    assert found["reason"].to_pylist() == [
        None,
        None,
        "words.few",
        "words.few",
        None,
        "quarantine.value_error",
    ]
    assert found["text"].to_pylist() == TEXTS


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Edit(), "at least one role"),
        (lambda: Edit(text=lambda text: text), "lambdas and nested functions"),
        (lambda: Edit(text=3), "takes a function"),
    ],
)
def test_wrong_edits_are_refused_when_made(make: Callable[[], object], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        make()


def test_wrong_edits_are_refused_by_the_plan(source: Pool, tmp_path: Path) -> None:
    for stage, message in (
        (Edit(txt=untagged), "reads role 'txt'.*Did you mean 'text'"),
        (Edit(new=editor(untagged, reads=("image",))), "reads role 'image'"),
        (Edit(**{"pool.text": untagged}), "pool's own"),
    ):
        with pytest.raises(PlanError, match=message):
            prepare(source | stage | words(2), str(tmp_path / "out"))
    typed = Pool.parquet(source.urls[0], uid="uid", text="text", n="uid")
    pq.write_table(pa.table({"uid": ["a"], "text": ["b"], "n": [1]}), tmp_path / "pool" / "0.parquet")
    with pytest.raises(PlanError, match="int64, and an edit makes a text"):
        prepare(Pool.parquet(*typed.urls, uid="uid", text="text") | Edit(n=untagged) | Top("n", count=1), "out")
