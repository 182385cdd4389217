"""`suite`: whole jobs over a made benchmark, each rule against a plain loop over the same answers."""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.passes.estimate import describe_plan
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.store.manifest import read_cuts, read_manifest
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.filters import Keep, Score, col, suite
from poolsieve.filters.dsl.cuts import Cut, Table, tie_hashes
from poolsieve.filters.dsl.stages import Rule, Stage
from poolsieve.filters.items.guessing import chance_limit, tail
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import decide, ledger, run
from tests.filters.items.answers import Kept, Said, write_items

Items = list[dict[str, Any]]


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Items]:
    folder = tmp_path_factory.mktemp("items")
    return folder, write_items(folder)


def pool(folder: Path) -> Pool:
    names = {name: name for name in ("question", "capability", "source", "options", "outcomes", "verdict")}
    return Pool.parquet(f"{folder}/*.parquet", uid="id", **names)


def recipe(folder: Path, *stages: Stage) -> Recipe:
    made = pool(folder) | Score(panel=Kept())
    for one in stages:
        made = made | one
    return made


def whole(folder: Path) -> Recipe:
    return recipe(
        folder,
        suite.blind_solvable("panel"),
        suite.mislabelled("panel", verdicts=Said()),
        suite.discriminative("panel", by="capability", count=100, frontier=0.2),
    )


def answers(item: dict[str, Any], image: bool) -> dict[str, bool]:
    return {one["model"]: one["right"] for one in json.loads(item["outcomes"]) if one["image"] is image}


def by_uid(out: Path, column: str) -> dict[str, Any]:
    table = ledger(out)
    return dict(zip(table.column("uid").to_pylist(), table.column(column).to_pylist(), strict=True))


def ledger_bytes(out: Path) -> dict[str, bytes]:
    folder = out / read_manifest(str(out)).ledger
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def expected(items: Items) -> dict[str, str | None]:
    """The reason of each item, by plain loops."""
    reasons: dict[str, str | None] = {}
    for item in items:
        blind, sighted = answers(item, False), answers(item, True)
        if sum(blind.values()) >= chance_limit(len(blind), len(item["options"] or [])):
            reasons[item["id"]] = "suite.blind_solvable"
        elif not sighted:
            reasons[item["id"]] = "suite.unanswered"
        elif not any(sighted.values()) and item["verdict"]:
            words = (("wrong", "wrong_label"), ("ambiguous", "ambiguous"), ("small", "needs_resolution"))
            found = [f"suite.{reason}" for word, reason in words if word in item["verdict"]]
            reasons[item["id"]] = found[0] if found else None
        else:
            reasons[item["id"]] = None
    alive = [item for item in items if reasons[item["id"]] is None]
    for capability in ("chart", "math"):
        here = [item for item in alive if item["capability"] == capability]
        stays = chosen(here, 100, 20)
        reasons |= {item["id"]: "suite.not_discriminative" for item in here if item["id"] not in stays}
    return reasons


def chosen(items: Items, count: int, most: int) -> set[str]:
    means, r = model_means(items), {}
    for item in items:
        r[item["id"]] = pearson(answers(item, True), means)
    frontier = [item["id"] for item in items if answers(item, True) and not any(answers(item, True).values())]
    first = by_hash(frontier)[:most]
    ranked = [uid for uid in by_hash(r) if r[uid] is not None]
    ranked.sort(key=lambda uid: -r[uid])
    return {*first, *ranked[: count - len(first)]}


def by_hash(uids: Iterable[str]) -> list[str]:
    given = list(uids)
    return [uid for _, uid in sorted(zip(tie_hashes(pa.array(given, pa.string()), 0).tolist(), given, strict=True))]


def model_means(items: Items) -> dict[str, float]:
    marks = defaultdict(list)
    for item in items:
        for model, right in answers(item, True).items():
            marks[model].append(right)
    return {model: sum(found) / len(found) for model, found in marks.items()}


def pearson(right: dict[str, bool], means: dict[str, float]) -> float | None:
    models = sorted(right)
    x, y = [float(right[model]) for model in models], [means[model] for model in models]
    if len(set(x)) < 2 or len(set(y)) < 2:
        return None
    return statistics.correlation(x, y)


