"""VLMEvalKit's tables, as its version of 2026-08-18 wrote them, and what can be wrong with them.

The plain counts come from its `.json` tables and from pandas' reader of `.tsv` by hand; `.xlsx` files are unpacked with
the standard library alone.
"""

from __future__ import annotations

import csv
import json
import pickle
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from poolsieve.scoring_models.answers.logs import sheets, vlmevalkit
from poolsieve.scoring_models.answers.logs.rows import SCHEMA
from tests.scoring_models.answers.logs.written import LOGS, copied, marks, one, refused

FOLDER = LOGS / "vlmevalkit"
TASKS = ("tiny_choice", "tiny_choice_two", "tiny_circular")


def unpacked(path: Path) -> list[dict[str, str]]:
    """The rows of an `.xlsx`, by the standard library: shared strings and cells."""
    with zipfile.ZipFile(path) as packed:
        shared = re.findall(r"<si><t[^>]*>(.*?)</t></si>", packed.read("xl/sharedStrings.xml").decode(), re.DOTALL)
        sheet = packed.read("xl/worksheets/sheet1.xml").decode()
    rows: list[dict[str, str]] = []
    for row in re.findall(r"<row [^>]*>(.*?)</row>", sheet):
        cells = re.findall(r'<c r="([A-Z]+)\d+"([^>]*)><v>(.*?)</v></c>', row)
        rows.append({column: shared[int(value)] if 't="s"' in kind else value for column, kind, value in cells})
    return [{name: row.get(column, "") for column, name in rows[0].items()} for row in rows[1:]]


def plainly(task: str) -> dict[tuple[str, bool], dict[str, float | None]]:
    """Model -> item -> the tool's own `hit`, null where a prediction of the item says that there is none."""
    found: dict[tuple[str, bool], dict[str, float | None]] = {}
    for run in sorted(FOLDER.glob("*/T*")):
        stem = f"{run.parent.name}_{task}"
        said = unpacked(run / f"{stem}.xlsx")
        failed = {
            int(row["index"]) % 1_000_000 for row in said if row["prediction"].startswith("Failed to obtain answer")
        }
        hits = {row["index"]: float(row["hit"]) for row in unpacked(run / f"{stem}_exact_matching_result.xlsx")}
        found[run.parent.name, True] = {i: None if int(i) in failed else hit for i, hit in hits.items()}
    return found


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("measure", [None, "hit", "hit,exact_matching", "letter"])
def test_counts_equal_the_tools_own_marks(task: str, measure: str | None) -> None:
    """`letter` too: the fixture's predictions name one option, none or two, and the tool's own marks say the same."""
    assert marks(vlmevalkit.read(FOLDER, task=task, measure=measure)) == plainly(task)


@pytest.mark.parametrize("kind", ["tsv", "json"])
@pytest.mark.parametrize("task", TASKS)
def test_other_formats_say_the_same(kind: str, task: str) -> None:
    found = marks(vlmevalkit.read(LOGS / f"vlmevalkit_{kind}", task=task))
    assert found == {("eye", True): plainly(task)["eye", True]}


def test_the_table() -> None:
    table = vlmevalkit.read(FOLDER, task="tiny_choice")
    assert table.schema == SCHEMA
    path = one(FOLDER / "eye", "T*/eye_tiny_choice.xlsx")
    assert table.to_pylist()[0] == {
        "item": "7", "model": "eye", "image": True, "correct": 1.0, "answer": "B",
        "question": "What colour is the square?", "file": str(path), "line": 2,
    }  # fmt: skip


def test_the_newest_run_counts_and_links_to_it_do_not() -> None:
    names = list(vlmevalkit.files(FOLDER, task="tiny_choice"))
    last = sorted((FOLDER / "eye").glob("T*"))[-1].name
    assert names[:2] == [
        f"image/eye/{last}/eye_tiny_choice.xlsx",
        f"image/eye/{last}/eye_tiny_choice_exact_matching_result.xlsx",
    ]
    assert len(names) == 4
    assert (FOLDER / "eye/eye_tiny_choice.xlsx").is_symlink()
    assert len(vlmevalkit.read(FOLDER, task="tiny_choice")) == 12


