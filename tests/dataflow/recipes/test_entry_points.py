"""A small real package, installed, adds scorers, rules and editors to YAML; a broken one is named when it is used."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import ledger

HERE = Path(__file__).parent
ROOT = HERE.parents[2]

RECIPE = """
pool: {parquet: "${pool}/docs.parquet", uid: uid, text: text}
stages:
  - shouting.calm: {at_most: 0.4}
  - edit: {text: {Quiet: {}}}
  - score: {after: Shouting}
  - shouting.unseen: {n: 3, exams: {finals: {parquet: "${pool}/exam.parquet", text: question}}}
"""

SAYS = """
import json, sys
from poolsieve.dataflow.recipes.yaml import recipe_from_yaml
from poolsieve.scoring_models.base.packages import package_versions

def said(stage):
    try:
        return str(recipe_from_yaml("pool: {parquet: x, text: text}\\nstages: [%s]" % stage, "r.yaml", {}).stages)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

from poolsieve_shouting import Shouting
print(json.dumps([package_versions([Shouting()])["poolsieve-shouting"], *map(said, sys.argv[1:])]))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables of a Python that has the package."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(HERE / "plugin", folder / "source")  # a build leaves files in the folder that it builds
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(folder / "site"), str(folder / "source")], check=True)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder / "site")])}


def test_an_installed_package_runs_from_yaml(environment: dict[str, str], tmp_path: Path) -> None:
    texts = ["a quiet text here", "A LOUD TEXT HERE", "One More Quiet Text", "the answer is known", None]
    pq.write_table(pa.table({"uid": [str(i) for i in range(5)], "text": texts}), tmp_path / "docs.parquet")
    pq.write_table(pa.table({"question": ["is it that the answer is no"]}), tmp_path / "exam.parquet")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    command = [
        sys.executable,
        "-m",
        "poolsieve.jobs.cli",
        "run",
        str(tmp_path / "recipe.yaml"),
        "-p",
        f"pool={tmp_path}",
    ]
    subprocess.run([*command, "--out", str(tmp_path / "out")], check=True, env=environment, capture_output=True)
    rows = ledger(tmp_path / "out")
    assert rows["reason"].to_pylist() == [None, "shouting.loud", None, "leak.contaminated", "shouting.loud"]
    assert rows["after"].to_pylist() == [0, None, 0, 0, None]


def test_what_an_entry_point_can_do_wrong_is_said_when_it_is_used(environment: dict[str, str]) -> None:
    wrong = ("shouting.gone", "shouting.heavy", "shouting.number", "shouting.cal", "shouting.calm: {at_least: 3}")
    command = [sys.executable, "-c", SAYS, *wrong, "gopher.quality"]
    made = subprocess.run(command, check=True, env=environment, capture_output=True, text=True, cwd="/").stdout
    version, gone, heavy, number, near, argument, own = json.loads(made)
    of = "of poolsieve-shouting 1.2, which can't be imported"
    assert version == "1.2"
    assert gone.startswith(
        f"PlanError: r.yaml, line 2, stage 1: 'shouting.gone' is poolsieve_shouting:gone {of}: AttributeError"
    )
    assert f":heavy {of}: ModuleNotFoundError: No module named 'poolsieve_shouting_with" in heavy
    assert number == "PlanError: r.yaml, line 2, stage 1: 'shouting.number' made no stage, but 3"
    assert "Did you mean 'shouting.calm'" in near
    assert "at_least" in argument
    assert "GopherQuality" in own, "a package gave another meaning to a name of poolsieve's own"
