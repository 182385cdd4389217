"""Token counts by a Hugging Face tokenizer."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from poolsieve.scoring_models.base.config import JsonObject, absolute_path
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.scorer import Resources, Scored, TextScorer
from poolsieve.scoring_models.hub.cache import fetch
from poolsieve.scoring_models.hub.files import check_tokenizer

FILE = "tokenizer.json"
BATCH = 256
"""Texts that the tokenizer is given at a time."""


@dataclass(frozen=True, eq=False)
class Tokens(TextScorer):
    """Number of tokens of a text, without special tokens: `Score(tokens=Tokens("gpt2"))`.

    Args:
        tokenizer: a `tokenizer.json`, a folder with one, or a Hub repository.
        revision: of the repository; pin it.
        text: the role to read.
    """

    tokenizer: str
    revision: str | None = None

    packages = ("tokenizers",)
    extra = "text"
    counts: ClassVar[str] = "tokens"
    """What the score adds up to; funnels and reports show it beside rows and bytes."""

    def __post_init__(self) -> None:
        if Path(absolute_path(self.tokenizer)).exists():
            object.__setattr__(self, "tokenizer", absolute_path(self.tokenizer))

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """One column, int64."""
        return {"": pa.int64()}

    @property
    def resources(self) -> Resources:
        """Rust, in threads of its own."""
        return Resources()

    def to_dict(self) -> JsonObject:
        """Without the folder of the tokenizer: its contents are in the fingerprint by hash."""
        path = Path(self.tokenizer)
        return {**super().to_dict(), "tokenizer": path.name if path.is_absolute() else self.tokenizer}

    def files(self) -> Mapping[str, Path]:
        """The `tokenizer.json`.

        Raises:
            PlanError: when it, or the library, is not there, or it is no tokenizer.
        """
        super().files()
        path = self._path()
        check_tokenizer(path)
        return {FILE: path}

    def _path(self) -> Path:
        path = Path(self.tokenizer)
        if path.is_absolute():
            found = path / FILE if path.is_dir() else path
        else:
            found = fetch(self.tokenizer, self.revision, FILE) or Path(FILE)
        if not found.is_file():
            raise PlanError(f"{self.tokenizer} has no {FILE}: Tokens reads fast tokenizers only")
        return found

    def score(self, batch: pa.RecordBatch) -> Scored:
        """Counts of a batch; null for null."""
        texts = batch.column(self.text).to_pylist()
        rows = [i for i, text in enumerate(texts) if text is not None]
        counts: list[int | None] = [None] * len(texts)
        encode = _tokenizer(str(self._path())).encode_batch_fast
        for start in range(0, len(rows), BATCH):
            some = rows[start : start + BATCH]
            for i, made in zip(some, encode([texts[i] for i in some], add_special_tokens=False), strict=True):
                counts[i] = len(made)
        return Scored({"": pa.array(counts, pa.int64())})


@functools.cache
def _tokenizer(path: str) -> Any:
    from tokenizers import Tokenizer

    try:
        made = Tokenizer.from_file(path)
    except Exception as error:
        raise PlanError(f"{path} is no tokenizer: {error}") from error
    made.no_truncation()
    made.no_padding()
    return made
