"""Files of Hugging Face Hub repositories, through the client's own cache; what is refused in a model's files."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError

CODE = ("auto_map", "trust_remote_code")
"""Keys by which a model's JSON files ask for Python files of the repository to be run."""


def read_json(path: Path) -> JsonObject:
    """A JSON object among a model's files.

    Raises:
        PlanError: if it is none.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError(f"expected an object, found {type(data).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        raise PlanError(f"can't read the model's {path}: {error}") from error
    return data


def refuse_code(paths: Iterable[Path]) -> None:
    """Refuses JSON files of a model that ask for code of its repository.

    Raises:
        PlanError: naming the file and the key.
    """
    for path in paths:
        found = _asks_for(read_json(path))
        if found is not None:
            raise PlanError(
                f"{path} asks for Python code of its repository ({found}). Remote code is never run: take a model "
                "whose architecture is built into the library, or remove the key if the built-in one reads it"
            )


def _asks_for(value: Any) -> str | None:
    """The first key of `CODE` that is set anywhere in a JSON value."""
    if isinstance(value, list):
        return next(filter(None, map(_asks_for, value)), None)
    if not isinstance(value, dict):
        return None
    here = next((key for key in CODE if value.get(key)), None)
    return here or next(filter(None, map(_asks_for, value.values())), None)


def check_tokenizer(path: Path) -> None:
    """Refuses a `tokenizer.json` that the library can't read, before any work starts.

    Raises:
        PlanError: naming the file.
    """
    stat = path.stat()
    error = _tokenizer_error(str(path), stat.st_size, stat.st_mtime_ns)
    if error:
        raise PlanError(f"{path} is no tokenizer: {error}")


@functools.lru_cache(maxsize=64)
def _tokenizer_error(path: str, size: int, changed: int) -> str:
    from tokenizers import Tokenizer

    try:
        Tokenizer.from_file(path)
    except Exception as error:  # noqa: BLE001  (the library raises bare exceptions)
        return str(error)
    return ""


def fetch(repository: str, revision: str | None, name: str) -> Path | None:
    """A file of a repository in the local cache; None if the repository has no such file.

    Raises:
        PlanError: if it can't be had: no such repository, no access, no network.
    """
    from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, name, revision=revision))
    except LocalEntryNotFoundError as error:
        if try_to_load_from_cache(repository, name, revision=revision) is _CACHED_NO_EXIST:
            return None  # offline, but an earlier visit found that the repository has no such file
        raise PlanError(
            f"hf-hub:{repository} is not in the local cache and the hub can't be reached: {error}"
        ) from error
    except EntryNotFoundError:
        return None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise PlanError(f"can't fetch {name} of hf-hub:{repository}: {error}") from error