def test_a_whole_suite_is_what_plain_loops_say(items: tuple[Path, Items], tmp_path: Path) -> None:
    folder, rows = items
    run(whole(folder), tmp_path / "out")
    reasons, wanted = by_uid(tmp_path / "out", "reason"), expected(rows)
    assert set(wanted.values()) >= {
        None,
        "suite.blind_solvable",
        "suite.wrong_label",
        "suite.ambiguous",
        "suite.needs_resolution",
        "suite.not_discriminative",
    }
    assert reasons == wanted
    kept = [item for item in rows if wanted[item["id"]] is None]
    assert sum(item["capability"] == "chart" for item in kept) == 100


def test_discrimination_is_pearsons_r_over_those_who_answered(items: tuple[Path, Items], tmp_path: Path) -> None:
    folder, rows = items
    run(recipe(folder, suite.discriminative("panel", by="capability", count=100)), tmp_path / "out")
    found = by_uid(tmp_path / "out", "panel.discrimination")
    for capability in ("chart", "math"):
        here = [item for item in rows if item["capability"] == capability]
        means = model_means(here)
        for item in here:
            wanted, r = pearson(answers(item, True), means), found[item["id"]]
            assert (r is None) == (wanted is None)
            assert r is None or math.isclose(r, wanted or 0, abs_tol=1e-12)
    assert any(r is None for r in found.values())


def test_other_shards_workers_and_histories_give_the_same_ledger(items: tuple[Path, Items], tmp_path: Path) -> None:
    folder, _ = items
    run(whole(folder), tmp_path / "a")
    run(recipe(folder, suite.blind_solvable("panel", tau=1)), tmp_path / "b")
    run(whole(folder), tmp_path / "b", workers=2)
    assert ledger_bytes(tmp_path / "a") == ledger_bytes(tmp_path / "b")
    write_items(tmp_path / "other", files=7)
    run(whole(tmp_path / "other"), tmp_path / "c")
    columns = ["uid", "reason", "panel.discrimination", "panel.frontier"]
    a, c = (ledger(tmp_path / name).select(columns).sort_by("uid").to_pylist() for name in ("a", "c"))
    assert a == c


def test_decide_moves_an_early_limit_and_the_later_values_follow(items: tuple[Path, Items], tmp_path: Path) -> None:
    folder, _ = items
    other = recipe(
        folder,
        Keep(col("panel.blind_right") < 3, reason="suite.blind"),
        suite.mislabelled("panel", verdicts=Said()),
        suite.discriminative("panel", by="capability", count=100),
    )
    run(whole(folder), tmp_path / "a")
    run(other, tmp_path / "b")
    decide(other, tmp_path / "b")
    before = by_uid(tmp_path / "a", "panel.discrimination")
    again = run(whole(folder), tmp_path / "b")
    assert "panel" not in again.work.scored
    assert by_uid(tmp_path / "b", "panel.discrimination") == before


def test_tables_and_cuts_stand_in_cuts_json_and_can_be_frozen(items: tuple[Path, Items], tmp_path: Path) -> None:
    folder, _ = items
    run(whole(folder), tmp_path / "out")
    found = read_manifest(str(tmp_path / "out"))
    cuts = read_cuts(tmp_path / "out" / "decisions" / found.decision / "cuts.json")
    assert set(cuts) == {"panel.discrimination", "suite.frontier", "suite.not_discriminative"}
    first, second = cuts["suite.frontier"]["chart"], cuts["suite.not_discriminative"]["chart"]
    assert isinstance(first, Cut) and isinstance(second, Cut)
    assert first.kept + second.kept == 100
    table = cuts["panel.discrimination"]["chart"]
    assert isinstance(table, Table) and table.sums["asked m00"] >= table.sums["right m00"] > 0
    write_items(tmp_path / "more", count=300, files=1, seed=1)
    summary = run(whole(tmp_path / "more"), tmp_path / "frozen", frozen=cuts)
    assert summary.cuts == cuts
    means = {name[6:]: table.sums["right" + name[5:]] / n for name, n in table.sums.items() if name.startswith("asked")}
    r = by_uid(tmp_path / "frozen", "panel.discrimination")
    for item in write_items(tmp_path / "again", count=300, files=1, seed=1):
        if item["capability"] == "chart" and r[str(item["id"])] is not None:
            wanted = pearson(answers(item, True), means)
            assert math.isclose(r[str(item["id"])] or 0, wanted or 0, abs_tol=1e-12)


