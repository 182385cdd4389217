"""`benchmarks/suite_effect.py`: its arithmetic, the whole of it at sizes that measure little, and its page."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

pytestmark = pytest.mark.usefixtures("beside_the_benchmarks")


def planted(kinds: list[str], right: Any, skills: list[float], open_questions: list[bool] | None = None) -> Any:
    from suite_measures import Planted

    n = len(kinds)
    return Planted(
        uids=np.array([str(i) for i in range(n)]),
        kinds=np.array(kinds),
        capabilities=np.full(n, "colour"),
        open=np.array(open_questions or [True] * n),
        right=np.array(right, dtype=bool),
        skills={"colour": np.array(skills)},
        tiny={},
    )


def test_stages_are_counted_against_the_plant() -> None:
    from suite_measures import against_plant

    kinds = ["leak", "leak", "good", "good", "wrong_label", "wrong_label", "frontier", "ambiguous"]
    forms = [True, False, True, False, True, False, True, True]
    reasons = ["suite.blind_solvable", "", "suite.blind_solvable", "", "suite.wrong_label", "", "suite.ambiguous", ""]
    flagged = [False, False, False, False, True, False, True, False]
    made = against_plant(planted(kinds, np.zeros((8, 2)), [0, 1], forms), np.array(reasons), np.array(flagged))
    blind, wrong = made["stages"]["suite.blind_solvable"], made["stages"]["suite.wrong_label"]
    assert (blind["dropped"], blind["precision"], blind["recall"]) == (2, 0.5, 0.5)
    assert (blind["recall open"], blind["recall choice"]) == (1.0, 0.0)
    assert (wrong["precision"], wrong["recall"], wrong["flagged open"], wrong["flagged choice"]) == (1.0, 0.5, 1.0, 0.0)
    assert made["stages"]["suite.ambiguous"]["precision"] == 0.0
    assert made["stages"]["suite.needs_resolution"]["precision"] is None
    assert made["lost"]["all"] == {"blind": pytest.approx(1 / 3), "judged": pytest.approx(1 / 3)}
    assert (made["valid before"], made["valid after"], made["left"]) == (3 / 8, 1 / 4, 4)


def test_subsets_are_compared_with_the_whole_and_with_the_truth() -> None:
    from suite_measures import of_subset

    right = [[0, 0, 1], [0, 1, 1], [1, 0, 0]]
    suite = planted(["good"] * 3, right, [1.0, 2.0, 3.0])
    every, r = np.ones(3, dtype=bool), np.array([0.5, 0.75, -0.25])
    two = of_subset(suite, np.array([True, True, False]), every, r)
    assert two == {
        "items": 2,
        "total": 1.25,
        "whole": pytest.approx(0.8660254),
        "true": pytest.approx(1.0),
        "valid": 1.0,
    }
    assert of_subset(suite, every, every, r)["whole"] == pytest.approx(1.0)


def test_a_size_counts_where_no_larger_one_is_below() -> None:
    from suite_measures import reached

    curve = {"5": {"true": 0.96}, "10": {"true": 0.8}, "20": {"true": 0.95}, "40": {"true": 0.97}}
    assert reached(curve, "true", 0.95) == 20 and reached(curve, "true", 0.5) == 5
    assert reached(curve, "true", 0.99) is None


def test_random_subsets_have_as_many_of_each_capability() -> None:
    from suite_measures import random_subset

    suite = planted(["good"] * 6, np.zeros((6, 2)), [0, 1])
    whole = np.array([True, True, False, True, True, True])
    made = random_subset(suite, whole, 3, np.random.default_rng(0))
    assert made.sum() == 3 and not made[2]
    assert random_subset(suite, whole, 9, np.random.default_rng(0)).sum() == 5


def test_the_whole_of_it_runs_and_its_page_says_what_it_found(tmp_path: Path) -> None:
    import suite_page

    out = tmp_path / "result.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "suite_effect.py"), "--test", "--json", str(out)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(out.read_text())
    (one,) = result["seeds"]
    chance, six = one["taus"]["chance"], one["taus"]["6"]
    assert chance["stages"]["suite.blind_solvable"]["recall"] > 0.8
    assert six["lost"]["choice"]["blind"] > 0.4 > 0.1 > chance["lost"]["choice"]["blind"]
    assert chance["valid after"] > chance["valid before"]
    for size in ("10", "40"):
        assert one["subsets"]["discriminative"][size]["total"] > 1.2 * one["subsets"]["random"][size]["total"]
        assert one["subsets"]["discriminative"][size]["items"] <= 3 * int(size)
    assert set(one["tiny"]) == {"eye", "glimpse", "reader"}
    suite_page.write(result, tmp_path)
    text = (tmp_path / "suite-effect.md").read_text()
    assert f"{six['lost']['choice']['blind']:.0%}" in text and one["examples"][0]["question"] in text


def test_the_page_in_docs_is_what_the_results_say() -> None:
    import suite_page

    result = json.loads((DOCS / "suite-effect.json").read_text())
    assert result["size"] == "full" and len(result["seeds"]) >= 3
    assert (DOCS / "suite-effect.md").read_text() == suite_page.page(result)
    drawn = (DOCS / "suite-effect.svg").read_text()
    assert drawn == suite_page.plot(result)
    ET.fromstring(drawn)  # our own
