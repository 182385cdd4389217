"""lm-eval's logs, as its version 0.4.13 wrote them, and what can be wrong with them."""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from poolsieve.scoring_models.answers.logs import lm_eval
from poolsieve.scoring_models.answers.logs.rows import SCHEMA
from tests.scoring_models.answers.logs.written import LOGS, copied, lines, marks, one, refused, write_lines

TINY, TWO = "models/tiny", "models/tiny-two"
FILTERS = ("strict-match", "flexible-extract")


def plainly(folder: Path, task: str, metric: str, after: str) -> dict[str, dict[str, float]]:
    """Model -> document -> mark, by a plain script over the logs: no code of ours."""
    found: dict[str, dict[str, float]] = {}
    for path in sorted(folder.rglob("*.jsonl")):  # by date within a folder: a later run replaces an earlier one
        if path.name[: -len("_2026-11-29T00-00-00.000000.jsonl")] != f"samples_{task}":
            continue
        date = path.stem[-len("2026-11-29T00-00-00.000000") :]
        results = json.loads(next(path.parent.glob(f"*_{date}.json")).read_text())
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        found[results["model_name"]] = {str(row["doc_id"]): row[metric] for row in rows if row["filter"] == after}
    return found


@pytest.mark.parametrize("task", ["words_gen", "words_gen_two"])
@pytest.mark.parametrize("after", FILTERS)
def test_counts_of_two_filters_equal_a_plain_script(task: str, after: str) -> None:
    found = marks(lm_eval.read(LOGS / "lm_eval", task=task, measure=f"exact_match,{after}"))
    wanted = plainly(LOGS / "lm_eval", task, "exact_match", after)
    assert found == {(model, True): items for model, items in wanted.items()}
    assert {len(items) for items in found.values()} == {6}
    assert len({tuple(items.values()) for items in found.values()}) == 2  # models differ


@pytest.mark.parametrize("measure", ["acc", "acc_norm", None])
def test_counts_of_multiple_choice_equal_a_plain_script(measure: str | None) -> None:
    found = marks(lm_eval.read(LOGS / "lm_eval", task="words", measure=measure))
    assert found == {
        (m, True): items for m, items in plainly(LOGS / "lm_eval", "words", measure or "acc", "none").items()
    }


def test_totals_equal_the_tools_own() -> None:
    for after in FILTERS:
        found = marks(lm_eval.read(LOGS / "lm_eval", task="words_gen", measure=f"exact_match,{after}"))
        for (model, _), items in found.items():
            results = json.loads(one(LOGS / "lm_eval", f"{model.replace('/', '__')}/results_*.json").read_text())
            mean = results["results"]["words_gen"][f"exact_match,{after}"]
            assert sum(filter(None, items.values())) / len(items) == pytest.approx(mean)


def test_the_newest_run_of_a_model_counts() -> None:
    first, last = (lines(path) for path in sorted((LOGS / "lm_eval/models__tiny").glob("samples_words_gen_2*")))
    old, new = (
        {str(row["doc_id"]): row["exact_match"] for row in rows if row["filter"] == FILTERS[1]}
        for rows in (first, last)
    )
    assert old != new
    found = marks(lm_eval.read(LOGS / "lm_eval", task="words_gen", measure="exact_match,flexible-extract"))
    assert found[TINY, True] == new


def test_file_times_mean_nothing(tmp_path: Path) -> None:
    folder = copied("lm_eval", tmp_path)
    before = lm_eval.read(folder, task="words")
    sorted((folder / "models__tiny").glob("samples_words_2*"))[0].touch()
    assert lm_eval.read(folder, task="words") == before


def test_dates_with_and_without_a_fraction(tmp_path: Path) -> None:
    """`isoformat` leaves it out where it is 0: the moment before .000001."""
    folder = copied("lm_eval", tmp_path) / "models__tiny"
    older, newer = (path.stem.removeprefix("results_") for path in sorted(folder.glob("results_*.json")))
    for path in list(folder.iterdir()):
        for date, name in ((older, "2027-01-01T00-00-00"), (newer, "2027-01-01T00-00-00.000001")):
            if date in path.name:
                path.rename(path.with_name(path.name.replace(date, name)))
    assert list(lm_eval.files(folder, task="words")) == [
        "image/samples_words_2027-01-01T00-00-00.000001.jsonl",
        "image/results_2027-01-01T00-00-00.000001.json",
    ]


def test_a_flat_folder_takes_models_from_the_results_of_the_date() -> None:
    for after in FILTERS:
        found = marks(lm_eval.read(LOGS / "lm_eval_flat", measure=f"exact_match,{after}"))
        assert found == {
            (m, True): items for m, items in plainly(LOGS / "lm_eval_flat", "words_gen", "exact_match", after).items()
        }
        assert set(found) == {(TINY, True), (TWO, True)}