def test_flagged_items_without_a_verdict_stay_and_are_counted(items: tuple[Path, Items], tmp_path: Path) -> None:
    folder, rows = items
    run(recipe(folder, suite.mislabelled("panel", verdicts=Said())), tmp_path / "out")
    flagged = [item for item in rows if answers(item, True) and not any(answers(item, True).values())]
    silent = [item for item in flagged if item["verdict"] is None]
    assert flagged and silent
    told = read_manifest(str(tmp_path / "out")).tallies
    fine = sum(item["verdict"] in (None, "fine") for item in flagged)
    wanted = {"flagged": len(flagged), "without a verdict": len(silent), "flagged and kept": fine}
    assert told == {"panel.unjudged": {"": wanted}}
    kept = by_uid(tmp_path / "out", "keep")
    assert all(kept[item["id"]] for item in silent)
    judged = by_uid(tmp_path / "out", "verdict.ground_truth_wrong")
    assert all(judged[item["id"]] is None for item in rows if item not in flagged)


@pytest.mark.parametrize("at", [">=", ">"])
def test_a_table_of_limits_with_its_comparator(items: tuple[Path, Items], tmp_path: Path, at: str) -> None:
    folder, rows = items
    run(recipe(folder, suite.blind_solvable("panel", tau={"A": 2, "*": 5}, at=at, by="source")), tmp_path / "out")
    reasons = by_uid(tmp_path / "out", "reason")
    for item in rows:
        right, limit = sum(answers(item, False).values()), 2 if item["source"] == "A" else 5
        gone = right >= limit if at == ">=" else right > limit
        assert reasons[item["id"]] == ("suite.blind_solvable" if gone else None)


