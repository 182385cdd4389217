"""A run from Python: one call, and what can be done with OUT afterwards."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow.store import session
from poolsieve.filters import Keep, Top, col
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import fingerprint_of, text_table, write_pool

FILE = """
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Top, col

def recipe(pool="", words=3, fraction=0.3):
    return (
        Pool.parquet(pool + "/*.parquet", uid="uid", text="text")
        | Keep(col("text").word_count() >= words, reason="text.short")
        | Top("clip", fraction=fraction)
    )
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.py"
    path.write_text(FILE)
    return path


def recipe_object(pool: Path) -> poolsieve.Recipe:
    return poolsieve.Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Top("clip", fraction=0.3)


def test_importing_it_is_light() -> None:
    code = (
        "import sys, poolsieve; dir(poolsieve); poolsieve.__version__\n"
        "print(sorted({'apache_beam', 'torch', 'transformers', 'pyarrow', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        _ = poolsieve.rum  # type: ignore[attr-defined]
    for name in poolsieve.__all__:
        assert getattr(poolsieve, name) is not None


def test_a_whole_run_and_its_folder(recipe: Path, pool: Path, tmp_path: Path) -> None:
    planned = poolsieve.plan(recipe, tmp_path / "out", params={"pool": str(pool)})
    assert planned.shards == 3 and [one.name for one in planned.scorers] == ["text.word_count", "clip"]
    assert not (tmp_path / "out").exists()
    out = poolsieve.run(recipe, tmp_path / "out", params={"pool": str(pool)}, workers=2)
    counts = out.counts
    assert counts.rows_in == 1200 == counts.kept + counts.dropped + counts.quarantined
    assert sum(out.reasons.values()) == counts.dropped and out.manifest.decision == out.decision
    assert out.cuts["clip.below_cut"][""].kind == "rank"
    assert Path(out.report).read_text().startswith("<!DOCTYPE html>")
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["rows"]["in"] == 1200
    again = poolsieve.open(tmp_path / "out")
    assert again.manifest == out.manifest and again.summary == out.summary
    assert out.summary.wall_seconds and out.summary.work.rows == 1200


def test_the_ledger_is_one_table(pool: Path, tmp_path: Path) -> None:
    out = poolsieve.run(recipe_object(pool), tmp_path / "out")
    whole = out.ledger()
    assert whole.column_names == ["path", "row", "uid", "keep", "reason", "clip"]
    assert whole.num_rows == 1200 and pc.sum(whole["keep"]).as_py() == out.counts.kept
    assert set(whole["path"].to_pylist()) == {f"part-00{i}.parquet" for i in range(3)}
    few = out.ledger(columns=["keep", "path"])
    assert few.column_names == ["keep", "path"] and few["keep"].equals(whole["keep"])
    by_path = whole.filter(pc.equal(whole["path"].cast(pa.string()), "part-001.parquet"))
    assert by_path["row"].to_pylist() == list(range(300))
    with pytest.raises(PlanError, match=r"no column 'reasn'\. Did you mean 'reason'"):
        out.ledger(columns=["reasn"])


def test_deciding_again_and_what_if(recipe: Path, pool: Path, tmp_path: Path) -> None:
    out = poolsieve.run(recipe, tmp_path / "out", params={"pool": str(pool)})
    poolsieve.run(recipe, tmp_path / "wanted", params={"pool": str(pool), "fraction": 0.2})
    before = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    asked = out.decide(params={"fraction": 0.2}, what_if=True)
    assert sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file()) == before
    assert asked.overlap == {"both": asked.kept, "new": 0, "old": out.counts.kept - asked.kept}
    made = out.decide(params={"fraction": 0.2})
    assert fingerprint_of(tmp_path / "out") == fingerprint_of(tmp_path / "wanted")
    assert made.counts.kept == asked.kept < out.counts.kept
    # A decision that was opened earlier stays as it was.
    assert poolsieve.open(tmp_path / "out").decision == made.decision != out.decision
    assert pc.sum(out.ledger(["keep"])["keep"]).as_py() == out.counts.kept
    assert made.remove_older() == [f"decisions/{out.decision}"]


def test_a_recipe_made_in_python_is_remembered_by_its_run_alone(pool: Path, tmp_path: Path) -> None:
    out = poolsieve.run(recipe_object(pool), tmp_path / "out")
    assert out.decide().decision == out.decision
    with pytest.raises(PlanError, match="made from Python"):
        poolsieve.open(tmp_path / "out").decide()
    moved = poolsieve.open(tmp_path / "out").decide(recipe_object(pool))
    assert moved.counts == out.counts
    with pytest.raises(PlanError, match="params and include are for recipe files"):
        out.decide(params={"fraction": 0.1})


def test_parameters_of_any_type_reach_the_recipe(pool: Path, tmp_path: Path) -> None:
    path = tmp_path / "typed.py"
    path.write_text(
        "from poolsieve.dataflow import Pool\nfrom poolsieve.filters import Keep, col\n"
        "def recipe(pool, limits, strict):\n"
        "    assert limits == [1, 2.5] and strict is True, (limits, strict)\n"
        "    return Pool.parquet(pool + '/*.parquet', text='text') | Keep(col('clip') > 0)\n"
    )
    out = poolsieve.run(path, tmp_path / "out", params={"pool": str(pool), "limits": [1, 2.5], "strict": True})
    assert out.counts.rows_in == 1200
    with pytest.raises(PlanError, match=r"a recipe is a \.py or \.yaml file"):
        poolsieve.run(tmp_path / "recipe.json", tmp_path / "out")


