"""Files of a model as `transformers` keeps them, in a folder or a Hub repository, and what is loaded from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from poolsieve.scoring_models.base.config import absolute_path
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from poolsieve.scoring_models.base.kinds import short
from poolsieve.scoring_models.hub.cache import fetch
from poolsieve.scoring_models.hub.files import check_tokenizer, read_json, refuse_code

L = TypeVar("L")

_PART = re.compile(r"[\w-][\w.-]{0,200}\.safetensors")
"""What a file of weights beside its index may be called."""

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
SAFE = ("model.safetensors", INDEX)
WEIGHTS = (*SAFE, "pytorch_model.bin")
VOCABULARY = ("tokenizer.json", "spm.model", "sentencepiece.bpe.model", "spiece.model", "vocab.txt", "vocab.json")
TOKENIZER = (*VOCABULARY, "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def checkpoint_files(
    model: str,
    revision: str | None,
    what: str,
    *,
    weights: Sequence[str] = WEIGHTS,
    vocabulary: Sequence[str] = VOCABULARY,
    required: bool = True,
) -> dict[str, Path]:
    """Configuration, weights (the first kind there is) and tokenizer files of `model`, by name.

    Args:
        model: a folder, as an absolute path, or a Hub repository.
        revision: of the repository.
        what: `model` was to hold, for messages.
        weights: names of weight files, the best first.
        vocabulary: names of files of which a tokenizer has at least one.
        required: whether there must be a tokenizer.

    Raises:
        PlanError: if one is missing.
    """
    names = (CONFIG, *dict.fromkeys((*vocabulary, *TOKENIZER)))
    found = {name: path for name in names if (path := checkpoint_file(model, revision, name)) is not None}
    best = next((path for name in weights if (path := checkpoint_file(model, revision, name)) is not None), None)
    if CONFIG not in found or best is None or (required and not any(name in found for name in vocabulary)):
        rest = " and tokenizer.json or a vocabulary" if required else ""
        raise PlanError(f"{model} holds no {what}: expected {CONFIG}, {weights[0]}{rest}")
    found[best.name] = best
    if best.name == INDEX:
        found |= _parts(model, revision, best)
    refuse_code(found[name] for name in ("tokenizer_config.json",) if name in found)
    if "tokenizer.json" in found:
        check_tokenizer(found["tokenizer.json"])
    return found


def checkpoint_file(model: str, revision: str | None, name: str) -> Path | None:
    """One file of a folder (an absolute path) or a Hub repository; None if it has no such file.

    Raises:
        PlanError: for a folder that is not there, one with a revision, and what `fetch` raises.
    """
    if Path(model).is_absolute():
        return _file_of_folder(Path(model), revision, name)
    return fetch(model, revision, name)


def _file_of_folder(folder: Path, revision: str | None, name: str) -> Path | None:
    if not folder.is_dir():
        raise PlanError(f"there is no folder {folder} that holds a model")
    if revision is not None:
        raise PlanError(f"{folder} is a folder, which has no revision {revision!r}: leave it out, or name a repository")
    path = folder / name
    return path if path.is_file() else None


def _parts(model: str, revision: str | None, index: Path) -> dict[str, Path]:
    """The weight files that an index names, by name."""
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict) or not all(isinstance(part, str) for part in named.values()):
        raise PlanError(f"can't read the model's {index}: it has no weight_map of names")
    if strange := [part for part in named.values() if not _PART.fullmatch(part)]:
        raise PlanError(
            f"{model}: its {INDEX} names {short(strange[0])} as weights; a file of the same folder is wanted"
        )
    found: dict[str, Path] = {}
    for part in sorted(set(named.values())):
        path = checkpoint_file(model, revision, part)
        if path is None:
            raise PlanError(f"{model} has no {part}, which its {INDEX} names")
        found[part] = path
    return found


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


def load_pretrained(auto: str, folder: str, dtype: str, who: str, what: str) -> Any:
    """A model of transformers with its weights, in evaluation mode, on the CPU.

    Loaded in its precision: to cast it afterwards would cast its tables of positions too.

    Args:
        auto: transformers' class, as `AutoModelForCausalLM`.
        folder: with configuration and weights in safetensors; no code of it is run.
        dtype: name of torch's.
        who: the scorer, for messages.
        what: the folder was to hold, for messages.

    Raises:
        PlanError: if the folder holds no such model, or one of which weights are missing.
    """
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()  # it would tear the run's own display
    options = {"local_files_only": True, "trust_remote_code": False, "use_safetensors": True}
    options |= {"output_loading_info": True, "dtype": getattr(torch, dtype)}
    try:
        model, about = getattr(transformers, auto).from_pretrained(folder, **options)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        said = " ".join(str(error).split())[:400]
        raise PlanError(f"{who}: can't load {folder} as a {what}: {said}") from error
    if about["missing_keys"]:
        missing = ", ".join(sorted(about["missing_keys"])[:4])
        raise PlanError(f"{who}: {folder} has no weights for {missing}: it is no {what} of that kind")
    return model.eval()


def placed(model: str) -> str:
    """A model as a scorer keeps it: a folder by its absolute path, else the name of a repository.

    A folder is what is there as one, and what no repository can be called (`./model`, `~/model`, `a/b/model`).
    """
    path = model.startswith((".", "~")) or model.count("/") > 1 or Path(absolute_path(model)).is_dir()
    return absolute_path(model) if path else model


def shown(model: str) -> str:
    """A model as it is written down: a folder without the place where it is, since its files are known by hash."""
    return Path(model).name if Path(model).is_absolute() else model


def loading(model: str, make: Callable[[], L]) -> L:
    """What `make` loads.

    Raises:
        PlanError: naming the model, for whatever its files can't do.
    """
    try:
        return make()
    except (PoolsieveError, MemoryError):
        raise
    except Exception as error:  # of many classes, by what is wrong in which file
        said = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        raise PlanError(f"can't load the model {model}: {said}") from error
