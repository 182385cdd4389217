"""The part of a report on evaluation suites."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, col, labels
from poolsieve.jobs.report.data import report_data
from poolsieve.jobs.report.page import render
from poolsieve.jobs.report.suites import Tally, curve_points, spearman, suites_of
from tests.conftest import ledger
from tests.filters.items.answers import write_items
from tests.filters.test_suite import model_means, whole


def test_spearman_shares_ranks_among_equals() -> None:
    assert spearman([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    # By hand: ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4.
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)
    assert spearman([1, 1, 1], [1, 2, 3]) is None
    assert spearman([], []) is None


def test_a_report_says_how_kept_items_tell_models_apart(tmp_path: Path) -> None:
    rows = write_items(tmp_path / "pool", count=400)
    made = poolsieve.run(whole(tmp_path / "pool"), str(tmp_path / "out"))
    summary = poolsieve.open(str(tmp_path / "out")).summary
    found = suites_of(summary)
    chart = found.suites[0].groups[0]
    lines = ledger(tmp_path / "out").to_pylist()
    of = {row["id"]: row for row in rows}
    there = [one for one in lines if one["panel.discrimination"] is not None and one["capability"] == "chart"]
    kept = [one for one in there if one["keep"]]
    assert (chart.group, chart.items, chart.kept_items) == ("chart", len(there), len(kept))
    assert chart.total == pytest.approx(sum(one["panel.discrimination"] for one in there), abs=1e-9)
    assert chart.kept == pytest.approx(sum(one["panel.discrimination"] for one in kept), abs=1e-9)
    alive = [
        one for one in lines if one["reason"] in (None, "suite.not_discriminative") and one["capability"] == "chart"
    ]
    whole_means = model_means([of[one["uid"]] for one in alive])
    kept_means = model_means([of[one["uid"]] for one in alive if one["keep"]])
    models = sorted(whole_means)
    wanted = spearman([kept_means[model] for model in models], [whole_means[model] for model in models])
    assert chart.rank_correlation == pytest.approx(wanted)
    assert chart.curve[-1] == (1.0, 1.0)
    assert found.flags[0].counts["flagged"] >= found.flags[0].counts["without a verdict"] > 0
    page = render(report_data(str(tmp_path / "out"), summary, samples=False))
    assert 'id="suite"' in page and "<polyline" in page
    assert made.manifest.decision == summary.decision


def test_counts_of_other_derived_values_are_shown(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    rows = [{"id": str(n), "kind": f"<{n % 2}>", "vector": [n % 2 + n / 500, 1.0]} for n in range(40)]
    rows[0]["kind"], rows[1]["kind"] = "<1>", None
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    pool = Pool.parquet(f"{tmp_path}/p.parquet", uid="id")
    made = poolsieve.run(
        pool | labels.neighbours(label="kind", embedding="vector", method="vote"), str(tmp_path / "out")
    )
    counts = {"judged": 39, "issues": 1, "not judged and kept": 1}
    assert suites_of(made.summary).tallies == [Tally(name="labels.issue", group="", counts=counts)]
    page = render(report_data(str(tmp_path / "out"), made.summary, samples=False))
    assert "<h2>Counts</h2>" in page and "1 issues, 39 judged, 1 not judged and kept." in page


def test_a_curve_stays_in_its_frame() -> None:
    points = [tuple(map(float, one.split(","))) for one in curve_points([(0, 0), (0.5, 3), (1, 1)]).split()]
    assert all(8 <= x <= 212 and 8 <= y <= 122 for x, y in points)


def test_samples_of_items_show_the_answer_that_is_stored(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    items = {"question": ["How many?", "Which?", None], "answer": ["4", None, "x"], "n": [1, 1, 1]}
    pq.write_table(pa.table(items), tmp_path / "pool" / "a.parquet")
    pool = Pool.parquet(f"{tmp_path}/pool/*.parquet", question="question", answer="answer", n="n")
    made = poolsieve.run(pool | Keep(col("n") > 1, reason="a.b"), str(tmp_path / "out"))
    samples = report_data(str(tmp_path / "out"), made.summary).samples
    assert samples is not None
    captions = {row.row: row.caption for row in samples.reasons[0].rows}
    assert captions == {0: "How many?\n\N{RIGHTWARDS ARROW} 4", 1: "Which?", 2: "x"}
