"""Whether something's time grows with what it is given, and no faster: on any machine, however busy."""

from __future__ import annotations

import time
from collections.abc import Callable

ENOUGH = 1.0
"""Seconds of the processor below which nobody asks how they grow."""

TRIES = 3
"""A machine that does other work can slow the one measure and not the other."""


def check_linear(call: Callable[[str], object], text: str, enough: float = ENOUGH) -> None:
    """Fails where twice the text takes four times as long, as a square would, rather than twice.

    Args:
        call: what is measured; each time from the same state.
        text: long enough that a square of its length takes far more than `enough` seconds.
        enough: seconds of the processor; what takes less passes.
    """
    for _ in range(TRIES):
        whole = _seconds(call, text)
        if whole < enough or whole < 3 * _seconds(call, text[: len(text) // 2]):
            return
    raise AssertionError(f"{whole:.1f} s for {len(text):,} characters, and less than a third of it for half of them")


def _seconds(call: Callable[[str], object], text: str) -> float:
    begun = time.process_time()
    call(text)
    return time.process_time() - begun
