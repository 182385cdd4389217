"""Words and sentences of a document, tokenised once for all rules that count them.

A word is a token of spaCy's rule-based English tokenizer (`spacy.blank("en")`), as in datatrove's filters
(huggingface/datatrove, `utils/word_tokenizers.py`, 0.10). That tokenizer looks at one whitespace-delimited piece at a
time, so its tokens are remembered by piece: a dictionary look-up replaces nearly all of its work.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
import threading
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from poolsieve.filters.punctuation import PUNCTUATION
from poolsieve.scoring_models.protocol import PlanError, Scored

PIECES = 1 << 19
"""Pieces that are remembered; beyond that the memory starts anew."""

LONGEST = 64
"""Characters of the longest piece that is remembered."""

DOCUMENTS = 8192
"""Documents whose tokens are remembered, so that the scorers of a recipe tokenise each batch once."""

CHARACTERS = 1 << 25
"""Characters of all those documents together."""

Ints = np.ndarray[Any, np.dtype[np.int64]]
Ids = np.ndarray[Any, np.dtype[np.int32]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

T = TypeVar("T")

_APART = " qz "
"""Stands between pieces that are tokenised together: spaCy's special cases (":)") would match across a blank."""

_SPACES = re.compile(r"\s+")


class Turns(NamedTuple):
    """What a whitespace-delimited piece does to spaCy's sentence splitter.

    `starts[seen]` is the number of sentences that start in it and `after[seen]` whether its end follows a sentence's
    final mark, where `seen` says the same of its beginning.
    """

    starts: tuple[int, int]
    after: tuple[bool, bool]


@dataclass(frozen=True)
class Words:
    """The words of one document.

    Attributes:
        ids: int32 (n,): equal numbers are equal words, within this document.
        lengths: int64 (n,): characters of each word.
        symbols: bool (n,): the word is made of punctuation and control characters alone.
        alphas: bool (n,): the word has an alphabetic character.
        joined: the words without blanks between them, which is the text without its whitespace.
        words: word of an id.
    """

    ids: Ids
    lengths: Ints
    symbols: Bools
    alphas: Bools
    joined: str
    words: Sequence[str]

    def __len__(self) -> int:
        return len(self.ids)

    def tokens(self) -> list[str]:
        """The words in order."""
        return [self.words[i] for i in self.ids.tolist()]

    def labels(self) -> Ints:
        """int64 (n,): numbers from 0 to n - 1; equal ones are equal words. Found without sorting."""
        place = _scratch(int(self.ids.max()) + 1 if len(self.ids) else 0)
        place[self.ids] = np.arange(len(self.ids))
        return np.asarray(place[self.ids], dtype=np.int64)


class Tokenizer:
    """spaCy's English tokenizer with a memory. Not for several threads at once: see `tokenizer()`."""

    def __init__(self) -> None:
        from spacy.pipeline import Sentencizer

        self.ends = frozenset(Sentencizer.default_punct_chars)
        self.documents: dict[str, Words] = {}
        self.characters = 0
        self.forget()

    def forget(self) -> None:
        """Starts the memory anew, spaCy's own included. Words made before keep what they need."""
        import spacy

        # A new tokenizer and no `memory_zone()`: in spaCy 3.8 the word "IS_ALPHA" fails in every zone but the first.
        self.split = spacy.blank("en").tokenizer
        self.split.vocab.lex_attr_getters = {}  # attributes of words that nobody asks for take longer than splitting
        self.special = frozenset(self.split.rules)
        self.known: dict[str, Any] = {}
        self.turns: dict[str, Turns] = {}
        self.words: list[str] = []
        self.index: dict[str, int] = {}
        self.about = np.zeros((3, 1 << 12), dtype=np.int64)

    def document(self, text: str) -> Words:
        """The words of a text, remembered for a while."""
        found = self.documents.get(text)
        if found is None:
            if len(self.documents) >= DOCUMENTS or self.characters > CHARACTERS:
                self.documents, self.characters = {}, 0
            found = self.documents[text] = self.read(text)
            self.characters += len(text)
        return found

    def read(self, text: str) -> Words:
        """The words of a text."""
        pieces = text.split()
        ids: Ids = np.frombuffer(b"".join(self.look_up(self.known, pieces)), dtype=np.int32)
        lengths, symbols, alphas = self.about[:, ids]
        return Words(ids, lengths, symbols == 1, alphas == 1, "".join(pieces), self.words)

    def look_up(self, memory: dict[str, T], pieces: Sequence[str]) -> list[T]:
        """What a memory says of each piece; new pieces are learned."""
        try:
            return list(map(memory.__getitem__, pieces))
        except KeyError:
            return self.learn(memory, pieces)

    def learn(self, memory: dict[str, T], pieces: Sequence[str]) -> list[T]:
        """Tokenises the pieces that are not known, all in one text."""
        if len(self.known) > PIECES or len(self.words) > 2 * PIECES:
            kind = memory is self.known
            self.forget()
            memory = self.known if kind else self.turns  # type: ignore[assignment]
        new = [piece for piece in dict.fromkeys(pieces) if piece not in memory]
        for piece, tokens in zip(new, self.tokens(new), strict=True):
            self.known[piece] = array("i", [self.id(word) for word in tokens]).tobytes()
            self.turns[piece] = self.turned(tokens)
        found = list(map(memory.__getitem__, pieces))
        for piece in new:
            if len(piece) > LONGEST:
                del self.known[piece], self.turns[piece]
        return found

    def tokens(self, pieces: Sequence[str]) -> Iterator[list[str]]:
        """The tokens of each piece, which are what it is made of, in order."""
        easy = [self.easy(piece) for piece in pieces]
        text = _APART.join([*(piece for piece, tokens in zip(pieces, easy, strict=True) if tokens is None), ""])
        lengths = iter(self.split(text).to_array("LENGTH").tolist())
        for piece, tokens in zip(pieces, easy, strict=True):
            yield _cut(piece, lengths) if tokens is None else tokens

    def easy(self, piece: str) -> list[str] | None:
        """The tokens of a piece that no rule of spaCy but those for whole words and a mark at the end can touch."""
        word, mark = (piece, "") if piece.isalpha() else (piece[:-1], piece[-1])
        if not (word.isascii() and word.isalpha()) or mark not in ("", ",", ";", "!", "?"):
            return None
        if piece in self.special or word in self.special:
            return None
        return [word, mark] if mark else [word]

    def turned(self, tokens: Sequence[str]) -> Turns:
        """What a piece does to the sentence splitter."""
        if len(tokens) == 1 and tokens[0].isalnum():
            return _PLAIN
        kinds = [2 if word in self.ends else int(_is_punctuation(word)) for word in tokens]
        (starts, after), (starts_seen, after_seen) = _turn(kinds, False), _turn(kinds, True)
        return Turns((starts, starts_seen), (after, after_seen))

    def id(self, word: str) -> int:
        """The number of a word."""
        number = self.index.get(word)
        if number is None:
            number = self.index[word] = len(self.words)
            self.words.append(word)
            if number >= self.about.shape[1]:
                self.about = np.concatenate([self.about, np.zeros_like(self.about)], axis=1)
            letters = word.isalpha()
            self.about[0, number] = len(word)
            self.about[1, number] = not letters and PUNCTUATION.issuperset(word)
            self.about[2, number] = letters or any(map(str.isalpha, word))
        return number

    def present(self, words: Words, wanted: Iterable[str]) -> int:
        """How many of the wanted words stand in a document."""
        if words.words is not self.words:
            return len(set(words.tokens()).intersection(wanted))
        ids = [self.index[word] for word in set(wanted) if word in self.index]
        there = _scratch(len(self.words))
        there[ids] = -1
        there[words.ids] = 0
        return int((there[ids] == 0).sum())

    def sentence_count(self, line: str) -> int:
        """The number of sentences of a line, at least 1; blanks after a final mark may be one of their own."""
        pieces = line.split()
        gaps = itertools.repeat(False) if " ".join(pieces) == line else _gaps(line)
        return _sentences(self.look_up(self.turns, pieces), gaps)


