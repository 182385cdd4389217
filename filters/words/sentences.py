"""Where the sentences of a text are, by spaCy's rule-based splitter (`Sentencizer`), line by line."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from poolsieve.filters.words.tokenizer import Words, tokenizer

Codes = np.ndarray[Any, np.dtype[np.uint32]]
Ints = np.ndarray[Any, np.dtype[np.int64]]

_LINE_END = ord("\n")


def sentence_spans(text: str) -> Sequence[tuple[int, int]]:
    """(first, end) of each sentence of a text in characters, without the blanks around it.

    A line ends a sentence, as in `c4.quality`; within one it begins with the first word after a final mark that
    is no punctuation. Every character that is no blank is in one of them.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    places = np.flatnonzero(~np.isin(codes, _blanks()))
    if not len(places):
        return []
    lines = np.cumsum(codes == _LINE_END)[places]
    begin = np.concatenate([[True], lines[1:] != lines[:-1]])
    begin[_by_marks(tokenizer().read([text])[0], lines)] = True
    begins = np.flatnonzero(begin)
    firsts, lasts = places[begins], places[np.append(begins[1:], len(places)) - 1]
    return list(zip(firsts.tolist(), (lasts + 1).tolist(), strict=True))


def _by_marks(words: Words, lines: Ints) -> Ints:
    """Places, among the characters that are no blanks, where a sentence begins inside a line; `lines` are theirs."""
    begins = np.cumsum(words.lengths, dtype=np.int64) - words.lengths
    return begins[words.starts(lines[begins])]


@functools.cache
def _blanks() -> Codes:
    """Characters at which `str.split` cuts."""
    return np.array([code for code in range(sys.maxunicode + 1) if chr(code).isspace()], dtype=np.uint32)
