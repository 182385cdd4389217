"""From captions to the tokens that CLIP's text tower takes: open_clip's tokenizer, token for token, in bounded time.

open_clip's own tokenizer cleans a whole caption (ftfy, HTML entities, blanks, case), splits it into words, and merges
each word's characters in time that is the square of its length; then it keeps the first 75 tokens or so. It remembers
every word that it ever saw. Here the same steps go on only as far as tokens are wanted, and remember a fixed number of
words. Why that gives the same tokens is said at each step.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

BLOCK = 4096
"""Characters from which on a caption is cleaned and split in blocks, ending where nothing can reach across."""

REMEMBERED = 2**16
"""Words whose tokens are kept."""

LONG = 256
"""Characters of a word above which its tokens are not kept."""

MAX_NESTED = 10**9
"""Characters of a caption times the depth to which its entities may be nested. ftfy undoes one level in each of its
turns, so that time goes with the product: some ten seconds at this limit, and hours for `&amp;amp;amp;...` of 1 MB."""

MARKS = 1000
"""Combining marks in a row from which on they are put into order beforehand, see `_ordered`."""

_UNCLEAN = re.compile(r"[^\t\n\r -%'-~]")
"""What ftfy or HTML's entities may change something at, but blanks for other blanks: all but printable ASCII, tabs and
line ends; and "&"."""

_BLANK = re.compile(r"[\t\n\r ]")

_CHAIN = re.compile(r"&(?:#?[0-9A-Za-z]{1,24};){64,}+")
"""What looks like the bodies of entities one after the other: undoing a level takes at most one of them away."""


class NestedEntities(ValueError):
    """A caption whose HTML entities are nested so deep that cleaning it would take hours."""


class Captions:
    """Captions as int64 (n, context), as open_clip's tokenizer gives them. Safe in several threads.

    Args:
        tokenizer: open_clip's; its `SimpleTokenizer` is what the module's text speaks of, any other is called as it is.
        context: tokens of a caption, with those that begin and end it.
    """

    def __init__(self, tokenizer: Any, context: int) -> None:
        self._tokenizer, self._context = tokenizer, context
        self._words = Words(tokenizer, context - 2) if context > 2 and _known(tokenizer) else None

    def __call__(self, texts: Sequence[str]) -> Array:
        """Tokens of captions.

        Raises:
            NestedEntities: for a caption that can't be cleaned in a reasonable time.
        """
        if self._words is None:
            return np.asarray(self._tokenizer(list(texts), context_length=self._context).numpy())
        made = np.zeros((len(texts), self._context), np.int64)
        for row, text in zip(made, texts, strict=True):
            found = self._words.of(text)
            row[0], row[len(found) + 1] = self._tokenizer.sot_token_id, self._tokenizer.eot_token_id
            row[1 : len(found) + 1] = found
        return made


def _known(tokenizer: Any) -> bool:
    """Whether a tokenizer is open_clip's own, as it comes, with merges in the order in which they were learned."""
    from open_clip.tokenizer import SimpleTokenizer, _clean_lower

    usual = type(tokenizer) is SimpleTokenizer and tokenizer.clean_fn is _clean_lower and not tokenizer.reduction_fn
    return usual and _in_order(tokenizer.bpe_ranks)


def _in_order(ranks: Mapping[tuple[str, str], int]) -> bool:
    """Whether what a merge makes is merged further by later ones alone."""
    first: dict[str, int] = {}
    for pair, rank in ranks.items():
        for part in pair:
            first[part] = min(rank, first.get(part, rank))
    return all(first.get(a + b, rank + 1) > rank for (a, b), rank in ranks.items())


def blocks(text: str) -> Iterator[str]:
    """A caption cleaned as open_clip cleans it, in blocks of at least `BLOCK` characters that end with a blank.

    No word reaches across a blank, and neither does the lower case of a letter depend on what is beyond one.

    Raises:
        NestedEntities: see `MAX_NESTED`.
    """
    if _UNCLEAN.search(text) is not None:
        yield from _cleaned(text)
        return
    start = 0
    while start < len(text):
        blank = _BLANK.search(text, start + BLOCK)
        end = len(text) if blank is None else blank.end()
        yield text[start:end].lower()
        start = end


def _cleaned(text: str) -> Iterator[str]:
    """Blocks of whole lines: ftfy works line by line, and no entity has a line feed in it.

    What ftfy carries from line to line is only whether it has met a "<", after which it leaves entities alone.
    """
    import html

    import ftfy

    config, start = ftfy.TextFixerConfig(explain=False), 0
    while start < len(text):
        end = text.find("\n", start + BLOCK) + 1 or len(text)
        fixed = ftfy.fix_text(_bounded(text[start:end]), config)
        if end < len(text) and not fixed.endswith("\n"):  # a ftfy that takes line feeds away
            end, fixed = len(text), ftfy.fix_text(_bounded(text[start:]), config)
        if "<" in text[start:end]:
            config = config._replace(unescape_html=False)
        yield " ".join(html.unescape(html.unescape(fixed)).split()).lower()
        start = end