def test_the_table() -> None:
    table = lm_eval.read(LOGS / "lm_eval", task="words_gen")
    assert table.schema == SCHEMA
    row = table.to_pylist()[0]
    path = one(LOGS / "lm_eval/models__tiny", "samples_words_gen_2*")
    assert row == {
        "item": "0", "model": TINY, "image": True, "correct": 1.0, "answer": "B",
        "question": "What is the opposite of hot?", "file": str(path), "line": 1,
    }  # fmt: skip


def test_items_of_one_text_stay_apart() -> None:
    """Documents 3 and 4 have one question and other options: only `doc_id` tells them apart."""
    table = lm_eval.read(LOGS / "lm_eval", task="words")
    rows = [row for row in table.to_pylist() if row["model"] == TINY and row["item"] in ("3", "4")]
    assert rows[0]["question"] == rows[1]["question"]
    assert rows[0]["correct"] != rows[1]["correct"]


def test_hashes_are_never_used(tmp_path: Path) -> None:
    folder = copied("lm_eval", tmp_path)
    wanted = marks(lm_eval.read(folder, task="words_gen"))
    for path in folder.rglob("samples_words_gen_2*"):
        write_lines(
            path, [{**row, "doc_hash": "same", "prompt_hash": None, "target_hash": "same"} for row in lines(path)]
        )
    assert marks(lm_eval.read(folder, task="words_gen")) == wanted


def test_blind_answers_have_a_folder_and_a_task_of_their_own() -> None:
    table = lm_eval.read(
        LOGS / "lm_eval", task="words_gen", blind=LOGS / "lm_eval_flat", measure="exact_match,strict-match"
    )
    assert set(marks(table)) == {(TINY, True), (TWO, True), (TINY, False), (TWO, False)}
    other = lm_eval.read(
        LOGS / "lm_eval", task="words_gen", blind_task="words_gen_two", measure="exact_match,strict-match"
    )
    assert set(marks(other)) == set(marks(table))
    alone = lm_eval.read(blind=LOGS / "lm_eval_flat")
    assert set(marks(alone)) == {(TINY, False), (TWO, False)}
    names = list(lm_eval.files(LOGS / "lm_eval", task="words_gen", blind=LOGS / "lm_eval_flat"))
    assert [name.partition("/")[0] for name in names] == ["image"] * 4 + ["blind"] * 4


def test_names_of_files_do_not_depend_on_the_machine(tmp_path: Path) -> None:
    there = copied("lm_eval", tmp_path)
    assert list(lm_eval.files(there, task="words")) == list(lm_eval.files(LOGS / "lm_eval", task="words"))
    assert all(path.is_file() for path in lm_eval.files(there, task="words").values())


def test_a_link_to_a_file_that_is_there_already_is_not_read_twice(tmp_path: Path) -> None:
    folder = copied("lm_eval", tmp_path)
    wanted = marks(lm_eval.read(folder, task="words"))
    (folder / "newest").mkdir()
    for path in (folder / "models__tiny").iterdir():
        (folder / "newest" / path.name).symlink_to(path)
    assert marks(lm_eval.read(folder, task="words")) == wanted


def test_links_to_files_elsewhere_are_followed(tmp_path: Path) -> None:
    folder = copied("lm_eval", tmp_path)
    (tmp_path / "view/m").mkdir(parents=True)
    for path in (folder / "models__tiny-two").iterdir():
        (tmp_path / "view/m" / path.name).symlink_to(path)
    assert set(marks(lm_eval.read(tmp_path / "view", task="words"))) == {(TWO, True)}


def test_a_pipe_is_no_log_and_not_waited_for(tmp_path: Path) -> None:
    folder = copied("lm_eval", tmp_path)
    for name in ("samples_words_2099-01-01T00-00-00.jsonl", "results_2099-01-01T00-00-00.json"):
        os.mkfifo(folder / "models__tiny" / name)
    assert len(lm_eval.read(folder, task="words")) == 12


def test_several_tasks_must_be_told_apart() -> None:
    refused(lm_eval.read, "several tasks", "task=", "words, words_gen, words_gen_two", path=LOGS / "lm_eval")
    refused(lm_eval.read, "'words_ge'", "Did you mean", "'words_gen'", path=LOGS / "lm_eval", task="words_ge")
    refused(lm_eval.read, "blind_task=", path=LOGS / "lm_eval", task="words", blind=LOGS / "lm_eval", blind_task="nope")


def test_several_filters_must_be_told_apart() -> None:
    refused(
        lm_eval.read, "several filters", "'exact_match,strict-match', 'exact_match,flexible-extract'",
        path=LOGS / "lm_eval", task="words_gen", measure="exact_match",
    )  # fmt: skip
    refused(lm_eval.read, "no such measure", "'acc,none'", path=LOGS / "lm_eval", task="words", measure="f1")


