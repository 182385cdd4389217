"""E-mail addresses are those of datatrove's pattern, in linear time."""

from __future__ import annotations

import random
import re

import pytest

from poolsieve.filters.pii import _ATOM, _LABEL, _LITERAL, emails_in, masked
from tests.linear import check_linear

PATTERN = re.compile(rf"\b{_ATOM}(?:\.{_ATOM})*@(?:(?:{_LABEL}\.)+{_LABEL}|{_LITERAL})")


def test_addresses_are_those_of_the_pattern() -> None:
    dice = random.Random(5)
    for _ in range(60_000):
        text = "".join(dice.choices(["a", "b.c", ".", "-", "@", "@a.b", "é", " ", "_", "'", "[1.2.3.4]", "9"], k=12))
        assert emails_in(text) == PATTERN.findall(text), text
        assert masked(text, ("X",), ()) == PATTERN.sub("X", text), text


@pytest.mark.parametrize("unit", ["a-", "a.", "a", "a@", "a@a.", "@", "a-@", "a@a-", "..a", "a@[1.", "é-"])
@pytest.mark.parametrize("end", ["@", "@a", "@a.b", ""])
def test_hostile_texts_take_linear_time(unit: str, end: str) -> None:
    check_linear(lambda text: (emails_in(text + end), masked(text + end)), unit * (200_000 // len(unit)))
