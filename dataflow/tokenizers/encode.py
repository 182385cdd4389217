"""Texts to ids: what a worker does all day. Special tokens in a text are text, whatever the tokenizer makes of them.

The `tokenizers` library has a switch for that (`encode_special_tokens`), which is not kept in its files. It does not
reach models that find a special token's text in their own vocabulary (Unigram, word lists): there the token has
another spelling while we encode. Its id and everybody's scores stay, so all other texts give the same ids.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.scoring_models.base.arrow import byte_lengths
from poolsieve.scoring_models.base.errors import PoolsieveError

Tokens = np.ndarray[Any, np.dtype[np.unsignedinteger[Any]]]
Sizes = np.ndarray[Any, np.dtype[np.int64]]

PIECE_BYTES = 4 << 20
"""Of text that a tokenizer is given at a time: enough for all cores, and some 100 bytes of memory for each token."""

_UNSEEN = "\ue000poolsieve\ue000"
"""Before the spelling of a special token in the model's vocabulary: characters that no text of use has."""


def encode(tokenizer: Any, texts: Sequence[str], eos: int, dtype: str) -> tuple[Tokens, Sizes]:
    """The ids of documents, one behind the other, each with `eos` behind it.

    Args:
        tokenizer: from `from_text`.
        texts: n documents. One without a token gives nothing, no `eos` either.
        eos: id that ends a document.
        dtype: name of the ids' type, which must hold them all.

    Returns:
        Ids (`dtype`, little-endian), and int64 (n,): ids of each document, its `eos` counted.
    """
    lists = [made.ids for made in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    for ids in lists:
        if ids:
            ids.append(eos)
    sizes = np.fromiter(map(len, lists), np.int64, len(lists))
    together = itertools.chain.from_iterable(lists)
    return np.fromiter(together, np.dtype(dtype).newbyteorder("<"), int(sizes.sum())), sizes


def pieces(text: pa.Array) -> Iterator[tuple[int, int]]:
    """(first, end) of runs of rows of about `PIECE_BYTES` of text; a longer text has one of its own."""
    before = np.cumsum(np.maximum(byte_lengths(text), 0)) // PIECE_BYTES
    edges = [0, *(np.flatnonzero(np.diff(before)) + 1).tolist(), len(text)]
    yield from itertools.pairwise(edges)


def from_text(text: str) -> Any:
    """A tokenizer of the `tokenizers` library that reads no special token in a text.

    Args:
        text: contents of a `tokenizer.json`.

    Raises:
        ValueError: if it is none.
    """
    data = json.loads(text)
    made = _made(text)
    special = {token["content"]: token["id"] for token in data.get("added_tokens") or () if token["special"]}
    found = [token for token, number in special.items() if is_read(made, token, number)]
    return _made(json.dumps(_respelled(data, found))) if found else made


def numbers(text: str) -> dict[str, int]:
    """Token -> id of a whole vocabulary, from the contents of a `tokenizer.json`.

    Raises:
        ValueError: if it is none.
    """
    found: dict[str, int] = _made(text).get_vocab(with_added_tokens=True)
    return found


def is_read(made: Any, token: str, number: int) -> bool:
    """Whether a document that holds the text of a token gives its id, `number`."""
    around = (token, f"a {token} b", f"a{token}b", f"a\n{token}\nb", token * 2)
    return any(number in one.ids for one in made.encode_batch_fast(around, add_special_tokens=False))


def _made(text: str) -> Any:
    from tokenizers import Tokenizer

    try:
        made = Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare exceptions
        raise ValueError(f"no tokenizer: {error}") from error
    made.no_truncation()
    made.no_padding()
    made.encode_special_tokens = True
    return made


def _respelled(data: Any, tokens: Iterable[str]) -> Any:
    model = data["model"]
    vocabulary = model.get("vocab")
    unknown = model.get("unk_token")
    names = {token: _UNSEEN + token for token in tokens if token != unknown}
    if isinstance(vocabulary, dict):
        model["vocab"] = {names.get(word, word): number for word, number in vocabulary.items()}
    elif isinstance(vocabulary, list):
        model["vocab"] = [[names.get(word, word), score] for word, score in vocabulary]
    return data


@functools.lru_cache(maxsize=2)
def loaded(url: str, sha256: str) -> Any:
    """The tokenizer that a folder of token files holds; once a process.

    Args:
        url: of its `tokenizer.json`.
        sha256: that it must have.

    Raises:
        PoolsieveError: if it is another file, or none.
    """
    import hashlib

    text = fs.read_bytes(url)
    if hashlib.sha256(text).hexdigest() != sha256:
        raise PoolsieveError(f"{url} was changed while tokens were made with it: run the same command again")
    return from_text(text.decode())