def test_copies_of_the_newest_run_where_links_were(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "copy", symlinks=False)
    assert not (tmp_path / "copy/eye/eye_tiny_choice.xlsx").is_symlink()
    assert marks(vlmevalkit.read(tmp_path / "copy", task="tiny_choice")) == plainly("tiny_choice")


def test_a_models_own_folder_and_one_run_alone(tmp_path: Path) -> None:
    folder = copied("vlmevalkit", tmp_path)
    assert set(marks(vlmevalkit.read(folder / "eye-two", task="tiny_choice"))) == {("eye-two", True)}
    first = sorted((folder / "eye").glob("T*"))[0]
    assert set(marks(vlmevalkit.read(first, task="tiny_choice"))) == {("eye", True)}
    assert marks(vlmevalkit.read(first, task="tiny_choice")) != {("eye", True): plainly("tiny_choice")["eye", True]}


def test_predictions_that_name_no_single_option_are_wrong() -> None:
    found = {
        row["answer"]: row["correct"]
        for row in vlmevalkit.read(FOLDER, task="tiny_choice", measure="letter").to_pylist()
    }
    assert found["A or B"] == 0
    assert found["I see a square"] == 0
    assert found["the square is blue"] == 1


def test_no_answer() -> None:
    rows = [row for row in vlmevalkit.read(FOLDER, task="tiny_choice").to_pylist() if row["model"] == "eye-two"]
    assert [(row["item"], row["correct"], row["answer"]) for row in rows if row["correct"] is None] == [
        ("8", None, None)
    ]


def test_blind_answers_are_another_dataset() -> None:
    table = vlmevalkit.read(FOLDER, task="tiny_choice", blind_task="tiny_choice_two")
    assert {key: len(items) for key, items in marks(table).items()} == {
        ("eye", True): 6, ("eye-two", True): 6, ("eye", False): 2, ("eye-two", False): 2,
    }  # fmt: skip


# ---- tables that are written here, as the tool writes `.tsv` ---------------------------------------------------------

HEADER = ("index", "question", "A", "B", "answer", "prediction")


def written(folder: Path, rows: list[tuple[Any, ...]], name: str = "mine", header: tuple[str, ...] = HEADER) -> Path:
    path = folder / f"out/m/T20260101-000000/m_{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\n")
        out.writerows([header, *rows])
    return path


def test_rotations_without_g_index(tmp_path: Path) -> None:
    """Of one name or another: rows 1,000,000 apart that ask the same are one item, right if every rotation is."""
    rows = [
        (5, "q", "x", "y", "A", "A"), (1000005, "q", "y", "x", "B", "B"),
        (6, "q", "x", "y", "A", "A"), (1000006, "q", "y", "x", "B", "A"),
        (7, "r", "x", "y", "A", "A"), (1000007, "r", "y", "x", "B", "Failed to obtain answer via API."),
    ]  # fmt: skip
    written(tmp_path, rows)
    assert marks(vlmevalkit.read(tmp_path / "out")) == {("m", True): {"5": 1.0, "6": 0.0, "7": None}}
    refused(vlmevalkit.read, "line 3", "circular", "scoring=", path=tmp_path / "out", marks=False)


def test_large_indices_are_no_rotations_where_nothing_is_turned(tmp_path: Path) -> None:
    rows = [(1000005, "q", "x", "y", "A", "A"), (1000006, "q", "x", "y", "A", "B"), (6, "other", "x", "y", "A", "A")]
    written(tmp_path, rows)
    assert list(marks(vlmevalkit.read(tmp_path / "out"))["m", True]) == ["1000005", "1000006", "6"]
    written(tmp_path / "named", rows, "MMBench_MINE")
    assert list(marks(vlmevalkit.read(tmp_path / "named"))["m", True].items()) == [("5", 1.0), ("6", 0.0)]


def test_indices_are_texts_and_cells_may_hold_anything(tmp_path: Path) -> None:
    long = "y" * (20 << 20)
    rows = [
        ("007", 'a "quoted"\nquestion\t', "x", "y", "A", long),
        ("7", "q", "ex", "why", "B", "why"),
        ("a_1", "q", "x", "", "A", ""),
    ]
    written(tmp_path, rows)
    table = vlmevalkit.read(tmp_path / "out")
    assert table.column("item").to_pylist() == ["007", "7", "a_1"]
    assert table.column("question")[0].as_py() == 'a "quoted"\nquestion\t'
    assert table.column("answer").to_pylist() == [long, "why", ""]
    assert table.column("correct").to_pylist()[1:] == [1.0, 0.0]


