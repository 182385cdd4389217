"""Derived values, scores made from scores, and scores of some rows alone: the engine behind rules over a whole pool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.store.manifest import read_cuts, read_manifest
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.dataflow.transforms import program_for
from poolsieve.filters import Keep, Score, Top, col, scorer
from poolsieve.filters.dsl.derive import Derive
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.derived import Alive, Part, Scores, Sums
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from poolsieve.scoring_models.base.scorer import Resources, Scored, ScorerConfig
from tests.conftest import decide, fingerprint_of, ledger, run, write_pool


def length(text: pa.Array) -> pa.Array:
    return pc.utf8_length(text)


def sometimes(text: pa.Array) -> pa.Array:
    """Fails for texts of seven words."""
    if any(value is not None and len(value.split()) == 7 for value in text.to_pylist()):
        raise ValueError("seven words")
    return pc.utf8_length(text)


LENGTH = scorer(length, reads=("text",), columns={"n": "int32"})


@dataclass(frozen=True, eq=False)
class Share(Config):
    """A row's part of the sum over the rows alive."""

    score: str
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.score,)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        return {"": pa.float64()}

    def tally(self, scores: Scores, alive: Alive) -> Sums:
        return {"": {"sum": int(pc.sum(scores[self.score].filter(pa.array(alive))).as_py() or 0)}}

    def values(self, scores: Scores, table: Sums) -> Mapping[str, pa.Array]:
        return {"": pc.divide(scores[self.score].cast(pa.float64()), float(table[""]["sum"]))}


@dataclass(frozen=True, eq=False)
class Rank(Config):
    """A row's rank among those alive, by (score, path, row): what only a look at all of them tells."""

    score: str
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.score,)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        return {"": pa.int64()}

    def gather(self, parts: Iterator[Part]) -> pa.Table:
        lines = [
            (value, part.path, int(row))
            for part in parts
            for value, row in zip(part.scores[self.score].to_pylist(), part.rows, strict=True)
        ]
        lines.sort()
        return pa.table({"path": [p for _, p, _ in lines], "row": [r for *_, r in lines], "rank": range(len(lines))})

    def values(self, scores: Scores, table: pa.Table) -> Mapping[str, pa.Array]:
        return {"": table.column("rank").combine_chunks()}


@dataclass(frozen=True, eq=False)
class Doubled(ScorerConfig):
    """Reads another score."""

    of: str
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.of,)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        return {"": pa.int32()}

    @property
    def resources(self) -> Resources:
        return Resources()

    def score(self, batch: pa.RecordBatch) -> Scored:
        return Scored({"": pc.multiply(batch.column(self.of), pa.scalar(2, pa.int32()))})


@dataclass(frozen=True, eq=False)
class Both(Config):
    """A composite: a length, twice the length, and a derived sum of the two."""

    def parts(self, name: str) -> Mapping[str, Any]:
        return {f"{name}.one": LENGTH, f"{name}.two": Doubled(f"{name}.one"), name: Added(f"{name}.one", f"{name}.two")}


@dataclass(frozen=True, eq=False)
class Added(Config):
    one: str
    two: str
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.one, self.two)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        return {"": pa.int32()}

    def values(self, scores: Scores, table: None) -> Mapping[str, pa.Array]:
        return {"": pc.add(scores[self.one], scores[self.two])}


def recipe(pool: Path) -> Recipe:
    return Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Score(length=LENGTH)


