"""Values out of what a model wrote."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from poolsieve.scoring_models.endpoints.reading import MOST_TEXT, Unreadable, read
from tests.linear import check_linear

ONE = {"quality": pa.float32()}
FLAGS = {"is_wrong": pa.bool_(), "is_odd": pa.bool_()}
MIXED = {"kind": pa.string(), "stars": pa.int8()}


@pytest.mark.parametrize(
    ("reply", "columns", "wanted"),
    [
        ('{"quality": 3}', ONE, {"quality": 3.0}),
        ('Here you are:\n```json\n{"quality": 3.5, "reason": "because {x}"}\n```\nDone', ONE, {"quality": 3.5}),
        ('{"quality": "4"}', ONE, {"quality": 4.0}),
        ('{"Quality ": 4}', ONE, {"quality": 4.0}),
        ('{x} {"reason": "no"} {"quality": 1} {"quality": 2}', ONE, {"quality": 1.0}),
        ('<think>{"quality": 1}</think>{"quality": 2}', ONE, {"quality": 2.0}),
        ('{"a": {"quality": 9}} {"quality": 2}', ONE, {"quality": 2.0}),
        ("4", ONE, {"quality": 4.0}),
        (" **4.5** ", ONE, {"quality": 4.5}),
        ("I think so.\nQuality: 3", ONE, {"quality": 3.0}),
        ("- **Quality**: 2 (it was 1)\n", ONE, {"quality": 2.0}),
        ("quality = -1.5", ONE, {"quality": -1.5}),
        ("quality: 1\nquality: 2", ONE, {"quality": 2.0}),
        ("score: 3", {"": pa.float32()}, {"": 3.0}),
        ("Is valid: Yes", {"is_valid": pa.bool_()}, {"is_valid": True}),
        ("no.", {"is_valid": pa.bool_()}, {"is_valid": False}),
        ('{"is_wrong": true, "is_odd": "No"}', FLAGS, {"is_wrong": True, "is_odd": False}),
        ('{"is-wrong": "TRUE", "Is Odd": 0}', FLAGS, {"is_wrong": True, "is_odd": False}),
        ('{"kind": "poem", "stars": 5.0}', MIXED, {"kind": "poem", "stars": 5}),
        ('{"kind": "' + "x" * 5000 + '", "stars": 5}', MIXED, {"kind": "x" * MOST_TEXT, "stars": 5}),
    ],
)
def test_read_leniently(reply: str, columns: dict[str, pa.DataType], wanted: dict[str, Any]) -> None:
    assert read(reply, columns) == wanted


@pytest.mark.parametrize(
    ("reply", "columns"),
    [
        ("", ONE),
        ("no idea", ONE),
        ("between 3 and 4", ONE),
        ("3 4", ONE),
        ("quality: high", ONE),
        ("the quality: 3 of 5", ONE),  # no line of its own
        ('{"quality": null}', ONE),
        ('{"quality": true}', ONE),
        ('{"quality": [3]}', ONE),
        ('{"quality": NaN}', ONE),
        ('{"quality": 1e999}', ONE),
        ('{"quality": 1e39}', ONE),
        ('{"quality": 1' + "0" * 5000 + "}", ONE),
        ('{"quality": 3', ONE),
        ('{\n  "quality": 3', ONE),
        ('[{"a": 1}]', ONE),
        ('{"is_wrong": true}', FLAGS),
        ('{"is_wrong": true, "is_odd": "maybe"}', FLAGS),
        ('{"is_wrong": true, "is_odd": 0.5}', FLAGS),
        ("is_wrong: true\nis_odd: false", FLAGS),
        ('{"kind": 3, "stars": 5}', MIXED),
        ('{"kind": "a", "stars": 5.5}', MIXED),
        ('{"kind": "a", "stars": 128}', MIXED),
    ],
)
def test_what_is_not_there_is_never_guessed(reply: str, columns: dict[str, pa.DataType]) -> None:
    with pytest.raises(Unreadable):
        read(reply, columns)


def test_a_reply_that_was_cut_short_counts_only_as_an_object() -> None:
    assert read('{"quality": 3}, that is', ONE, cut=True) == {"quality": 3.0}
    for reply in ("3", "quality: 3"):
        with pytest.raises(Unreadable):
            read(reply, ONE, cut=True)


@pytest.mark.parametrize("number", [-0.1, 5.1])
def test_bounds_are_held(number: float) -> None:
    assert read('{"quality": 0}', ONE, 0, 5)["quality"] == 0
    with pytest.raises(Unreadable, match="not from 0 to 5"):
        read(f'{{"quality": {number}}}', ONE, 0, 5)


@pytest.mark.parametrize(
    "reply",
    [
        "{" * 32_000,
        '{"a":' * 6_000,
        '{"a": "' * 4_000,
        "[" * 32_000,
        "quality" * 4_500,
        "quality: " * 3_500,
        "*" * 32_000,
        " \n" * 16_000,
        ("quality" + "*" * 9 + "\n") * 2_000,
        "</think>" * 4_000,
        "9" * 32_000,
        "{}" * 16_000,
    ],
    ids=lambda reply: reply[:12],
)
def test_no_reply_takes_long(reply: str) -> None:
    def once(reply: str) -> None:
        with pytest.raises(Unreadable):
            read(reply, ONE)

    check_linear(once, reply)
