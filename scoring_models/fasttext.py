"""Any fastText classifier as a scorer: the quality filter of DCLM is one (Li et al., arXiv 2406.11794)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from poolsieve.scoring_models.base.config import JsonObject, absolute_path
from poolsieve.scoring_models.base.errors import PlanError, unknown_name
from poolsieve.scoring_models.base.packages import need
from poolsieve.scoring_models.base.scorer import Scored, TextScorer

MODULE = "fasttext"
FASTTEXT = ("fasttext-predict", "fasttext-community", "fasttext")
"""Distributions that offer the module: any of them will do, and which one is installed may change a digit."""

LABEL = "__label__"
"""What fastText puts before its labels."""

Predict = Callable[..., tuple[Any, Any]]


@dataclass(frozen=True, eq=False)
class FastText(TextScorer):
    """Probability of one label, or the best label and its probability.

    A line break is a blank. Null stays null; an empty text is what the model makes of no words.

    Args:
        model: path of a `.bin` or `.ftz` file.
        label: the label whose probability is the score, without `__label__`; None for the best one.
        text: the role to read.
    """

    model: str
    label: str | None = None

    packages = FASTTEXT
    extra = "text"

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", absolute_path(self.model))

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """The probability (float32); without a label, `label` (string) and `probability` (float32)."""
        return {"": pa.float32()} if self.label else LABELLED

    def to_dict(self) -> JsonObject:
        """Without the folder of the model: its contents are in the fingerprint by hash."""
        return {**super().to_dict(), "model": Path(self.model).name}

    def files(self) -> Mapping[str, Path]:
        """The model file.

        Raises:
            PlanError: when it, or fastText, is not there.
        """
        need("FastText", MODULE, extra=self.extra)
        if not Path(self.model).is_file():
            raise PlanError(f"no fastText model {self.model}")
        return {Path(self.model).name: Path(self.model)}

    def score(self, batch: pa.RecordBatch) -> Scored:
        """Probabilities of each text."""
        texts, predict = batch.column(self.text).to_pylist(), fasttext_predict(self.model)
        if self.label is None:
            return guesses_as_columns([(None, None) if text is None else best_label(predict, text) for text in texts])
        wanted = _known(self.model, self.label)
        made = [None if text is None else _probability(predict, text, wanted) for text in texts]
        return Scored({"": pa.array(made, pa.float32())})


Guess = tuple[str | None, float | None]
"""A label and its probability."""

LABELLED: Mapping[str, pa.DataType] = {"label": pa.string(), "probability": pa.float32()}


def guesses_as_columns(guesses: Sequence[Guess]) -> Scored:
    """Guesses as the columns of `LABELLED`."""
    columns = zip(*guesses, strict=True) if guesses else ((), ())
    made = zip(LABELLED.items(), columns, strict=True)
    return Scored({name: pa.array(values, kind) for (name, kind), values in made})


def best_label(predict: Predict, text: str) -> Guess:
    """The best label of a text, without `__label__`, and its probability; (None, None) if the model has none."""
    labels, probabilities = predict(text.replace("\n", " "))
    return (labels[0].removeprefix(LABEL), float(probabilities[0])) if len(labels) else (None, None)


def _probability(predict: Predict, text: str, label: str) -> float:
    labels, probabilities = predict(text.replace("\n", " "), -1)
    return float(probabilities[labels.index(label)]) if label in labels else 0.0


@functools.cache
def _known(path: str, label: str) -> str:
    """The label as the model spells it.

    Raises:
        PlanError: if the model has no such label.
    """
    labels = [name.removeprefix(LABEL) for name in fasttext_predict(path)("a", -1)[0]]
    if label not in labels:
        raise unknown_name(f"{path} has no label {label!r}", label, sorted(labels))
    return LABEL + label


@functools.cache
def fasttext_predict(path: str) -> Predict:
    """`predict(text, k)` of a model file, loaded once a process: (labels, probabilities), k = -1 for all labels.

    Raises:
        PlanError: if the file is no fastText model.
    """
    import fasttext

    try:
        predict: Predict = fasttext.load_model(path).predict
    except ValueError as error:
        raise PlanError(f"{path} is not a fastText model: {error}") from error
    return predict
