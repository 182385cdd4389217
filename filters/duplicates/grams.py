"""The tokens of texts as datatrove compares them, and the runs of them that it hashes.

huggingface/datatrove 0.10, `utils/text.py` and `utils/word_tokenizers.py`: a text is simplified (lower case, numbers as
0, punctuation as blanks, no accents), cut into spaCy's English tokens, and each run of `ngram` tokens, with a blank
between each two, is a gram.

Simplifying and cutting look at one whitespace-delimited piece of a text at a time, so what comes of a piece is
remembered as it stands in a gram: a look-up in a dictionary replaces nearly all of the work.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from poolsieve.filters.duplicates.roots import Ints
from poolsieve.filters.words.marks import decomposed
from poolsieve.filters.words.punctuation import SPACED
from poolsieve.filters.words.tokenizer import LONGEST, PIECES, Memory

# Decimal digits that Unicode has got since the tables of the oldest Python supported; datatrove asks a newer table.
_NEWER = (
    "\U00010d40-\U00010d49\U000116d0-\U000116e3\U00011bf0-\U00011bf9\U00011de0-\U00011de9\U00011f50-\U00011f59"
    "\U00016130-\U00016139\U00016d70-\U00016d79\U0001ccf0-\U0001ccf9\U0001e4f0-\U0001e4f9\U0001e5f1-\U0001e5fa"
)
_NUMBER = re.compile(rf"[\d{_NEWER}]+(?:[.,،٫⎖⎗⎘][\d{_NEWER}]+)?")
_BLANKS = {ord(mark): " " for mark in SPACED}


def simplified(text: str) -> str:
    """A text as datatrove compares it (`simplify_text` with its default configuration)."""
    text = _NUMBER.sub("0", text.lower()).translate(_BLANKS)
    text = " ".join(text.split())
    if not text.isascii():
        text = "".join(c for c in decomposed(text) if unicodedata.category(c) != "Mn")
    return text.strip()


_OPEN, _BLANK = b"\n", ord(" ")
"""What stands for a piece whose tokens may depend on what stands beside it: no token has a line's end."""


class Grams(NamedTuple):
    """Runs of a text's tokens.

    Attributes:
        data: the tokens with a blank behind each, in UTF-8.
        begins: int64 (n,): where each run begins in it.
        stops: the same, where it ends, without the blank.
    """

    data: bytes
    begins: Ints
    stops: Ints

    @classmethod
    def of(cls, data: bytes, ngram: int) -> Grams:
        """All runs of `ngram` tokens; none if there are fewer."""
        blanks = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == _BLANK)
        begins = np.concatenate([np.zeros(min(1, len(blanks)), dtype=np.int64), blanks[:-1] + 1])
        n = max(0, len(blanks) - ngram + 1)
        return cls(data, begins[:n], blanks[ngram - 1 :])

    def each(self) -> Iterator[bytes]:
        """The bytes of each run."""
        return map(self.data.__getitem__, map(slice, self.begins.tolist(), self.stops.tolist()))


class Simplified(dict[str, bytes]):
    """Piece of a text -> its tokens, with a blank behind each. Not for several threads at once: see `memory()`."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory()

    def __missing__(self, piece: str) -> bytes:
        parts = simplified(piece).split()
        numbers = b"".join([self.memory.pieces[part] for part in parts])
        made = _OPEN if not self.memory.open.isdisjoint(parts) else self._joined(np.frombuffer(numbers, np.int32))
        if len(piece) <= LONGEST:
            self[piece] = made
        return made

    @property
    def full(self) -> bool:
        """Whether it should start anew."""
        return self.memory.full or len(self) >= PIECES

    def tokens(self, text: str) -> bytes:
        """The tokens of a text with a blank behind each, in UTF-8."""
        data = b"".join(map(self.__getitem__, text.split()))
        return data if _OPEN not in data else self._joined(self.memory.read(simplified(text)))

    def _joined(self, numbers: Any) -> bytes:
        words = [f"{self.memory.words[number]} " for number in numbers.tolist()]
        return "".join(words).encode("utf-8", "surrogatepass")


_local = threading.local()


def grams(text: str, ngram: int) -> Grams:
    """The runs of a text, by this thread's memory."""
    if not hasattr(_local, "memory") or _local.memory.full:
        _local.memory = Simplified()
    return Grams.of(_local.memory.tokens(text), ngram)