def test_the_published_table_is_a_preset() -> None:
    made = suite.blind_solvable("panel", tau="datbench", at=">", by="source").flat()[1].to_dict()
    assert made["predicate"]["tau"]["RealWorldQA"] == 8
    assert made["predicate"]["tau"]["*"] == 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: suite.blind_solvable(tau={"A": 1}, by="source"), "has a '\\*'"),
        (lambda: suite.blind_solvable(tau={"*": 1}), "goes with by="),
        (lambda: suite.blind_solvable(tau="datbench"), "goes with by="),
        (lambda: suite.blind_solvable(tau=-1), "number of models"),
        (lambda: suite.blind_solvable(tau=1.5), "number of models"),
        (lambda: suite.blind_solvable(tau=True), "number of models"),
        (lambda: suite.blind_solvable(tau=1 << 64), "number of models"),
        (lambda: suite.blind_solvable(Kept()), "name of the score with the answers"),
        (lambda: suite.discriminative(""), "name of the score with the answers"),
        (lambda: suite.blind_solvable(at="<"), "at='<'"),
        (lambda: suite.blind_solvable(at=">"), "leave at"),
        (lambda: suite.mislabelled(), "one of verdicts"),
        (lambda: suite.mislabelled(verdicts=Said(), judge=Said()), "one of verdicts"),
        (lambda: suite.discriminative(frontier=20), "between 0 and 1"),
        (lambda: suite.discriminative(count=0.5), "whole number"),
        (lambda: suite.discriminative(count={"a": 1}, by=None), "by"),
    ],
)
def test_stages_that_can_not_be_are_refused(make: Callable[[], Stage], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        make()


def test_a_limit_within_guessing_is_warned_of(items: tuple[Path, Items], tmp_path: Path) -> None:
    folder, _ = items
    low = describe_plan(prepare(recipe(folder, suite.blind_solvable(tau=2)), str(tmp_path / "out")), sample_rows=0)
    assert any("70%" in said and "only guess" in said for said in low.warnings)
    with pytest.warns(UserWarning, match="only guess"):
        poolsieve.run(recipe(folder, suite.blind_solvable(tau=2)), str(tmp_path / "run"))
    high = describe_plan(prepare(recipe(folder, suite.blind_solvable(tau=7)), str(tmp_path / "out")), sample_rows=0)
    assert not any("guess" in said for said in high.warnings)
    open_items = Pool.parquet(f"{folder}/*.parquet", uid="id", outcomes="outcomes") | Score(panel=Kept())
    made = prepare(open_items | suite.blind_solvable(tau=2, options="none_of_these"), str(tmp_path / "out"))
    assert not any("guess" in said for said in describe_plan(made, sample_rows=0).warnings)


def test_the_tail_of_guessers() -> None:
    assert tail(0, 27, 4) == 1
    assert round(float(tail(6, 27, 4)), 2) == 0.70  # methods.md 5.3: P(c >= 6), P(c >= 7)
    assert round(float(tail(7, 27, 4)), 2) == 0.53
    assert round(float(tail(1, 27, 4)), 4) == 0.9996
    assert tail(27, 27, 4) == Fraction(1, 4**27)
    limit = chance_limit(27, 4)
    assert tail(limit, 27, 4) <= Fraction(1, 100) < tail(limit - 1, 27, 4)


def test_a_pool_without_options_has_open_questions(items: tuple[Path, Items], tmp_path: Path) -> None:
    folder, rows = items
    made = Pool.parquet(f"{folder}/*.parquet", uid="id", outcomes="outcomes") | Score(panel=Kept())
    run(made | suite.blind_solvable(options="choices"), tmp_path / "out")
    reasons = by_uid(tmp_path / "out", "reason")
    assert all((reasons[item["id"]] is not None) == any(answers(item, False).values()) for item in rows)


def test_ledger_has_counts_and_no_single_answers(items: tuple[Path, Items], tmp_path: Path) -> None:
    folder, _ = items
    run(whole(folder), tmp_path / "out")
    columns = OutFolder(str(tmp_path / "out")).ledger_columns()
    assert "panel.answers" not in columns
    assert columns["panel.right"] == pa.int32()
    assert columns["panel.discrimination"] == pa.float64()


def test_a_plan_judges_only_the_flagged_rows_of_its_sample(items: tuple[Path, Items], tmp_path: Path) -> None:
    folder, rows = items
    made = prepare(recipe(folder, suite.mislabelled("panel", verdicts=Said())), str(tmp_path / "out"))
    found = {one.reason: one for one in describe_plan(made, sample_rows=600).stages}
    sampled = rows[:50] + rows[200:250] + rows[400:450]  # a batch, a row group, of each of three files
    assert found["suite.unanswered"].sampled == len(sampled)
    flagged = [one for one in sampled if answers(one, True) and not any(answers(one, True).values())]
    wrong = sum("wrong" in (one["verdict"] or "") for one in flagged)
    assert wrong and found["suite.wrong_label"].keeps == 1 - wrong / len(sampled)


def test_a_rule_without_a_panel_before_it_says_so(items: tuple[Path, Items], tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"must stand a score 'panel' of answers, as Answers"):
        run(pool(items[0]) | suite.discriminative("panel"), tmp_path / "out")


def test_groups_are_no_lists(items: tuple[Path, Items], tmp_path: Path) -> None:
    made = pa.table({"id": ["a"], "outcomes": ["[]"], "vector": pa.array([[0.5]], pa.list_(pa.float32()))})
    pq.write_table(made, tmp_path / "p.parquet")
    some = Pool.parquet(f"{tmp_path}/p.parquet", uid="id", outcomes="outcomes") | Score(panel=Kept())
    with pytest.raises(PlanError, match="groups by 'vector', but it is list"):
        run(some | suite.discriminative("panel", by="vector"), tmp_path / "out")


def test_a_second_panel_has_reasons_of_its_own(items: tuple[Path, Items], tmp_path: Path) -> None:
    made = pool(items[0]) | Score(panel=Kept(), other=Kept())
    made = made | suite.blind_solvable("panel", tau=2) | suite.blind_solvable("other", tau=1, reason="other.solvable")
    made = made | suite.discriminative("panel", count=50) | suite.discriminative("other", count=9, reason="other.alike")
    made = made | suite.mislabelled("panel", verdicts=Said())
    made = made | suite.mislabelled("other", verdicts=Said(), name="said", family="other")
    run(made, tmp_path / "out")
    reasons = set(read_manifest(str(tmp_path / "out")).reasons)
    assert reasons >= {"suite.blind_solvable", "other.solvable", "suite.not_discriminative", "other.alike"}
    assert {"other.wrong_label", "other.unanswered"} <= {rule.reason for rule in made.stages if isinstance(rule, Rule)}
