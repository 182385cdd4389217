"""Differences of texts: nothing is lost, and hostile texts take no more steps than others."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsieve.jobs.report import diff as module
from poolsieve.jobs.report.diff import MOST_PIECES, PIECE_CHARS, Piece, diff

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f\n"]), max_size=30).map(" ".join)


def kinds(pieces: list[Piece]) -> list[tuple[str, str]]:
    return [(piece.kind, piece.text) for piece in pieces]


def test_one_word_of_another() -> None:
    found = diff("the cat sat on the mat today", "the cat sat on a mat today")
    assert kinds(found) == [("same", "the cat sat on "), ("gone", "the "), ("new", "a "), ("same", "mat today")]


def test_long_equal_runs_are_counted_and_not_shown() -> None:
    words = " ".join(f"w{i}" for i in range(100))
    found = kinds(diff(words, f"{words} more"))
    assert found[0] == ("skipped", "92 equal words") and found[-1] == ("new", "more")
    assert kinds(diff(words, words)) == [
        ("same", " ".join(words.split()[:8]) + " "),
        ("skipped", "92 equal words"),
    ]


@given(WORDS, WORDS)
def test_each_text_can_be_told_from_the_difference(kept: str, other: str) -> None:
    pieces = list(module._pieces(module._WORD.findall(kept), module._WORD.findall(other)))
    for skipped, text in (("new", kept), ("gone", other)):
        words = [word for kind, words in pieces if kind != skipped for word in words]
        assert [word.strip() for word in words if word.strip()] == text.split()


@pytest.mark.parametrize(
    ("kept", "other"),
    [
        ("a b " * 1500, "b a " * 1500),
        ("x " * 3000, "x " * 2999),
        (" ".join(map(str, range(2500))), " ".join(map(str, reversed(range(2500))))),
        (" ".join(map(str, range(2500))), " ".join(str(i + i % 2) for i in range(2500))),
        ("x" * 6000, "y" * 6000),
        ("\n" * 6000, " " * 6000),
    ],
)
def test_steps_grow_with_the_length_alone(kept: str, other: str) -> None:
    steps = 0

    def count(*_: object) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(count)
    try:
        found = diff(kept, other)
    finally:
        sys.setprofile(None)
    assert steps < 40 * (len(kept) + len(other))
    assert len(found) <= 3 * MOST_PIECES + 1 and all(len(piece.text) <= PIECE_CHARS + 2 for piece in found)
