"""lmms-eval's logs, as its version 0.7.3 wrote them, and what can be wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from poolsieve.scoring_models.answers.logs import lmms_eval
from poolsieve.scoring_models.answers.logs.rows import SCHEMA
from tests.scoring_models.answers.logs.written import LOGS, copied, lines, marks, one, refused, write_lines

FOLDER = LOGS / "lmms_eval"
SEER, TWO = "models/seer", "models/seer-two"


def plainly(task: str, metric: str, line: int = 0, every: int = 1) -> dict[str, dict[str, float]]:
    """Model -> document -> mark, by a plain script over the logs: no code of ours.

    With several filters a log has all documents after the first, then all after the second: `line` of `every` parts.
    """
    found: dict[str, dict[str, float]] = {}
    for path in sorted(FOLDER.rglob("*.jsonl")):
        if path.name[len("20260101_000000_samples_") :] != f"{task}.jsonl":
            continue
        results = json.loads(path.with_name(path.name[:15] + "_results.json").read_text())
        rows = [json.loads(row) for row in path.read_text().splitlines()]
        part = len(rows) // every
        values = {str(row["doc_id"]): row[metric] for row in rows[line * part : (line + 1) * part]}
        found[results["model_name"]] = {k: v["score"] if isinstance(v, dict) else v for k, v in values.items()}
    return found


@pytest.mark.parametrize("measure", ["colour_score", "loose", "colour_score,none", None])
def test_counts_with_and_without_the_image_equal_a_plain_script(measure: str | None) -> None:
    found = marks(
        lmms_eval.read(FOLDER, task="tiny_color", blind=FOLDER, blind_task="tiny_color_blank", measure=measure)
    )
    metric = (measure or "colour_score").removesuffix(",none")
    wanted = {(model, True): items for model, items in plainly("tiny_color", metric).items()}
    wanted |= {(model, False): items for model, items in plainly("tiny_color_blank", metric).items()}
    assert found == wanted
    assert set(found) == {(SEER, True), (TWO, True), (SEER, False), (TWO, False)}
    assert all(
        sum(filter(None, found[m, True].values())) > sum(filter(None, found[m, False].values())) for m in (SEER, TWO)
    )


@pytest.mark.parametrize(("after", "line"), [("strict-match", 0), ("flexible-extract", 1)])
def test_counts_after_each_filter_equal_a_plain_script_and_the_tools_mean(after: str, line: int) -> None:
    """No line names its filter."""
    found = marks(lmms_eval.read(FOLDER, task="tiny_color_filters", measure=f"exact_match,{after}"))
    assert found == {(m, True): items for m, items in plainly("tiny_color_filters", "exact_match", line, 2).items()}
    for (model, _), items in found.items():
        results = json.loads(one(FOLDER, f"{model.replace('/', '__')}/*_results.json").read_text())
        assert sum(filter(None, items.values())) / 8 == results["results"]["tiny_color_filters"][f"exact_match,{after}"]


def test_filters_differ_in_the_fixture() -> None:
    strict, loose = (plainly("tiny_color_filters", "exact_match", line, 2)[SEER] for line in (0, 1))
    assert strict != loose


def test_the_newest_run_of_a_model_counts() -> None:
    old, new = (lines(path) for path in sorted((FOLDER / "models__seer").glob("*_samples_tiny_color.jsonl")))
    found = marks(lmms_eval.read(FOLDER, task="tiny_color", measure="loose"))[SEER, True]
    assert found == {str(row["doc_id"]): row["loose"] for row in new}
    assert found != {str(row["doc_id"]): row["loose"] for row in old}


def test_a_task_is_taken_from_the_name_exactly() -> None:
    names = list(lmms_eval.files(FOLDER, task="tiny_color"))
    assert len(names) == 4
    assert all(name.endswith(("_samples_tiny_color.jsonl", "_results.json")) for name in names)
    refused(lmms_eval.read, "tiny_color, tiny_color_blank, tiny_color_filters", path=FOLDER)


def test_the_table() -> None:
    table = lmms_eval.read(FOLDER, task="tiny_color")
    assert table.schema == SCHEMA
    path = one(FOLDER / "models__seer", "*_samples_tiny_color.jsonl")
    rows = [row for row in table.to_pylist() if row["model"] == SEER]
    assert rows[4] == {
        "item": "4", "model": SEER, "image": True, "correct": 1.0, "answer": "red",
        "question": "Name the colour.", "file": str(path), "line": 5,
    }  # fmt: skip
    assert rows[0]["question"] == "What colour is the square?"  # without the options below it


def test_the_hash_of_documents_is_the_same_for_all_and_not_used() -> None:
    hashes = {row["doc_hash"] for path in FOLDER.rglob("*.jsonl") for row in lines(path)}
    assert len(hashes) == 1
    assert len(marks(lmms_eval.read(FOLDER, task="tiny_color"))[SEER, True]) == 8


def test_a_scores_question_id_is_not_the_document(tmp_path: Path) -> None:
    table = lmms_eval.read(FOLDER, task="tiny_color")
    assert {row["item"] for row in table.to_pylist()} == set("01234567")
    refused(
        lmms_eval.read,
        "line 1",
        "colour_score is 'red'",
        path=FOLDER,
        task="tiny_color",
        measure="colour_score.question_id",
    )
    refused(
        lmms_eval.read,
        "has no 'mark', but question_id, score",
        path=FOLDER,
        task="tiny_color",
        measure="colour_score.mark",
    )
    refused(lmms_eval.read, "no such measure", "'loose,none'", path=FOLDER, task="tiny_color", measure="tight")


def test_answers_stand_in_resps_or_in_filtered_resps() -> None:
    rows = lines(one(FOLDER / "models__seer", "*_samples_tiny_color_filters.jsonl"))
    assert any("resps" in row for row in lines(one(FOLDER / "models__seer", "*_samples_tiny_color.jsonl")))
    table = lmms_eval.read(FOLDER, task="tiny_color_filters", measure="exact_match,flexible-extract", marks=False)
    assert [r["answer"] for r in table.to_pylist() if r["model"] == SEER] == [row["filtered_resps"] for row in rows[8:]]


def test_two_runs_of_one_second_in_one_file(tmp_path: Path) -> None:
    folder = copied("lmms_eval", tmp_path)
    for task, line in (("tiny_color", 9), ("tiny_color_filters", 17)):
        path = one(folder / "models__seer", f"*_samples_{task}.jsonl")
        path.write_bytes(path.read_bytes() * 2)
        refused(lmms_eval.read, f"{path}, line {line}", "two runs of the same second", path=folder, task=task)


def test_logs_cut_short(tmp_path: Path) -> None:
    folder = copied("lmms_eval", tmp_path)
    path = one(folder / "models__seer", "*_samples_tiny_color.jsonl")
    kept = path.read_bytes()
    path.write_bytes(kept[:-10])
    refused(lmms_eval.read, f"{path}, line 8", "cut short", path=folder, task="tiny_color")
    path.write_bytes(kept[: kept.rindex(b"\n", 0, -1) + 1])
    refused(lmms_eval.read, f"{path}, line 7", "7 documents", "8", "cut short", path=folder, task="tiny_color")
    path = one(folder / "models__seer", "*_samples_tiny_color_filters.jsonl")
    write_lines(path, lines(path)[:-3])
    refused(
        lmms_eval.read, f"{path}, line 13", "item '5' has 1 of 2 lines", "strict-match, flexible-extract",
        path=folder, task="tiny_color_filters",
    )  # fmt: skip


def test_a_run_that_began_at_an_offset(tmp_path: Path) -> None:
    """`effective` of lmms-eval knows nothing of --offset: min(limit, documents)."""
    folder = copied("lmms_eval", tmp_path)
    path = one(folder / "models__seer", "*_samples_tiny_color.jsonl")
    write_lines(path, lines(path)[3:])
    results = path.with_name(path.name[:15] + "_results.json")
    about = json.loads(results.read_text())
    about["config"]["offset"] = 3
    results.write_text(json.dumps(about))
    assert list(marks(lmms_eval.read(folder, task="tiny_color"))[SEER, True]) == ["3", "4", "5", "6", "7"]


def test_ranks_that_wrote_one_after_the_other(tmp_path: Path) -> None:
    """Two processes: the documents of the first after each filter, then those of the second."""
    folder = copied("lmms_eval", tmp_path)
    wanted = marks(lmms_eval.read(folder, task="tiny_color_filters", measure="exact_match,flexible-extract"))
    for path in folder.rglob("*_samples_tiny_color_filters.jsonl"):
        rows = lines(path)
        write_lines(path, [row for rank in (0, 1) for row in rows if row["doc_id"] % 2 == rank])
    assert marks(lmms_eval.read(folder, task="tiny_color_filters", measure="exact_match,flexible-extract")) == wanted


def test_a_metric_that_no_results_list(tmp_path: Path) -> None:
    """Tasks whose marks are sent elsewhere (`submission`) have metrics that are not averaged."""
    folder = copied("lmms_eval", tmp_path)
    for path in folder.rglob("*_samples_tiny_color.jsonl"):
        write_lines(path, [{**row, "mine": row["doc_id"] % 2} for row in lines(path)])
    assert sum(filter(None, marks(lmms_eval.read(folder, task="tiny_color", measure="mine"))[SEER, True].values())) == 4


def test_the_same_answers_are_not_taken_for_both_settings() -> None:
    refused(lmms_eval.read, "they would be the same", "blind_task=", path=FOLDER, task="tiny_color", blind=FOLDER)
