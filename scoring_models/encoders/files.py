"""Files of an encoder as `transformers` keeps them, in a folder or a Hub repository."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.hub.cache import fetch
from poolsieve.scoring_models.hub.files import check_tokenizer, read_json, refuse_code

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
        for part in _parts(weights):
            path = _file(model, revision, part)
            if path is None:
                raise PlanError(f"{model} has no {part}, which its {INDEX} names")
            found[part] = path
    refuse_code(found[name] for name in ("tokenizer_config.json",) if name in found)
    if "tokenizer.json" in found:
        check_tokenizer(found["tokenizer.json"])
    return found


def _file(model: str, revision: str | None, name: str) -> Path | None:
    if Path(model).is_absolute():
        path = Path(model) / name
        return path if path.is_file() else None
    return fetch(model, revision, name)


def _parts(index: Path) -> list[str]:
    """The weight files that an index names."""
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict) or not all(isinstance(part, str) for part in named.values()):
        raise PlanError(f"can't read the model's {index}: it has no weight_map of names")
    return sorted(set(named.values()))


def load_tokenizer(files: Mapping[str, Path]) -> Any:
    """The tokenizer, from its files alone.

    Raises:
        PlanError: naming the folder, for files that are no tokenizer.
    """
    from transformers import AutoTokenizer

    folder = files[CONFIG].parent
    try:
        made = AutoTokenizer.from_pretrained(str(folder), use_fast=True, trust_remote_code=False)
    except Exception as error:  # of many classes, by what is wrong in which file
        raise PlanError(f"can't load the tokenizer in {folder}: {' '.join(str(error).split())[:400]}") from error
    made.model_max_length = 1 << 40  # windows are cut here, not there
    return made
