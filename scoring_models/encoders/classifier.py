"""Any sequence classifier of `transformers` as a scorer.

The usual one is FineWeb-Edu's (Penedo et al., arXiv 2406.17557, section 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError, unknown_name
from poolsieve.scoring_models.base.scorer import Scores
from poolsieve.scoring_models.encoders.scorer import EncoderScorer, LoadedEncoder
from poolsieve.scoring_models.hub.checkpoints import CONFIG, checkpoint_files, load_tokenizer
from poolsieve.scoring_models.hub.files import read_json, refuse_code

LONG = ("cut", "mean", "max")


@dataclass(frozen=True, eq=False)
class Classifier(EncoderScorer):
    """The value of a regression, or the probability of one label, or the best label.

    `Score(edu=Classifier("HuggingFaceFW/fineweb-edu-classifier"))`; FineWeb-Edu keeps `col("edu") >= 2.5`, which is its
    rounded score of 3 or more.

    Args:
        model: a Hub repository, or a folder with config.json, weights and tokenizer.
        label: the label whose probability is the score, as the model's `id2label` has it; None for a regression.
        best: the score is the best label and its probability.
        long: "cut" reads the first window of a text, as published classifiers are used; "mean" and "max" read all and
            take the mean, or the largest, of each label's value.
        context: tokens of a window; the model's own limit if not given.
        revision, precision, overlap, tokens, device, backend, text: see `EncoderScorer`.
    """

    model: str
    label: str | None = None
    best: bool = False
    long: str = "cut"
    context: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.long not in LONG:
            raise PlanError(f"Classifier(long={self.long!r}): expected one of {', '.join(LONG)}")
        if self.best and self.label is not None:
            raise PlanError("Classifier(label=..., best=True): a label, or the best one")
        if self.overlap < 0 or (self.context is not None and self.context < 8):
            raise PlanError(
                f"Classifier(context={self.context}, overlap={self.overlap}): context from 8, overlap from 0"
            )

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """The value or probability (float32); with `best`, `label` (string) and `probability` (float32)."""
        return {"label": pa.string(), "probability": pa.float32()} if self.best else {"": pa.float32()}

    def files(self) -> Mapping[str, Path]:
        """Configuration, weights and tokenizer files by name.

        Raises:
            PlanError: if transformers or a file is missing, or the model has no such label.
        """
        self.need_libraries()
        found = checkpoint_files(self.model, self.revision, "sequence classifier")
        refuse_code([found[CONFIG]])
        try:
            labels = labels_of(read_json(found[CONFIG]))
        except (TypeError, ValueError, AttributeError, LookupError) as error:
            raise PlanError(f"can't read the labels in {found[CONFIG]}: {error}") from error
        self.label_position(labels)
        return found

    def label_position(self, labels: Sequence[str]) -> int | None:
        """Which of the model's labels is wanted; None for the best one.

        Raises:
            PlanError: if the model has no such label, or several and none was named.
        """
        if self.best:
            return None
        if self.label is None and len(labels) == 1:
            return 0
        if self.label in labels:
            return labels.index(self.label)
        if self.label is not None:
            raise unknown_name(f"{self.model} has no label {self.label!r}", self.label, labels)
        some = ", ".join(map(repr, labels[:12]))
        raise PlanError(f"{self.model} has {len(labels)} labels: say label=... or best=True; there is {some}")

    def load(self) -> LoadedClassifier:
        """Loads the model."""
        return self.loaded(lambda: LoadedClassifier(self))


def labels_of(config: JsonObject) -> list[str]:
    """The labels of a model by their number. transformers writes none for the two that it has by default."""
    named = config.get("id2label") or {str(i): f"LABEL_{i}" for i in range(int(config.get("num_labels", 2)))}
    return [named[key] for key in sorted(named, key=int)]


class LoadedClassifier(LoadedEncoder):
    """The model in memory."""

    def __init__(self, config: Classifier) -> None:
        files = config.files()
        about = read_json(files[CONFIG])
        tokenizer, limit = load_tokenizer(files), _limit(files, about)
        context = min(config.context or limit, limit)
        around = special_tokens(tokenizer)
        if config.overlap >= context - sum(map(len, around)):
            raise PlanError(f"Classifier(overlap={config.overlap}): the window has {context} tokens")
        self.position = config.label_position(labels_of(about))
        self.several = about.get("problem_type") == "multi_label_classification"
        self.labels, self.long = labels_of(about), config.long
        super().__init__(
            config,
            _network(files, tokenizer),
            tokenizer,
            context=context,
            around=around,
            longest=1 if config.long == "cut" else None,
        )

    def joined(self, parts: Scores, owners: np.ndarray[Any, Any], count: int) -> Scores:
        """The columns of each text, from the logits of its windows."""
        values = _joined(self.values(parts["logits"]), owners, count, self.long)
        if self.position is not None:
            return {"": values[:, self.position].astype(np.float32)}
        best = values.argmax(axis=1)
        label = np.array(self.labels, dtype=object)[best]
        return {"label": label, "probability": values[np.arange(count), best].astype(np.float32)}

    def values(self, logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """float64 (windows, labels): what transformers' own pipeline makes of logits for each kind of model."""
        logits = logits.astype(np.float64)
        if logits.shape[1] == 1:
            return logits
        if self.several:
            return np.asarray(1 / (1 + np.exp(-logits)))
        exp = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exp / exp.sum(axis=1, keepdims=True))


def _joined(values: Any, owners: Any, count: int, long: str) -> np.ndarray[Any, Any]:
    """float64 (count, labels): the mean or the largest over each text's windows."""
    if long == "max":
        made = np.full((count, values.shape[1]), -np.inf)
        np.maximum.at(made, owners, values)
        return made
    made = np.zeros((count, values.shape[1]))
    np.add.at(made, owners, values)
    return np.asarray(made / np.bincount(owners, minlength=count)[:, None])


def special_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    start = next(i for i in range(len(whole) + 1) if whole[i : i + len(bare)] == bare)
    return whole[:start], whole[start + len(bare) :]


def _limit(files: Mapping[str, Path], config: JsonObject) -> int:
    """Tokens of the longest input: the smaller of what tokenizer and model say, as far as they say it."""
    path = files.get("tokenizer_config.json")
    said = [read_json(path).get("model_max_length") if path else None, config.get("max_position_embeddings")]
    limits = [int(limit) for limit in said if limit and limit < 1 << 20]
    if not limits:
        raise PlanError("neither tokenizer nor model says how many tokens it reads: say Classifier(..., context=512)")
    return min(limits)


def _network(files: Mapping[str, Path], tokenizer: Any) -> Any:
    """The network with its weights, in evaluation mode; its forward gives logits (batch, labels).

    Raises:
        PlanError: if the folder holds no classifier, or one with a head that the weights do not have.
    """
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.disable_progress_bar()  # it would tear the run's own display

    class Network(torch.nn.Module):  # type: ignore[misc]
        """The model, with plain arguments and one output."""

        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any, mask: Any) -> Any:
            return self.model(input_ids=ids, attention_mask=mask, return_dict=False)[0]

    folder = str(files[CONFIG].parent)
    try:
        model, about = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, output_loading_info=True, dtype=torch.float32
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise PlanError(f"can't load {folder} as a classifier: {' '.join(str(error).split())[:400]}") from error
    if about["missing_keys"]:
        missing = ", ".join(sorted(about["missing_keys"])[:4])
        raise PlanError(f"{folder} has no weights for {missing}: it is no sequence classifier of that kind")
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id or 0
    return Network(model).eval()
