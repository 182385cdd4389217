"""Files of an encoder as `transformers` keeps them, in a folder or a Hub repository."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.hub import fetch

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
WEIGHTS = ("model.safetensors", INDEX, "pytorch_model.bin")
VOCABULARY = ("tokenizer.json", "spm.model", "sentencepiece.bpe.model", "spiece.model", "vocab.txt", "vocab.json")
TOKENIZER = (*VOCABULARY, "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def encoder_files(model: str, revision: str | None, what: str) -> dict[str, Path]:
    """Configuration, weights (the first kind there is) and tokenizer files of `model`, by name.

    Raises:
        PlanError: if one is missing; `what` is what `model` was to hold.
    """
    found = {name: path for name in (CONFIG, *TOKENIZER) if (path := _file(model, revision, name)) is not None}
    weights = next((path for name in WEIGHTS if (path := _file(model, revision, name)) is not None), None)
    if CONFIG not in found or weights is None or not any(name in found for name in VOCABULARY):
        raise PlanError(f"{model} holds no {what}: expected {CONFIG}, {WEIGHTS[0]} and tokenizer.json or a vocabulary")
    found[weights.name] = weights
    if weights.name == INDEX:
        for part in sorted(set(read_json(weights)["weight_map"].values())):
            path = _file(model, revision, part)
            if path is None:
                raise PlanError(f"{model} has no {part}, which its {INDEX} names")
            found[part] = path
    return found


def _file(model: str, revision: str | None, name: str) -> Path | None:
    if Path(model).is_absolute():
        path = Path(model) / name
        return path if path.is_file() else None
    return fetch(model, revision, name)


def read_json(path: Path) -> JsonObject:
    """A JSON file of a model.

    Raises:
        PlanError: if it is none.
    """
    try:
        data: JsonObject = json.loads(path.read_text())
    except ValueError as error:
        raise PlanError(f"can't read the model's {path}: {error}") from error
    return data


def load_tokenizer(files: Mapping[str, Path]) -> Any:
    """The tokenizer, from its files alone."""
    from transformers import AutoTokenizer

    made = AutoTokenizer.from_pretrained(str(files[CONFIG].parent), use_fast=True, trust_remote_code=False)
    made.model_max_length = 1 << 40  # windows are cut here, not there
    return made