def test_without_a_measure_the_first_that_is_listed_counts() -> None:
    assert lm_eval.read(LOGS / "lm_eval", task="words_gen") == lm_eval.read(
        LOGS / "lm_eval", task="words_gen", measure="exact_match,strict-match"
    )


def test_models_whose_logs_list_other_measures_first(tmp_path: Path) -> None:
    folder = copied("lm_eval", tmp_path)
    path = one(folder / "models__tiny-two", "samples_words_2*")
    write_lines(path, [{**row, "metrics": ["acc_norm", "acc"]} for row in lines(path)])
    refused(lm_eval.read, "'acc,none' first", "'acc_norm,none'", "say measure=", path=folder, task="words")
    assert len(lm_eval.read(folder, task="words", measure="acc")) == 12


@pytest.mark.parametrize(("cut", "said"), [(-40, "line 12"), (-1200, "line")])
def test_a_log_cut_in_the_middle_of_a_line(tmp_path: Path, cut: int, said: str) -> None:
    folder = copied("lm_eval", tmp_path)
    path = one(folder / "models__tiny", "samples_words_gen_2*")
    path.write_bytes(path.read_bytes()[:cut])
    refused(lm_eval.read, path, said, "cut short in the middle of its last line", path=folder, task="words_gen")


def test_a_log_cut_between_two_lines(tmp_path: Path) -> None:
    folder = copied("lm_eval", tmp_path)
    path = one(folder / "models__tiny", "samples_words_gen_2*")
    write_lines(path, lines(path)[:-1])
    said = (path, "line 11", "5 documents", "6", "cut short")
    refused(lm_eval.read, *said, path=folder, task="words_gen", measure="exact_match,flexible-extract")


def test_an_empty_log(tmp_path: Path) -> None:
    folder = copied("lm_eval", tmp_path)
    path = one(folder / "models__tiny", "samples_words_2*")
    path.write_bytes(b"")
    refused(lm_eval.read, path, "is empty", path=folder, task="words")


def test_two_answers_of_one_model_to_one_item(tmp_path: Path) -> None:
    folder = copied("lm_eval", tmp_path)
    path = one(folder / "models__tiny", "samples_words_2*")
    path.write_bytes(path.read_bytes() * 2)  # what two runs of one moment leave, as files are appended to
    refused(lm_eval.read, path, "line 7", "line 1", "'models/tiny'", "item '0'", path=folder, task="words")


def test_two_runs_of_one_date(tmp_path: Path) -> None:
    folder = copied("lm_eval", tmp_path)
    shutil.copytree(folder / "models__tiny", folder / "copy")
    refused(lm_eval.read, "same date", "copy/", "models__tiny/", path=folder, task="words")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "expected one JSON object"), ("{", "is no JSON"), ('{"doc_id": null}', "doc_id is None"),
        ('{"doc_id": 1.5}', "doc_id is 1.5"), ('{"doc_id": true}', "doc_id is True"),
        ("[" * 100_000, "is no JSON"), ("9" * 5000, "is no JSON"), ("\xff", "is no JSON"),
    ],
)  # fmt: skip
def test_lines_that_hold_no_answer(tmp_path: Path, text: str, said: str) -> None:
    folder = copied("lm_eval", tmp_path)
    path = one(folder / "models__tiny", "samples_words_2*")
    kept = path.read_bytes().split(b"\n")
    edited = (
        text
        if "metrics" in text or not text.startswith('{"')
        else text[:-1] + ', "metrics": ["acc"], "filter": "none"}'
    )
    path.write_bytes(b"\n".join([kept[0], edited.encode("latin-1"), *kept[2:]]))
    refused(lm_eval.read, f"{path}, line 2", said, path=folder, task="words")


@pytest.mark.parametrize("mark", [999, -1, 1.01, "right", [1.0, 2.0], float("inf"), {"f1": 0.5}])
def test_measures_that_are_no_marks(tmp_path: Path, mark: object) -> None:
    folder = copied("lm_eval", tmp_path)
    path = one(folder / "models__tiny", "samples_words_2*")
    rows = lines(path)
    rows[3]["acc"] = mark
    write_lines(path, rows)
    refused(lm_eval.read, f"{path}, line 4", "acc", path=folder, task="words")


