"""How bytes go wrong: a table of mutators, each a function of a seeded `random.Random` and the input.

They know nothing of formats; `worlds.py` says which places of a file are worth hitting, and has mutators of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random


@dataclass(frozen=True, kw_only=True)
class Input:
    """Bytes to be damaged.

    Attributes:
        data: as they should be.
        places: (start, end) of what decides most: headers, lengths, footers.
        other: another whole file, to splice with.
    """

    data: bytes
    places: Sequence[tuple[int, int]] = ()
    other: bytes = b""

    def at(self, r: Random) -> int:
        """A position; every other time within one of the places."""
        if self.places and r.random() < 0.5:
            start, end = r.choice(self.places)
            return r.randrange(start, max(start + 1, min(end, len(self.data))))
        return r.randrange(max(1, len(self.data)))

    def length(self, r: Random) -> int:
        """A length: mostly short, at times a page, at times half of the file."""
        return r.choice((1, 2, 7, 64, 512, 4096, max(1, len(self.data) // 2)))


Mutator = Callable[[Random, Input], bytes]


def flip_bit(r: Random, given: Input) -> bytes:
    data = bytearray(given.data)
    at = given.at(r)
    data[at : at + 1] = bytes([data[at] ^ 1 << r.randrange(8)]) if at < len(data) else b"\x01"
    return bytes(data)


def noise(r: Random, given: Input) -> bytes:
    return _over(r, given, r.randbytes(given.length(r)))


def zero_page(r: Random, given: Input) -> bytes:
    return _over(r, given, bytes(given.length(r)), aligned=True)


def ones(r: Random, given: Input) -> bytes:
    return _over(r, given, b"\xff" * given.length(r))


def cut(r: Random, given: Input) -> bytes:
    return given.data[: given.at(r)]


def cut_front(r: Random, given: Input) -> bytes:
    return given.data[given.at(r) :]


def take_out(r: Random, given: Input) -> bytes:
    at = given.at(r)
    return given.data[:at] + given.data[at + given.length(r) :]


def put_in(r: Random, given: Input) -> bytes:
    at = given.at(r)
    more = r.choice((r.randbytes(given.length(r)), bytes(given.length(r)), b"\n", b"\0", b"\xef\xbb\xbf"))
    return given.data[:at] + more + given.data[at:]


def double(r: Random, given: Input) -> bytes:
    at, length = given.at(r), given.length(r)
    return given.data[: at + length] + given.data[at:]


def swap(r: Random, given: Input) -> bytes:
    data, length = bytearray(given.data), given.length(r)
    one, two = sorted((given.at(r), given.at(r)))
    length = min(length, two - one, len(data) - two)
    data[one : one + length], data[two : two + length] = data[two : two + length], data[one : one + length]
    return bytes(data)


def splice(r: Random, given: Input) -> bytes:
    other = Input(data=given.other)
    return given.data[: given.at(r)] + given.other[other.at(r) :]


def append(r: Random, given: Input) -> bytes:
    return given.data + r.choice((given.data, given.other, r.randbytes(given.length(r)), bytes(1024), b"\n\n"))


def number_lie(r: Random, given: Input) -> bytes:
    """A binary number of 1 to 8 bytes in either order."""
    width = r.choice((1, 2, 4, 8))
    top = 1 << 8 * width
    value = r.choice((0, 1, top // 2 - 1, top // 2, top - 1, r.randrange(top)))
    return _over(r, given, value.to_bytes(width, r.choice(("little", "big"))))


def digits_lie(r: Random, given: Input) -> bytes:
    """Digits of a number that is written out, by as many others."""
    found = list(re.finditer(rb"[0-9]{1,30}", given.data[:200_000]))
    if not found:
        return noise(r, given)
    match = r.choice(found)
    n = match.end() - match.start()
    digits = r.choice((b"0" * n, b"7" * n, b"9" * n, b"1" + b"0" * (n - 1), b"-" + b"1" * (n - 1), b" " * n))
    return given.data[: match.start()] + digits + given.data[match.end() :]


def _over(r: Random, given: Input, data: bytes, aligned: bool = False) -> bytes:
    at = given.at(r)
    at = at // 512 * 512 if aligned and r.random() < 0.5 else at
    return given.data[:at] + data[: len(given.data) - at] + given.data[at + len(data) :]


MUTATORS: Mapping[str, Mutator] = {
    made.__name__: made
    for made in (
        flip_bit,
        noise,
        zero_page,
        ones,
        cut,
        cut_front,
        take_out,
        put_in,
        double,
        swap,
        splice,
        append,
        number_lie,
        digits_lie,
    )
}


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """Damaged bytes, and where they differ from what they were.

    Attributes:
        data: the bytes.
        name: what was done to them.
        first: position of the first byte that differs.
        last: position behind the last one that does, None where what follows has moved.
    """

    data: bytes
    name: str
    first: int
    last: int | None = field(default=None)


def mutant(r: Random, given: Input, own: Mapping[str, Mutator]) -> Mutant:
    """The input after one to three mutators of the table and of the format's `own`; mostly one."""
    table = {**MUTATORS, **own}
    names, now = [], given
    for _ in range(r.choice((1, 1, 1, 2, 3))):
        # A format's own mutators are few, and the others mostly hit what is soon seen to be broken.
        name = r.choice(list(own)) if own and r.random() < 0.4 else r.choice(list(table))
        now = Input(data=table[name](r, now), places=now.places, other=now.other)
        names.append(name)
    return compared(given.data, now.data, "+".join(names))


def compared(before: bytes, after: bytes, name: str) -> Mutant:
    """A mutant of which both sides are known."""
    short = min(len(before), len(after))
    first = next((i for i in range(short) if before[i] != after[i]), short)
    if len(before) != len(after):
        return Mutant(data=after, name=name, first=first)
    last = next((i for i in range(short, first, -1) if before[i - 1] != after[i - 1]), first)
    return Mutant(data=after, name=name, first=first, last=last)
