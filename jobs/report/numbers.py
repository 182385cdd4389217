"""Numbers and texts as people read them, in reports and on the terminal."""

from __future__ import annotations

import math
import unicodedata
from typing import Any

import numpy as np

_JOINERS = "\u200c\u200d"


def harmless(value: Any) -> Any:
    """What the page shows of a value: text without characters that hide or reorder what stands around them."""
    if value is None:
        return ""
    if type(value) is not str or (value.isascii() and value.isprintable()):
        return value
    return "".join(_visible(char) for char in value)


def _visible(char: str) -> str:
    if char in _JOINERS or char == "\n":
        return char
    category = unicodedata.category(char)
    if category in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") or ord(char) & 0xFFFE == 0xFFFE:
        return " " if char == "\t" else f"\N{LEFT CEILING}U+{ord(char):04X}\N{RIGHT FLOOR}"
    return char


def rows_text(count: int | None) -> str:
    """`1,234,567`, or a dash."""
    return f"{count:,}" if count is not None else "\N{EN DASH}"


def count_text(count: int | None) -> str:
    """A big number in three figures: 1.23 B, 45.6 M; a dash for None."""
    if count is None:
        return "\N{EN DASH}"
    value, units = float(count), iter(("", "\N{NO-BREAK SPACE}k", "\N{NO-BREAK SPACE}M", "\N{NO-BREAK SPACE}B"))
    unit = next(units)
    while value >= 999.5 and (after := next(units, None)) is not None:
        value, unit = value / 1000, after
    return f"{value:,.0f}{unit}" if value >= 100 or not unit else f"{value:.3g}{unit}"


def share_text(part: float | None) -> str:
    """A share in percent: 12.3 %, 0.02 %, below 0.01 %."""
    if part is None:
        return "\N{EN DASH}"
    percent = part * 100
    if 0 < percent < 0.01:
        return "< 0.01\N{NO-BREAK SPACE}%"
    digits = 0 if percent in (0, 100) else 1 if percent >= 1 else 2
    # 99.97 must not read as 100: only what is whole is shown so.
    shown = min(percent, 99.9) if digits == 1 else percent
    return f"{shown:.{digits}f}\N{NO-BREAK SPACE}%"


def percent_text(part: float | None) -> str:
    """A share in whole percents, as a sentence has it; what is neither nothing nor all is not shown as such."""
    if part is None:
        return "\N{EN DASH}"
    percent = part * 100
    if 0 < percent < 1:
        return "< 1\N{NO-BREAK SPACE}%"
    return f"{percent if percent in (0, 100) else min(percent, 99):.0f}\N{NO-BREAK SPACE}%"


def rate_text(rate: float | None) -> str:
    """Rows a second: 4,210, 12, 0.42, 0."""
    if rate is None:
        return "\N{EN DASH}"
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}" if rate >= 0.01 or not rate else "< 0.01"


def cores_text(cores: float, unit: bool = True) -> str:
    """`1 core`, `2 cores`, `1.5 cores`, or the number alone."""
    shown = f"{cores:.1f}".removesuffix(".0")
    return f"{shown} core{'' if shown == '1' else 's'}" if unit else shown


def size_text(nbytes: float) -> str:
    """Bytes for people, in powers of ten."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if nbytes < 1000:
            return f"{nbytes:.3g}\N{NO-BREAK SPACE}{unit}"
        nbytes /= 1000
    return f"{nbytes:.4g}\N{NO-BREAK SPACE}PB"


def seconds_text(seconds: float | None) -> str:
    """A duration: 0.42 s, 12.3 s, 4 min 10 s, 3 h 5 min."""
    if seconds is None:
        return "\N{EN DASH}"
    if 0 < seconds < 0.005:
        return "< 0.01 s"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def score_text(value: Any) -> str:
    """A score with the digits that tell it from its float32 neighbours; other values as they are."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "\N{EN DASH}" if value is None else str(value)
    if not math.isfinite(value):
        return str(value)
    if value == round(value):
        return f"{value:,.0f}"
    return str(np.float32(value)) if float(np.float32(value)) == value else f"{value:.6g}"
