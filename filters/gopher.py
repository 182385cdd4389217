"""Gopher's rules for documents: quality heuristics and repetition.

Rae et al., "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", arXiv 2112.11446, section A1.1
and table A1. Where the paper leaves a choice, the choice is datatrove's (huggingface/datatrove,
`pipeline/filters/gopher_quality_filter.py` and `gopher_repetition_filter.py`, 0.10): verdict and first reason are the
same.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.filters.expr import col
from poolsieve.filters.stages import Chain, Keep, Rule, Score
from poolsieve.filters.words import Ints, Words, counted, need_spacy, tokenizer
from poolsieve.scoring_models.protocol import Config, Resources, Scored

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""A document of English prose has at least two of them (section A1.1)."""

TOP_N_GRAMS = {2: 0.20, 3: 0.18, 4: 0.16}
"""n -> largest share of a document's characters that its most frequent n-gram may have (table A1)."""

DUPLICATE_N_GRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
"""n -> largest share of a document's characters that may stand in n-grams that it had before (table A1)."""

QUALITY_COLUMNS: Mapping[str, pa.DataType] = {
    "word_count": pa.int64(),
    "mean_word_length": pa.float64(),
    "hash_ratio": pa.float64(),
    "ellipsis_ratio": pa.float64(),
    "bullet_line_ratio": pa.float64(),
    "ellipsis_line_ratio": pa.float64(),
    "alpha_word_ratio": pa.float64(),
    "stop_words": pa.int64(),
}

_PARAGRAPHS = re.compile(r"\n{2,}")
_LINES = re.compile(r"\n+")
Hashes = np.ndarray[Any, np.dtype[np.uint64]]
_BASE = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, eq=False)
class GopherQuality(Config):
    """Counts behind Gopher's quality rules.

    Words are spaCy's tokens. `word_count` and `mean_word_length` (characters) leave out words that are punctuation
    alone; `hash_ratio` and `ellipsis_ratio` are "#" and "..." or "…" a word; `bullet_line_ratio` and
    `ellipsis_line_ratio` the shares of lines that start with a bullet or end with an ellipsis; `alpha_word_ratio` the
    share of words with a letter; `stop_words` how many different ones there are. Null where it would divide by zero.
    """

    text: str = "text"
    stop_words: tuple[str, ...] = STOP_WORDS
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The text role."""
        return (self.text,)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """`QUALITY_COLUMNS`."""
        return QUALITY_COLUMNS

    @property
    def resources(self) -> Resources:
        """Python and NumPy on short arrays."""
        return Resources(holds_gil=True)

    def files(self) -> Mapping[str, Path]:
        """No model files; spaCy has to be there."""
        return need_spacy()

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The counts of each text; null for null."""
        return counted(batch.column(self.text), lambda text: quality_counts(text, self.stop_words), self.columns)


def quality_counts(text: str, stop_words: Sequence[str] = STOP_WORDS) -> list[float | None]:
    """The values of `QUALITY_COLUMNS` for one text."""
    words = tokenizer().document(text)
    plain = words.lengths[~words.symbols]
    lines = text.splitlines()
    ellipses = text.count("...") + text.count("…")
    bullets = sum([line.lstrip().startswith(("•", "-")) for line in lines]) if "-" in text or "•" in text else 0
    dotted = sum([line.rstrip().endswith(("...", "…")) for line in lines]) if ellipses else 0
    return [
        len(plain),
        _share(int(plain.sum()), len(plain)),
        _share(text.count("#"), len(words)),
        _share(ellipses, len(words)),
        _share(bullets, len(lines)),
        _share(dotted, len(lines)),
        _share(int(words.alphas.sum()), len(words)),
        tokenizer().present(words, stop_words),
    ]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True, eq=False)
class GopherRepetition(Config):
    """Shares of a document that repeat: lines and paragraphs, by number and by characters, and n-grams of words.

    `top_n_gram` is the most frequent n-gram's share of the characters, `dup_n_grams` that of the n-grams that stood in
    the document before, counted without overlap.
    """

    text: str = "text"
    top: tuple[int, ...] = tuple(TOP_N_GRAMS)
    duplicate: tuple[int, ...] = tuple(DUPLICATE_N_GRAMS)
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The text role."""
        return (self.text,)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """`char_count` (int64), and one float64 for each share."""
        shares = [f"dup_{what}_frac" for what in ("para", "para_char", "line", "line_char")]
        grams = [*(f"top_{n}_gram" for n in self.top), *(f"dup_{n}_grams" for n in self.duplicate)]
        return {"char_count": pa.int64(), **dict.fromkeys([*shares, *grams], pa.float64())}

    @property
    def resources(self) -> Resources:
        """Python and NumPy on short arrays."""
        return Resources(holds_gil=True)

    def files(self) -> Mapping[str, Path]:
        """No model files; spaCy has to be there."""
        return need_spacy()

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The shares of each text; null for null, and for a text without characters."""
        return counted(batch.column(self.text), self.shares, self.columns)

    def shares(self, text: str) -> list[float | None]:
        """The values of `columns` for one text."""
        if not text:
            return [0, *[None] * (len(self.columns) - 1)]
        repeats = [*_repeats(_split(_PARAGRAPHS, text.strip()), text), *_repeats(_split(_LINES, text), text)]
        words = tokenizer().document(text)
        top = [characters / len(text) for characters in top_characters(words, self.top)]
        duplicate = [characters / len(text) for characters in duplicate_characters(words, self.duplicate)]
        return [len(text), *repeats, *top, *duplicate]


