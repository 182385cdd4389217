"""A stream of bytes as lines, with the place of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

BLOCK = 1 << 20
"""Bytes that are read at a time."""


class Line(NamedTuple):
    """A line without its end: where it starts in the stream, how long it is, and its bytes (None: too long).

    `ended` is False for a last line without an end; `blank` says whether there is nothing but whitespace.
    """

    offset: int
    length: int
    data: bytes | None
    blank: bool
    ended: bool = True


def lines_of(read: Callable[[int], bytes], most: int) -> Iterator[Line]:
    """The lines of what `read` gives, until it gives nothing. The last one needs no end.

    Of a line above `most` bytes no more than that is held, and which lines are blank does not depend on it: rows are
    numbered alike whatever the limit.
    """
    offset, open_line = 0, _Open(most)
    while block := read(BLOCK):
        first, *others = block.split(b"\n")
        open_line.add(first)
        if others:
            line = open_line.line(offset)
            yield line
            offset += line.length + 1
            for data in others[:-1]:
                yield Line(offset, len(data), data if len(data) <= most else None, _blank(data))
                offset += len(data) + 1
            open_line = _Open(most, others[-1])
    if open_line.length:
        yield open_line.line(offset)._replace(ended=False)


def _blank(data: bytes) -> bool:
    return not data or data.isspace()


class _Open:
    """A line whose end has not come yet."""

    def __init__(self, most: int, data: bytes = b"") -> None:
        self.most, self.parts, self.length, self.blank = most, [data], len(data), _blank(data)

    def add(self, data: bytes) -> None:
        """Takes more of it; beyond `most` its bytes are let go."""
        self.length += len(data)
        self.blank = self.blank and _blank(data)
        if self.length <= self.most:
            self.parts.append(data)
        else:
            self.parts = []

    def line(self, offset: int) -> Line:
        """The line as it is now."""
        data = b"".join(self.parts) if self.length <= self.most else None
        return Line(offset, self.length, data, self.blank)
