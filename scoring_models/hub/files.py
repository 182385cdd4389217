"""What is refused in a model's files before any work starts. How they get here from the hub: `cache.py`."""

from __future__ import annotations

import functools
import hashlib
import json
import re
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


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read block by block; hexadecimal digits.

    Raises:
        OSError: if it can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checked_sha256(path: Path) -> str:
    """The same of a model's file, which must be what the hub says it is.

    Raises:
        OSError: if it can't be read.
        PlanError: see `check_hash`.
    """
    found = sha256_of(path)
    check_hash(path, found)
    return found


_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_hash(path: Path, sha256: str) -> None:
    """Refuses a file of the hub's cache whose contents are not what the hub has.

    The cache calls the contents of large files (Git LFS) by the SHA-256 that the hub names, and links to them; the
    client compares nothing but their size, and that only while it downloads.

    Raises:
        PlanError: naming the file to remove.
    """
    held = path.resolve()
    if held.parent.name == "blobs" and _SHA256.fullmatch(held.name) and held.name != sha256:
        raise PlanError(
            f"{path} is damaged: its SHA-256 is {sha256}, and the hub's is {held.name}. Remove {held}, then run again: "
            "it is downloaded anew"
        )
