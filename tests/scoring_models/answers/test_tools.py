"""`Answers` over logs that the real tools wrote, against a plain script over the same lines."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow import Pool
from poolsieve.filters import Score
from poolsieve.scoring_models import Answers
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import ledger, run
from tests.scoring_models.answers.builder import by_loop, line, rows_of

LOGS = Path(__file__).parents[2] / "fixtures" / "eval_logs"


def newest(tool: str, pattern: str) -> dict[str, list[dict[str, Any]]]:
    """Model -> the lines of its newest log."""
    found = {}
    for folder in sorted((LOGS / tool).iterdir()):
        path = max(folder.glob(pattern), key=lambda path: path.name)
        found[folder.name.replace("__", "/")] = [json.loads(text) for text in path.read_text().splitlines()]
    return found


def colours(task: str, image: bool) -> list[dict[str, Any]]:
    logs = newest("lmms_eval", f"*_samples_{task}.jsonl")
    return [
        line(str(one["doc_id"]), model, image, one["colour_score"]["score"]) | {"said": one["filtered_resps"]}
        for model, lines in logs.items()
        for one in lines
    ]


UIDS = [str(n) for n in range(12)]


def test_lmms_eval_gives_what_a_plain_script_gives(tmp_path: Path) -> None:
    panel = Answers.lmms_eval(str(LOGS / "lmms_eval"), task="tiny_color", blind_task="tiny_color_blank")
    lines = colours("tiny_color", True) + colours("tiny_color_blank", False)
    pq.write_table(pa.table({"id": UIDS}), tmp_path / "p.parquet")
    run(Pool.parquet(f"{tmp_path}/p.parquet", uid="id") | Score(panel=panel), tmp_path / "out")
    rows = ledger(tmp_path / "out").to_pylist()
    wanted = by_loop(lines, UIDS)
    assert sum(row["right"] for row in wanted) and sum(row["asked"] for row in wanted) > 4
    for row, want in zip(rows, wanted, strict=True):
        assert {name: row[f"panel.{name}"] for name in want if name != "answers"} == {
            name: value for name, value in want.items() if name != "answers"
        }
    assert panel.models == ("models/seer", "models/seer-two")


@pytest.mark.parametrize(("task", "measure"), [("words", "acc"), ("words", "acc_norm"), ("words_gen", None)])
def test_lm_eval_gives_what_a_plain_script_gives(task: str, measure: str | None) -> None:
    panel = Answers.lm_eval(str(LOGS / "lm_eval"), task=task, measure=measure)
    logs = newest("lm_eval", f"samples_{task}_2026*.jsonl")
    lines = [
        line(str(one["doc_id"]), model, True, one[measure or one["metrics"][0]])
        for model, found in logs.items()
        for one in found
        if one["filter"] == found[0]["filter"]
    ]
    made = panel.score(pa.record_batch({"uid": UIDS}))
    assert rows_of(made.columns) == by_loop(lines, UIDS)


def test_a_folder_of_its_own_for_answers_without_the_image(tmp_path: Path) -> None:
    shutil.copytree(LOGS / "lmms_eval", tmp_path / "blank")
    blind = Answers.lmms_eval(blind=str(tmp_path / "blank"), blind_task="tiny_color_blank")
    assert list(blind.columns) == ["blind_right", "blind_asked", "answers"]
    both = Answers.lmms_eval(
        str(LOGS / "lmms_eval"), task="tiny_color", blind=str(tmp_path / "blank"), blind_task="tiny_color_blank"
    )
    batch = pa.record_batch({"uid": UIDS})
    assert rows_of(both.score(batch).columns) == by_loop(
        colours("tiny_color", True) + colours("tiny_color_blank", False), UIDS
    )
    assert both.to_dict() == {
        "type": "Answers",
        "tool": "lmms_eval",
        "settings": {"task": "tiny_color", "blind_task": "tiny_color_blank"},
    }
    assert all(str(tmp_path) not in name and str(LOGS) not in name for name in both.files())


def test_texts_of_a_log_are_marked_by_us() -> None:
    panel = Answers.lmms_eval(
        str(LOGS / "lmms_eval"), task="tiny_color", scoring="exact", gold="colour", golds=None, options=None
    )
    asked = colours("tiny_color", True)
    gold = {one["item"]: one["said"] for one in asked if one["model"] == "models/seer"}  # seer is always right
    made = panel.score(pa.record_batch({"uid": list(gold), "colour": list(gold.values())}))
    lines = [{**one, "correct": one["said"].strip() == gold[one["item"]].strip()} for one in asked]
    assert rows_of(made.columns) == by_loop(lines, list(gold))
    assert {row["right"] for row in rows_of(made.columns)} >= {1}


def test_answers_to_another_question_do_not_count_and_are_unmatched() -> None:
    panel = Answers.lmms_eval(str(LOGS / "lmms_eval"), task="tiny_color", question="question")
    logs = newest("lmms_eval", "*_samples_tiny_color.jsonl")["models/seer"]
    asked = {str(one["doc_id"]): one["input"].split("\n")[0] for one in logs}
    questions = [f" {text.replace(' ', '  ')}" for text in asked.values()]
    questions[0] = "What shape is it?"
    made = panel.score(pa.record_batch({"uid": list(asked), "question": questions}))
    counts = made.columns["asked"].to_pylist()
    assert counts == [0] + [2] * (len(asked) - 1)
    found = panel.unmatched([pa.array(list(asked))], [[count > 0 for count in counts]])
    assert found == {"items": 1, "first": ["0"], "rows": 1, "first_rows": ["0"]}


def test_logs_that_are_not_there_are_refused_in_the_plan(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no folder on this machine"):
        Answers.lm_eval(str(tmp_path / "none")).files()
    with pytest.raises(PlanError, match=r"has no such task\. Did you mean 'words_gen'"):
        Answers.lm_eval(str(LOGS / "lm_eval"), task="words_gem").files()
    with pytest.raises(TypeError, match="unexpected keyword argument 'tusk'"):
        Answers.lm_eval(str(LOGS / "lm_eval"), tusk="words")


def test_a_log_that_has_been_removed_is_looked_for_again(tmp_path: Path) -> None:
    """The newest run is taken back: the recipe that is in memory sees the one before it."""
    shutil.copytree(LOGS / "lmms_eval", tmp_path / "logs")
    panel = Answers.lmms_eval(str(tmp_path / "logs"), task="tiny_color")
    before = set(panel.files())
    assert list(panel.columns)
    folder = tmp_path / "logs" / "models__seer"
    newest = max(path.name[: len("20260101_000000")] for path in folder.iterdir())
    for path in folder.glob(f"{newest}*"):
        path.unlink()
    assert list(panel.columns) and set(panel.files()) != before


def test_a_question_of_several_lines_agrees_by_its_first() -> None:
    panel = Answers.lmms_eval(str(LOGS / "lmms_eval"), task="tiny_color", question="question")
    logs = newest("lmms_eval", "*_samples_tiny_color.jsonl")["models/seer"]
    batch = pa.record_batch({"uid": [str(one["doc_id"]) for one in logs], "question": [one["input"] for one in logs]})
    assert any("\n" in one["input"] for one in logs)
    assert panel.score(batch).columns["asked"].to_pylist() == [2] * len(logs)


def test_the_version_of_what_reads_sheets_is_told() -> None:
    assert Answers.vlmevalkit(str(LOGS / "vlmevalkit"), task="tiny_choice").packages == ("python-calamine",)
    assert Answers.vlmevalkit(str(LOGS / "vlmevalkit"), task="tiny_choice", scoring="anls").packages == (
        "rapidfuzz",
        "python-calamine",
    )
    assert Answers.lm_eval(str(LOGS / "lm_eval"), task="words").packages == ()


def test_logs_of_a_grown_pool_may_stand_elsewhere(tmp_path: Path) -> None:
    """What scores were made with are the logs, not where they stood."""

    def recipe(logs: str) -> Any:
        shutil.copytree(LOGS / "lmms_eval", tmp_path / logs)
        panel = Answers.lmms_eval(
            str(tmp_path / logs), task="tiny_color", blind=str(tmp_path / logs), blind_task="tiny_color_blank"
        )
        return Pool.parquet(f"{tmp_path}/p*.parquet", uid="id") | Score(panel=panel)

    pq.write_table(pa.table({"id": UIDS[:6]}), tmp_path / "p1.parquet")
    run(recipe("here"), tmp_path / "out")
    pq.write_table(pa.table({"id": UIDS[6:]}), tmp_path / "p2.parquet")
    run(recipe("there"), tmp_path / "out")
    assert ledger(tmp_path / "out").num_rows == len(UIDS)
    assert len(list((tmp_path / "out" / "scores").glob("panel-*"))) == 1
