"""Texts as ids of a tokenizer, without special tokens. A long text in sections, so that its memory has a bound.

What a tokenizer finds beside the ids takes some 350 bytes a token: of a document of 20 MB it took 4.4 GB, and in
sections 0.4 GB. So a long text is cut between two words, where that changes no id in the surroundings of the cut:
tokenizers decide by word, and none looks further than that.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Ids = np.ndarray[Any, np.dtype[np.int32]]
Encode = Callable[[list[str]], list[list[int]]]
"""Texts -> the ids of each."""

SECTION = 1 << 20
"""Characters after which a cut is looked for."""

AROUND, TRIES = 128, 64
"""Characters on each side of a cut in which no id may change, and places that are tried."""

_BETWEEN = re.compile(r"\w([ \n])(?=\w)")


def encode_of(tokenizer: Any) -> Encode:
    """What gives the ids of texts, by a tokenizer of transformers. A special token's name in a text is text."""
    if not tokenizer.is_fast:
        plain = {"add_special_tokens": False, "split_special_tokens": True}
        return lambda some: [tokenizer(text, **plain)["input_ids"] for text in some]
    from tokenizers import Tokenizer

    rust = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())  # the caller may save his own
    rust.no_truncation()
    rust.no_padding()
    rust.encode_special_tokens = True  # as where a pair is trained, and where token files are made
    return lambda some: [made.ids for made in rust.encode_batch_fast(some, add_special_tokens=False)]


def ids_of(encode: Encode, some: list[str]) -> Iterator[Ids]:
    """The ids of each text, int32 (n,)."""
    short = iter(encode([text for text in some if len(text) <= SECTION]))
    for text in some:
        yield np.array(next(short), dtype=np.int32) if len(text) <= SECTION else _long(encode, text)


def _long(encode: Encode, text: str) -> Ids:
    parts = [np.array(encode([section])[0], dtype=np.int32) for section in sections(encode, text)]
    return np.concatenate(parts)


def sections(encode: Encode, text: str) -> Iterator[str]:
    """A text in sections of about `SECTION` characters whose ids, one after the other, are the text's.

    The rest in one, where no place for a cut is found.
    """
    start = 0
    while len(text) - start > SECTION:
        cut = _cut(encode, text, start + SECTION)
        if cut is None:
            break
        yield text[start : cut[0]]
        start = cut[1]
    yield text[start:]


def _cut(encode: Encode, text: str, first: int) -> tuple[int, int] | None:
    """Where a section ends, and where the next begins: at a blank, or behind one that the next word stands for."""
    for found in itertools.islice(_BETWEEN.finditer(text, first), TRIES):
        at = found.start(1)
        for then in (at, at + 1):
            near = [text[at - AROUND : at + AROUND], text[at - AROUND : at], text[then : at + AROUND]]
            whole, left, right = encode(near)
            if whole == left + right:
                return at, then
    return None