def _cut(piece: str, lengths: Iterator[int]) -> list[str]:
    """A piece as tokens of the next lengths."""
    start, found = 0, []
    while start < len(piece):
        stop = start + next(lengths)
        found.append(piece[start:stop])
        start = stop
    next(lengths)  # what keeps it apart from the next piece
    return found


_PLAIN = Turns((0, 1), (False, False))
"""A piece that is one word."""


def _is_punctuation(word: str) -> bool:
    """spaCy's `is_punct`: every character is of one of Unicode's P categories."""
    return not word.isalnum() and all(unicodedata.category(c).startswith("P") for c in word)


def _turn(kinds: Iterable[int], seen: bool) -> tuple[int, bool]:
    """spaCy's `Sentencizer`: a sentence starts at the first token after a final mark (2) that is no punctuation (1)."""
    starts = 0
    for kind in kinds:
        if kind == 2:
            seen = True
        elif seen and kind == 0:
            starts, seen = starts + 1, False
    return starts, seen


def _sentences(pieces: Sequence[Turns], gaps: Iterable[bool]) -> int:
    """Sentences of pieces, given which of the gaps before, between and after them are tokens of their own."""
    count, seen, gap = 1, False, iter(gaps)
    for piece in pieces:
        if next(gap) and seen:
            count, seen = count + 1, False
        count += piece.starts[seen]
        seen = piece.after[seen]
    return count + (seen and next(gap))


def _gaps(line: str) -> list[bool]:
    """Before each piece and at the end: whether spaCy makes a token of the whitespace there (not of one blank)."""
    runs = [match.group() for match in _SPACES.finditer(line)]
    before = [] if line[:1].isspace() else [" "]
    after = [] if line[-1:].isspace() else [" "]
    return [run != " " for run in [*before, *runs, *after]]


_local = threading.local()


def _scratch(size: int) -> Ints:
    """This thread's array of at least `size` numbers, with anything in it."""
    if len(getattr(_local, "scratch", ())) < size:
        _local.scratch = np.zeros(2 * size, dtype=np.int64)
    found: Ints = _local.scratch
    return found


def tokenizer() -> Tokenizer:
    """This thread's tokenizer."""
    if not hasattr(_local, "tokenizer"):
        _local.tokenizer = Tokenizer()
    found: Tokenizer = _local.tokenizer
    return found


def counted(
    texts: pa.Array, count: Callable[[str], Sequence[float | str | None]], columns: Mapping[str, pa.DataType]
) -> Scored:
    """What `count` gives for each text (one value for each column), as columns; null for null."""
    blank = [None] * len(columns)
    rows = [blank if text is None else count(text) for text in texts.to_pylist()]
    values = zip(*rows, strict=True) if rows else [()] * len(columns)
    return Scored({name: pa.array(column, columns[name]) for name, column in zip(columns, values, strict=True)})


def need_spacy() -> Mapping[str, Path]:
    """No model files, once spaCy has been found.

    Raises:
        PlanError: without spaCy.
    """
    if importlib.util.find_spec("spacy") is None:
        raise PlanError("rules that count words need spaCy's tokenizer: pip install 'poolsieve[text]'")
    return {}
