"""`dedup.*`: runs over real pools, whatever their shards, workers and history; and decisions that read no text."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.passes.again import unchanged
from poolsieve.dataflow.passes.plan import prepare, prepare_stored
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.store.manifest import read_cuts, read_manifest
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.filters import Keep, col, dedup
from poolsieve.filters.dedup import Duplicates
from poolsieve.filters.dsl.derive import Derive
from poolsieve.scoring_models.base.derived import Extent
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests.conftest import decide, fingerprint_of, ledger, run


def documents() -> list[dict[str, Any]]:
    rng = random.Random(5)
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 8))) for _ in range(2000)]
    made: list[dict[str, Any]] = []
    for base in range(30):
        tokens = rng.choices(words, k=220)
        near = [w if rng.random() > 0.02 else "changed" for w in tokens]
        for kind, text in (("base", tokens), ("copy", tokens), ("near", near), ("prefix", tokens[:200])):
            made.append({"text": " ".join(text), "kind": kind, "base": base, "quality": rng.random()})
    short: list[str | None] = ["", "", "one", "two", None, None, "one two three four", "one two three  four"]
    made += [{"text": text, "kind": "short", "base": -1, "quality": 0.5} for text in short]
    rng.shuffle(made)
    return made


def write(folder: Path, sizes: list[int]) -> Path:
    folder.mkdir()
    rows, start = documents(), 0
    for i, size in enumerate(sizes):
        pq.write_table(pa.Table.from_pylist(rows[start : start + size]), folder / f"p{i}.parquet", row_group_size=9)
        start += size
    assert start == len(rows)
    return folder


def recipe(folder: Path, **given: Any) -> Recipe:
    pool = Pool.parquet(f"{folder}/*.parquet", text="text", quality="quality", split_bytes=20_000)
    return pool | dedup.minhash(**given)


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return write(tmp_path / "pool", [50, 0, 70, 8])


def test_one_row_of_each_family_stays_and_each_other_names_it(pool: Path, tmp_path: Path) -> None:
    run(recipe(pool, best="quality"), tmp_path / "out")
    lines = ledger(tmp_path / "out").to_pylist()
    rows = documents()
    families = [line for line, row in zip(lines, rows, strict=True) if row["kind"] != "short"]
    kept = [line for line in families if line["keep"]]
    assert len(kept) == 30 and {line["dup.size"] for line in families} == {4}
    best = {row["base"]: max(r["quality"] for r in rows if r["base"] == row["base"]) for row in rows}
    names = {
        f"p{i}.parquet:{k}": row
        for (i, k), row in zip(((i, k) for i, n in ((0, 50), (2, 70), (3, 8)) for k in range(n)), rows, strict=True)
    }
    for line, row in zip(lines, rows, strict=True):
        if row["kind"] == "short":
            continue
        leader = names[line["dup.of"]]
        assert leader["base"] == row["base"] and leader["quality"] == best[row["base"]]
        assert line["keep"] == (leader is row) and line["dup.similarity"] >= 0.55
        assert line["reason"] in ({None} if line["keep"] else {"dup.exact", "dup.near"})
        assert line["reason"] != "dup.exact" or row["kind"] in ("base", "copy")


def test_short_texts_and_nulls_are_copies_at_most(pool: Path, tmp_path: Path) -> None:
    run(recipe(pool), tmp_path / "out")
    found = zip(ledger(tmp_path / "out").to_pylist(), documents(), strict=True)
    dropped = [(row["text"], line["reason"]) for line, row in found if row["kind"] == "short" and not line["keep"]]
    assert dropped == [("", "dup.exact")]


@pytest.mark.parametrize(("workers", "sizes"), [(2, [50, 0, 70, 8]), (1, [128])])
def test_the_same_rows_for_any_shards_and_workers(pool: Path, tmp_path: Path, workers: int, sizes: list[int]) -> None:
    run(recipe(pool, best="quality"), tmp_path / "one")
    other = write(tmp_path / "other", sizes)
    run(recipe(other, best="quality"), tmp_path / "two", workers=workers, at_once=0 if workers > 1 else None)
    few = ["keep", "reason", "dup.size", "dup.rank", "dup.copy", "dup.similarity"]
    assert ledger(tmp_path / "one").select(few) == ledger(tmp_path / "two").select(few)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool, and `gathered` and `joined`: runs in which one worker saw all rows, and in which they met by rounds."""
    folder = tmp_path_factory.mktemp("both")
    write(folder / "pool", [50, 0, 70, 8])
    run(recipe(folder / "pool", best="quality"), folder / "gathered")
    run(recipe(folder / "pool", best="quality"), folder / "joined", at_once=0)
    return folder


