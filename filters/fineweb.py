"""FineWeb's own rules for documents.

Penedo et al., "The FineWeb Datasets: Decanting the Web for the Finest Text Data at Scale", arXiv 2406.17557, section
3.5, as datatrove has them (huggingface/datatrove, `pipeline/filters/fineweb_quality_filter.py`, 0.10): verdict and
first reason are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from poolsieve.filters.dsl.expr import col
from poolsieve.filters.dsl.ready import stage
from poolsieve.filters.dsl.stages import Chain, Keep, Rule, Score, any_of
from poolsieve.filters.words.punctuation import TERMINAL
from poolsieve.filters.words.tokenizer import Words, score_words
from poolsieve.scoring_models.base.scorer import Scored, TextScorer

SHORT_LINE = 30
"""Characters of a line that counts as short."""


@dataclass(frozen=True, eq=False)
class FineWeb(TextScorer):
    """Counts behind FineWeb's rules, over the lines that are not blank.

    `lines`: how many; `line_punct_ratio`: share that ends in a sentence's final mark; `short_line_ratio`: share of at
    most `short_line` characters; `char_dup_ratio`: share of characters in lines that stood before; `list_ratio`: line
    breaks a word. Null where it would divide by zero.
    """

    short_line: int = SHORT_LINE

    packages = ("spacy",)
    extra = "text"

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """`lines` (int64) and four float64 ratios."""
        ratios = ("line_punct_ratio", "short_line_ratio", "char_dup_ratio", "list_ratio")
        return {"lines": pa.int64(), **dict.fromkeys(ratios, pa.float64())}

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The counts of each text; null for null."""
        return score_words(batch.column(self.text), self.counts, self.columns)

    def counts(self, text: str, words: Words) -> list[float | None]:
        """The values of `columns` for one text."""
        lines = [line for line in text.split("\n") if line.strip()]
        if not lines:
            return [0, None, None, None, None]
        breaks = text.count("\n")
        repeated = sum(map(len, lines)) - sum(map(len, set(lines)))
        return [
            len(lines),
            sum(line[-1] in TERMINAL for line in lines) / len(lines),
            sum(len(line) <= self.short_line for line in lines) / len(lines),
            repeated / (len(text) - breaks),
            breaks / len(words) if len(words) else None,
        ]


@stage(example="fineweb.quality()")
def quality(
    *,
    min_line_punct_ratio: float = 0.12,
    line_punct_or_none: bool = False,
    max_short_line_ratio: float = 0.67,
    short_line: int = SHORT_LINE,
    max_char_dup_ratio: float = 0.01,
    max_list_ratio: float = 0.3,
    text: str = "text",
) -> Chain:
    """FineWeb's quality rules, in datatrove's order.

    Args:
        min_line_punct_ratio: share of lines that end in a sentence's final mark.
        line_punct_or_none: keep documents in which no line does, too.
        max_short_line_ratio: share of lines of at most `short_line` characters.
        short_line: characters.
        max_char_dup_ratio: share of characters in lines that stood before.
        max_list_ratio: line breaks a word.
        text: the role to read.
    """
    return Chain(
        (
            Score(fineweb=FineWeb(short_line, text=text)),
            Keep(col("fineweb.lines") >= 1, reason="fineweb.empty"),
            _punctuated(min_line_punct_ratio, line_punct_or_none),
            Keep(col("fineweb.short_line_ratio") <= max_short_line_ratio, reason="fineweb.short_line_ratio"),
            Keep(col("fineweb.char_dup_ratio") <= max_char_dup_ratio, reason="fineweb.char_dup_ratio"),
            Keep(col("fineweb.list_ratio") <= max_list_ratio, reason="fineweb.list_ratio"),
        )
    )


def _punctuated(least: float, or_none: bool) -> Rule:
    enough = Keep(col("fineweb.line_punct_ratio") >= least, reason="fineweb.line_punct_ratio")
    none = Keep(col("fineweb.line_punct_ratio") == 0, reason="fineweb.no_line_punct")
    return any_of(enough, none, reason="fineweb.line_punct_ratio") if or_none else enough
