"""A stream of bytes as lines, with the place of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

BLOCK = 1 << 20
"""Bytes that are read at a time."""

LONGEST = 256 << 20
"""Bytes of the longest line that is looked at."""


class Line(NamedTuple):
    """A line without its end: where it starts in the stream, how long it is, and its bytes (None: too long).

    `ended` is False for a last line without an end.
    """

    offset: int
    length: int
    data: bytes | None
    ended: bool = True


def lines_of(read: Callable[[int], bytes]) -> Iterator[Line]:
    """The lines of what `read` gives, until it gives nothing. The last one needs no end."""
    offset, open_line = 0, _Open()
    while block := read(BLOCK):
        first, *others = block.split(b"\n")
        open_line.add(first)
        if others:
            line = open_line.line(offset)
            yield line
            offset += line.length + 1
            for data in others[:-1]:
                yield Line(offset, len(data), data)
                offset += len(data) + 1
            open_line = _Open(others[-1])
    if open_line.length:
        yield open_line.line(offset)._replace(ended=False)


def is_blank(line: Line) -> bool:
    """Whether a line has nothing but whitespace."""
    return not line.length or (line.data is not None and line.data.isspace())


class _Open:
    """A line whose end has not come yet."""

    def __init__(self, data: bytes = b"") -> None:
        self.parts, self.length = [data], len(data)

    def add(self, data: bytes) -> None:
        """Takes more of it; beyond `LONGEST` its bytes are let go."""
        self.length += len(data)
        if self.length <= LONGEST:
            self.parts.append(data)
        else:
            self.parts = []

    def line(self, offset: int) -> Line:
        """The line as it is now."""
        return Line(offset, self.length, b"".join(self.parts) if self.length <= LONGEST else None)