def _bounded(lines: str) -> str:
    """Lines as they are, or as ones that come to the same and take ftfy less time.

    Raises:
        NestedEntities: see `MAX_NESTED`.
    """
    depth = max((found.group().count(";") for found in _CHAIN.finditer(lines)), default=0)
    if depth * len(lines) > MAX_NESTED:
        raise NestedEntities(f"{depth} nested HTML entities in {len(lines)} characters")
    return _ordered(lines)


def _ordered(text: str) -> str:
    """The text with the combining marks of long rows in canonical order (Unicode, section 3.11).

    ftfy brings every text to NFC, for which the order is indifferent, and none of its other steps looks at combining
    marks. But `unicodedata.normalize` sorts them by insertion: a row of 500,000 in the wrong order takes minutes.
    """
    if len(text) < MARKS:
        return text
    return re.sub(
        f"[{_marks()}]{{{MARKS},}}+", lambda row: "".join(sorted(row.group(), key=unicodedata.combining)), text
    )


@functools.cache
def _marks() -> str:
    return "".join(filter(unicodedata.combining, map(chr, range(sys.maxunicode + 1))))


class Words:
    """Tokens of words, by open_clip's byte-pair merges.

    Args:
        tokenizer: open_clip's `SimpleTokenizer`.
        wanted: tokens of a caption.
    """

    def __init__(self, tokenizer: Any, wanted: int) -> None:
        self._bytes, self._ranks = tokenizer.byte_encoder, tokenizer.bpe_ranks
        self._ids, self._pattern, self._wanted = tokenizer.encoder, tokenizer.pat, wanted
        self._special = {text: self._ids[text] for text in ("<start_of_text>", "<end_of_text>")}
        self._longest = max(map(len, self._ids))
        self._remembered = functools.lru_cache(REMEMBERED)(self._word)

    def of(self, text: str) -> list[int]:
        """The first tokens of a caption, as many as are wanted, or all."""
        found: list[int] = []
        for block in blocks(text):
            for match in self._pattern.finditer(block):
                word = match.group()
                found += self._remembered(word) if len(word) <= LONG else self._long(word)
                if len(found) >= self._wanted:
                    return found[: self._wanted]
        return found

    def _word(self, word: str) -> tuple[int, ...]:
        if word in self._special:
            return (self._special[word],)
        symbols = self._symbols(word)
        symbols[-1] += "</w>"
        return self._merged(symbols)

    def _symbols(self, word: str) -> list[str]:
        return [self._bytes[byte] for byte in word.encode("utf-8")]

    def _merged(self, symbols: list[str]) -> tuple[int, ...]:
        return tuple(self._ids[token] for token in merged(symbols, self._ranks))

    def _long(self, word: str) -> tuple[int, ...]:
        """At least the wanted tokens of a long word, from as little of it as will do.

        What lies left of a place that no merge ever crosses is merged as if it stood alone. The word's last such place
        within the first `size` bytes is among their last `longest`, since no token is longer. So the first tokens that
        all of these places agree about are the word's.
        """
        size = max(LONG, 8 * self._wanted) + self._longest
        while size < len(word):
            symbols = self._symbols(word[:size])
            places = range(size - self._longest + 1, size + 1)
            found = {self._merged(symbols[:place])[: self._wanted] for place in places}
            first = found.pop()
            if not found and len(first) == self._wanted:
                return first
            size *= 2
        return self._word(word)


def merged(symbols: list[str], ranks: Mapping[tuple[str, str], int]) -> list[str]:
    """The symbols of a word after all merges, in n log n.

    open_clip takes the pair of the lowest rank and merges it wherever it is, from left to right, again and again. So
    does this, one place at a time: since what a merge makes takes part in later merges alone (`_in_order`), no place
    of another pair comes between the places of one.
    """
    after, before = [*range(1, len(symbols)), -1], [*range(-1, len(symbols) - 1)]
    heap = [(ranks[pair], i) for i, pair in enumerate(itertools.pairwise(symbols)) if pair in ranks]
    heapq.heapify(heap)
    symbols = list(symbols)
    while heap:
        rank, i = heapq.heappop(heap)
        j = after[i]
        if j < 0 or ranks.get((symbols[i], symbols[j])) != rank:
            continue  # one of the two has been merged meanwhile
        symbols[i], symbols[j], after[i] = symbols[i] + symbols[j], "", after[j]
        if after[i] >= 0:
            before[after[i]] = i
        for left in (before[i], i):
            if left >= 0 and after[left] >= 0:
                new = ranks.get((symbols[left], symbols[after[left]]))
                if new is not None:
                    heapq.heappush(heap, (new, left))
    return [symbol for symbol in symbols if symbol]
