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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

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
Bools = np.ndarray[Any, np.dtype[np.bool_]]

_SPACES = re.compile(r"\s+")


class Piece(NamedTuple):
    """What is remembered of a whitespace-delimited piece: its tokens, and what they do to a sentence splitter.

    `starts[seen]` is the number of sentences that start in it and `after[seen]` whether its end follows a sentence's
    final mark, where `seen` says the same of its beginning.
    """

    ids: tuple[int, ...]
    starts: tuple[int, int]
    after: tuple[bool, bool]


@dataclass(frozen=True)
class Words:
    """The words of one document.

    Attributes:
        ids: int64 (n,): equal numbers are equal words, within this document.
        lengths: int64 (n,): characters of each word.
        symbols: bool (n,): the word is made of punctuation and control characters alone.
        alphas: bool (n,): the word has an alphabetic character.
        pieces: the document's whitespace-delimited pieces.
        tokens: word of an id.
    """

    ids: Ints
    lengths: Ints
    symbols: Bools
    alphas: Bools
    pieces: tuple[str, ...]
    tokens: Callable[[], list[str]]

    def __len__(self) -> int:
        return len(self.ids)

    def unique(self) -> set[str]:
        """The different words."""
        return set(self.tokens())


class Tokenizer:
    """spaCy's English tokenizer with a memory. Not for several threads at once: see `tokenizer()`."""

    def __init__(self) -> None:
        from spacy.pipeline import Sentencizer

        self.ends = frozenset(Sentencizer.default_punct_chars)
        self.documents: dict[str, Words] = {}
        self.characters = 0
        self.forget()

    def forget(self) -> None:
        """Starts the memory anew, spaCy's own included. Words made before keep their own arrays."""
        import spacy

        # A new tokenizer and no `memory_zone()`: in spaCy 3.8 the word "IS_ALPHA" fails in every zone but the first.
        self.split = spacy.blank("en").tokenizer
        self.known: dict[str, Piece] = {}
        self.words: list[str] = []
        self.index: dict[str, int] = {}
        self.about = np.zeros((1 << 12, 3), dtype=np.int64)

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
        found = self.pieces(pieces)
        ids = np.fromiter(itertools.chain.from_iterable([piece.ids for piece in found]), dtype=np.int64)
        about = self.about[ids]
        words = self.words
        return Words(
            ids=ids,
            lengths=about[:, 0],
            symbols=about[:, 1] == 1,
            alphas=about[:, 2] == 1,
            pieces=tuple(pieces),
            tokens=lambda: [words[i] for i in ids],
        )

    def pieces(self, pieces: Sequence[str]) -> list[Piece]:
        """What is known of each piece, new ones included."""
        if len(self.known) > PIECES or len(self.words) > 2 * PIECES:
            self.forget()
        known = self.known
        found = [known.get(piece) for piece in pieces]
        if None in found:
            new = [piece for piece, one in zip(pieces, found, strict=True) if one is None]
            made = self.learn(new)
            found = [made[piece] if one is None else one for piece, one in zip(pieces, found, strict=True)]
        return found  # type: ignore[return-value]

    def learn(self, pieces: Iterable[str]) -> dict[str, Piece]:
        """Tokenises pieces that are not known."""
        made: dict[str, Piece] = {}
        for piece in pieces:
            if piece not in made:
                made[piece] = self.piece(piece)
                if len(piece) <= LONGEST:
                    self.known[piece] = made[piece]
        return made

    def piece(self, piece: str) -> Piece:
        """Tokenises one piece."""
        tokens = [(token.text, token.text in self.ends, token.is_punct) for token in self.split(piece)]
        ids = tuple(self.id(text.strip()) for text, _, _ in tokens if text.strip())
        ran = [self.sentences(tokens, seen) for seen in (False, True)]
        return Piece(ids, (ran[0][0], ran[1][0]), (ran[0][1], ran[1][1]))

    def id(self, word: str) -> int:
        """The number of a word."""
        number = self.index.get(word)
        if number is None:
            number = self.index[word] = len(self.words)
            self.words.append(word)
            if number >= len(self.about):
                self.about = np.concatenate([self.about, np.zeros_like(self.about)])
            symbol = all(c in PUNCTUATION for c in word)
            self.about[number] = (len(word), symbol, any(c.isalpha() for c in word))
        return number

    @staticmethod
    def sentences(tokens: Iterable[tuple[str, bool, bool]], seen: bool) -> tuple[int, bool]:
        """spaCy's `Sentencizer`: a sentence starts at the first token after a final mark that is no punctuation."""
        starts = 0
        for _, ends, punctuation in tokens:
            if seen and not punctuation and not ends:
                starts, seen = starts + 1, False
            elif ends:
                seen = True
        return starts, seen

    def sentence_count(self, line: str) -> int:
        """The number of sentences of a line, at least 1; blanks after a final mark may be one of their own."""
        pieces = line.split()
        gaps = itertools.repeat(False) if " ".join(pieces) == line else _gaps(line)
        return _sentences(self.pieces(pieces), gaps)


def _sentences(pieces: Sequence[Piece], gaps: Iterable[bool]) -> int:
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