def _split(pattern: re.Pattern[str], text: str) -> list[str]:
    """`pattern.split(text)` for the two patterns above, quickly where no line is blank."""
    if "\n\n" in text:
        return pattern.split(text)
    return text.split("\n") if pattern is _LINES else [text]


def _repeats(parts: list[str], text: str) -> tuple[float, float]:
    """(share of parts that stood before, their characters' share of the text)."""
    once = set(parts)
    if len(once) == len(parts):
        return 0.0, 0.0
    characters = sum(map(len, parts)) - sum(map(len, once))
    return (len(parts) - len(once)) / len(parts), characters / len(text)


def top_characters(words: Words, sizes: Sequence[int]) -> Iterator[int]:
    """For each n: characters (blanks between words included) of all copies of the most frequent n-gram.

    Among equally frequent ones the first in the text counts. 0 where the text has fewer than n words.
    """
    labels = words.labels()
    codes, n = labels, 1
    for size in sizes:
        while n < size and len(codes) > 1:
            codes, n = _longer(codes, labels[n:]), n + 1
        if n < size or not len(codes):
            yield 0
            continue
        start, most = _most_frequent(codes)
        yield (int(words.lengths[start : start + size].sum()) + size - 1) * most


def _longer(codes: Ints, tails: Ints) -> Ints:
    """Numbers of the (n+1)-grams, from those of the n-grams and of the words after them."""
    span = int(tails.max()) + 1
    if int(codes.max()) >= (1 << 62) // span:
        codes = np.unique(codes, return_inverse=True)[1]
    return np.asarray(codes[: len(tails)] * span + tails, dtype=np.int64)


def _most_frequent(codes: Ints) -> tuple[int, int]:
    """(first place, count) of the most frequent number; of several, the one that comes first."""
    ordered = np.sort(codes)
    ends = np.concatenate([[-1], np.flatnonzero(ordered[1:] != ordered[:-1]), [len(ordered) - 1]])
    if len(ends) == len(ordered) + 1:
        return 0, 1
    counts = ends[1:] - ends[:-1]
    most = int(counts.max())
    best = ordered[ends[1:][counts == most]]
    place = np.minimum(np.searchsorted(best, codes), len(best) - 1)
    return int(np.argmax(best[place] == codes)), most


def duplicate_characters(words: Words, sizes: Sequence[int]) -> Iterator[int]:
    """For each n: characters of the n-grams (without blanks) that stood in the text before.

    A reading from left to right that jumps over what it counts. n-grams are compared as strings without blanks, as
    datatrove does it. Hashes find the few places that need to be looked at.
    """
    offsets = np.zeros(len(words) + 1, dtype=np.int64)
    np.cumsum(words.lengths, out=offsets[1:])
    hashes, powers = _prefix_hashes(words.joined)[offsets], _powers(len(words.joined))[len(words.joined) - offsets]
    for n in sizes:
        count = max(len(words) - n + 1, 0)
        grams = (hashes[n:] - hashes[:count]) * powers[:count]
        places = _repeated(grams)
        yield _jumping(words.joined, offsets, places.tolist(), n) if len(places) else 0


def _prefix_hashes(text: str) -> Hashes:
    """Polynomial hashes, modulo 2^64, of every prefix."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    made = np.zeros(len(codes) + 1, dtype=np.uint64)
    np.cumsum((codes + np.uint64(1)) * _powers(len(codes))[: len(codes)], out=made[1:])
    return made


def _powers(size: int) -> Hashes:
    """Powers 0 to `size` of the hashes' base, and perhaps more."""
    return _some_powers(1 << max(12, size.bit_length()))


@functools.lru_cache(maxsize=4)
def _some_powers(size: int) -> Hashes:
    made = np.full(size + 1, _BASE, dtype=np.uint64)
    made[0] = 1
    return np.cumprod(made, dtype=np.uint64)


def _repeated(hashes: Hashes) -> Ints:
    """Places whose hash stands at another place too, in order."""
    ordered = np.sort(hashes)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(twice):
        return np.zeros(0, dtype=np.int64)
    place = np.minimum(np.searchsorted(twice, hashes), len(twice) - 1)
    return np.flatnonzero(twice[place] == hashes)


