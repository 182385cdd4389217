"""Files of a causal language model: safetensors alone, and whether two models have one tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poolsieve.scoring_models.base.config import JsonObject, canonical_json
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.hub.checkpoints import (
    CONFIG,
    SAFE,
    VOCABULARY,
    checkpoint_file,
    checkpoint_files,
    load_tokenizer,
)
from poolsieve.scoring_models.hub.files import read_json, refuse_code

PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.pth")
"""Weights as pickles, which may run code when they are read."""

VOCABULARIES = (*VOCABULARY, "tokenizer.model")
"""One more than encoders have: sentencepiece's file as Llama and its kin call it."""

TOKENIZER_FILE, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"

LIMITS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length", "max_sequence_length")
"""Keys by which configurations name a model's context."""

SPLITS = ("model", "added_tokens", "normalizer", "pre_tokenizer")
"""The parts of a `tokenizer.json` that say which ids a text has, special ones apart (`tokenizers`, its pipeline)."""

SAID = ("bos_token", "eos_token", "add_prefix_space", "legacy")
"""The same in a `tokenizer_config.json`."""


def causal_files(model: str, revision: str | None, *, tokenizer: bool) -> dict[str, Path]:
    """Configuration, weights and tokenizer files of a folder or Hub repository, by name.

    Args:
        model: a folder, as an absolute path, or a Hub repository.
        revision: of the repository.
        tokenizer: whether there must be one.

    Raises:
        PlanError: if a file is missing, the weights are pickles, an adapter or an encoder's, or ask for code.
    """
    what = "causal language model"
    if not any(checkpoint_file(model, revision, name) for name in SAFE):
        _refuse_others(model, revision)
    found = checkpoint_files(model, revision, what, weights=SAFE, vocabulary=VOCABULARIES, required=tokenizer)
    refuse_code([found[CONFIG]])
    if read_json(found[CONFIG]).get("is_encoder_decoder"):
        raise PlanError(f"{model} has an encoder and a decoder: it is no {what}")
    if Path(model, "adapter_config.json").is_file():
        raise PlanError(f"{model} holds an adapter (adapter_config.json): merge it into its model and save that")
    return found


def _refuse_others(model: str, revision: str | None) -> None:
    named = next((name for name in PICKLES if checkpoint_file(model, revision, name)), None)
    if named is not None:
        raise PlanError(
            f"{model} has its weights in {named}, a pickle, which may run code when it is read: save them as "
            "safetensors (`model.save_pretrained(...)` of transformers does) and give that folder"
        )


def context_of(files: Mapping[str, Path]) -> int | None:
    """The most ids that a model reads at once, by its configuration; None if that names no limit.

    Raises:
        PlanError: if what it names is no number.
    """
    about: JsonObject = read_json(files[CONFIG])
    inner = about.get("text_config")
    places = [about, *([inner] if isinstance(inner, dict) else [])]
    said = [place[key] for place in places for key in LIMITS if place.get(key)]
    if not all(type(limit) is int and limit > 1 for limit in said):
        raise PlanError(f"can't read the context in {files[CONFIG]}: {said}")
    return min(said, default=None)


def check_same_tokenizer(files: Mapping[str, Mapping[str, Path]]) -> None:
    """Refuses models whose tokenizers give other ids for a text.

    Args:
        files: the model as the user named it -> its files; a model without a tokenizer is not looked at.

    Raises:
        PlanError: naming the first difference.
    """
    having = {model: found for model, found in files.items() if any(name in found for name in VOCABULARIES)}
    if len(having) < 2:
        return
    (first, one), (second, other) = having.items()
    if TOKENIZER_FILE in one and TOKENIZER_FILE in other:
        parts = [_parts(found) for found in (one, other)]
    else:
        parts = [loaded_parts(load_tokenizer(found)) for found in (one, other)]
    compare(first, second, *parts)


def _parts(files: Mapping[str, Path]) -> JsonObject:
    """What decides about ids, from the files alone: nothing heavy is imported to plan."""
    whole = read_json(files[TOKENIZER_FILE])
    about = read_json(files[TOKENIZER_CONFIG]) if TOKENIZER_CONFIG in files else {}
    return {**{key: whole.get(key) for key in SPLITS}, **{key: _content(about.get(key)) for key in SAID}}


def loaded_parts(tokenizer: Any) -> JsonObject:
    """The same of a loaded tokenizer of transformers; the vocabulary alone of one that is not of `tokenizers`."""
    import json

    ends = {"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token}
    if not tokenizer.is_fast:
        return {"class": type(tokenizer).__name__, "model": {"vocab": tokenizer.get_vocab()}, **ends}
    whole = json.loads(tokenizer.backend_tokenizer.to_str())
    return {**{key: whole.get(key) for key in SPLITS}, **ends}


def _content(token: Any) -> Any:
    """A special token as text: some files have it as an object."""
    return token.get("content") if isinstance(token, dict) else token


def compare(first: str, second: str, one: JsonObject, other: JsonObject) -> None:
    """Raises `PlanError` with the first difference between what two models' tokenizers are made of."""
    for key in dict.fromkeys((*one, *other)):
        if canonical_json(one.get(key)) != canonical_json(other.get(key)):
            raise PlanError(
                f"{first} and {second} have different tokenizers ({_difference(key, one.get(key), other.get(key))}): "
                "their losses are of other tokens, and the difference means nothing. Take two models with one tokenizer"
            )


def _difference(key: str, one: Any, other: Any) -> str:
    vocabularies = [_vocabulary(part) for part in (one, other)]
    if key == "model" and vocabularies[0] != vocabularies[1]:
        a, b = vocabularies
        token = min(token for token in {*a, *b} if a.get(token) != b.get(token))
        return f"{token!r} is {a.get(token, 'no token')} in one, {b.get(token, 'no token')} in the other"
    short = [canonical_json(part)[:80] for part in (one, other)]
    return f"{key}: {short[0]} and {short[1]}" if short[0] != short[1] else key


def _vocabulary(model: Any) -> dict[str, int]:
    """Token -> id, as any kind of model in a `tokenizer.json` has it."""
    found = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(found, list):  # Unigram: pairs of token and score, by id
        return {str(pair[0]): number for number, pair in enumerate(found)}
    return found if isinstance(found, dict) else {}
