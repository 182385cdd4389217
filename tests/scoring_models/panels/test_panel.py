"""A panel in whole runs: counts in the ledger, one model more, another way of marking, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("transformers")

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, col
from poolsieve.scoring_models import Endpoint, Panel
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.outcomes import OUTCOMES
from poolsieve.scoring_models.panels.counts import Counts
from poolsieve.scoring_models.panels.marks import MARK, mark_of
from tests.scoring_models.panels import tiny_panel
from tests.scoring_models.panels.test_items import item

COLOURS = ["red", "green", "blue"]
COUNTS = ["panel.blind_right", "panel.blind_asked", "panel.right", "panel.asked"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("models")
    makes = {"text": tiny_panel.make_text, "vision": tiny_panel.make_vision}
    return {
        **{name: str(make(root / name)) for name, make in makes.items()},
        "second": str(tiny_panel.make_vision(root / "second", seed=7)),
    }


def items(n: int, first: int = 0) -> pa.Table:
    """n items, every other one with options; of those the right one is each colour in turn."""
    choice = [i % 2 == 0 for i in range(first, first + n)]
    rows = range(first, first + n)
    return pa.table(
        {
            "uid": [f"{i:032x}" for i in rows],
            "image": [tiny_panel.picture(i) for i in rows],
            "question": [f"What colour is thing {i}?" for i in rows],
            "answer": [COLOURS[i // 2 % 3] for i in rows],
            "options": pa.array([COLOURS if one else None for one in choice], pa.list_(pa.string())),
        }
    )


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    folder = tmp_path / "pool"
    folder.mkdir()
    pq.write_table(items(7), folder / "a.parquet")
    pq.write_table(items(5, 7), folder / "b.parquet")
    return folder


def recipe(pool: Path, panel: Panel) -> Any:
    keep = Keep(col("panel.blind_asked") >= 0, reason="never.drops") if panel.blind else None
    scored = Pool.parquet(f"{pool}/*.parquet", uid="uid") | Score(panel=panel)
    return scored if keep is None else scored | keep


def stored(out: Path, step: str) -> list[dict[str, Any]]:
    """Lines of a step's scores, by shard and row."""
    found = sorted(out.glob(f"scores/{step}-*/*.parquet"))
    assert found
    return [line for path in found for line in pq.read_table(path).to_pylist()]