def test_warnings_are_python_warnings_or_said(pool: Path, tmp_path: Path) -> None:
    everything = poolsieve.Pool.parquet(f"{pool}/*.parquet", text="text") | Top("clip", fraction=1)
    with pytest.warns(UserWarning, match="keeps everything"):
        poolsieve.run(everything, tmp_path / "out")
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        poolsieve.run(everything, tmp_path / "out", say=said.append)
    assert len(said) == 1


def test_a_folder_shows_its_funnel_and_no_whole_run_is_refused(pool: Path, tmp_path: Path) -> None:
    out = poolsieve.run(recipe_object(pool), tmp_path / "out")
    assert "clip.below_cut" in out._repr_html_() and f"{out.counts.kept} of 1,200 rows kept" in repr(out)
    with pytest.raises(PlanError, match=r"no manifest\.json"):
        poolsieve.open(tmp_path / "nothing")


def test_wrong_arguments_are_told_in_words(pool: Path, tmp_path: Path) -> None:
    out = poolsieve.run(recipe_object(pool), tmp_path / "out")
    with pytest.raises(TypeError, match=r"decide\(\) takes no 'fractoin'"):
        out.decide(fractoin=0.1)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"takes no 'wokers'\. Did you mean 'workers'"):
        poolsieve.decide(recipe_object(pool), tmp_path / "out", wokers=2)  # type: ignore[call-overload]
    with pytest.raises(PlanError, match="workers='auto'"):
        poolsieve.run(recipe_object(pool), tmp_path / "out", workers="auto")  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="not int"):
        poolsieve.run(5, tmp_path / "out")  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="give a list of names"):
        out.ledger("uid")
    assert poolsieve.open(tmp_path / "out").decision == out.decision


def test_columns_that_no_file_has_alone(pool: Path, tmp_path: Path) -> None:
    out = poolsieve.run(recipe_object(pool), tmp_path / "out")
    assert out.ledger(["path"]).num_rows == 1200 and out.ledger(["path"]).column_names == ["path"]
    assert out.ledger(["row", "path"])["row"].to_pylist() == out.ledger()["row"].to_pylist()


def test_a_folder_opened_before_another_decision_does_not_act_on_that_one(pool: Path, tmp_path: Path) -> None:
    older = poolsieve.run(recipe_object(pool), tmp_path / "out")
    poolsieve.run(poolsieve.Pool.parquet(f"{pool}/*.parquet", uid="uid") | Keep(col("clip") > 0), tmp_path / "out")
    for act in (older.export, older.decide):
        with pytest.raises(PlanError, match="has become the current one"):
            act()
    assert not (tmp_path / "out" / "export").exists()


def test_exports_go_through_the_same_function(pool: Path, tmp_path: Path) -> None:
    out = poolsieve.run(recipe_object(pool), tmp_path / "out")
    out.export()
    found = pa.concat_tables(pq.read_table(path) for path in (tmp_path / "out" / "export").rglob("*.parquet"))
    assert found.num_rows == out.counts.kept


def test_out_that_was_removed_between_two_runs_is_made_whole_again(pool: Path, tmp_path: Path) -> None:
    """As a notebook does: what a process remembers of one run must not hide what another one lacks."""
    recipe = recipe_object(pool) | Keep(col("text").word_count() >= 2, reason="text.short")
    poolsieve.run(recipe, tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    out = poolsieve.run(recipe, tmp_path / "out")
    assert len(list((tmp_path / "out" / "scores").glob("*/scorer.json"))) == 2
    assert out.decide().counts == out.counts


def test_a_process_remembers_nothing_of_a_run_that_has_ended(pool: Path, tmp_path: Path) -> None:
    before = set(session._sessions)
    out = poolsieve.run(recipe_object(pool), tmp_path / "out")
    out.decide()
    out.decide(what_if=True)
    poolsieve.plan(recipe_object(pool), tmp_path / "out")
    pq.write_table(text_table(10, 5).drop_columns(["clip"]), pool / "part-000.parquet")
    with pytest.raises(PlanError):
        poolsieve.run(recipe_object(pool), tmp_path / "out")

    def refuses(warning: str) -> None:
        raise ValueError(warning)

    everything = poolsieve.Pool.parquet(f"{pool}/part-001.parquet", text="text") | Top("clip", fraction=1)
    with pytest.raises(ValueError, match="keeps everything"):
        poolsieve.run(everything, tmp_path / "out", say=refuses)
    assert set(session._sessions) <= before


def test_two_runs_in_one_process_do_not_meet(tmp_path: Path) -> None:
    outs = []
    for place in ("a", "b"):
        pool = write_pool(tmp_path / place / "pool", sizes=(40, 30))
        outs.append(poolsieve.run(recipe_object(pool), tmp_path / place / "out"))
    assert fingerprint_of(outs[0].url) == fingerprint_of(outs[1].url)
