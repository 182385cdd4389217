"""Anybody's text in Markdown: as code, as prose, as a block, so that it is shown and nothing of it is obeyed.

What stands between backticks is taken as it is by every renderer: no HTML, no emphasis, no link that makes itself of an
address. So what may come from a pool is code, unless it has nothing in it but letters, digits and harmless marks.
Source: CommonMark 0.31 (code spans, fences), GitHub Flavored Markdown 0.29 (tables, autolinks).
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from poolsieve.jobs.report.numbers import harmless

MOST_CHARS = 200
"""Longest name that is shown whole."""

_PLAIN = re.compile(r"(?:[^\W_]|[ \u00a0,.;:'\"()%/+\u2013-])*")
_LINKS = ("://", "www.")
_RUNS = re.compile(r"`+")
_PIPES = re.compile(r"(\\*)\|")


class Markdown(str):
    """Text that is Markdown already: written by us, or escaped."""

    __slots__ = ()


def one_line(value: Any, most: int | None = MOST_CHARS) -> str:
    """A value as text without line ends and hidden characters, cut where it is longer than `most` characters."""
    text = str(value)
    cut = text if most is None or len(text) <= most else text[:most] + "\N{HORIZONTAL ELLIPSIS}"
    return str(harmless(" ".join(cut.splitlines())))


def quoted(text: str, safe: str = "/") -> str:
    """Text as a part of a URL; what UTF-8 can't spell is a question mark."""
    return quote(text, safe=safe, errors="replace")


def code(value: Any, most: int | None = MOST_CHARS) -> Markdown:
    """A value as a code span, outside tables."""
    text = one_line(value, most)
    if not text.strip(" "):
        return Markdown("*empty*")
    ticks = "`" * (_longest_run(text) + 1)
    # One space on both sides is taken off by readers: needed beside a backtick, and where the text has its own.
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    return Markdown(f"{ticks}{pad}{text}{pad}{ticks}")


def cell(value: Any, most: int | None = MOST_CHARS) -> Markdown:
    """A value as a code span in a cell of a table, where a bar would end the cell even there."""
    # Some readers take a bar for escaped after any backslash, some after an odd number of them: odd does for both.
    return Markdown(_PIPES.sub(lambda found: _odd(len(found[1])) + "|", code(value, most)))


def _odd(slashes: int) -> str:
    return "\\" * (slashes + 1 + slashes % 2)


def prose(value: Any) -> Markdown:
    """A value as plain text where it has nothing that Markdown could read, else as code."""
    if isinstance(value, Markdown):
        return value
    text = one_line(value, 2000)
    if _PLAIN.fullmatch(text) and not any(mark in text.lower() for mark in _LINKS):
        return Markdown(text)
    return cell(value, 2000)


def fenced(text: str, language: str = "") -> Markdown:
    """A text of many lines as a block that nothing in it can end."""
    lines = [_visible(line) for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    body = "\n".join(lines).rstrip("\n")
    ticks = "`" * max(3, _longest_run(body) + 1)
    return Markdown(f"{ticks}{language}\n{body}\n{ticks}")


def _visible(line: str) -> str:
    # Tabs are part of a recipe's text.
    return "\t".join(str(harmless(part)) for part in line.split("\t"))


def _longest_run(text: str) -> int:
    return max((len(run) for run in _RUNS.findall(text)), default=0)
