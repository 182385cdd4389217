"""Files that a user's function reads: one that changes has the rows scored anew, one that is missing ends the plan."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.filters.dsl.edits import editor
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.functions import scorer
from tests.conftest import ledger, run

RECIPE = """
from pathlib import Path
import pyarrow as pa
from poolsieve.dataflow import Pool
from poolsieve.filters import Edit, Keep, Score, col, editor, scorer

def limit():
    return float((Path(FOLDER) / "table.txt").read_text())

def timed(text):
    return pa.array([limit()] * len(text), pa.float32())

def longer(text):
    return [value + "x" * int(limit()) for value in text.to_pylist()]

FOLDER = "<folder>"
recipe = Pool.parquet(FOLDER + "/a.parquet", text="text") | <stages>
"""
SCORED = 'Score(x=scorer(timed, reads=("text",), columns={"x": "float32"}, files=("table.txt",))) | Keep(col("x") > 0)'
EDITED = 'Edit(text=editor(longer, files=("table.txt",))) | Keep(col("text").char_count() > 0)'


@pytest.mark.parametrize(("stages", "score", "values"), [(SCORED, "x", (2, 5)), (EDITED, None, (3, 6))])
def test_a_file_that_changes_has_rows_scored_anew(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe_file: Callable[..., RecipeSource],
    stages: str,
    score: str | None,
    values: tuple[int, int],
) -> None:
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table({"text": ["a", "b"]}), tmp_path / "a.parquet")
    source = recipe_file(RECIPE.replace("<folder>", str(tmp_path)).replace("<stages>", stages))
    for limit, value in zip(("2", "5"), values, strict=True):
        (tmp_path / "table.txt").write_text(limit)
        run(source, tmp_path / "OUT")
        found = ledger(tmp_path / "OUT")
        assert found.column(score or found.column_names[-1]).to_pylist() == [value] * 2
    os.remove(tmp_path / "table.txt")
    with pytest.raises(PlanError, match=r"reads .*/table\.txt, which is no file"):
        run(source, tmp_path / "OUT")


def shouting(text: pa.Array) -> pa.Array:
    """Any function."""
    return text


def test_files_are_no_part_of_the_configuration() -> None:
    plain, read = (scorer(shouting, reads=("text",), columns={"x": "string"}, files=f) for f in ((), ("a.txt",)))
    assert plain.to_dict() == read.to_dict() and not plain.files()
    assert editor(shouting).to_dict() == editor(shouting, files=("a.txt",)).to_dict()


@pytest.mark.parametrize("files", ["table.txt", ("s3://a/table.txt",), ("/a/t.txt", "/b/t.txt"), ("t.txt", "./t.txt")])
def test_files_that_no_name_tells_apart_are_refused(files: tuple[str, ...]) -> None:
    with pytest.raises(PlanError, match="files"):
        scorer(shouting, reads=("text",), columns={"x": "string"}, files=files)
