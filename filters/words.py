"""Words and sentences of a document, tokenised once for all rules that count them.

A word is a token of spaCy's rule-based English tokenizer (`spacy.blank("en")`), as in datatrove's filters
(huggingface/datatrove, `utils/word_tokenizers.py`, 0.10). That tokenizer looks at one whitespace-delimited piece at a
time, so its tokens are remembered by piece: a dictionary look-up replaces nearly all of its work.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import re
import string
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

PORTION = 1 << 22
"""Characters of texts whose pieces are looked up together."""

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
        self.split = _quick(spacy.blank("en").tokenizer)
        self.special = frozenset(run for rule in self.split.rules for run in _RUNS.findall(rule))
        faces = [rule for rule in self.split.rules if len(rule) > 1 and not _RUNS.search(rule)]
        self.faces = re.compile("|".join(map(re.escape, faces)))
        self.known: dict[str, Any] = {}
        self.turns: dict[str, Turns] = {}
        self.words: list[str] = []
        self.index: dict[str, int] = {}
        self.kinds = bytearray()
        self.described = 0
        self.about = np.zeros((3, 1 << 12), dtype=np.int64)

    def read(self, texts: Sequence[str]) -> list[Words]:
        """The words of each text. Those of the last texts are remembered, for the scorers that come next."""
        new = [text for text in dict.fromkeys(texts) if text not in self.documents]
        found = dict(zip(new, itertools.chain.from_iterable(map(self.split_all, _portions(new))), strict=True))
        characters = sum(map(len, new))
        if len(self.documents) + len(new) > DOCUMENTS or self.characters + characters > CHARACTERS:
            found |= {text: self.documents[text] for text in texts if text not in found}
            self.documents, self.characters = {}, 0
        if len(new) <= DOCUMENTS and characters <= CHARACTERS:
            self.documents |= found
            self.characters += characters
        return [found[text] if text in found else self.documents[text] for text in texts]

    def split_all(self, texts: Sequence[str]) -> Iterator[Words]:
        """The words of each text, whose pieces are looked up together."""
        pieces = [text.split() for text in texts]
        tokens = iter(self.look_up(self.known, list(itertools.chain.from_iterable(pieces))))
        numbers = [b"".join(itertools.islice(tokens, len(some))) for some in pieces]
        ids: Ids = np.frombuffer(b"".join(numbers), dtype=np.int32)
        lengths, symbols, alphas = self.about[:, ids]
        stop = 0
        for some, own in zip(pieces, numbers, strict=True):
            start, stop = stop, stop + len(own) // ids.itemsize
            part = slice(start, stop)
            yield Words(ids[part], lengths[part], symbols[part] == 1, alphas[part] == 1, "".join(some), self.words)

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
            ids = [self.id(word) for word in tokens]
            self.known[piece] = array("i", ids).tobytes()
            self.turns[piece] = _turned(bytes([self.kinds[i] for i in ids]))
        self.describe()
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
        """The tokens of a piece that is one word, or words with hyphens, or a number, perhaps with marks around it.

        Each such mark is a token by rules of spaCy that look at nothing else. None for other pieces, and where the word
        is part of one of spaCy's special cases.
        """
        found = _EASY.fullmatch(piece)
        if not found:
            return None
        before, word, stop, after = found.groups()
        parts = _HYPHEN.split(word) if "-" in word else [word]
        if not self.special.isdisjoint(_RUNS.findall(word)) or (stop and not _ENDS.search(word)):
            return None
        if len(piece) > len(word) + 1 and self.faces.search(piece):
            return None
        return [*before, *parts, *stop, *after]

    def id(self, word: str) -> int:
        """The number of a word."""
        number = self.index.get(word)
        if number is None:
            number = self.index[word] = len(self.words)
            self.words.append(word)
            self.kinds.append(2 if word in self.ends else int(_is_punctuation(word)))
        return number

    def describe(self) -> None:
        """Notes what is to be known of each new word."""
        if len(self.words) > self.about.shape[1]:
            self.about = np.concatenate([self.about, np.zeros_like(self.about)], axis=1)
            return self.describe()
        new = self.words[self.described :]
        symbols = [not word.isalpha() and PUNCTUATION.issuperset(word) for word in new]
        letters = [word.isalpha() or any(map(str.isalpha, word)) for word in new]
        self.about[:, self.described : len(self.words)] = list(map(len, new)), symbols, letters
        self.described = len(self.words)
        return None

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


_MARKS = re.escape(",:;!?()[]{}<>_#*&'\"`")
_EASY = re.compile(f"([{_MARKS}]*)([A-Za-z]+(?:[-_][A-Za-z]+)*|[0-9]+)([.]?)([{_MARKS}]*)")
_RUNS = re.compile("[A-Za-z]+|[0-9]+")
_HYPHEN = re.compile("(-)")
_ENDS = re.compile("(?:[0-9a-z]|[A-Z][A-Z])$")
"""Before a full stop that is a token: an abbreviation like "A." keeps its own."""

_ENDINGS = frozenset(",:;!?()[]{}<>_#*&'\"`")
_NO_ENDING = frozenset("0123456789'")
_BETWEEN = frozenset(".,-~:<>=/+*^")
_ONE = re.match(".", "x")


def _quick(made: Any) -> Any:
    """spaCy's English tokenizer, faster on ASCII: most pieces need none of its long expressions for ends and middles.

    An ASCII suffix is one mark, or has a digit or an apostrophe before its letters, or a full stop; something between
    two tokens (an infix) has one of the marks in `_BETWEEN`.
    """
    suffix, infixes = made.suffix_search, made.infix_finditer
    plain = frozenset(string.ascii_letters)

    def suffix_search(text: str) -> Any:
        if text.isascii():
            if text[-1:] in _ENDINGS:
                return _ONE
            if text[-1:] in plain and _NO_ENDING.isdisjoint(text):
                return None
        return suffix(text)

    def infix_finditer(text: str) -> Any:
        return () if text.isascii() and _BETWEEN.isdisjoint(text) else infixes(text)

    made.suffix_search, made.infix_finditer = suffix_search, infix_finditer
    made.vocab.lex_attr_getters = {}  # attributes of words that nobody asks for take longer than splitting
    return made


def _cut(piece: str, lengths: Iterator[int]) -> list[str]:
    """A piece as tokens of the next lengths."""
    start, found = 0, []
    while start < len(piece):
        stop = start + next(lengths)
        found.append(piece[start:stop])
        start = stop
    next(lengths)  # what keeps it apart from the next piece
    return found


@functools.cache
def _turned(kinds: bytes) -> Turns:
    """What a piece of such tokens does to the sentence splitter."""
    (starts, after), (starts_seen, after_seen) = _turn(kinds, False), _turn(kinds, True)
    return Turns((starts, starts_seen), (after, after_seen))


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


def _portions(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts in order, in lists of about `PORTION` characters."""
    some: list[str] = []
    characters = 0
    for text in texts:
        some.append(text)
        characters += len(text)
        if characters > PORTION:
            yield some
            some, characters = [], 0
    if some:
        yield some


def counted(
    texts: pa.Array, count: Callable[[str], Sequence[float | str | None]], columns: Mapping[str, pa.DataType]
) -> Scored:
    """What `count` gives for each text (one value for each column), as columns; null for null."""
    blank = [None] * len(columns)
    rows = [blank if text is None else count(text) for text in texts.to_pylist()]
    values = zip(*rows, strict=True) if rows else [()] * len(columns)
    return Scored({name: pa.array(column, columns[name]) for name, column in zip(columns, values, strict=True)})


def counted_words(
    texts: pa.Array, count: Callable[[str, Words], Sequence[float | str | None]], columns: Mapping[str, pa.DataType]
) -> Scored:
    """As `counted`, for a function that is given the words of the text too."""
    words = iter(tokenizer().read([text for text in texts.to_pylist() if text is not None]))
    return counted(texts, lambda text: count(text, next(words)), columns)


def need_spacy() -> Mapping[str, Path]:
    """No model files, once spaCy has been found.

    Raises:
        PlanError: without spaCy.
    """
    if importlib.util.find_spec("spacy") is None:
        raise PlanError("rules that count words need spaCy's tokenizer: pip install 'poolsieve[text]'")
    return {}