def ask_files(out: Path) -> dict[str, tuple[int, bytes]]:
    found = sorted(out.glob("scores/panel.ask.*/*.parquet"))
    return {f"{path.parent.name}/{path.name}": (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


def test_a_whole_run_counts_what_the_models_said(pool: Path, models: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "OUT"
    panel = Panel([models["vision"], models["text"]], max_new_tokens=4)
    run = poolsieve.run(recipe(pool, panel), str(out))
    ledger = run.ledger()
    assert [name for name in ledger.column_names if name.startswith("panel")] == COUNTS
    assert {ledger.schema.field(name).type for name in COUNTS} == {pa.int32()}
    assert set(ledger["panel.blind_asked"].to_pylist()) == {2}
    assert set(ledger["panel.asked"].to_pylist()) == {1}  # a model of text is not asked with the image

    steps = dict(panel.parts("panel"))
    expected = dict.fromkeys(COUNTS, 0)
    for member in panel.members:
        for setting, right in (("blind", "panel.blind_right"), ("image", "panel.right")):
            marks = stored(out, f"panel.mark.{member.slug}.{setting}")
            assert f"panel.ask.{member.slug}.{setting}" in steps
            expected[right] += sum(
                bool(one[f"panel.mark.{member.slug}.{setting}"])
                and one[f"panel.mark.{member.slug}.{setting}"]["mark"] == 1
                for one in marks
            )
    for right in ("panel.blind_right", "panel.right"):
        assert sum(ledger[right].to_pylist()) == expected[right]
    assert expected["panel.right"] > 0  # options are hit by chance alone

    slug = next(member.slug for member in panel.members if member.name == "vision")
    answers = stored(out, f"panel.ask.{slug}.image")
    for number, line in enumerate(answers):
        (said,) = line[f"panel.ask.{slug}.image"]
        if number % 2 == 0:
            assert said["text"] == "ABC"[int(np.argmax(said["likelihoods"]))] and len(said["likelihoods"]) == 3
        else:
            assert said["likelihoods"] is None and said["tokens_out"] <= 4


def test_two_runs_give_the_same_bytes(pool: Path, models: dict[str, str], tmp_path: Path) -> None:
    found = []
    for name, workers in (("one", 1), ("two", 2)):
        out = tmp_path / name
        poolsieve.run(recipe(pool, Panel([models["vision"]], max_new_tokens=3)), str(out), workers=workers)
        ledgers = sorted(out.glob("decisions/*/ledger/*.parquet"))
        assert ledgers
        found.append(([path.read_bytes() for path in ledgers], [data for _, data in ask_files(out).values()]))
    assert found[0] == found[1]


def test_one_model_more_asks_that_one_only_and_another_marking_nobody(
    pool: Path, models: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "OUT"
    poolsieve.run(recipe(pool, Panel([models["vision"]], max_new_tokens=3)), str(out))
    before = ask_files(out)
    poolsieve.run(recipe(pool, Panel([models["second"], models["vision"]], max_new_tokens=3)), str(out))
    after = ask_files(out)
    assert {name: one for name, one in after.items() if name in before} == before
    assert {name.split(".")[2].rpartition("-")[0] for name in set(after) - set(before)} == {"second"}

    other = Panel([models["vision"], models["second"]], max_new_tokens=3, scoring="normalised")
    again = poolsieve.run(recipe(pool, other), str(out))
    assert ask_files(out) == after
    assert set(again.ledger()["panel.asked"].to_pylist()) == {2}


def test_a_decision_needs_no_model(pool: Path, models: dict[str, str], tmp_path: Path) -> None:
    folder = tiny_panel.make_text(tmp_path / "gone")
    asked = recipe(pool, Panel([str(folder)], sighted=False, max_new_tokens=2))
    run = poolsieve.run(asked, str(tmp_path / "OUT"))
    shutil.rmtree(folder)
    stricter = asked | Keep(col("panel.blind_right") > 0, reason="panel.none")
    decided = poolsieve.open(str(tmp_path / "OUT")).decide(stricter)
    right = run.ledger()["panel.blind_right"].to_pylist()
    assert decided.ledger()["keep"].to_pylist() == [one > 0 for one in right]


def test_all_turns_must_be_right(pool: Path, models: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "OUT"
    panel = Panel([models["vision"]], circular=True, blind=False, max_new_tokens=2)
    ledger = poolsieve.run(recipe(pool, panel), str(out)).ledger()
    assert "panel.blind_right" not in ledger.column_names
    (member,) = panel.members
    answers = [line[f"panel.ask.{member.slug}.image"] for line in stored(out, f"panel.ask.{member.slug}.image")]
    assert [len(said) for said in answers] == [3 if i % 2 == 0 else 1 for i in range(12)]
    for i, (said, right) in enumerate(zip(answers, ledger["panel.right"].to_pylist(), strict=True)):
        if len(said) == 3:
            meant = [COLOURS[("ABC".index(one["text"]) + turn) % 3] for turn, one in enumerate(said)]
            assert right == int(set(meant) == {COLOURS[i // 2 % 3]})


def test_a_setting_that_nobody_is_asked_in_can_not_be_read(pool: Path, models: dict[str, str], tmp_path: Path) -> None:
    blind = Panel([models["text"]], sighted=False)
    asked = (
        Pool.parquet(f"{pool}/*.parquet", uid="uid") | Score(panel=blind) | Keep(col("panel.right") > 0, reason="a.b")
    )
    with pytest.raises(PlanError, match=r"panel\.right"):
        poolsieve.run(asked, str(tmp_path / "OUT"))


def test_items_without_images_are_asked_once(pool: Path, models: dict[str, str], tmp_path: Path) -> None:
    panel = Panel([models["text"]], image=None, max_new_tokens=2)
    asked = (
        Pool.parquet(f"{pool}/*.parquet", uid="uid") | Score(panel=panel) | Keep(col("panel.asked") > 0, reason="a.b")
    )
    ledger = poolsieve.run(asked, str(tmp_path / "OUT")).ledger()
    assert [name for name in ledger.column_names if name.startswith("panel")] == ["panel.right", "panel.asked"]
    assert set(ledger["panel.asked"].to_pylist()) == {1}


def test_what_one_model_can_not_read_is_not_asked_of_it_and_stays_in_the_pool(
    pool: Path, models: dict[str, str], tmp_path: Path
) -> None:
    short = tiny_panel.make_text(tmp_path / "short", context=64)
    table = items(3)
    long = table.set_column(2, "question", pa.array(["What?", "Why? " * 30, "What?"]))
    pq.write_table(long, pool / "a.parquet")
    (pool / "b.parquet").unlink()
    panel = Panel(
        [str(short), models["text"]],
        sighted=False,
        max_new_tokens=2,
        prompt="{question}",
        choice_prompt="{question}{options}",
    )
    out = tmp_path / "OUT"
    ledger = poolsieve.run(recipe(pool, panel), str(out)).ledger()
    assert ledger["keep"].to_pylist() == [True] * 3
    assert ledger["panel.blind_asked"].to_pylist() == [2, 1, 2]
    slug = next(member.slug for member in panel.members if member.name == "short")
    failed = stored(out, f"panel.ask.{slug}.blind")[1]
    assert failed["error"] == "too_long" and "64" in failed["message"]
    assert stored(out, f"panel.mark.{slug}.blind")[1]["error"] == "not_answered"


def test_a_bad_item_is_quarantined_and_costs_no_question(pool: Path, models: dict[str, str], tmp_path: Path) -> None:
    table = items(4)
    table = table.set_column(3, "answer", pa.array(["pink", "red", "red", None]))
    table = table.set_column(1, "image", pa.array([tiny_panel.picture(0), b"none", None, tiny_panel.picture(3)]))
    pq.write_table(table, pool / "a.parquet")
    panel = Panel([models["vision"]], max_new_tokens=2)
    out = tmp_path / "OUT"
    ledger = poolsieve.run(recipe(pool, panel), str(out)).ledger()
    assert ledger["reason"].to_pylist()[:4] == [
        f"quarantine.{kind}" for kind in ("answer_not_an_option", "image_decode", "no_image", "no_answer")
    ]
    assert len(stored(out, f"panel.ask.{panel.members[0].slug}.blind")) == 5


LOCAL = Endpoint("http://127.0.0.1:9", "m")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda: Panel([]), "at least one model"),
        (lambda: Panel("folder"), r"give a list of models, as Panel\(\['folder'\]\)"),
        (lambda: Panel([5]), "5 is no model"),
        (lambda: Panel(["a/b", "a/b"]), "'a/b' is there twice"),
        (lambda: Panel({"x": "a/b", "y": "a/b"}), "'x' and 'y' are one model"),
        (lambda: Panel({"x": LOCAL, "y": LOCAL}), "'x' and 'y' are one model"),
        (lambda: Panel(["/one/model", "/two/model"]), "give them names"),
        (lambda: Panel(["a/b"], blind=False, sighted=False), "nobody would be asked"),
        (lambda: Panel(["a/b"], scoring="exactt"), "Did you mean 'exact'"),
        (lambda: Panel(["a/b"], scoring="judge"), r"judge=Endpoint"),
        (lambda: Panel(["a/b"], choose="leter"), "Did you mean 'letter'"),
        (lambda: Panel(["a/b"], prompt="hello"), "{question} is missing"),
        (lambda: Panel(["a/b"], choice_prompt="{question}"), "{options} is missing"),
        (lambda: Panel(["a/b"], max_new_tokens=0), "max_new_tokens=0"),
        (lambda: Panel(["a/b"], precision="int8"), "precision='int8'"),
    ],
)
def test_a_panel_that_can_not_work_is_refused(given: Any, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        given()


def test_a_plan_that_can_not_work_is_refused(
    pool: Path, models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOBODYS_KEY", raising=False)
    cases: Mapping[str, Panel] = {
        "none of its models sees images": Panel([models["text"]]),
        "NOBODYS_KEY": Panel([Endpoint("http://127.0.0.1:9", "m", key="NOBODYS_KEY")]),
        "reads role 'ask'": Panel([models["text"]], sighted=False, question="ask"),
        "reads role 'gold'": Panel([models["text"]], sighted=False, answer="gold"),
        "reads role 'choices'": Panel([models["text"]], sighted=False, options="choices"),
        "reads 'uid' as options": Panel([models["text"]], sighted=False, options="uid"),
        "there is no folder": Panel([str(tmp_path / "a" / "nowhere")], sighted=False),
    }
    for said, panel in cases.items():
        with pytest.raises(PlanError, match=said):
            poolsieve.run(recipe(pool, panel), str(tmp_path / "OUT"))
    assert not (tmp_path / "OUT" / "scores").exists()


def test_an_endpoint_may_be_a_mapping_as_in_yaml() -> None:
    given = {"url": "http://localhost:9", "model": "m"}
    made = Panel([given], judge=given)  # type: ignore[arg-type]
    assert made == Panel([Endpoint("http://localhost:9", "m")], judge=Endpoint("http://localhost:9", "m"))
    secret = {**given, "key": "sk-a-key-itself"}
    for wrong in (
        [secret],
        secret,
        [{**secret, "modell": 1}],
        [{"url": "http://localhost:9", "key": "sk-a-key-itself"}],
    ):
        with pytest.raises(PlanError, match=r"Endpoint|list of models|no endpoint knows|needs") as told:
            Panel(wrong)
        assert "sk-a" not in str(told.value)


def test_steps_do_not_depend_on_the_order_of_models() -> None:
    models = ["org/b", "org/a@main", LOCAL]
    one, other = (list(Panel(some).parts("p")) for some in (models, models[::-1]))
    assert one == other == list(dict.fromkeys(one))
    assert one[0] == "p.item" and one[-1] == "p"
    assert Panel(models) == Panel(models[::-1])
    with_one_more = list(Panel([*models, "org/zz"]).parts("p"))
    assert set(one) < set(with_one_more)


def test_names_of_steps_are_safe() -> None:
    names = ["../../etc", "a b/c:d", "ü", "x" * 300, "CON", "UPPER", "upper"]
    slugs = [member.slug for member in Panel({name: f"org/{i}" for i, name in enumerate(names)}).members]
    assert len({slug.lower() for slug in slugs}) == len(names)
    assert all(slug.replace("-", "").replace("_", "").isalnum() and slug.isascii() and len(slug) < 60 for slug in slugs)


def test_counts_are_those_of_a_plain_loop() -> None:
    dice = np.random.default_rng(3)
    of = [(f"m{i}.{image}", f"model {i}", image) for i in range(4) for image in (False, True)]
    raw = {step: dice.choice(np.array([np.nan, 0.0, 0.49, 0.5, 1.0]), 50) for step, _, _ in of}
    scores = {
        step: pa.array([None if np.isnan(one) else {"mark": one} for one in values], MARK)
        for step, values in raw.items()
    }
    made = Counts(of=tuple(of)).values(scores, None)
    assert made["answers"].type == OUTCOMES
    for row in range(50):
        entries = [
            {"model": name, "image": image, "right": bool(raw[step][row] >= 0.5)}
            for step, name, image in of
            if not np.isnan(raw[step][row])
        ]
        assert made["answers"][row].as_py() == entries
        for image, names in ((False, ("blind_right", "blind_asked")), (True, ("right", "asked"))):
            mine = [one["right"] for one in entries if one["image"] == image]
            assert [made[name][row].as_py() for name in names] == [sum(mine), len(mine)]


def test_an_empty_shard_has_counts_of_the_right_types() -> None:
    made = Counts(of=(("s", "m", True),)).values({"s": pa.array([], MARK)}, None)
    assert {name: len(values) for name, values in made.items()} == {"right": 0, "asked": 0, "answers": 0}


@pytest.mark.parametrize(
    ("said", "mark"),
    [
        (["A"], 1.0),
        (["B"], 0.0),
        (["red"], 1.0),
        ([""], 0.0),
        (["A", "C", "B"], 1.0),
        (["A", "A", "A"], 0.0),
        (["A", "C", ""], 0.0),
    ],
)
def test_marks_of_turned_options(said: list[str], mark: float) -> None:
    assert mark_of(item(), said, "letter") == mark
