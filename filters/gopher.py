"""Gopher's rules for documents: quality heuristics and repetition.

Rae et al., "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", arXiv 2112.11446, section A1.1
and table A1. Where the paper leaves a choice, the choice is datatrove's (huggingface/datatrove,
`pipeline/filters/gopher_quality_filter.py` and `gopher_repetition_filter.py`, 0.10): verdict and first reason are the
same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from poolsieve.filters.dsl.expr import col
from poolsieve.filters.dsl.ready import stage
from poolsieve.filters.dsl.stages import Chain, Keep, Rule, Score
from poolsieve.filters.words.ngrams import duplicate_characters, groups, top_characters
from poolsieve.filters.words.tokenizer import Words, score_listed, score_words, tokenizer
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.scorer import Scored, TextScorer

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


@dataclass(frozen=True, eq=False)
class GopherQuality(TextScorer):
    """Counts behind Gopher's quality rules.

    Words are spaCy's tokens. `word_count` and `mean_word_length` (characters) leave out words that are punctuation
    alone; `hash_ratio` and `ellipsis_ratio` are "#" and "..." or "…" a word; `bullet_line_ratio` and
    `ellipsis_line_ratio` the shares of lines that start with a bullet or end with an ellipsis; `alpha_word_ratio` the
    share of words with a letter; `stop_words` how many different ones there are. Null where it would divide by zero.
    """

    stop_words: tuple[str, ...] = STOP_WORDS

    packages = ("spacy",)
    extra = "text"

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """`QUALITY_COLUMNS`."""
        return QUALITY_COLUMNS

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The counts of each text; null for null."""
        return score_words(
            batch.column(self.text), lambda text, words: quality_counts(text, words, self.stop_words), self.columns
        )


def quality_counts(text: str, words: Words, stop_words: Sequence[str] = STOP_WORDS) -> list[float | None]:
    """The values of `QUALITY_COLUMNS` for one text."""
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
        words.count_present(stop_words),
    ]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True, eq=False)
class GopherRepetition(TextScorer):
    """Shares of a document that repeat: lines and paragraphs, by number and by characters, and n-grams of words.

    `top_n_gram` is the most frequent n-gram's share of the characters, `dup_n_grams` that of the n-grams that stood in
    the document before, counted without overlap.
    """

    top: tuple[int, ...] = tuple(TOP_N_GRAMS)
    duplicate: tuple[int, ...] = tuple(DUPLICATE_N_GRAMS)

    packages = ("spacy",)
    extra = "text"

    def __post_init__(self) -> None:
        for n in (*self.top, *self.duplicate):
            if not isinstance(n, int) or n < 1:
                raise PlanError(f"gopher.repetition(): {n!r}-grams; n is a whole number of words, 1 or more")

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """`char_count` (int64), and one float64 for each share."""
        shares = [f"dup_{what}_frac" for what in ("para", "para_char", "line", "line_char")]
        grams = [*(f"top_{n}_gram" for n in self.top), *(f"dup_{n}_grams" for n in self.duplicate)]
        return {"char_count": pa.int64(), **dict.fromkeys([*shares, *grams], pa.float64())}

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The shares of each text; null for null, and for a text without characters."""
        texts = batch.column(self.text).to_pylist()
        grams = self.gram_shares([text for text in texts if text])
        return score_listed(texts, lambda text: self._row(text, grams), self.columns)

    def _row(self, text: str, grams: Iterator[list[float]]) -> list[float | None]:
        """The values of `columns` for one text; `grams` has those of the n-grams for the next text."""
        if not text:
            return [0, *[None] * (len(self.columns) - 1)]
        paragraphs, lines = split_paragraphs(text), split_lines(text)
        return [len(text), *_repeats(paragraphs, text), *_repeats(lines, text), *next(grams)]

    def gram_shares(self, texts: Sequence[str]) -> Iterator[list[float]]:
        """For each text, which has characters, the columns of its n-grams."""
        lengths = iter(map(len, texts))
        for group in groups(tokenizer().read(texts)):
            top, duplicate = top_characters(group, self.top), duplicate_characters(group, self.duplicate)
            found = np.zeros((len(self.top) + len(self.duplicate), len(group.starts) - 1), dtype=np.int64)
            found[:] = [*(top[n] for n in self.top), *(duplicate[n] for n in self.duplicate)] or found
            for characters in found.T.tolist():
                length = next(lengths)
                yield [count / length for count in characters]


def split_paragraphs(text: str) -> list[str]:
    r"""`re.split(r"\n{2,}", text.strip())`, several times as fast."""
    stripped = text.strip()
    return [part for piece in stripped.split("\n\n") if (part := piece.lstrip("\n"))] or [""]


def split_lines(text: str) -> list[str]:
    r"""`re.split(r"\n+", text)`, several times as fast."""
    first, last = [""] * text.startswith("\n"), [""] * text.endswith("\n")
    return [*first, *filter(None, text.split("\n")), *last] or [""]


def _repeats(parts: list[str], text: str) -> tuple[float, float]:
    """(share of parts that stood before, their characters' share of the text)."""
    once = set(parts)
    if len(once) == len(parts):
        return 0.0, 0.0
    characters = sum(map(len, parts)) - sum(map(len, once))
    return (len(parts) - len(once)) / len(parts), characters / len(text)


@stage(example="gopher.quality()")
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
    return Chain((Score(gopher=GopherQuality(tuple(stop_words), text=text)), *(rule for rule in rules if rule)))


@stage(example="gopher.repetition()")
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
    scorer = GopherRepetition(tuple(sorted(max_top_n_grams)), tuple(sorted(max_dup_n_grams)), text=text)
    rules = [_most(name, limit, name, "repetition") for name, limit in shares.items()]
    whole = [_least("char_count", 1, "empty", "repetition"), *rules]
    return Chain((Score(**{"gopher.repetition": scorer}), *(rule for rule in whole if rule)))


def _least(name: str, limit: float | None, what: str, group: str = "") -> Rule | None:
    score = ".".join(filter(None, ("gopher", group, name)))
    return None if limit is None else Keep(col(score) >= limit, reason=f"gopher.{what}")


def _most(name: str, limit: float | None, what: str, group: str = "") -> Rule | None:
    score = ".".join(filter(None, ("gopher", group, name)))
    return None if limit is None else Keep(col(score) <= limit, reason=f"gopher.{what}")
