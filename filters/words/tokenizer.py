"""Words and sentences of a document, tokenised once for all rules that count them.

A word is a token of spaCy's rule-based English tokenizer (`spacy.blank("en")`), as in datatrove's filters
(huggingface/datatrove, `utils/word_tokenizers.py`, 0.10). That tokenizer looks at one whitespace-delimited piece at a
time, so its tokens are remembered by piece: a dictionary look-up replaces nearly all of its work.
"""

from __future__ import annotations

import itertools
import re
import threading
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from poolsieve.filters.words.pieces import splitter
from poolsieve.filters.words.punctuation import PUNCTUATION
from poolsieve.scoring_models.base.scorer import Scored

PIECES = 1 << 19
"""Pieces that are remembered; beyond that the memory starts anew."""

LONGEST = 64
"""Characters of the longest piece that is remembered."""

DOCUMENTS = 8192
"""Documents whose tokens are remembered, so that the scorers of a recipe tokenise each batch once."""

CHARACTERS = 1 << 26
"""Characters of all those documents together."""

PART = 1 << 17
"""Characters of a text whose pieces are in memory at a time: as strings they take ten times as much as in the text."""

Ints = np.ndarray[Any, np.dtype[np.int64]]
Ids = np.ndarray[Any, np.dtype[np.int32]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

T = TypeVar("T")

_GAP = re.compile(r"\s{2,}|[^\S ]")
"""Whitespace of which spaCy makes a token: anything but one blank."""

_BLANK = re.compile(r"\s")

_OTHER, _PUNCTUATION, _FINAL, _BREAK = b"\0", b"\1", b"\2", b"\3"
"""What a word is to spaCy's sentence splitter, and what stands between lines."""


@dataclass(frozen=True)
class Words:
    """The words of one document.

    Attributes:
        ids: int32 (n,): equal numbers are equal words, within this document.
        text: the document.
        memory: knows the words.
    """

    ids: Ids
    text: str
    memory: Memory

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def joined(self) -> str:
        """The words without blanks between them, which is the text without its whitespace; not kept."""
        return "".join(["".join(part.split()) for part in _parts(self.text)])

    @property
    def lengths(self) -> Ids:
        """int32 (n,): characters of each word."""
        return np.frombuffer(self.memory.lengths, dtype=np.int32)[self.ids]

    @property
    def symbols(self) -> Bools:
        """bool (n,): the word is made of punctuation and control characters alone."""
        return np.frombuffer(self.memory.symbols, dtype=np.bool_)[self.ids]

    @property
    def alphas(self) -> Bools:
        """bool (n,): the word has an alphabetic character."""
        return np.frombuffer(self.memory.alphas, dtype=np.bool_)[self.ids]

    def tokens(self) -> list[str]:
        """The words in order."""
        return [self.memory.words[i] for i in self.ids.tolist()]

    def count_present(self, wanted: Iterable[str]) -> int:
        """How many of the wanted words stand in the document."""
        numbers = [self.memory.numbers[word] for word in set(wanted) if word in self.memory.numbers]
        return int((self.ids == np.array(numbers, dtype=np.int32)[:, None]).any(axis=1).sum())

    def sentences(self, lines: Sequence[tuple[int, int]]) -> int:
        """The number of sentences of lines, at least one in each; a line is given by its characters in `joined`.

        Blanks of a line must be single ones.
        """
        ends = np.cumsum(self.lengths)
        edges = np.searchsorted(ends, np.array(lines, dtype=np.int64).ravel(), side="right").tolist()
        marks = np.frombuffer(self.memory.marks, dtype=np.uint8)[self.ids].tobytes()
        parts = [marks[start:stop] for start, stop in zip(edges[::2], edges[1::2], strict=True)]
        return len(parts) + _starts(_BREAK.join(parts))

    def starts(self, lines: Ints) -> Ints:
        """int64 (m,): the words with which sentences start, but for the first of a line; `lines`: each word's line."""
        marks = np.frombuffer(self.memory.marks, dtype=np.uint8)[self.ids]
        some = np.flatnonzero(marks != _PUNCTUATION[0])
        before, after = some[:-1], some[1:]
        return after[(marks[before] == _FINAL[0]) & (marks[after] == _OTHER[0]) & (lines[before] == lines[after])]


class _Learned(dict[str, T]):
    """A dictionary that asks `learn` for what it does not have; `learn` says whether it is kept."""

    def __init__(self, learn: Callable[[str], T]) -> None:
        super().__init__()
        self.learn = learn

    def __missing__(self, key: str) -> T:
        return self.learn(key)


class Memory:
    """What has been found out of words, by number, and of pieces."""

    def __init__(self) -> None:
        from spacy.pipeline import Sentencizer

        self.ends = frozenset(Sentencizer.default_punct_chars)
        self.split = splitter()
        self.cases = self.split.special
        self.words: list[str] = []
        self.lengths = array("i")
        self.symbols, self.alphas, self.marks = bytearray(), bytearray(), bytearray()
        self.numbers = _Learned(self._number)
        self.pieces = _Learned(self._piece)
        """Piece -> the numbers of its words, as the bytes of int32."""
        self.open: set[str] = set()
        """Pieces in which spaCy may find another special case if it sees what stands beside them."""
        self.special = bytearray()
        """Whether a word may come of a special case of several others."""

    def _number(self, word: str) -> int:
        number = self.numbers[word] = len(self.words)
        letters = word.isalpha()
        self.words.append(word)
        self.lengths.append(len(word))
        self.symbols.append(not letters and PUNCTUATION.issuperset(word))
        self.alphas.append(letters or any(map(str.isalpha, word)))
        self.marks.append(self._mark(word))
        self.special.append(word in self.cases.merged)
        return number

    def _piece(self, piece: str) -> bytes:
        words = self.split.by_rules(piece)
        if words is None:
            words = self.split.by_steps(piece)
            if not self.cases.merged.isdisjoint(words) and self.cases.is_open(piece):
                self.open.add(piece)
        numbers = array("i", map(self.numbers.__getitem__, words)).tobytes()
        if len(piece) <= LONGEST and len(self.pieces) < PIECES:
            self.pieces[piece] = numbers
        return numbers

    def read(self, text: str) -> Ids:
        """The numbers of a text's words."""
        parts = [self._of_pieces(part.split()) for part in _parts(text)]
        if self._has_special(parts) and self.cases.across(lambda: _pieces(text), self.open):
            parts = [self._between_gaps(part) for part in _GAP.split(text)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _has_special(self, parts: Sequence[Ids]) -> bool:
        special = np.frombuffer(self.special, dtype=np.bool_)  # while it is held, no word can be added
        return any(special[ids].any() for ids in parts)

    def _of_pieces(self, pieces: Sequence[str]) -> Ids:
        """The same of pieces of which each has its own tokens, whatever stands beside it."""
        return np.frombuffer(b"".join(map(self.pieces.__getitem__, pieces)), dtype=np.int32)

    def _between_gaps(self, text: str) -> Ids:
        """The numbers of the words of a text whose pieces have one blank between them."""
        pieces = text.split()
        if self.cases.across(lambda: pieces, self.open):
            return np.array([self.numbers[word] for word in self.split.by_steps(*pieces)], dtype=np.int32)
        return self._of_pieces(pieces)

    def _mark(self, word: str) -> int:
        return (_FINAL if word in self.ends else _PUNCTUATION if _is_punctuation(word) else _OTHER)[0]

    @property
    def full(self) -> bool:
        """Whether it should start anew."""
        return len(self.pieces) >= PIECES or len(self.open) > PIECES // 16 or len(self.words) > 2 * PIECES


def _parts(text: str) -> Iterator[str]:
    """A text in parts of about `PART` characters, cut before whitespace; at least one."""
    start = 0
    while cut := _BLANK.search(text, start + PART):
        yield text[start : cut.start()]
        start = cut.start()
    yield text[start:]


def _pieces(text: str) -> Iterator[str]:
    """The whitespace-delimited pieces of a text."""
    return itertools.chain.from_iterable(map(str.split, _parts(text)))


class Tokenizer:
    """spaCy's English tokenizer with a memory. Not for several threads at once: see `tokenizer()`."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Starts anew. Words made before keep what they need."""
        self.memory = Memory()
        self.documents: dict[str, Words] = {}
        self.characters = 0

    def read(self, texts: Sequence[str]) -> list[Words]:
        """The words of each text. Those of the last texts are remembered, for the scorers that come next."""
        return [self.documents[text] if text in self.documents else self.read_new(text) for text in texts]

    def read_new(self, text: str) -> Words:
        """The words of a text that is not remembered."""
        if self.memory.full:
            self.forget()
        words = Words(self.memory.read(text), text, self.memory)
        if len(self.documents) >= DOCUMENTS or self.characters + len(text) > CHARACTERS:
            self.documents, self.characters = {}, 0
        if len(text) <= CHARACTERS:
            self.documents[text] = words
            self.characters += len(text)
        return words

    def sentence_count(self, line: str) -> int:
        """The number of sentences of a line, at least 1; blanks after a final mark may be one of their own."""
        parts = [self.memory.read(part) for part in _GAP.split(line)]
        marks = self.memory.marks
        return 1 + _starts(_OTHER.join(bytes([marks[number] for number in ids.tolist()]) for ids in parts))


def _starts(marks: bytes) -> int:
    """spaCy's `Sentencizer`: after a final mark, a sentence starts at the first word that is no punctuation."""
    return marks.translate(None, _PUNCTUATION).count(_FINAL + _OTHER)


def _is_punctuation(word: str) -> bool:
    """spaCy's `is_punct`: every character is of one of Unicode's P categories."""
    return not word.isalnum() and all(unicodedata.category(c).startswith("P") for c in word)


_local = threading.local()


def tokenizer() -> Tokenizer:
    """This thread's tokenizer."""
    if not hasattr(_local, "tokenizer"):
        _local.tokenizer = Tokenizer()
    found: Tokenizer = _local.tokenizer
    return found


Count = Callable[[str], Sequence[float | str | None]]
"""A text -> its values, one for each column."""


def score_texts(texts: pa.Array, count: Count, columns: Mapping[str, pa.DataType]) -> Scored:
    """What `count` gives for each text, as columns; null for null."""
    return score_listed(texts.to_pylist(), count, columns)


def score_words(
    texts: pa.Array, count: Callable[[str, Words], Sequence[float | str | None]], columns: Mapping[str, pa.DataType]
) -> Scored:
    """As `score_texts`, for a function that is given the words of the text too."""
    listed = texts.to_pylist()
    words = iter(tokenizer().read([text for text in listed if text is not None]))
    return score_listed(listed, lambda text: count(text, next(words)), columns)


def score_listed(texts: Sequence[str | None], count: Count, columns: Mapping[str, pa.DataType]) -> Scored:
    """As `score_texts`, of texts that are Python's already: twice they would take twice the memory."""
    blank = [None] * len(columns)
    rows = [blank if text is None else count(text) for text in texts]
    values = zip(*rows, strict=True) if rows else [()] * len(columns)
    return Scored({name: pa.array(column, columns[name]) for name, column in zip(columns, values, strict=True)})
