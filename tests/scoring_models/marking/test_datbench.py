"""Marks against those of DatBench's own scorers on built inputs, and each difference with its reason.

`datbench.json` has what the scorers of datologyai/DatBench (MIT) gave for (prediction, gold) pairs made for this test,
at the commit that it names; `datbench_differences.json` has reason -> row -> our mark, for every row where we differ.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from poolsieve.scoring_models.marking import DATBENCH, Gold, Scoring, mark
from poolsieve.scoring_models.marking.vqa import CONTRACTIONS

HERE = Path(__file__).parent
ROWS: list[dict[str, Any]] = json.loads((HERE / "datbench.json").read_text())["rows"]
REASONS: dict[str, dict[str, float]] = json.loads((HERE / "datbench_differences.json").read_text())
DIFFER = {row: ours for rows in REASONS.values() for row, ours in rows.items()}
SCORERS = sorted({row["id"].rpartition("-")[0] for row in ROWS})


def ours(row: dict[str, Any]) -> float:
    gold = Gold(row.get("answer"), tuple(row.get("answers", ())), tuple(row.get("options", ())))
    return mark(row["how"], row["said"], gold)


@pytest.mark.parametrize("scorer", SCORERS)
def test_marks_are_those_of_the_scorer(scorer: str) -> None:
    rows = [row for row in ROWS if row["id"].rpartition("-")[0] == scorer and row["id"] not in DIFFER]
    assert {row["id"]: ours(row) for row in rows} == pytest.approx({row["id"]: row["score"] for row in rows}, abs=1e-12)
    if scorer != "docvqa-thresholded":  # made of what lies about a half
        assert {0.0, 1.0} <= {round(row["score"], 9) for row in rows}


@pytest.mark.parametrize("reason", REASONS)
def test_a_difference_is_the_one_that_is_listed(reason: str) -> None:
    by_id = {row["id"]: row for row in ROWS}
    for name, mine in REASONS[reason].items():
        assert ours(by_id[name]) == pytest.approx(mine, abs=1e-12)
        assert by_id[name]["score"] != pytest.approx(mine, abs=1e-12)


def test_every_way_that_datbench_has_is_compared() -> None:
    ways = Counter(row["how"].partition(":")[0] for row in ROWS)
    assert set(ways) == {"exact", "numeric", "count", "letter", "vqa", "anls", "iou"}
    assert min(ways.values()) > 50


def test_contractions_are_those_of_the_evaluation() -> None:
    """Their number, the forms with two apostrophes, and the one that is the wrong way round."""
    assert len(CONTRACTIONS) == 114
    assert CONTRACTIONS["couldn'tve"] == CONTRACTIONS["couldnt've"] == "couldn't've"
    assert CONTRACTIONS["somebody'd"] == "somebodyd"
    assert "shes" not in CONTRACTIONS


def test_the_preset_has_the_ways_that_are_compared() -> None:
    """Under DatBench's names of data sets; its modules are called a little differently."""
    preset = Scoring.of(DATBENCH)
    compared = {row["id"].rpartition("-")[0]: row["how"] for row in ROWS}
    for scorer in set(compared) - {"docvqa-thresholded", "fallback", "refcoco", "ocrvqa", "mme_realworld"}:
        assert preset.ways[scorer] == compared[scorer]
    assert preset.how("refcoco_testA") == "iou:0.5" and preset.how("ocr-vqa") == compared["ocrvqa"]
    assert preset.how("mme-realworld-ad") == "letter" and preset.how("charxiv_reasoning") == "normalised"
