"""Bars of scores: no row is lost, whatever the scores, and a cut parts the colours."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.filters.dsl.cuts import order_keys
from poolsieve.jobs.report.bars import BINS, Digits, _rows_between, _split_at_cuts, rebin
from poolsieve.jobs.report.charts import axis_count, chart_of, nice_ticks
from poolsieve.jobs.report.histograms import Mark


def histogram(values: np.ndarray[Any, Any], kept: np.ndarray[Any, Any]) -> dict[int, tuple[int, int]]:
    keys, _ = order_keys(pa.array(values.astype(np.float32)), lowest=True)
    digits = (keys >> np.uint64(16)).astype(np.int64)
    yes, no = Counter(digits[kept].tolist()), Counter(digits[~kept].tolist())
    return {digit: (yes[digit], no[digit]) for digit in {*yes, *no}}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.floats(width=32, allow_nan=False), st.booleans()), min_size=1, max_size=300), st.booleans()
)
def test_rebinning_loses_no_row(rows: list[tuple[float, bool]], whole: bool) -> None:
    values, kept = np.array([value for value, _ in rows]), np.array([keep for _, keep in rows])
    made = rebin(histogram(values, kept), whole=whole)
    if made is None:
        assert not np.isfinite(values).any()
        return
    assert sum(made.kept) + sum(made.dropped) + made.below + made.above + made.infinite == len(rows)
    assert len(made.edges) == len(made.kept) + 1 == len(made.dropped) + 1
    assert len(made.kept) <= BINS + 2
    assert (np.diff(made.edges) > 0).all()
    chart_of(made)


def test_rebinned_bars_are_those_of_numpy() -> None:
    r = np.random.default_rng(2)
    values = r.normal(0.25, 0.05, 200_000).astype(np.float32)
    made = rebin(histogram(values, values >= 0.27), [0.27], low=0.27)
    assert made is not None
    direct, _ = np.histogram(values, made.edges)
    both = np.array(made.kept) + np.array(made.dropped)
    assert np.abs(both - direct).max() < 0.05 * direct.max()
    assert min(abs(edge - 0.27) for edge in made.edges) < 1e-9
    middles = (np.array(made.edges[1:]) + np.array(made.edges[:-1])) / 2
    assert not np.array(made.kept)[middles < 0.27].any()


def test_whole_numbers_have_a_bar_each() -> None:
    values = np.repeat(np.arange(12), np.arange(12) + 1)
    made = rebin(histogram(values, values > 3), whole=True)
    assert made is not None and made.edges == [i - 0.5 for i in range(13)]
    assert [k + d for k, d in zip(made.kept, made.dropped, strict=True)] == list(range(1, 13))


def test_a_few_rows_far_out_do_not_hide_the_others() -> None:
    r = np.random.default_rng(4)
    captions, spam = r.integers(10, 71, 4000), np.full(60, 9000)
    values = np.concatenate([captions, spam])
    made = rebin(histogram(values, values > 30), [5], whole=True)
    assert made is not None and made.edges[-1] < 150 and made.edges[0] < 5 and made.above == 60
    assert np.count_nonzero(made.kept) + np.count_nonzero(made.dropped) > 15


def test_where_nearly_all_scores_are_the_same_the_others_are_shown() -> None:
    values = np.concatenate([np.zeros(970), np.linspace(1, 100, 30)])
    made = rebin(histogram(values, values > 50))
    assert made is not None and made.edges[-1] > 80


def test_ticks_are_round() -> None:
    assert nice_ticks(0.13, 0.41, 6) == [0.15, 0.2, 0.25, 0.3, 0.35, 0.4]
    assert nice_ticks(-3, 17, 4) == [0, 5, 10, 15]
    assert [axis_count(n) for n in (0, 950, 1200, 2_000_000)] == ["0", "950", "1.2k", "2M"]


def digits(low: list[float], high: list[float], kept: list[float], dropped: list[float]) -> Digits:
    return Digits(*(np.array(values, dtype=np.float64) for values in (low, high, kept, dropped)), infinite=0)


def test_the_worked_example_of_rows_between_edges() -> None:
    made = digits([0, 2], [2, 3], [4, 3], [0, 0])
    assert _rows_between(made, made.kept, np.array([1, 2.5]), whole=False).tolist() == [2, 4, 1]


def test_the_worked_example_of_a_digit_that_holds_a_cut() -> None:
    above = _split_at_cuts(digits([0.25], [0.26], [6], [4]), low=0.2525, high=np.inf)
    assert (above.low.tolist(), above.high.tolist()) == ([0.25, 0.2525], [0.2525, 0.26])
    assert (above.kept.tolist(), above.dropped.tolist()) == ([0, 6], [2.5, 1.5])
    few = _split_at_cuts(digits([0.25], [0.26], [6], [2]), low=0.2525, high=np.inf)
    assert (few.kept.tolist(), few.dropped.tolist()) == ([0, 6], [2, 0])
    below = _split_at_cuts(digits([0.25], [0.26], [6], [4]), low=-np.inf, high=0.2575)
    assert (below.kept.tolist(), below.dropped.tolist()) == ([6, 0], [1.5, 2.5])


def test_lines_too_near_to_one_another_share_a_label() -> None:
    values = np.linspace(0, 1, 1001)
    made = rebin(histogram(values, values > 0.5))
    assert made is not None
    places = ((0.1, "cut"), (0.12, "limit"), (0.14, "cut"), (0.8, "cut"), (0.82, "cut"), (9.0, "cut"))
    lines = chart_of(made, [Mark(kind=kind, value=value, label=f"at {value}") for value, kind in places]).lines
    assert [line.label for line in lines] == ["3 marks", "", "", "2 cuts", ""]
    assert [line.anchor for line in lines] == ["start"] * 3 + ["end"] * 2
