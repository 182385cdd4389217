"""Figures and texts as people read them."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.jobs.report.numbers import count_text, harmless, score_text, seconds_text, share_text, size_text


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_harmless_text_can_be_written_and_never_reorders(text: str) -> None:
    shown = harmless(text)
    shown.encode()
    assert not re.search(
        "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]", shown
    )


def test_numbers_for_people() -> None:
    assert (
        share_text(0.99999) == "99.9\N{NO-BREAK SPACE}%"
        and share_text(1.0) == "100\N{NO-BREAK SPACE}%"
        and share_text(None) == "–"
    )
    assert share_text(0.00001) == "< 0.01\N{NO-BREAK SPACE}%" and share_text(0) == "0\N{NO-BREAK SPACE}%"
    assert (
        score_text(float(np.float32(0.272))) == "0.272" and score_text(64) == "64" and score_text(float("inf")) == "inf"
    )
    assert [count_text(n) for n in (None, 0, 999, 1234, 999_700, 5 * 10**9, 2 * 10**12)] == [
        *("\N{EN DASH}", "0", "999", "1.23\N{NO-BREAK SPACE}k", "1\N{NO-BREAK SPACE}M", "5\N{NO-BREAK SPACE}B"),
        "2,000\N{NO-BREAK SPACE}B",
    ]
    assert size_text(1234567) == "1.23\N{NO-BREAK SPACE}MB"
    assert [seconds_text(s) for s in (0.123, 12.34, 250, 11100)] == [
        "0.12 s",
        "12.3 s",
        "4 min 10 s",
        "3 h 5 min",
    ]
    assert seconds_text(0.0004) == "< 0.01 s" and seconds_text(0) == "0.00 s"