def files_of(out: Path) -> dict[str, bytes]:
    """What must be the same: ledgers, cuts, and what was joined."""
    decision = out / "decisions" / read_manifest(str(out)).decision
    paths = [*decision.glob("ledger/*"), decision / "cuts.json", *(out / "derived").iterdir()]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def test_rows_that_meet_by_rounds_give_the_bytes_of_one_worker(both: Path) -> None:
    found = files_of(both / "joined")
    assert found == files_of(both / "gathered")
    assert sum(name.startswith("derived/") for name in found) > 4
    for name in ("gathered", "joined"):
        assert set(ledger(both / name).column("reason").to_pylist()) == {None, "dup.exact", "dup.near"}


def test_rounds_of_a_pool_too_large_for_one_worker_give_its_bytes(both: Path, tmp_path: Path) -> None:
    large = Extent(1 << 28, 1 << 40)  # several places, and edges that no worker sees all of
    run(recipe(both / "pool", best="quality"), tmp_path / "large", at_once=0, extent=large)
    assert files_of(tmp_path / "large") == files_of(both / "gathered")


def test_rounds_and_one_worker_go_on_from_each_others_files(both: Path, tmp_path: Path) -> None:
    out = shutil.copytree(both / "joined", tmp_path / "out")
    strict = recipe(both / "pool", best="quality", threshold="0.9")
    decide(strict, out)
    run(strict, tmp_path / "fresh", at_once=0)
    assert fingerprint_of(out) == fingerprint_of(tmp_path / "fresh")
    before = files_of(tmp_path / "fresh")
    gone = OutFolder(str(out)).remove_older()
    assert sum(name.startswith("derived/") for name in gone) > 4
    assert files_of(out) == before
    decide(strict, out, at_once=0)
    assert files_of(out) == before


def test_a_file_of_lines_that_is_gone_is_made_anew_or_named(both: Path, tmp_path: Path) -> None:
    out = shutil.copytree(both / "joined", tmp_path / "out")
    made, whole = recipe(both / "pool", best="quality"), files_of(out)
    plan = prepare(made, str(out))
    assert unchanged(plan.job, plan.shards) is not None
    frozen = read_cuts(out / "decisions" / read_manifest(str(out)).decision / "cuts.json")
    lost = next(path for path in (out / "derived").iterdir() if not path.name.endswith("-files.parquet"))
    lost.unlink()
    plan = prepare(made, str(out))
    assert unchanged(plan.job, plan.shards) is None
    with pytest.raises(PoolsieveError, match=f"{lost.name} is missing.*its own OUT alone"):
        decide(made, out, frozen=frozen)
    run(made, out, at_once=0)
    assert files_of(out) == whole


def test_a_plan_of_many_rows_knows_what_rounds_shuffle(both: Path) -> None:
    made = recipe(both / "pool", best="quality")
    found = poolsieve.plan(made, both / "gathered", pool_rows=1e9, sample_rows=0).projection
    assert found is not None and found.shuffle_bytes > 1e9 * 42 * 16 * 0.5  # half of the rows are no copies


def test_copies_alone_and_nothing_at_all_meet_too(pool: Path, tmp_path: Path) -> None:
    found = Pool.parquet(f"{pool}/*.parquet", text="text", quality="quality")
    for least in (0.0, 2.0):
        made = found | Keep(col("quality") >= least, reason="bad") | dedup.exact(best="quality")
        run(made, tmp_path / f"gathered{least}")
        run(made, tmp_path / f"joined{least}", at_once=0)
        assert files_of(tmp_path / f"joined{least}") == files_of(tmp_path / f"gathered{least}")


def test_another_threshold_is_a_decision_without_the_pool(pool: Path, tmp_path: Path) -> None:
    run(recipe(pool, best="quality"), tmp_path / "out")
    loose = ledger(tmp_path / "out").column("reason").to_pylist().count("dup.near")
    pool.rename(tmp_path / "gone")
    decide(recipe(pool, best="quality", threshold="0.9"), tmp_path / "out")
    strict = ledger(tmp_path / "out").column("reason").to_pylist().count("dup.near")
    assert strict < loose
    (tmp_path / "gone").rename(pool)
    run(recipe(pool, best="quality", threshold="0.9"), tmp_path / "fresh")
    assert fingerprint_of(tmp_path / "fresh") == fingerprint_of(tmp_path / "out")


