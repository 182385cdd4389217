"""Edited texts in exports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from poolsieve.dataflow import Pool
from poolsieve.dataflow.export.edited import parse_columns
from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.pools.formats.jsonl.copy import with_text
from poolsieve.filters import Edit, Keep, col, editor
from poolsieve.jobs.cli import main
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import run
from tests.dataflow.pools.formats.jsonl.test_copy import unpacked

RECIPE = """
import pyarrow as pa, pyarrow.compute as pc
from poolsieve.dataflow import Pool
from poolsieve.filters import Edit, Keep, col, editor

def shout(text: pa.Array) -> pa.Array:
    return pc.utf8_upper(text)

def both(text: pa.Array, note: pa.Array) -> pa.Array:
    if "fail" in note.to_pylist():
        raise ValueError("can't")
    return pc.binary_join_element_wise(text, note, "/")

def recipe(pool: str, kind: str):
    source = Pool(kind, (pool,), {"text": "text", "note": "note", "uid": "id"})
    return (
        source | Edit(text=shout) | Edit(title=editor(both, reads=("text", "note")))
        | Keep(col("text").word_count() >= 2, reason="t.short")
    )
"""


def rows(n: int, seed: int = 0) -> list[dict[str, Any]]:
    return [
        {"id": f"r{seed}-{i}", "text": f"word {'é' * (i % 3)} {i}" if i % 5 else "one", "note": f"n{i}", "x": i * 1.5}
        for i in range(n)
    ]


def finished(tmp_path: Path, kind: str, made: list[list[dict[str, Any]]]) -> Path:
    (tmp_path / "pool").mkdir()
    for i, part in enumerate(made):
        path = tmp_path / "pool" / f"{i}.{kind}"
        if kind == "parquet":
            pq.write_table(pa.Table.from_pylist(part), path, row_group_size=7)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in part))
    (tmp_path / "recipe.py").write_text(RECIPE)
    out = tmp_path / "out"
    arguments = ["-p", f"pool={tmp_path}/pool/*.{kind}", "-p", f"kind={kind}"]
    done = CliRunner().invoke(main, ["run", str(tmp_path / "recipe.py"), "--out", str(out), *arguments])
    assert done.exit_code == 0, done.output
    return out


def command(out: Path, target: Path, *columns: str, more: tuple[str, ...] = ()) -> Any:
    given = [part for column in columns for part in ("--column", column)]
    return CliRunner().invoke(main, ["export", str(out), "--to", str(target), *given, *more])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_parquet_gets_the_edited_text_in_its_place_and_new_columns_after(tmp_path: Path, workers: str) -> None:
    made = [rows(40), rows(30, 1), rows(1, 2)]
    out = finished(tmp_path, "parquet", made)
    done = command(out, tmp_path / "to", "text=text", "title=title", more=("--scores", "--workers", workers))
    assert done.exit_code == 0, done.output
    found = pa.concat_tables([pq.read_table(path) for path in sorted((tmp_path / "to" / "data").iterdir())])
    kept = [row for part in made for row in part if row["text"] != "one"]
    assert found.column_names[:5] == ["id", "text", "note", "x", "title"]
    assert found["text"].to_pylist() == [row["text"].upper() for row in kept]
    assert found["title"].to_pylist() == [f"{row['text'].upper()}/{row['note']}" for row in kept]
    assert found["x"].to_pylist() == [row["x"] for row in kept]
    index = json.loads((tmp_path / "to" / "_export.json").read_text())
    assert index["columns"]["title"]["role"] == "title"
    assert [one["name"] for one in index["columns"]["title"]["editors"]] == ["both", "shout"]
    plain = command(out, tmp_path / "plain")
    assert plain.exit_code == 0 and "columns" not in json.loads((tmp_path / "plain" / "_export.json").read_text())


def test_json_lines_keep_every_other_byte(tmp_path: Path) -> None:
    out = finished(tmp_path, "jsonl", [rows(50)])
    pool = tmp_path / "pool" / "0.jsonl"
    assert command(out, tmp_path / "to", "text=text", "clean=title").exit_code == 0
    lines = unpacked(tmp_path / "to")["train-00000-of-00001.jsonl.zst"].decode().splitlines()
    kept = [line for line in pool.read_text().splitlines() if json.loads(line)["text"] != "one"]
    for line, own in zip(lines, kept, strict=True):
        row, before = json.loads(line), json.loads(own)
        assert row == {**before, "text": before["text"].upper(), "clean": f"{before['text'].upper()}/{before['note']}"}


def test_an_edit_that_fails_costs_one_value(tmp_path: Path) -> None:
    made = rows(30)
    made[3]["note"] = "fail"
    out = finished(tmp_path, "parquet", [made])
    done = command(out, tmp_path / "to", "title=title")
    assert done.exit_code == 0, done.output
    index = json.loads((tmp_path / "to" / "_export.json").read_text())
    assert index["warnings"] == ["1 values of 'title' could not be read and were left out"]
    (path,) = (tmp_path / "to" / "data").iterdir()
    found = pq.read_table(path)
    assert found["title"].null_count == 1 and found["title"][found["id"].to_pylist().index("r0-3")].as_py() is None


def test_what_can_not_work_is_refused(tmp_path: Path) -> None:
    out = finished(tmp_path, "parquet", [rows(10)])
    for columns, says in (
        (("note=note",), "the recipe edits no role 'note'"),
        (("x=text",), "--column x: the pool's column is double, no text"),
        (("text",), "write COLUMN=ROLE"),
        (("a=text", "a=title"), "given twice"),
        (("meta.text=text",), "not into a field"),
    ):
        done = command(out, tmp_path / "to", *columns)
        assert done.exit_code == 2 and says in done.output, done.output
    done = command(out, tmp_path / "to", "text=text", more=("--format", "webdataset"))
    assert done.exit_code == 2 and "from Parquet to Parquet" in done.output


def spaced(text: pa.Array) -> list[str | None]:
    return [None if value is None else " ".join(value) for value in text.to_pylist()]


def test_a_run_made_from_python_names_its_recipe(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["ab", "cd"]}), tmp_path / "a.parquet")
    recipe = (
        Pool.parquet(f"{tmp_path}/a.parquet", text="text")
        | Edit(text=editor(spaced))
        | Keep(col("text").word_count() >= 1, reason="t.none")
    )
    run(recipe, tmp_path / "out")
    with pytest.raises(PlanError, match="was made from Python"):
        export(str(tmp_path / "out"), columns={"text": "text"})
    index = export(str(tmp_path / "out"), columns={"text": "text"}, recipe=recipe)
    found = pq.read_table(f"{tmp_path}/out/export/{index.files[0].name}")
    assert found["text"].to_pylist() == ["a b", "c d"]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(), lambda x: st.lists(x, max_size=2)
)


@given(st.dictionaries(st.sampled_from(["text", "a", "b{", '"', "é"]), JSON), st.text(), st.sampled_from([None, 0, 2]))
def test_a_line_with_another_value(row: dict[str, Any], text: str, indent: int | None) -> None:
    line = json.dumps(row, ensure_ascii=bool(indent), separators=(" , ", " : ") if indent == 0 else None)
    made = with_text(line.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode(), "text", text)
    expected = json.loads(line.encode("utf-8", "surrogatepass").decode("utf-8", "replace"))
    assert json.loads(made) == {**expected, "text": text}


def test_other_spellings_stay() -> None:
    line = b' { "n": 1.50, "text" : "a" ,"big":123456789012345678901234567890, "text":"\\u00e9" } \r'
    assert with_text(line, "text", "x\n") == (
        b' { "n": 1.50, "text" : "a" ,"big":123456789012345678901234567890, "text":"x\\n" }'
    )
    assert with_text(b"{}", "text", None) == b'{"text":null}'
    assert parse_columns(()) == {}