def rows(pool: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted(pool.glob("*.parquet")):
        found += [{"path": path.name, "row": i, **one} for i, one in enumerate(pq.read_table(path).to_pylist())]
    return found


def test_a_pooled_value_is_of_the_rows_alive_at_its_place(pool: Path, tmp_path: Path) -> None:
    made = recipe(pool) | Keep(col("length") >= 20, reason="short") | Derive(share=Share("length"))
    run(made | Keep(col("share") > 0.001, reason="small.share"), tmp_path / "out")
    alive = [len(one["text"]) for one in rows(pool) if len(one["text"]) >= 20]
    found = ledger(tmp_path / "out")
    shares = [share for share in found.column("share").to_pylist() if share is not None]
    assert shares == [n / sum(alive) for n in alive]
    assert found.column("share").null_count == found.num_rows - len(alive)
    assert not list((tmp_path / "out" / "scores").glob("share*"))


def test_a_gathered_value_sees_all_rows_whatever_the_shards_and_workers(pool: Path, tmp_path: Path) -> None:
    made = recipe(pool) | Keep(col("length") >= 20, reason="short") | Derive(rank=Rank("length"))
    made = made | Keep(col("rank") < 100, reason="rank.late")
    run(made, tmp_path / "a")
    run(made, tmp_path / "b", workers=2)
    assert fingerprint_of(tmp_path / "a") == fingerprint_of(tmp_path / "b")
    order = sorted((len(one["text"]), one["path"], one["row"]) for one in rows(pool) if len(one["text"]) >= 20)
    found = poolsieve.open(str(tmp_path / "a")).ledger(["path", "row", "rank"]).to_pylist()
    ranks = {(one["path"], one["row"]): one["rank"] for one in found if one["rank"] is not None}
    assert ranks == {(path, row): i for i, (_, path, row) in enumerate(order)}
    small = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text", split_bytes=3000) | Score(length=LENGTH)
    cut = small | Keep(col("length") >= 20, reason="short") | Derive(rank=Rank("length"))
    run(cut | Keep(col("rank") < 100, reason="rank.late"), tmp_path / "c")
    assert len(list((tmp_path / "c" / "rows").iterdir())) > len(list((tmp_path / "a" / "rows").iterdir()))
    again = poolsieve.open(str(tmp_path / "c")).ledger(["path", "row", "rank"]).to_pylist()
    assert {(one["path"], one["row"]): one["rank"] for one in again if one["rank"] is not None} == ranks


def test_a_cut_over_a_derived_value_follows_when_an_earlier_limit_moves(pool: Path, tmp_path: Path) -> None:
    def of(least: int) -> Recipe:
        made = recipe(pool) | Keep(col("length") >= least, reason="short") | Derive(share=Share("length"))
        return made | Top("share", count=50)

    run(of(0), tmp_path / "out")
    decide(of(40), tmp_path / "out")
    run(of(40), tmp_path / "fresh")
    assert fingerprint_of(tmp_path / "out") == fingerprint_of(tmp_path / "fresh")


def test_what_was_gathered_for_other_decisions_is_pruned(pool: Path, tmp_path: Path) -> None:
    def of(least: int) -> Recipe:
        made = recipe(pool) | Keep(col("length") >= least, reason="short") | Derive(rank=Rank("length"))
        return made | Keep(col("rank") < 100, reason="rank.late")

    run(of(0), tmp_path / "out")
    decide(of(40), tmp_path / "out")
    folder = tmp_path / "out" / "derived"
    assert len(list(folder.iterdir())) == 2
    gone = OutFolder(str(tmp_path / "out")).remove_older()
    assert len(list(folder.iterdir())) == 1
    assert sum(name.startswith("derived/") for name in gone) == 1
    decide(of(40), tmp_path / "out")


def test_gathered_tables_of_another_out_are_refused_with_what_to_do(pool: Path, tmp_path: Path) -> None:
    made = recipe(pool) | Derive(rank=Rank("length")) | Keep(col("rank") < 100, reason="rank.late")
    run(made, tmp_path / "a")
    cuts = read_cuts(tmp_path / "a/decisions" / read_manifest(str(tmp_path / "a")).decision / "cuts.json")
    with pytest.raises(PoolsieveError, match="good in its own OUT alone"):
        run(made, tmp_path / "b", frozen=cuts)


def test_a_table_that_names_a_file_elsewhere_is_refused(pool: Path, tmp_path: Path) -> None:
    made = recipe(pool) | Derive(rank=Rank("length")) | Keep(col("rank") < 100, reason="rank.late")
    run(made, tmp_path / "a")
    url = tmp_path / "a/decisions" / read_manifest(str(tmp_path / "a")).decision / "cuts.json"
    text = url.read_text()
    name = next((tmp_path / "a/derived").iterdir()).name
    url.write_text(text.replace(name, "../manifest.json"))
    with pytest.raises(PoolsieveError, match="no name of a file"):
        run(made, tmp_path / "a", frozen=read_cuts(url))


def test_a_scorer_reads_an_earlier_score_and_is_scored_anew_when_that_changes(pool: Path, tmp_path: Path) -> None:
    made = recipe(pool) | Score(twice=Doubled("length"))
    run(made | Keep(col("twice") > 10, reason="x"), tmp_path / "out")
    found = ledger(tmp_path / "out")
    assert found.column("twice").to_pylist() == [2 * len(one["text"]) for one in rows(pool)]
    newer = scorer(length, reads=("text",), columns={"n": "int32"}, version=2)
    other = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Score(length=newer)
    again = run(other | Score(twice=Doubled("length")) | Keep(col("twice") > 10, reason="x"), tmp_path / "out")
    assert again.work.scored == {"length": 1200, "twice": 1200}


def test_decide_finds_scores_of_scores(pool: Path, tmp_path: Path) -> None:
    made = recipe(pool) | Score(twice=Doubled("length"))
    run(made | Keep(col("twice") > 10, reason="x"), tmp_path / "out")
    summary = decide(made | Keep(col("twice") > 100, reason="x"), tmp_path / "out")
    assert summary.kept == sum(2 * len(one["text"]) > 100 for one in rows(pool))


def test_only_rows_for_which_where_is_true_are_scored(pool: Path, tmp_path: Path) -> None:
    made = recipe(pool) | Score(where=col("length") > 50, twice=Doubled("length"))
    summary = run(made | Keep(col("length") > 5, reason="x"), tmp_path / "out")
    found = ledger(tmp_path / "out").column("twice").to_pylist()
    assert found == [2 * len(one["text"]) if len(one["text"]) > 50 else None for one in rows(pool)]
    some = sum(value is not None for value in found)
    assert summary.work.scored["twice"] == some
    wider = (
        recipe(pool) | Score(where=col("length") > 40, twice=Doubled("length")) | Keep(col("length") > 5, reason="x")
    )
    more = run(wider, tmp_path / "out")
    assert more.work.scored == {"twice": sum(len(one["text"]) > 40 for one in rows(pool)) - some}
    run(made | Keep(col("length") > 5, reason="x"), tmp_path / "out")
    assert ledger(tmp_path / "out").column("twice").to_pylist() == found


def test_a_failure_outside_where_or_of_an_optional_score_costs_no_row(pool: Path, tmp_path: Path) -> None:
    fussy = scorer(sometimes, reads=("text",), columns={"n": "int32"})
    sevens = sum(len(one["text"].split()) == 7 for one in rows(pool))
    assert sevens

    def of(**how: Any) -> Recipe:
        return recipe(pool) | Score(fussy=fussy, **how) | Keep(col("length") >= 0, reason="x")

    assert run(of(), tmp_path / "out").quarantined == sevens
    assert run(of(optional=True), tmp_path / "out").quarantined == 0
    assert run(of(where=col("length") > 60), tmp_path / "out").quarantined == 0
    again = run(of(optional=True), tmp_path / "out", retry_quarantined=True)
    assert again.work.scored == {"fussy": sevens}


def test_a_composite_is_several_steps_under_one_name(pool: Path, tmp_path: Path) -> None:
    made = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Score(both=Both())
    run(made | Keep(col("both") >= 30, reason="both.small"), tmp_path / "out")
    found = ledger(tmp_path / "out")
    assert found.column("both").to_pylist() == [3 * len(one["text"]) for one in rows(pool)]
    assert {path.name.rpartition("-")[0] for path in (tmp_path / "out/scores").iterdir()} == {"both.one", "both.two"}


@pytest.mark.parametrize(
    ("add", "said"),
    [
        (lambda r: r | Score(twice=Doubled("lenght")), "Did you mean 'length'"),
        (lambda r: r | Derive(share=Share("length")) | Score(twice=Doubled("share")), "derived value"),
        (lambda r: r | Derive(length=Share("length")), "exists already"),
        (lambda r: r | Score(where=col("nothing") > 1, twice=Doubled("length")), "nothing"),
        (lambda r: r | Score(twice=Doubled("length")) | Top("twice", fraction=0.1, rank="pool"), "of every row"),
        (lambda r: r | Derive(share=Share("length")) | Top("share", fraction=0.1, rank="pool"), "of every row"),
        (lambda r: r | Score(where=col("length"), twice=Doubled("length")), "compares"),
    ],
)
def test_plans_that_can_not_work_are_refused(pool: Path, tmp_path: Path, add: Any, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        prepare(add(recipe(pool)), str(tmp_path / "out"))


@pytest.mark.parametrize(
    "give", [lambda: Derive(), lambda: Derive(x=3), lambda: Derive(x=Share), lambda: Derive(x=LENGTH)]
)
def test_derive_takes_derived_values_alone(give: Any) -> None:
    with pytest.raises(PlanError, match="Derive"):
        give()


def test_one_batch_alone_has_no_pooled_value() -> None:
    stages = Score(length=LENGTH) | Derive(share=Share("length"))
    with pytest.raises(PlanError, match="needs the whole pool"):
        program_for(stages, pa.schema({"text": pa.string()}))


def test_two_lines_of_one_row_are_no_table(pool: Path, tmp_path: Path) -> None:
    made = recipe(pool) | Derive(rank=Twice("length")) | Keep(col("rank") < 100, reason="rank.late")
    with pytest.raises(PoolsieveError, match="two lines of one row"):
        run(made, tmp_path / "out")


class Twice(Rank):
    """Says everything twice."""

    def gather(self, parts: Iterator[Part]) -> pa.Table:
        found = super().gather(parts)
        return pa.concat_tables([found, found])


def test_an_empty_pool_has_an_empty_table(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool", sizes=(3,))
    made = recipe(tmp_path / "pool") | Keep(col("length") > 10**6, reason="none") | Derive(rank=Rank("length"))
    summary = run(made | Keep(col("rank") < 100, reason="rank.late"), tmp_path / "out")
    assert (summary.rows, summary.kept) == (3, 0)
    assert np.all([value is None for value in ledger(tmp_path / "out").column("rank").to_pylist()])