def test_null_and_nan_are_no_answer_and_an_object_has_its_key(tmp_path: Path) -> None:
    folder = copied("lm_eval", tmp_path)
    path = one(folder / "models__tiny", "samples_words_2*")
    rows = lines(path)
    rows[0]["acc"], rows[1]["acc"], rows[2]["acc"] = None, float("nan"), True
    for row in rows:
        row["deep"] = {"score": 0.25, "strict": 1}
        row["metrics"] = [*row["metrics"], "deep"]
    write_lines(path, rows)
    found = marks(lm_eval.read(folder / "models__tiny", task="words"))[TINY, True]
    assert [found["0"], found["1"], found["2"]] == [None, None, 1.0]
    assert set(marks(lm_eval.read(folder / "models__tiny", task="words", measure="deep"))[TINY, True].values()) == {
        0.25
    }
    assert set(
        marks(lm_eval.read(folder / "models__tiny", task="words", measure="deep.strict"))[TINY, True].values()
    ) == {1.0}


def test_a_log_without_its_results_file(tmp_path: Path) -> None:
    folder = copied("lm_eval", tmp_path)
    one(folder / "models__tiny", "results_*").unlink()
    refused(lm_eval.read, "no results file of its date", "names the model", path=folder, task="words")


def test_results_that_are_newer_than_any_log(tmp_path: Path) -> None:
    folder = copied("lm_eval", tmp_path)
    newest = one(folder / "models__tiny", "results_*")
    later = newest.with_name("results_2026-12-01T00-00-00.json")
    shutil.copyfile(newest, later)
    refused(lm_eval.read, later, "no log beside it", "--log_samples", path=folder, task="words")
    results = json.loads(newest.read_text())
    del results["n-samples"]["words"]
    later.write_text(json.dumps(results))  # another task's run
    assert len(lm_eval.read(folder, task="words")) == 12


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"model_name": null}', '{"model_name": "m", "n-samples": {"words": {"effective": -1}}}']
)
def test_results_files_that_lie(tmp_path: Path, text: str) -> None:
    folder = copied("lm_eval", tmp_path)
    path = one(folder / "models__tiny", "results_*")
    path.write_text(text)
    refused(lm_eval.read, path, path=folder, task="words")


def test_older_results_without_counts_are_taken(tmp_path: Path) -> None:
    folder = copied("lm_eval", tmp_path)
    for path in folder.rglob("results_*"):
        results = json.loads(path.read_text())
        del results["n-samples"]
        path.write_text(json.dumps(results))
    assert len(lm_eval.read(folder, task="words")) == 12


def test_places_that_hold_no_logs(tmp_path: Path) -> None:
    refused(lm_eval.read, "no folder on this machine", path=tmp_path / "nothing")
    refused(lm_eval.read, "samples_<task>_<date>.jsonl", "--log_samples", path=tmp_path)
    refused(lm_eval.read, "say where the logs are")
    refused(lm_eval.read, "say blind=", blind_task="words")
    refused(lm_eval.read, "expected the path", path=5)
    refused(lm_eval.read, "expected the name", path=LOGS / "lm_eval", task=5)
    refused(lm_eval.read, "they would be the same", path=LOGS / "lm_eval", task="words", blind=LOGS / "lm_eval")


def test_texts_alone_for_marking_by_somebody_else(tmp_path: Path) -> None:
    folder = copied("lm_eval", tmp_path)
    path = one(folder / "models__tiny", "samples_words_gen_2*")
    write_lines(path, [{**row, "exact_match": 999} for row in lines(path)])  # no mark
    table = lm_eval.read(folder, task="words_gen", measure="exact_match,flexible-extract", marks=False)
    assert table.column("correct").null_count == len(table) == 12
    rows = {row["doc_id"]: row["filtered_resps"][0] for row in lines(path) if row["filter"] == FILTERS[1]}
    assert [r["answer"] for r in table.to_pylist() if r["model"] == TINY] == [rows[n] for n in range(6)]


def test_a_long_document_and_texts_of_all_kinds(tmp_path: Path) -> None:
    folder = copied("lm_eval", tmp_path) / "models__tiny"
    path = one(folder, "samples_words_2*")
    rows = lines(path)
    rows[0]["doc"]["question"] = "x" * (20 << 20)
    rows[1]["doc"] = ["no", "object"]
    rows[2]["doc"] = {"query": "line\u2028separator\x85kept"}
    write_lines(path, rows)
    found = lm_eval.read(folder, task="words").column("question").to_pylist()
    assert [len(found[0]), found[1], found[2]] == [20 << 20, None, "line\u2028separator\x85kept"]
    rows[2]["doc"] = {"query": "half \ud800"}
    write_lines(path, rows)
    refused(lm_eval.read, f"{path}, line 3", "question", "surrogate", path=folder, task="words")


def test_documents_are_counted_by_model() -> None:
    counts: dict[str, int] = defaultdict(int)
    for row in lm_eval.read(LOGS / "lm_eval", task="words").to_pylist():
        counts[row["model"]] += 1
    assert counts == {TINY: 6, TWO: 6}
