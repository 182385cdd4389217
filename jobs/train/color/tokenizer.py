"""The tokenizer of both models: one that there is, or a small byte-level BPE trained on the pool."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.hub.checkpoints import TOKENIZER, VOCABULARY, checkpoint_file
from poolsieve.scoring_models.hub.files import check_tokenizer, refuse_code

END, PAD = "<|endoftext|>", "<|padding|>"
"""Ids 0 and 1, as in the tokenizer of the published models (`allenai/eleuther-ai-gpt-neox-20b-pii-special`)."""

BPE_BYTES = 32 << 20
"""Text that a tokenizer is trained on, from the pool's beginning; more hardly changes a small vocabulary."""

LONGEST_WORD = 64
"""Bytes of a word as BPE sees it. Longer ones are cut, so that a text without blanks takes time by its length alone."""


def trained_bpe(texts: Iterable[str], words: int) -> Any:
    """A byte-level BPE (Sennrich et al. 2016; GPT-2's words) for transformers. Same texts, same tokenizer.

    Args:
        texts: read until `BPE_BYTES` are through.
        words: of the vocabulary, special ones included.

    Raises:
        PlanError: if there is no text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.FixedLength(length=LONGEST_WORD)])
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=words, special_tokens=[END, PAD], initial_alphabet=alphabet, show_progress=False
    )
    first = _first(texts)
    beginning = next(first, None)
    if beginning is None:
        raise PlanError("the pool has no text to train a tokenizer on")
    made.train_from_iterator(_chained(beginning, first), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token=END, eos_token=END, pad_token=PAD)


def _first(texts: Iterable[str]) -> Iterator[str]:
    left = BPE_BYTES
    for text in texts:
        if text and left > 0:
            yield text[:left]
        left -= len(text.encode("utf-8", "replace"))
        if left <= 0:
            return


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def found_files(name: str, revision: str | None) -> dict[str, Path]:
    """Files of a tokenizer in a folder (an absolute path) or Hub repository.

    Raises:
        PlanError: if there is none, or one that asks for code.
    """
    found = {one: path for one in TOKENIZER if (path := checkpoint_file(name, revision, one)) is not None}
    if not any(one in found for one in (*VOCABULARY, "tokenizer.model")):
        raise PlanError(f"{name} holds no tokenizer: expected tokenizer.json or a vocabulary")
    refuse_code(found[one] for one in ("tokenizer_config.json",) if one in found)
    if "tokenizer.json" in found:
        check_tokenizer(found["tokenizer.json"])
    # Some tokenizers need the model's class to be told: it is in the cache then, and else it does without.
    with contextlib.suppress(PlanError):
        checkpoint_file(name, revision, "config.json")
    return found


def loaded(files: dict[str, Path], what: str) -> Any:
    """A tokenizer of transformers from its files.

    Raises:
        PlanError: if it can't be loaded, is not one of `tokenizers`, or has no end token.
    """
    from transformers import AutoTokenizer

    folder = next(iter(files.values())).parent
    try:
        made = AutoTokenizer.from_pretrained(str(folder), use_fast=True, trust_remote_code=False)
    except Exception as error:  # of many classes, by what is wrong in which file
        raise PlanError(f"can't load the tokenizer {what}: {' '.join(str(error).split())[:400]}") from error
    return checked(made, what)


def checked(tokenizer: Any, what: str) -> Any:
    """The tokenizer, if texts can be joined with it.

    Raises:
        PlanError: if it is not one of `tokenizers`, or has no end token.
    """
    if not tokenizer.is_fast:
        raise PlanError(
            f"the tokenizer {what} is {type(tokenizer).__name__}: one of the library `tokenizers` is needed"
        )
    if tokenizer.eos_token_id is None:
        raise PlanError(f"the tokenizer {what} has no end token (eos_token), which stands between documents")
    return tokenizer


def words_of(tokenizer: Any) -> int:
    """Ids that a tokenizer may give: one more than the largest.

    Added tokens may leave gaps, so it is not the count of its words.
    """
    return max(len(tokenizer), *(number + 1 for number in tokenizer.get_vocab().values()))
