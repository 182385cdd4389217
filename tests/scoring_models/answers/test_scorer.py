"""`Answers` at work: over pools of every format, with texts that are marked, and what is refused in the plan."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.recipes.yaml import recipe_from_yaml
from poolsieve.filters import Keep, Score, Top, col, scorer
from poolsieve.scoring_models import Answers
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests.conftest import decide, derived_uid, fingerprint_of, ledger, run
from tests.scoring_models.answers.builder import by_loop, line, rows_of, write

COUNTS = ("blind_right", "blind_asked", "right", "asked")


def many(items: int = 60, models: int = 4, seed: int = 0) -> list[dict[str, Any]]:
    dice = np.random.default_rng(seed)
    lines = [line(f"i{n}", f"m{k}", bool(s), None) for n in range(items) for k in range(models) for s in (0, 1)]
    for one in lines:
        one["correct"] = None if dice.random() < 0.1 else float(dice.random())
    return [lines[n] for n in dice.permutation(len(lines))]


def items_pool(folder: Path, uids: list[str], **columns: Any) -> Pool:
    folder.mkdir(exist_ok=True)
    table = pa.table({"id": uids, "question": [f"What is {uid}?" for uid in uids], **columns})
    half = len(uids) // 2
    for name, part in (("a", table.slice(0, half)), ("b", table.slice(half))):
        pq.write_table(part, folder / f"{name}.parquet", row_group_size=9)
    return Pool.parquet(f"{folder}/*.parquet", uid="id", **{name: name for name in columns})


def test_a_run_over_a_pool_of_items(tmp_path: Path) -> None:
    lines, uids = many(), [f"i{n}" for n in range(5, 70)]
    recipe = items_pool(tmp_path / "pool", uids) | Score(panel=Answers(write(tmp_path / "a.parquet", lines)))
    recipe = recipe | Keep(col("panel.blind_right") <= 1, reason="suite.blind") | Top("panel.right", count=10)
    made = poolsieve.run(recipe, str(tmp_path / "out"))
    wanted = by_loop(lines, uids)
    rows = ledger(tmp_path / "out").to_pylist()
    assert [{name: row[f"panel.{name}"] for name in COUNTS} for row in rows] == [
        {name: row[name] for name in COUNTS} for row in wanted
    ]
    assert {row["uid"] for row in rows if row["reason"] == "suite.blind"} == {
        uid for uid, row in zip(uids, wanted, strict=True) if row["blind_right"] > 1
    }
    assert sum(row["keep"] for row in rows) == 10
    assert "panel.answers" not in rows[0]
    stored = [pq.read_table(path) for path in sorted((tmp_path / "out" / "scores").glob("panel-*/*.parquet"))]
    answers = [row for table in stored for row in table.column("panel.answers").to_pylist()]
    assert answers == [row["answers"] for row in wanted]
    assert list(made.manifest.models["panel"]) == ["answers/1"]


def test_workers_and_the_order_of_lines_change_nothing(tmp_path: Path) -> None:
    uids = [derived_uid("x", n) for n in range(60)]
    lines = [{**one, "item": uids[int(one["item"][1:])]} for one in many(seed=1)]
    pool = items_pool(tmp_path / "pool", uids)
    for number, (workers, some) in enumerate([(1, lines), (2, lines[::-1])]):
        recipe = pool | Score(panel=Answers(write(tmp_path / f"{number}.jsonl", some))) | Top("panel.right", count=9)
        run(recipe, tmp_path / f"out{number}", workers=workers)
    assert fingerprint_of(tmp_path / "out0") == fingerprint_of(tmp_path / "out1")


def test_scores_are_looked_up_by_the_files_contents(tmp_path: Path) -> None:
    lines, uids = many(), [f"i{n}" for n in range(60)]
    pool = items_pool(tmp_path / "pool", uids)

    def scored(name: str, some: list[dict[str, Any]]) -> int:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        recipe = pool | Score(panel=Answers(write(tmp_path / name, some))) | Keep(col("panel.right") >= 2)
        return run(recipe, tmp_path / "out").work.scored.get("panel", 0)

    assert scored("a.csv", lines) == 60
    assert scored("elsewhere/b.csv", lines) == 0
    lines[0] = {**lines[0], "correct": 1.0 if (lines[0]["correct"] or 0) < 0.5 else 0.0}
    assert scored("elsewhere/b.csv", lines) == 60
    recipe = pool | Score(panel=Answers(str(tmp_path / "elsewhere/b.csv"))) | Keep(col("panel.right") >= 3)
    assert decide(recipe, tmp_path / "out").rows == 60


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "webdataset"])
def test_a_uid_that_the_pool_does_not_declare_is_the_derived_one(tmp_path: Path, kind: str) -> None:
    uids = [derived_uid(f"a.{kind}" if kind != "webdataset" else "a.tar", row) for row in range(3)]
    answers = Answers(write(tmp_path / "answers.csv", [line(uids[1], "m", True, 1), line("x", "m", True, 1)]))
    rows = [{"text": "one"}, {"text": "two"}, {"text": "three"}]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
        pool = Pool.parquet(f"{tmp_path}/a.parquet")
    elif kind == "jsonl":
        (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        pool = Pool.jsonl(f"{tmp_path}/a.jsonl", text="text")
    else:
        _tar(tmp_path / "a.tar", rows)
        pool = Pool.webdataset(f"{tmp_path}/a.tar", text="txt")
    run(pool | Score(panel=answers) | Keep(col("panel.right") >= 1), tmp_path / "out")
    assert ledger(tmp_path / "out").select(["uid", "panel.right"]).to_pylist() == [
        {"uid": uid, "panel.right": int(n == 1)} for n, uid in enumerate(uids)
    ]
    assert answers.unmatched([ledger(tmp_path / "out").column("uid").combine_chunks()]) == {
        "items": 1,
        "first": ["x"],
        "rows": 2,
        "first_rows": [uids[0], uids[2]],
    }
    assert decide(pool | Score(panel=answers) | Keep(col("panel.right") < 1), tmp_path / "out").kept == 2


def _tar(path: Path, rows: list[dict[str, Any]]) -> None:
    import io
    import tarfile

    with tarfile.open(path, "w") as tar:
        for number, row in enumerate(rows):
            data = row["text"].encode()
            member = tarfile.TarInfo(f"{number:03d}.txt")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_a_scorer_of_ones_own_reads_the_uid(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b"]}), tmp_path / "a.parquet")
    run(
        Pool.parquet(f"{tmp_path}/a.parquet")
        | Score(digit=scorer(first_digit, reads=("uid",), columns={"digit": "float32"})),
        tmp_path / "out",
    )
    rows = ledger(tmp_path / "out").to_pylist()
    assert [row["digit"] for row in rows] == [int(derived_uid("a.parquet", n)[0], 16) for n in (0, 1)]


def first_digit(uid: pa.Array) -> list[int]:
    return [int(one[0], 16) for one in uid.to_pylist()]


def test_batches_of_a_pipeline_need_the_column(tmp_path: Path) -> None:
    from poolsieve.dataflow.transforms import apply_stages, program_for

    stage = Score(panel=Answers(write(tmp_path / "a.csv", [line("a", "m", True, 1)])))
    batch = pa.record_batch({"uid": ["a", "b"]})
    made = apply_stages(program_for(stage | Keep(col("panel.right") >= 1), batch.schema), batch)
    assert made.column("panel.asked").to_pylist() == [1, 0]
    with pytest.raises(PlanError, match="a scorer reads 'uid', and the batches have no such column"):
        program_for(stage | Keep(col("panel.right") >= 1), pa.schema({"text": pa.string()}))


def test_a_setting_that_no_model_has_is_refused_where_a_rule_reads_it(tmp_path: Path) -> None:
    lines = [line("a", "m", True, 1), line("a", "m", False, None)]
    recipe = items_pool(tmp_path / "pool", ["a", "b"]) | Score(panel=Answers(write(tmp_path / "a.csv", lines)))
    with pytest.raises(PlanError, match=r"reads 'panel\.blind_right', which is no score made before it"):
        run(recipe | Keep(col("panel.blind_right") < 1, reason="suite.blind"), tmp_path / "out")


TEXTS = [
    {"item": "0", "model": "m", "image": True, "said": "Cat"},
    {"item": "0", "model": "n", "image": True, "said": "cat"},
    {"item": "0", "model": "n", "image": False, "said": "kitten"},
    {"item": "1", "model": "m", "image": True, "said": "41.9"},
    {"item": "1", "model": "n", "image": True, "said": None},
    {"item": "1", "model": "m", "image": False, "said": ""},
    {"item": "2", "model": "m", "image": True, "said": "B"},
    {"item": "3", "model": "m", "image": True, "said": "x"},
    {"item": "9", "model": "m", "image": True, "said": "x"},
]


def test_texts_are_marked_against_the_rows(tmp_path: Path) -> None:
    pool = items_pool(
        tmp_path / "pool",
        ["0", "1", "2", "3", "4"],
        answer=["cat", "42", "red", None, None],
        answers=[["kitten", "Cat"], None, [], None, None],
        options=[None, None, ["blue", "red"], None, None],
        source=["a", "numbers", "choice", "a", "a"],
    )
    scoring = {"*": "exact", "numbers": "numeric:0.01", "choice": "letter"}
    panel = Answers(
        write(tmp_path / "a.jsonl", TEXTS),
        answer="said",
        scoring=scoring,
    )
    assert panel.reads == ("uid", "answer", "answers", "options", "source")
    run(pool | Score(panel=panel), tmp_path / "out")
    rows = ledger(tmp_path / "out").to_pylist()
    assert [[row[f"panel.{name}"] for name in COUNTS] for row in rows] == [
        [1, 1, 2, 2],
        [0, 1, 1, 1],
        [0, 0, 1, 1],
        [None] * 4,
        [0, 0, 0, 0],
    ]
    assert [row["reason"] for row in rows] == [None, None, None, "quarantine.no_gold_answer", None]


def test_each_row_is_marked_by_the_marks_own_words(tmp_path: Path) -> None:
    """Against `mark` itself, called once for each answer."""
    from poolsieve.scoring_models.marking import Gold, mark

    dice = np.random.default_rng(5)
    words = ["cat", "a cat", "Cat.", "dog", "the dog", "3", "three", ""]
    lines = [
        {"item": f"i{n}", "model": f"m{k}", "image": bool(k % 2), "said": str(dice.choice(words))}
        for n in range(40)
        for k in range(6)
    ]
    gold = {f"i{n}": str(dice.choice(words[:-1])) for n in range(40)}
    panel = Answers(write(tmp_path / "a.parquet", lines), answer="said", scoring="normalised")
    nothing = pa.nulls(len(gold))
    batch = {"uid": list(gold), "answer": list(gold.values()), "answers": nothing, "options": nothing}
    made = panel.score(pa.record_batch(batch))
    wanted = [{**one, "correct": mark("normalised", one["said"], Gold(gold[one["item"]])) >= 0.5} for one in lines]
    assert rows_of(made.columns) == by_loop(wanted, list(gold))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"correct": "c", "answer": "a"}, "give one of the two"),
        ({"scoring": "exact"}, "say answer=..., the column with the texts"),
        ({"question": "question"}, "only a tool's logs hold questions"),
        ({"settings": {"task": "x"}}, "say tool="),
        ({"answer": "a", "scoring": "exactly"}, "there is no way of marking 'exactly'. Did you mean 'exact'?"),
        ({"answer": "a", "scoring": "judge"}, "a judge must be asked"),
        ({"answer": "a", "scoring": {"DocVQA": "exact"}}, "'\\*' is missing"),
        ({"answer": "a", "gold": None, "golds": None}, "say gold=... or golds="),
        ({"tool": "lm_evel"}, "there is no reader of logs 'lm_evel'. Did you mean 'lm_eval'"),
        ({"tool": "lm_eval", "answer": "a"}, "logs have their own"),
        ({"tool": "lm_eval", "settings": {"blind": 7}}, "blind=7"),
    ],
)
def test_options_that_can_not_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Answers("/a.csv", **options)


@pytest.mark.parametrize(
    ("role", "values", "message"),
    [
        ("answer", [[1], [2]], "reads 'answer' as gold, but it is list"),
        ("answer", [True, False], "reads 'answer' as gold, but it is bool: a text is wanted"),
        (
            "answers",
            ["a", "b"],
            "reads 'answers' as golds, but it is string: a list of texts is wanted; golds=None does without",
        ),
        ("options", ["a", "b"], "reads 'options' as options, but it is string: a list of texts, or their number"),
        ("source", [1, 2], "reads 'source' as source, but it is int64"),
    ],
)
def test_roles_of_other_types_are_refused(tmp_path: Path, role: str, values: list[Any], message: str) -> None:
    others: dict[str, Any] = {"answer": ["a", "b"], "answers": [["a"]] * 2, "options": [2, 3], "source": ["s", "s"]}
    pool = items_pool(tmp_path / "pool", ["0", "1"], **{**others, role: values})
    panel = Answers(write(tmp_path / "a.jsonl", TEXTS), answer="said", scoring={"*": "exact", "s": "exact"})
    with pytest.raises(PlanError, match=message):
        run(pool | Score(panel=panel), tmp_path / "out")


def test_a_number_may_be_the_right_answer_and_the_count_of_options(tmp_path: Path) -> None:
    pool = items_pool(tmp_path / "pool", ["0", "1"], answer=[7, 42], options=[4, None])
    panel = Answers(
        write(tmp_path / "a.jsonl", [{"item": "1", "model": "m", "image": True, "said": "42"}]),
        answer="said",
    )
    run(pool | Score(panel=panel), tmp_path / "out")
    assert ledger(tmp_path / "out").column("panel.right").to_pylist() == [0, 1]


def test_roles_that_are_needed_and_not_there_are_refused(tmp_path: Path) -> None:
    pool, path = items_pool(tmp_path / "pool", ["0", "1"]), write(tmp_path / "a.jsonl", TEXTS)
    with pytest.raises(PlanError, match="reads role 'answer', which the pool has not"):
        run(pool | Score(panel=Answers(path, answer="said")), tmp_path / "out")
    by_source = Answers(path, answer="said", gold="question", scoring={"a": "exact", "*": "normalised"})
    with pytest.raises(PlanError, match="reads role 'source', which the pool has not"):
        run(pool | Score(panel=by_source), tmp_path / "out")


def test_yaml_names_files_and_logs(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [line("a", "m", True, 1)])
    text = f"""
