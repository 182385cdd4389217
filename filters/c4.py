"""C4's rules for lines and pages.

Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", arXiv 1910.10683,
section 2.2, as datatrove has them (huggingface/datatrove, `pipeline/filters/c4_filters.py`, 0.10): verdict, first
and edited text are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa

from poolsieve.filters.dsl.edits import Edit
from poolsieve.filters.dsl.expr import col
from poolsieve.filters.dsl.ready import stage
from poolsieve.filters.dsl.stages import Chain, Keep, Score, Stage
from poolsieve.filters.words.tokenizer import Words, score_words, tokenizer
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.scorer import Scored, TextScorer

POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
"""A line with one of these phrases is dropped (T5's `c4_utils.py`)."""

_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_FINAL = (".", "?", "!", '"', "'")
_LOREM, _CURLY = "lorem_ipsum", "curly_bracket"
_LOREM_IPSUM, _JAVASCRIPT = "lorem ipsum", "javascript"


@dataclass(frozen=True, kw_only=True)
class LineRules:
    """Which lines stay. A page with "lorem ipsum" or "{" in a line that has come so far is dropped whole.

    Args:
        terminal_punctuation: lines must end in a full stop, question or exclamation mark or quote, and not in "...".
        min_words: whitespace words of a line.
        max_word_length: characters; a line with a longer word is dropped. None for no limit.
        citations: leave "[1]", "[edit]" and "[citation needed]" out of lines.
        lorem_ipsum, curly_bracket, javascript, policies: whether these rules apply.
    """

    terminal_punctuation: bool = True
    min_words: int = 3
    max_word_length: int | None = 1000
    citations: bool = True
    lorem_ipsum: bool = True
    curly_bracket: bool = True
    javascript: bool = True
    policies: bool = True

    def __post_init__(self) -> None:
        if self.max_word_length is not None and self.max_word_length < 1:
            raise PlanError(f"c4.quality(max_word_length={self.max_word_length}): 1 or more, or None for no limit")

    def lines(self, text: str) -> Iterator[tuple[list[str], str | None]]:
        """For each line: its whitespace words, and the line as it stays, or None.

        Raises:
            PageDropped: where the whole page goes.
        """
        phrases = self.has_phrases(text)
        for whole in text.splitlines():
            words = whole.split()
            yield words, self.line(whole.strip(), words, phrases)

    def line(self, line: str, words: list[str], phrases: bool) -> str | None:
        """A stripped line as it stays, or None; `phrases` says whether they are to be looked for."""
        longest = self.max_word_length or len(line)
        if len(line) > longest and any(len(word) > longest for word in words):
            return None
        if self.citations and "[" in line:
            line = _CITATION.sub("", line)
        if self.terminal_punctuation and (not line.endswith(_FINAL) or line.endswith("...")):
            return None
        if len(words) < self.min_words:
            return None
        return line if not phrases or self.phrases(line, line.lower()) else None

    def has_phrases(self, text: str) -> bool:
        """Whether a line of the text may have a phrase; one that comes of a citation that is left out as well."""
        if "{" in text or "[" in text:
            return True
        lower = text.lower()
        return any(phrase in lower for phrase in (_LOREM_IPSUM, _JAVASCRIPT, *POLICIES))

    def phrases(self, line: str, lower: str) -> bool:
        """Whether no phrase takes the line out."""
        if self.lorem_ipsum and _LOREM_IPSUM in lower:
            raise PageDropped(_LOREM)
        if self.javascript and _JAVASCRIPT in lower:
            return False
        if self.curly_bracket and "{" in line:
            raise PageDropped(_CURLY)
        return not (self.policies and any(phrase in lower for phrase in POLICIES))


class PageDropped(Exception):
    """A page that goes as a whole; the argument says why."""


@dataclass(frozen=True, kw_only=True, eq=False)
class C4Page(LineRules, TextScorer):
    """What C4's rules say of a page: `lorem_ipsum` and `curly_bracket` (1 if that ends it), `sentences` that stay."""

    packages = ("spacy",)
    extra = "text"

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """`lorem_ipsum` and `curly_bracket` (int8), `sentences` (int64; null where one of them ended the page)."""
        return {_LOREM: pa.int8(), _CURLY: pa.int8(), "sentences": pa.int64()}

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The three numbers of each text; null for null."""
        return score_words(batch.column(self.text), self.page, self.columns)

    def page(self, text: str, words: Words) -> tuple[int, int, int | None]:
        """The three numbers of one text."""
        try:
            return 0, 0, self.sentences(text, words)
        except PageDropped as why:
            return int(why.args[0] == _LOREM), int(why.args[0] == _CURLY), None

    def sentences(self, text: str, words: Words) -> int:
        """Sentences of the lines that stay. Those that are as they were are counted by the words of the text."""
        count = stop = 0
        spans = []
        for pieces, line in self.lines(text):
            start, stop = stop, stop + sum(map(len, pieces))
            if line is None:
                continue
            if line == " ".join(pieces):
                spans.append((start, stop))
            else:
                count += tokenizer().sentence_count(line)
        return count + words.sentences(spans)


@dataclass(frozen=True, kw_only=True, eq=False)
class C4Lines(LineRules, Config):
    """The page's text without the lines that C4's rules drop; a page that they drop whole stays as it is."""

    text: str = "text"
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The text role."""
        return (self.text,)

    def edit(self, batch: pa.RecordBatch) -> pa.Array:
        """The edited text of each row; null for null."""
        texts = batch.column(self.text).to_pylist()
        return pa.array([None if text is None else self.edited(text) for text in texts], pa.string())

    def edited(self, text: str) -> str:
        """One text."""
        try:
            return "\n".join([line for _, line in self.lines(text) if line is not None]).strip()
        except PageDropped:
            return text


@stage(example="c4.quality()")
def quality(
    *,
    terminal_punctuation: bool = True,
    min_sentences: int | None = 5,
    edit: bool = False,
    text: str = "text",
    **rules: Any,
) -> Chain:
    """C4's page rules, in datatrove's order; with `edit`, later stages read the text without the dropped lines.

    Args:
        terminal_punctuation: whether only lines that end in a sentence's final mark stay (FineWeb: False).
        min_sentences: sentences (spaCy's rule-based splitter) that must be left; None leaves the rule out.
        edit: derive the text of the lines that stay, for later stages and for `poolsieve export --column`.
        text: the role to read.
        rules: the other fields of `LineRules`: `min_words` (3) of a line, `max_word_length` (1000), and whether
            `citations`, `lorem_ipsum`, `curly_bracket`, `javascript` and `policies` are looked for.
    """
    given = {"terminal_punctuation": terminal_punctuation, **_checked(rules)}
    stages: list[Stage] = [
        Score(c4=C4Page(text=text, **given)),
        Keep(col("c4.lorem_ipsum") < 1, reason="c4.lorem_ipsum"),
        Keep(col("c4.curly_bracket") < 1, reason="c4.curly_bracket"),
    ]
    if min_sentences is not None:
        stages.append(Keep(col("c4.sentences") >= min_sentences, reason="c4.too_few_sentences"))
    return Chain((*stages, Edit(**{text: C4Lines(text=text, **given)})) if edit else tuple(stages))


def _checked(rules: Mapping[str, Any]) -> Mapping[str, Any]:
    known = [item.name for item in fields(LineRules)]
    for name in rules:
        if name not in known:
            raise TypeError(f"c4.quality() has no argument {name!r}; there is {', '.join(known)}")
    return rules
