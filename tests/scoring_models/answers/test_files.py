"""Files of every kind: what they give, and what is said of those that can't be right."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.scoring_models import Answers, Verdicts
from poolsieve.scoring_models.base.errors import PlanError
from tests.scoring_models.answers.builder import by_loop, line, rows_of, write

LINES = [line("a", "m", True, 1), line("a", "m", False, 0), line("b", "n", True, 1), line("b", "m", True, None)]


def asked(scorer: Answers, *uids: str) -> list[dict[str, Any]]:
    return rows_of(scorer.score(pa.record_batch({"uid": pa.array(uids)})).columns)


def refused(path: Any, **options: Any) -> str:
    with pytest.raises(PlanError) as caught:
        _ = Answers(path, **options).columns
    return str(caught.value)


@pytest.mark.parametrize("packed", ["gz", "zst"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_packed_files_are_read(tmp_path: Path, kind: str, packed: str) -> None:
    plain = Path(write(tmp_path / f"a.{kind}", LINES)).read_bytes()
    path = tmp_path / f"packed.{kind}.{packed}"
    with pa.output_stream(str(path), compression={"gz": "gzip", "zst": "zstd"}[packed]) as stream:
        stream.write(plain)
    assert asked(Answers(str(path)), "a", "b") == by_loop(LINES, ["a", "b"])


def test_several_files_of_several_kinds_and_types_are_one(tmp_path: Path) -> None:
    parts = {
        "a.parquet": [line(7, "m", True, True), line(8, "m", True, False)],
        "b.jsonl": [line("7", "n", 1, 0.5), line("x", "n", 0, 0.25)],
        "c.csv": [line("7", "o", "TRUE", "true"), line("8", "o", "false", "NaN")],
    }
    paths = [write(tmp_path / name, lines) for name, lines in parts.items()]
    made = asked(Answers(paths), "7", "8", "x")
    assert [[row[name] for name in ("blind_right", "blind_asked", "right", "asked")] for row in made] == [
        [0, 0, 3, 3],
        [0, 0, 0, 1],
        [0, 1, 0, 0],
    ]
    pq.write_table(pa.table({"item": [8], "model": ["m"], "image": [True], "correct": [1.0]}), tmp_path / "d.parquet")
    said = refused([*paths, str(tmp_path / "d.parquet")])
    assert f"{tmp_path}/d.parquet, row 0: model 'm' answers item '8' with the image" in said
    assert f"as it does in {tmp_path}/a.parquet, row 1 already" in said


def test_a_table_may_have_other_names_and_a_file_one_setting(tmp_path: Path) -> None:
    lines = [{"doc": one["item"], "who": one["model"], "acc": one["correct"]} for one in LINES if one["image"]]
    scorer = Answers(write(tmp_path / "a.csv", lines), item="doc", model="who", correct="acc", image=False)
    assert list(scorer.columns) == ["blind_right", "blind_asked", "answers"]
    assert [row["blind_right"] for row in asked(scorer, "a", "b", "c")] == [1, 1, 0]
    assert list(Answers(scorer.path, item="doc", model="who", correct="acc", image=True).columns) == [
        "right",
        "asked",
        "answers",
    ]


def test_items_of_csv_stay_as_they_are_written(tmp_path: Path) -> None:
    lines = [line("007", "m", 1, 1), line("7", "m", 1, 0), line("NA", "m", 1, 1), line("1.0", "None", 1, 1)]
    assert [row["right"] for row in asked(Answers(write(tmp_path / "a.csv", lines)), "007", "7", "NA", "1.0", "1")] == [
        1,
        0,
        1,
        1,
        0,
    ]


def test_json_of_mixed_types_and_nan_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"item": 1, "model": "m", "image": true, "correct": true, "resps": {"x": [1]}}\n\n'
        '{"item": "two", "model": "m", "image": true, "correct": 0.75, "resps": "text"}\n'
        '{"item": 3, "model": "m", "image": true, "correct": NaN}\n'
        '{"item": 18446744073709551615, "model": "m", "image": true, "correct": false}\n'
    )
    assert [row["asked"] for row in asked(Answers(str(path)), "1", "two", "3", "18446744073709551615")] == [1, 1, 0, 1]


def test_json_types_that_change_after_the_first_lines_are_no_trap(tmp_path: Path) -> None:
    lines = [line(n, "m", True, 1) for n in range(1500)] + [line("last", "m", True, 0.5)]
    made = asked(Answers(write(tmp_path / "a.jsonl", lines)), "last", "1499", "0")
    assert [row["right"] for row in made] == [1, 1, 1]


@pytest.mark.parametrize(("kind", "first", "second"), [("csv", 3, 8), ("jsonl", 2, 5), ("parquet", 1, 4)])
def test_two_answers_are_refused_with_both_places(tmp_path: Path, kind: str, first: int, second: int) -> None:
    """In CSV the note of the third line goes over two lines, and an empty line follows."""
    lines = [line("a", "m", True, 1, note=""), line("b", "m", False, None, note=""), line("c", "m", True, 1, note="")]
    lines[1] = line("b", "m", False, 1.0, note="")
    lines[2]["note"] = "one\ntwo"
    lines += [line("b", "m", True, 1, note=""), line("b", "m", False, 0.0, note="")]
    path = write(tmp_path / f"a.{kind}", lines)
    if kind == "csv":
        Path(path).write_text(Path(path).read_text().replace('two"\n', 'two"\n\n'))
    word = "row" if kind == "parquet" else "line"
    said = refused(path)
    assert f"{path}, {word} {second}: model 'm' answers item 'b' without the image" in said
    assert f"in {path}, {word} {first} already" in said


def test_a_line_without_an_answer_is_no_second_answer(tmp_path: Path) -> None:
    lines = [line("a", "m", True, None), line("a", "m", True, 1), line("a", "m", True, None)]
    assert asked(Answers(write(tmp_path / "a.jsonl", lines)), "a")[0]["asked"] == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "is empty: its first line must name the columns"),
        ("a.csv", "item,model,image,correct\n", "has no lines"),
        ("a.csv", "item,model,image,corect\na,m,1,1\n", "has no column 'correct'. Did you mean 'corect'?"),
        ("a.csv", "item,model,image,item,correct\na,m,1,b,1\n", "has two columns 'item'"),
        ("a.csv", "item,model,image,correct\na,m,1,1\n,m,1,1\n", "a.csv, line 3: item is null"),
        ("a.csv", "item,model,image,correct\na,m,1,1\nb,m,maybe,1\n", "a.csv, line 3: image is 'maybe'"),
        ("a.csv", "item,model,image,correct\na,m,1,1\nb,m,1\n", "can't read"),
        ("a.csv", 'item,model,image,correct\na,m,1,1\n"b,m,1,1\n', "can't read"),
        ("a.csv", b"item,model,image,correct\n\xff,m,1,1\n", "can't read"),
        ("a.jsonl", "", "is empty: a line holds one JSON object"),
        ("a.jsonl", '{"item": "a"}\n[1]\n', "a.jsonl, line 2: expected one JSON object"),
        ("a.jsonl", '{"item": "a", "model": "m", "image": 1, "correct": 1}\n{"item": "b", "mod', "line 2: expected"),
        ("a.jsonl", '{"item": "a", "model": ["m"], "image": 1, "correct": 1}\n', "line 1: model is ['m']: a single"),
        ("a.jsonl", '{"item": "a", "modell": "m", "image": 1, "correct": 1}\n', "Did you mean 'modell'?"),
        (
            "a.jsonl",
            '{"item": "a", "model": "m", "image": 1, "correct": {"score": 1}}\n',
            "line 1: correct is {'score'",
        ),
        ("a.parquet", b"PAR1", "can't read"),
        ("a.parquet", b"", "can't read"),
        ("a.txt", "item\n", "expected a file .parquet, .csv, .tsv or .jsonl"),
        ("a.parquet.gz", b"", "expected a file .parquet, .csv, .tsv or .jsonl"),
        ("a.csv.gz", b"item,model", "can't read"),
    ],
)
def test_bad_files_are_refused_with_the_place(tmp_path: Path, name: str, text: str | bytes, message: str) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    said = refused(str(tmp_path / name))
    assert message in said and name in said


def test_a_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "a.parquet", LINES * 1))
    path.write_bytes(path.read_bytes()[:-9])
    assert "can't read" in refused(str(path))
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(json.dumps(LINES[0]).encode() * 1000)[:-20])
    assert "b.jsonl.gz" in refused(str(packed))


def test_paths_that_can_not_be_are_refused(tmp_path: Path) -> None:
    assert "there is no file" in refused(str(tmp_path / "none.parquet"))
    (tmp_path / "folder.parquet").mkdir()
    assert "there is no file" in refused(str(tmp_path / "folder.parquet"))
    assert "the file must be on this machine" in refused("s3://bucket/a.parquet")
    assert "is given twice" in refused([str(tmp_path / "a.csv"), str(tmp_path / "b" / ".." / "a.csv")])
    for wrong in ([], "", 7, [7], None):
        assert "expected the path of a file" in refused(wrong)
    with pytest.raises(PlanError, match="there is no file"):
        Verdicts(str(tmp_path / "none.csv")).files()


def test_text_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    table = pa.table({"item": ["a"], "model": ["m"], "image": [True], "correct": [1.0], "said": ["x"]})
    for name in ("item", "said"):
        pq.write_table(table.set_column(table.schema.get_field_index(name), name, bad), tmp_path / f"{name}.parquet")
    assert "holds texts that can't be read" in refused(str(tmp_path / "item.parquet"))
    assert "holds texts that can't be read" in refused(str(tmp_path / "said.parquet"), answer="said")


def test_a_long_line_is_read(tmp_path: Path) -> None:
    lines = [{"log": "x" * 20_000_000, **LINES[0]}, LINES[2]]
    path = write(tmp_path / "a.jsonl", lines)
    assert [row["asked"] for row in asked(Answers(path), "a", "b")] == [1, 1]


def test_a_changed_file_is_loaded_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", LINES)
    scorer = Answers(path)
    assert asked(scorer, "a")[0]["right"] == 1
    write(tmp_path / "a.csv", [line("a", "m", True, 0), line("new", "longer", True, 1)])
    assert asked(scorer, "a")[0]["right"] == 0 and scorer.models == ("longer", "m")