def test_two_rows_of_one_index(tmp_path: Path) -> None:
    path = written(tmp_path, [(1, "q", "x", "y", "A", "A"), (2, "q", "x", "y", "A", "A"), (1, "q", "x", "y", "A", "B")])
    refused(vlmevalkit.read, f"{path}, line 4", "'m'", "item '1'", "line 2", path=tmp_path / "out")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((1, "q", "x", "y", "C", "A"), "answer 'C'"),
        ((1, "q", "", "", "x", "x"), "no options"),
        (("", "q", "x", "y", "A", "A"), "no index"),
        ((1, "q", "x", "y", "", "A"), "no right answer"),
    ],
)
def test_rows_that_cant_be_marked(tmp_path: Path, row: tuple[Any, ...], said: str) -> None:
    path = written(tmp_path, [(9, "q", "x", "y", "A", "A"), row])
    refused(vlmevalkit.read, f"{path}, line 3", said, path=tmp_path / "out")


def test_open_questions_have_texts_to_mark(tmp_path: Path) -> None:
    written(tmp_path, [(1, "q", "a cat", "A cat."), (2, "q", "dog", "Failed to obtain answer: <class 'RuntimeError'>")],
            header=("index", "question", "answer", "prediction"))  # fmt: skip
    table = vlmevalkit.read(tmp_path / "out", marks=False)
    assert table.column("answer").to_pylist() == ["A cat.", None]
    assert table.column("correct").null_count == 2


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    folder = copied("vlmevalkit", tmp_path)
    for path in [p for p in folder.rglob("*.pkl") if not p.is_symlink()]:
        path.write_bytes(pickle.dumps(Trap()))
    assert marks(vlmevalkit.read(folder, task="tiny_choice")) == plainly("tiny_choice")
    table = one(folder / "eye", "T*/eye_tiny_choice.xlsx")
    table.with_suffix(".pkl").write_bytes(pickle.dumps(Trap()))
    assert marks(vlmevalkit.read(folder, task="tiny_choice")) == plainly("tiny_choice")
    table.unlink()  # what the tool leaves where the table could not be written
    refused(
        vlmevalkit.read, table.with_suffix(".pkl"), "a pickle alone", "PRED_FORMAT=tsv", path=folder, task="tiny_choice"
    )
    assert not (tmp_path / "sprung").exists()


def test_a_newest_run_that_was_killed(tmp_path: Path) -> None:
    folder = copied("vlmevalkit", tmp_path)
    last = sorted((folder / "eye").glob("T*"))[-1]
    (last / "eye_tiny_choice.xlsx").unlink()
    refused(vlmevalkit.read, last, "no predictions", "'tiny_choice'", path=folder, task="tiny_choice")
    status = json.loads((last / "status.json").read_text())
    status["datasets"]["tiny_choice"] = {"status": "done", "skip_reason": "invalid_dataset"}
    (last / "status.json").write_text(json.dumps(status))
    assert set(marks(vlmevalkit.read(folder, task="tiny_choice"))) == {("eye", True), ("eye-two", True)}


def test_without_a_status_names_tell_predictions_from_marks(tmp_path: Path) -> None:
    folder = copied("vlmevalkit", tmp_path)
    for path in folder.rglob("status.json"):
        path.unlink()
    for task in TASKS:
        assert marks(vlmevalkit.read(folder, task=task)) == plainly(task)
    refused(vlmevalkit.read, "(tiny_choice, tiny_choice_two, tiny_circular)", path=folder)


def test_marks_of_several_judges(tmp_path: Path) -> None:
    folder = copied("vlmevalkit", tmp_path)
    for path in [p for p in folder.rglob("*tiny_choice_exact_matching_result.xlsx") if not p.is_symlink()]:
        shutil.copyfile(path, path.with_name(path.name.replace("exact_matching", "gpt-4o_2026")))
    refused(vlmevalkit.read, "'hit,exact_matching', 'hit,gpt-4o_2026', 'letter,none'", path=folder, task="tiny_choice")
    found = vlmevalkit.read(folder, task="tiny_choice", measure="hit,gpt-4o_2026")
    assert marks(found) == plainly("tiny_choice")
    one(folder / "eye", "T*/*tiny_choice_gpt-4o_2026_result.xlsx").unlink()
    one(folder / "eye-two", "T*/*tiny_choice_exact_matching_result.xlsx").unlink()
    refused(vlmevalkit.read, "'hit,exact_matching' first", "'hit,gpt-4o_2026'", path=folder, task="tiny_choice")


