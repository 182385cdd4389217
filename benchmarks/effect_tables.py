"""Tables and spreads of the pages that benchmarks write."""

from __future__ import annotations

import statistics
from collections.abc import Iterable


def spread(values: Iterable[float], form: str = "{:.1f}") -> str:
    """Median, and least to most."""
    given = list(values)
    texts = [form.format(value) for value in (statistics.median(given), min(given), max(given))]
    return f"{texts[0]} ({texts[1]} to {texts[2]})"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Markdown."""
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
