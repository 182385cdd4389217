"""`make demo-suite`: its planted suite, and the steps of the Makefile over a smaller one."""

from __future__ import annotations

import collections
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

pytest.importorskip("transformers")

from tests import forked
from tests.conftest import ledger

REPOSITORY = Path(__file__).parents[1]
DEMO = REPOSITORY / "recipes" / "demo"


def make(folder: Path, *more: str) -> str:
    command = [sys.executable, DEMO / "make_suite.py", folder, "--rows", "400", "--shards", "2", *more]
    return forked.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's suite, 400 items in two shards, of which the tiny models are asked twelve."""
    target = tmp_path_factory.mktemp("demo") / "suite"
    said = make(target, "--asked", "0.03")
    assert "224 good" in said and "36 wrong_label" in said
    return target


def lines(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def test_a_seed_plants_the_same_bytes(suite: Path, tmp_path: Path) -> None:
    make(tmp_path / "again", "--asked", "0.03")
    names = [path.relative_to(suite) for path in sorted(suite.rglob("*.parquet"))]
    assert len(names) == 7
    assert all((suite / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)


def test_what_is_planted_is_there(suite: Path) -> None:
    import io

    from PIL import Image

    rows = [row for path in sorted(suite.glob("items/*.parquet")) for row in lines(path)]
    plant = {row["uid"]: row for row in lines(suite / "plant.parquet")}
    assert [row["uid"] for row in rows] == list(plant)
    for row in rows:
        kind, wide = plant[row["uid"]]["kind"], Image.open(io.BytesIO(row["image"])).width
        assert (wide < 10) == (kind == "needs_resolution")
        assert plant[row["uid"]]["open"] == (row["options"] is None) == (row["source"] == "PicAsk")
        if row["options"]:
            assert row["answer"] in row["options"] and len(set(row["options"])) == len(row["options"])
    leaks = [row for row in rows if plant[row["uid"]]["kind"] == "leak" and row["capability"] == "colour"]
    assert leaks and all(f"{row['answer']}" in row["question"] for row in leaks)


def test_the_tiny_models_are_asked_and_read_what_leaks(suite: Path) -> None:
    said = lines(suite / "answers.parquet")
    asked = collections.Counter((line["model"], line["image"]) for line in said if not line["model"].startswith("sim-"))
    assert asked == {(name, image): 12 for name in ("eye", "glimpse") for image in (False, True)} | {
        ("reader", False): 12
    }
    assert len(said) == 400 * 24 * 2 + 12 * 5


def test_models_that_see_see(tmp_path: Path) -> None:
    """Far better than a guess with the picture, and no better than one without it."""
    sys.path.insert(0, str(DEMO))
    try:
        import make_suite
        import numpy as np
        import suite_items
    finally:
        sys.path.remove(str(DEMO))
    items = [suite_items.make_item(np.random.default_rng([5, i]), "good", "colour", "PicAsk") for i in range(40)]
    said = list(make_suite.tiny_answers(make_suite.items_table(items), ["eye"]))
    right = {
        image: sum(text == items[int(uid[-5:])].answer for uid, _, shown, text in said if shown is image)
        for image in (True, False)
    }
    assert right[True] > 20 > 14 > right[False]


def commands() -> list[list[str]]:
    """What the Makefile runs for `demo-suite`, its folder as `demo`."""
    text = (REPOSITORY / "Makefile").read_text()
    rule, given = re.search(r"^demo-suite:.*\n((?:\t.*\n)+)", text, re.M), re.search(r"^SUITE := (.*)$", text, re.M)
    assert rule and given
    made = rule.group(1).replace("$(SUITE)", given.group(1)).replace("$(DEMO)", "demo")
    return [shlex.split(line) for line in made.replace("$(BIN)/", "").strip().splitlines()]


def test_the_demo_takes_a_stranger_to_a_cleaned_suite(suite: Path, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "suite").symlink_to(suite)
    (tmp_path / "recipes").symlink_to(REPOSITORY / "recipes")
    said = []
    for command in commands():
        program = {"poolsieve": ["-m", "poolsieve.jobs.cli"], "python": []}[command[0]]
        short = ["-p", "count=20"] if command[1] in ("plan", "run") else []
        line = [sys.executable, *program, *command[1:], *short]
        done = forked.run(line, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        said.append(done.stdout + done.stderr)
    assert "warning: suite" not in said[0]  # the demo's own limits lie outside guessing
    assert "no longer kept" in said[2]  # by tau = 6
    found = ledger(tmp_path / "demo" / "out-suite")
    reasons = collections.Counter(found["reason"].to_pylist())
    assert reasons[None] == 60
    plant = {row["uid"]: row["kind"] for row in lines(suite / "plant.parquet")}
    hits = collections.Counter(
        (plant[row["uid"]], row["reason"]) for row in found.select(["uid", "reason"]).to_pylist()
    )
    assert hits["leak", "suite.blind_solvable"] > 0.8 * 56 and hits["wrong_label", "suite.wrong_label"] > 5
    valid = sum(count for (kind, reason), count in hits.items() if reason is None and kind in ("good", "frontier"))
    assert valid > 0.8 * 60 > 0.61 * 60
    assert f"{hits['leak', 'suite.blind_solvable']}" in next(
        line for line in said[-1].splitlines() if line.startswith("leak")
    )
    kept = [row for path in (tmp_path / "demo" / "suite-kept").rglob("*.parquet") for row in lines(path)]
    assert {row["uid"] for row in kept} == set(found.filter(found["keep"])["uid"].to_pylist())
    (report,) = (tmp_path / "demo" / "out-suite").rglob("report.html")
    assert "panel.discrimination" in report.read_text() and str(report) in said[-1].replace(
        "demo/", f"{tmp_path}/demo/", 1
    )
    assert json.loads((report.parent / "report.json").read_text())