def test_rows_that_are_out_stand_for_nobody(pool: Path, tmp_path: Path) -> None:
    found = Pool.parquet(f"{pool}/*.parquet", text="text", quality="quality")
    run(found | Keep(col("kind") == "near", reason="a.kind") | dedup.exact(), tmp_path / "out")
    alive = [line for line in ledger(tmp_path / "out").to_pylist() if line["reason"] != "a.kind"]
    assert len(alive) == 30 and all(line["keep"] and line["dup.size"] == 1 for line in alive)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"threshold": 0}, "threshold"),
        ({"threshold": "much"}, "threshold"),
        ({"edge": 1.5}, "edge"),
        ({"cap": 1}, "cap"),
        ({"bands": 60}, "Bands"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        Duplicates(hash="h", **wrong)


@pytest.mark.parametrize(
    "made",
    [dedup.exact, dedup.clusters, dedup.minhash, dedup.images, partial(dedup.semantic, embedding="e"), dedup.fineweb],
)
@pytest.mark.parametrize("name", [3, None, ""])
def test_what_is_no_name_is_refused(made: Callable[..., Any], name: Any) -> None:
    with pytest.raises(PlanError, match="give the name of the clusters"):
        made(name=name)


@pytest.mark.parametrize("wrong", [{"buckets": "14"}, {"per_bucket": "8"}, {"per_bucket": 0}, {"buckets": 2.0}])
def test_parts_of_a_signature_are_named_as_they_were_given(wrong: dict[str, Any]) -> None:
    (what,) = wrong
    with pytest.raises(PlanError, match=rf"datatrove\({what}=.*: must be a whole number, 1 or more"):
        dedup.datatrove(**wrong)


def test_an_expression_is_no_name_of_a_score() -> None:
    wrong: Any = col("quality")
    with pytest.raises(PlanError, match=r"best=Column.*: expected `str . null`, got `Column`"):
        dedup.minhash(best=wrong)


def test_scores_of_another_kind_are_refused_when_planned(pool: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="numbers are needed"):
        prepare(recipe(pool, best="kind"), str(tmp_path / "out"))
    with pytest.raises(PlanError, match="the score of an ExactHash is needed"):
        prepare(recipe(pool) | Derive(again=Duplicates(hash="quality")), str(tmp_path / "out"))


def test_bytes_that_are_declared_as_such_are_refused_when_planned(tmp_path: Path) -> None:
    pq.write_table(pa.table({"page": pa.array([b"\xff one two three four five"], pa.binary())}), tmp_path / "p.parquet")
    pool = Pool.parquet(f"{tmp_path}/p.parquet", body="page", text="page")
    for made in (dedup.minhash(text="body"), dedup.fineweb(text="body")):
        with pytest.raises(PlanError, match=r"'body' as text, but it is binary: declare.*text='<column>'"):
            prepare(pool | made, str(tmp_path / "out"))
    prepare(pool | dedup.exact(role="body"), str(tmp_path / "out"))  # bytes may be equal
    assert run(pool | dedup.minhash(), tmp_path / "out").reasons == {"quarantine.text_utf8": 1}


def test_cuts_of_another_out_are_refused_when_planned(both: Path, tmp_path: Path) -> None:
    made = recipe(both / "pool", best="quality")
    cuts = read_cuts(both / "joined" / "decisions" / read_manifest(str(both / "joined")).decision / "cuts.json")
    prepare(made, str(both / "joined"), frozen=cuts)
    with pytest.raises(PlanError, match=r"--cuts: 'dup.cluster' names .*-files.parquet, .*its own OUT alone"):
        prepare(made, str(tmp_path / "other"), frozen=cuts)
    out = shutil.copytree(both / "gathered", tmp_path / "copy")
    shutil.rmtree(out / "derived")
    with pytest.raises(PlanError, match=r"--cuts: 'dup.cluster'"):
        prepare_stored(made, str(out), frozen=cuts)


@pytest.mark.parametrize("at_once", [None, 0])
def test_what_if_leaves_nothing_and_says_what_a_decision_would(pool: Path, tmp_path: Path, at_once: int | None) -> None:
    run(recipe(pool), tmp_path / "out", at_once=at_once)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    found = decide(recipe(pool, threshold=0.99), tmp_path / "out", write=False, at_once=at_once)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    decided = decide(recipe(pool, threshold=0.99), tmp_path / "out", at_once=at_once)
    assert found.kept == decided.kept > len(ledger(tmp_path / "out")) / 3 and found.cuts == decided.cuts


def test_new_shards_are_sketched_alone_and_the_ledger_is_that_of_a_fresh_run(tmp_path: Path) -> None:
    folder = write(tmp_path / "pool", [50, 0, 70, 8])
    late = folder / "p2.parquet"
    late.rename(tmp_path / "late.parquet")
    run(recipe(folder), tmp_path / "out")
    (tmp_path / "late.parquet").rename(late)
    grown = run(recipe(folder), tmp_path / "out")
    assert {grown.work.scored[name] for name in ("dup.hash", "dup.sketch")} == {70}
    run(recipe(folder), tmp_path / "fresh")
    assert fingerprint_of(tmp_path / "out") == fingerprint_of(tmp_path / "fresh")