pool: {{parquet: ["{tmp_path}/*.parquet"], uid: id}}
stages:
  - score: {{panel: {{Answers: {{path: ["{path}"], model: model}}}}}}
"""
    made = recipe_from_yaml(text, "r.yaml", {}).stages[0]
    assert isinstance(made, Score) and made.scorers["panel"] == Answers(path)
    assert pickle.loads(pickle.dumps(made.scorers["panel"])).models == ("m",)


def test_unmatched_is_told_on_both_sides(tmp_path: Path) -> None:
    lines = [line(f"i{n}", "m", True, 1) for n in range(30)] + [line("silent", "m", True, None)]
    panel = Answers(write(tmp_path / "a.csv", lines))
    uids = [pa.array(["i3", "other", "silent"]), pa.array([], pa.string()), pa.array(["i4", "i3"])]
    assert panel.unmatched(iter(uids)) == {
        "items": 28,
        "first": [f"i{n}" for n in (0, 1, 2, 5, 6, 7, 8, 9, 10, 11)],
        "rows": 2,
        "first_rows": ["other", "silent"],
    }
    answered = [np.array([False, False, False]), np.array([], bool), np.array([True, False])]
    found = panel.unmatched(uids, answered)
    assert (found["items"], found["rows"], found["first_rows"]) == (29, 4, ["i3", "other", "silent", "i3"])
    assert found["first"][3] == "i3"


def test_a_decision_needs_no_file_of_answers(tmp_path: Path) -> None:
    """Nor does it look at one that has changed meanwhile; a run does."""
    lines = [line(f"i{n}", f"m{k}", bool(s), (n + k + s) % 2) for n in range(40) for k in range(3) for s in (0, 1)]
    path, out = write(tmp_path / "a.parquet", lines), tmp_path / "out"
    pool = items_pool(tmp_path / "pool", [f"i{n}" for n in range(5, 50)])

    def recipe(limit: int) -> Any:
        return pool | Score(panel=Answers(path)) | Keep(col("panel.blind_right") <= limit, reason="suite.blind")

    first = poolsieve.run(recipe(1), str(out))
    told = first.manifest.unmatched
    assert told["panel"].rows == 10 and told["panel"].items == 5
    Path(path).unlink()
    moved = poolsieve.decide(recipe(0), str(out))
    assert moved.manifest.unmatched == told and 0 < moved.counts.kept < first.counts.kept
    write(Path(path), [one for one in lines if one["image"]])
    again = poolsieve.decide(recipe(1), str(out))
    assert again.decision == first.decision and again.manifest.unmatched == told
    with pytest.raises(PlanError, match="No model in 'panel' was asked without the image: add such answers"):
        poolsieve.run(recipe(1), str(out))


def test_facts_of_something_else_are_damage(tmp_path: Path) -> None:
    panel = Answers(write(tmp_path / "a.csv", [line("a", "m", True, 1)]))
    assert panel.with_facts(panel.facts()).columns == panel.columns
    with pytest.raises(PoolsieveError, match="damaged"):
        panel.with_facts({"shown": 1, "models": []})


def test_rows_that_are_out_before_are_not_unmatched(tmp_path: Path) -> None:
    lines = [line(f"i{n}", "m", True, 1) for n in range(30)]
    pool = items_pool(tmp_path / "pool", [f"i{n}" for n in range(32)], size=list(range(32)))
    recipe = pool | Keep(col("size") >= 10, reason="too.small") | Score(panel=Answers(write(tmp_path / "a.csv", lines)))
    found = poolsieve.run(recipe, str(tmp_path / "out")).manifest.unmatched["panel"]
    assert (found.items, found.rows, found.first_rows) == (0, 2, ("i30", "i31"))