def _jumping(joined: str, offsets: Ints, places: list[int], n: int) -> int:
    seen: set[str] = set()
    total, free = 0, 0
    for place in places:
        if place < free:
            continue
        gram = joined[offsets[place] : offsets[place + n]]
        if gram in seen:
            total, free = total + len(gram), place + n
        else:
            seen.add(gram)
    return total


def quality(
    *,
    min_words: int | None = 50,
    max_words: int | None = 100_000,
    min_mean_word_length: float | None = 3,
    max_mean_word_length: float | None = 10,
    max_symbol_word_ratio: float | None = 0.1,
    max_bullet_line_ratio: float | None = 0.9,
    max_ellipsis_line_ratio: float | None = 0.3,
    min_alpha_word_ratio: float | None = 0.8,
    min_stop_words: int | None = 2,
    stop_words: Sequence[str] = STOP_WORDS,
    text: str = "text",
) -> Chain:
    """Gopher's quality rules, in datatrove's order. A limit of None leaves its rule out.

    Args:
        min_words, max_words: words that are not punctuation alone.
        min_mean_word_length, max_mean_word_length: characters.
        max_symbol_word_ratio: "#" a word, and ellipses a word.
        max_bullet_line_ratio, max_ellipsis_line_ratio: of lines that start with a bullet, that end with an ellipsis.
        min_alpha_word_ratio: of words with at least one letter.
        min_stop_words: different ones of `stop_words`.
        stop_words: as whole words, with their case.
        text: the role to read.
    """
    rules = (
        _least("word_count", min_words, "too_few_words"),
        _most("word_count", max_words, "too_many_words"),
        _least("mean_word_length", min_mean_word_length, "short_words"),
        _most("mean_word_length", max_mean_word_length, "long_words"),
        _most("hash_ratio", max_symbol_word_ratio, "too_many_hashes"),
        _most("ellipsis_ratio", max_symbol_word_ratio, "too_many_ellipses"),
        _most("bullet_line_ratio", max_bullet_line_ratio, "too_many_bullets"),
        _most("ellipsis_line_ratio", max_ellipsis_line_ratio, "too_many_ellipsis_lines"),
        _least("alpha_word_ratio", min_alpha_word_ratio, "too_few_alpha_words"),
        _least("stop_words", min_stop_words, "too_few_stop_words"),
    )
    return Chain((Score(gopher=GopherQuality(text, tuple(stop_words))), *(rule for rule in rules if rule)))


def repetition(
    *,
    max_dup_para_frac: float | None = 0.3,
    max_dup_para_char_frac: float | None = 0.2,
    max_dup_line_frac: float | None = 0.3,
    max_dup_line_char_frac: float | None = 0.2,
    max_top_n_grams: Mapping[int, float] = TOP_N_GRAMS,
    max_dup_n_grams: Mapping[int, float] = DUPLICATE_N_GRAMS,
    text: str = "text",
) -> Chain:
    """Gopher's repetition rules (table A1), in datatrove's order. A limit of None leaves its rule out.

    Args:
        max_dup_para_frac, max_dup_line_frac: share of paragraphs (lines) that stood before.
        max_dup_para_char_frac, max_dup_line_char_frac: the same by characters.
        max_top_n_grams: n -> share of characters that the most frequent n-gram may have.
        max_dup_n_grams: n -> share of characters in n-grams that stood before.
        text: the role to read.
    """
    shares = {
        "dup_para_frac": max_dup_para_frac,
        "dup_para_char_frac": max_dup_para_char_frac,
        "dup_line_frac": max_dup_line_frac,
        "dup_line_char_frac": max_dup_line_char_frac,
        **{f"top_{n}_gram": limit for n, limit in max_top_n_grams.items()},
        **{f"dup_{n}_grams": limit for n, limit in max_dup_n_grams.items()},
    }
    scorer = GopherRepetition(text, tuple(sorted(max_top_n_grams)), tuple(sorted(max_dup_n_grams)))
    rules = [_most(name, limit, name, "repetition") for name, limit in shares.items()]
    whole = [_least("char_count", 1, "empty", "repetition"), *rules]
    return Chain((Score(**{"gopher.repetition": scorer}), *(rule for rule in whole if rule)))


def _least(name: str, limit: float | None, what: str, group: str = "") -> Rule | None:
    score = ".".join(filter(None, ("gopher", group, name)))
    return None if limit is None else Keep(col(score) >= limit, reason=f"gopher.{what}")


def _most(name: str, limit: float | None, what: str, group: str = "") -> Rule | None:
    score = ".".join(filter(None, ("gopher", group, name)))
    return None if limit is None else Keep(col(score) <= limit, reason=f"gopher.{what}")
