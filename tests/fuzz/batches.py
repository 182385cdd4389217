"""Many small inputs in one box; when the box does not end well, halves of them, until it is known which one it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.fuzz.boxes import LIMIT_SECONDS, boxed

Work = Callable[..., list[str]]
"""Paths of inputs -> what fell, one line each."""


def fell(work: Work, items: Sequence[Any], *args: Any, log: Path, limit: float = LIMIT_SECONDS) -> list[str]:
    """What fell of the items, each in a box with the others or, if need be, alone."""
    outcome = boxed(work, list(items), *args, log=log, limit=limit)
    if outcome.how == "ok":
        return list(outcome.value)
    if len(items) == 1:
        return [f"{items[0]}: {outcome.how} {' | '.join(outcome.text.strip().splitlines()[-8:])[-900:]}"]
    middle = len(items) // 2
    return [text for part in (items[:middle], items[middle:]) for text in fell(work, part, *args, log=log, limit=limit)]
