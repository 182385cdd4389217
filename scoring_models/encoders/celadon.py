"""Celadon, a toxicity classifier for text in many languages and of many centuries.

Arnett, Jones, Yamshchikov and Langlais, "Toxicity of the Commons", arXiv 2410.22587; weights `PleIAs/celadon`. The
network is a DeBERTa-v2 encoder with five linear heads on its first position, one for each category, of four classes
each (0 to 3); the published layout is read by this module, and no remote code is run. The published script cuts a text
after 512 tokens; here a longer one is read in windows, and a category's score is its largest over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.scorer import Scores
from poolsieve.scoring_models.encoders.celadon_files import model_files
from poolsieve.scoring_models.encoders.scorer import EncoderScorer, LoadedEncoder

CATEGORIES = ("race_origin", "gender_sex", "religion", "ability", "violence")
"""The heads, in order (`PleIAs/celadon`, README)."""

CLASSES = 4
CONTEXT = 512

TOXIC, MILD = 7, 4
"""Least totals of the levels (README): toxic from 7; mild from 4, or a total of 3 that is one category's."""


@dataclass(frozen=True, eq=False)
class Celadon(EncoderScorer):
    """Five severities (0 to 3) of a text, their total, and the level that the paper sorts it into.

    Args:
        model: a Hub repository, or a folder in the published layout.
        probabilities: also store each category's four class probabilities.
        revision, precision, overlap, tokens, device, backend, text: see `EncoderScorer`.
    """

    model: str = "PleIAs/celadon"
    probabilities: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.overlap < CONTEXT - 2 or not (self.tokens is None or self.tokens >= CONTEXT):
            raise PlanError(
                f"Celadon(overlap={self.overlap}, tokens={self.tokens}): overlap below 510, tokens from 512"
            )

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """int8 for each category and `total`; `windows` (int32); `level` and `verdict` (string).

        `level` is none, mild or toxic; `verdict` is none, or the level and the worst category, as `toxic.violence`.
        With `probabilities`, `<category>_probabilities` (fixed_size_list<float32>[4]).
        """
        scores: dict[str, pa.DataType] = dict.fromkeys([*CATEGORIES, "total"], pa.int8())
        words: dict[str, pa.DataType] = {"windows": pa.int32(), "level": pa.string(), "verdict": pa.string()}
        names = [f"{name}_probabilities" for name in CATEGORIES] if self.probabilities else []
        return {**scores, **words, **dict.fromkeys(names, pa.list_(pa.float32(), CLASSES))}

    def files(self) -> Mapping[str, Path]:
        """Configuration, weights and tokenizer files by name.

        Raises:
            PlanError: if transformers or a file is missing, or the layout is another one.
        """
        self.need_libraries()
        return model_files(self.model, self.revision)

    def load(self) -> LoadedCeladon:
        """Loads the model."""
        return self.loaded(lambda: LoadedCeladon(self))


class LoadedCeladon(LoadedEncoder):
    """The model in memory."""

    def __init__(self, config: Celadon) -> None:
        from poolsieve.scoring_models.encoders.celadon_files import load_model
        from poolsieve.scoring_models.hub.checkpoints import load_tokenizer

        files = config.files()
        network, tokenizer = load_model(files, len(CATEGORIES), CLASSES), load_tokenizer(files)
        around = ([tokenizer.cls_token_id], [tokenizer.sep_token_id])
        super().__init__(config, network, tokenizer, context=CONTEXT, around=around)
        self.probabilities = config.probabilities

    def joined(self, parts: Scores, owners: np.ndarray[Any, Any], count: int) -> Scores:
        """The columns of each text, from the logits of all its windows."""
        return columns_of_texts(parts["logits"], owners, count, self.probabilities)


def columns_of_texts(
    logits: np.ndarray[Any, Any], owners: np.ndarray[Any, Any], count: int, probabilities: bool
) -> dict[str, np.ndarray[Any, Any]]:
    """Columns of `count` texts from the logits (windows, 5, 4) of their windows; `owners` names each window's text."""
    classes = logits.argmax(axis=-1)
    scores = np.zeros((count, len(CATEGORIES)), dtype=np.int8)
    np.maximum.at(scores, owners, classes.astype(np.int8))
    total = scores.sum(axis=1).astype(np.int8)
    level = levels(scores)
    worst = np.array(CATEGORIES, dtype=object)[scores.argmax(axis=1)]
    verdict = np.where(level == "none", "none", level + "." + worst)
    windows = np.bincount(owners, minlength=count).astype(np.int32)
    made: dict[str, np.ndarray[Any, Any]] = {name: scores[:, i] for i, name in enumerate(CATEGORIES)}
    made |= {"total": total, "windows": windows, "level": level, "verdict": verdict}
    if probabilities:
        shares = _worst_windows(logits, classes, owners, count)
        made |= {f"{name}_probabilities": shares[:, i] for i, name in enumerate(CATEGORIES)}
    return made


def levels(scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """object (n,): none, mild or toxic, for scores (n, 5).

    Source: README of `PleIAs/celadon`. Toxic from a total of 7; mild from 4, and for 3 in one category.
    """
    total, most = scores.sum(axis=1), scores.max(axis=1)
    mild = (total >= MILD) | ((total == 3) & (most == 3))
    return np.where(total >= TOXIC, "toxic", np.where(mild, "mild", "none")).astype(object)


def _worst_windows(logits: Any, classes: Any, owners: Any, count: int) -> np.ndarray[Any, Any]:
    """float32 (count, 5, 4): class probabilities in the first window that has the category's score."""
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares = exp / exp.sum(axis=-1, keepdims=True)
    made = np.zeros((count, len(CATEGORIES), CLASSES), dtype=np.float32)
    best = np.full((count, len(CATEGORIES)), -1)
    for window, owner in enumerate(owners.tolist()):
        better = classes[window] > best[owner]
        made[owner, better] = shares[window, better]
        best[owner, better] = classes[window, better]
    return made