def test_marks_that_are_cut_short_or_no_marks(tmp_path: Path) -> None:
    path = written(tmp_path, [(1, "q", "x", "y", "A", "A"), (2, "q", "x", "y", "A", "A")])
    result = path.with_name("m_mine_judge_result.tsv")
    for text, said in (
        ('"index"\t"hit"\n"1"\t"1"\n', f"{path}, line 3: item '2' has no row"),
        ('"index"\t"hit"\n"1"\t"1"\n"2"\t"5"\n', f"{result}, line 3: hit is 5.0"),
        ('"index"\t"hit"\n"1"\t"1"\n"2"\t"yes"\n', f"{result}, line 3: hit is 'yes'"),
        ('"index"\t"hit"\n"1"\t"1"\n"1"\t"0"\n', f"{result}, line 3: item '1' is marked a second time"),
        ('"index"\t"log"\n"1"\t"1"\n', f"{result}, line 2: it has no index, or no column 'hit'"),
    ):
        result.write_text(text)
        refused(vlmevalkit.read, said, path=tmp_path / "out", task="mine")
    result.write_text('"index"\t"hit"\n"1"\t"True"\n"2"\t""\n')
    assert marks(vlmevalkit.read(tmp_path / "out", task="mine")) == {("m", True): {"1": 1.0, "2": None}}


@pytest.mark.parametrize("ending", ["xlsx", "tsv", "json"])
def test_files_that_are_none_or_cut_short(tmp_path: Path, ending: str) -> None:
    folder = LOGS / ("vlmevalkit" if ending == "xlsx" else f"vlmevalkit_{ending}")
    whole = one(folder, f"eye/T*/eye_tiny_choice.{ending}").read_bytes()
    path = tmp_path / f"m/T20260101-000000/m_mine.{ending}"
    path.parent.mkdir(parents=True)
    for data in (b"", whole[:-60], whole[:-3], b"\xff\xfe nothing", b"\x80" * 100, b"[1, 2]", b"[" * 100_000):
        path.write_bytes(data)
        refused(vlmevalkit.read, path, path=tmp_path)


def test_sheets_that_unpack_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "MOST_UNPACKED", 1000)
    refused(vlmevalkit.read, "it unpacks to", path=FOLDER, task="tiny_choice")


def test_two_tables_of_one_run_and_two_columns_of_one_name(tmp_path: Path) -> None:
    path = written(tmp_path, [(1, "q", "x", "y", "A", "A")])
    path.with_suffix(".json").write_text("[]")
    refused(vlmevalkit.read, path, path.with_suffix(".json"), path=tmp_path / "out")
    path.with_suffix(".json").write_text("[]")
    path.unlink()
    refused(vlmevalkit.read, "has no rows", path=tmp_path / "out")
    path.with_suffix(".json").unlink()
    written(tmp_path, [(1, "q", "x", "y", "A", "A")], header=("index", "question", "A", "A", "answer", "prediction"))
    refused(vlmevalkit.read, path, "two columns 'A'", path=tmp_path / "out")


def test_runs_of_older_versions_have_a_day_alone(tmp_path: Path) -> None:
    path = written(tmp_path, [(1, "q", "x", "y", "A", "B")])
    for name, rows in (("T20250101_Gabc123", "A"), ("T20250102_Gabc123", "B")):
        folder = path.parent.with_name(name)
        folder.mkdir()
        (folder / path.name).write_bytes(path.read_bytes().replace(b'"B"\n', f'"{rows}"\n'.encode()))
    shutil.rmtree(path.parent)
    assert marks(vlmevalkit.read(tmp_path / "out")) == {("m", True): {"1": 0.0}}
    shutil.copytree(path.parent.with_name("T20250102_Gabc123"), path.parent.with_name("T20250102_Gdef456"))
    refused(vlmevalkit.read, "same date", path=tmp_path / "out")
