"""The tokenizer as the user names it: its files, its end-of-text token, and the one text that workers load it from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolsieve.dataflow.tokenizers.encode import from_text, is_read, numbers
from poolsieve.dataflow.tokenizers.record import TokenizerRecord
from poolsieve.scoring_models.base.config import absolute_path
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.packages import need
from poolsieve.scoring_models.hub.cache import MAIN, commits, fetch
from poolsieve.scoring_models.hub.checkpoints import CONFIG, TOKENIZER, VOCABULARY
from poolsieve.scoring_models.hub.files import check_tokenizer, checked_sha256, refuse_code

DTYPES: Mapping[str, int] = {"uint16": 1 << 16, "uint32": 1 << 32}
"""Name of a type of token files -> ids that it tells apart."""


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """A tokenizer that passed every check.

    Attributes:
        text: the whole of it as a `tokenizer.json`.
        about: what is written down of it.
    """

    text: str
    about: TokenizerRecord


def find_tokenizer(name: str, revision: str | None = None, eos: str | None = None) -> Tokenizer:
    """Loads a tokenizer by `transformers`, from its files alone.

    Args:
        name: a Hub repository, or a folder.
        revision: of the repository.
        eos: the token that ends a document; the tokenizer's own end-of-text token if not given.

    Raises:
        PlanError: if it can't be had, asks for code, is none of the `tokenizers` library, has no such end, or reads
            its end in ordinary text.
    """
    need("a tokenizer", "tokenizers", "transformers", extra="classifiers")
    files = _files(name, revision)
    end, text = _loaded(name, files, eos)
    try:
        made, ids = from_text(text), numbers(text)
    except ValueError as error:
        raise PlanError(f"can't load the tokenizer {name}: {error}") from error
    if is_read(made, end, ids[end]):
        raise PlanError(
            f"{name} reads {end!r} in a document's text as its end-of-text token, so that ends of documents could not "
            "be told from it: name another token with --eos"
        )
    return Tokenizer(
        text=text,
        about=TokenizerRecord(
            name=name if not _is_folder(name) else Path(name).name,
            revision=revision,
            commit=None if _is_folder(name) else commits().get((name, revision or MAIN), revision),
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            files={file: checked_sha256(path) for file, path in sorted(files.items())},
            vocabulary=max(ids.values()) + 1,
            eos=end,
            eos_id=ids[end],
        ),
    )


def dtype_for(about: TokenizerRecord, wanted: str | None) -> str:
    """The type of the token files: the smallest that holds every id, if none is asked for.

    Raises:
        PlanError: if there is no such type, or ids of the vocabulary are beyond it.
    """
    if wanted is not None and wanted not in DTYPES:
        raise PlanError(f"dtype={wanted!r}: token files are {' or '.join(DTYPES)}")
    found = wanted or next((name for name, most in DTYPES.items() if about.vocabulary <= most), "none")
    if about.vocabulary > DTYPES.get(found, 0):
        raise PlanError(
            f"{about.name} has ids up to {about.vocabulary - 1:,}, which {found} does not hold: --dtype uint32 does"
        )
    return found


def _is_folder(name: str) -> bool:
    return Path(name).is_absolute()


def located(name: str) -> str:
    """A folder's absolute path; a repository as it is.

    Raises:
        PlanError: for what is no name.
    """
    if not isinstance(name, str) or not name:
        raise PlanError(f"tokenizer={name!r}: give a Hub repository, as 'org/name', or a folder")
    path = Path(absolute_path(name.removeprefix("hf-hub:")))
    return str(path) if path.is_dir() else name.removeprefix("hf-hub:")


def _files(name: str, revision: str | None) -> dict[str, Path]:
    if not Path(name).is_dir() and (name.startswith((".", "~", "/")) or name.count("/") > 1):
        raise PlanError(f"there is no folder {name} that holds a tokenizer")
    found = {file: path for file in (CONFIG, *TOKENIZER) if (path := _file(name, revision, file)) is not None}
    if not any(file in found for file in VOCABULARY):
        raise PlanError(f"{name} holds no tokenizer: expected tokenizer.json or a vocabulary")
    refuse_code(found[file] for file in ("tokenizer_config.json",) if file in found)
    if "tokenizer.json" in found:
        check_tokenizer(found["tokenizer.json"])
    return found


def _file(name: str, revision: str | None, file: str) -> Path | None:
    if not _is_folder(name):
        return fetch(name, revision, file)
    path = Path(name, file)
    return path if path.is_file() else None


def _loaded(name: str, files: Mapping[str, Path], eos: str | None) -> tuple[str, str]:
    """The token that ends documents, and the tokenizer as the library writes it, with that token marked as special."""
    from transformers import AutoTokenizer

    folder = next(iter(files.values())).parent
    try:
        made = AutoTokenizer.from_pretrained(str(folder), use_fast=True, trust_remote_code=False)
    except Exception as error:  # of many classes, by what is wrong in which file
        raise PlanError(f"can't load the tokenizer {name}: {' '.join(str(error).split())[:400]}") from error
    fast = getattr(made, "backend_tokenizer", None)
    if fast is None:
        raise PlanError(f"{name} is no tokenizer of the `tokenizers` library: only those are fast enough for a pool")
    end = _end(name, fast, eos or made.eos_token)
    fast.no_truncation()
    fast.no_padding()
    return end, _marked(fast, end)


def _end(name: str, fast: Any, end: Any) -> str:
    if not end:
        raise PlanError(f"{name} has no end-of-text token: name one of its vocabulary with --eos")
    if fast.token_to_id(str(end)) is None:
        raise PlanError(f"{name} has no token {str(end)!r} to end documents with")
    return str(end)


def _marked(fast: Any, end: str) -> str:
    """As one spelling of JSON: what the library writes."""
    from tokenizers import AddedToken

    fast.add_special_tokens([AddedToken(end, special=True, normalized=False)])
    return json.dumps(json.loads(fast.to_str()), ensure_ascii=False, separators=(",", ":"))
