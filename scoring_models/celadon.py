"""Celadon, a toxicity classifier for text in many languages and of many centuries.

Arnett, Jones, Yamshchikov and Langlais, "Toxicity of the Commons", arXiv 2410.22587; weights `PleIAs/celadon`. The
network is a DeBERTa-v2 encoder with five linear heads on its first position, one for each category, of four classes
each (0 to 3); the published layout is read by this module, and no remote code is run. The published script cuts a text
after 512 tokens; here a longer one is read in windows, and a category's score is its largest over them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.celadon_files import model_files
from poolsieve.scoring_models.devices import DTYPES, NO_LOCK, check_precision, device_of, gpu_lock, gpu_name
from poolsieve.scoring_models.protocol import (
    Config,
    PlanError,
    PoolsieveError,
    Prepared,
    Resources,
    RowError,
    absolute_path,
)
from poolsieve.scoring_models.windows import Batch, batches_of, shapes, windows_of

CATEGORIES = ("race_origin", "gender_sex", "religion", "ability", "violence")
"""The heads, in order (`PleIAs/celadon`, README)."""

CLASSES = 4
CONTEXT = 512

TOXIC, MILD = 7, 4
"""Least totals of the levels (README): toxic from 7; mild from 4, or a total of 3 that is one category's."""


@dataclass(frozen=True, eq=False)
class Celadon(Config):
    """Five severities (0 to 3) of a text, their total, and the level that the paper sorts it into.

    Args:
        model: a Hub repository, or a folder in the published layout.
        revision: of the repository; a commit makes a run repeatable.
        precision: "fp32", or "bf16" where the processor has it (some scores change).
        overlap: tokens that neighbouring windows of a long text share.
        tokens: of one batch that the model sees, filled up with blanks.
        probabilities: also store each category's four class probabilities.
        device: "auto" takes a GPU if there is one.
        text: the role to read.
    """

    model: str = "PleIAs/celadon"
    revision: str | None = None
    precision: str = "fp32"
    overlap: int = 50
    tokens: int = 2048
    probabilities: bool = False
    device: str = "auto"
    text: str = "text"
    version: int = 1

    def __post_init__(self) -> None:
        check_precision("Celadon", self.precision)
        if not 0 <= self.overlap < CONTEXT - 2 or self.tokens < CONTEXT:
            raise PlanError(
                f"Celadon(overlap={self.overlap}, tokens={self.tokens}): overlap below 510, tokens from 512"
            )
        if Path(absolute_path(self.model)).is_dir():
            object.__setattr__(self, "model", absolute_path(self.model))

    @property
    def reads(self) -> tuple[str, ...]:
        """The text role."""
        return (self.text,)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """int8 for each category and `total`; `windows` (int32); `level` and `verdict` (string).

        `level` is none, mild or toxic; `verdict` is none, or the level and the worst category, as `toxic.violence`.
        With `probabilities`, `<category>_probabilities` (fixed_size_list<float32>[4]).
        """
        scores = dict.fromkeys([*CATEGORIES, "total"], pa.int8())
        words = {"windows": pa.int32(), "level": pa.string(), "verdict": pa.string()}
        names = [f"{name}_probabilities" for name in CATEGORIES] if self.probabilities else []
        return {**scores, **words, **dict.fromkeys(names, pa.list_(pa.float32(), CLASSES))}

    @property
    def resources(self) -> Resources:
        """The model lets the interpreter lock go."""
        return Resources(device=self.device, memory_mb=1500)

    def to_dict(self) -> dict[str, Any]:
        """Without the folder of local files, which enter the fingerprint by hash, and without the device."""
        out = {key: value for key, value in super().to_dict().items() if key != "device"}
        return {**out, "model": Path(self.model).name if Path(self.model).is_absolute() else self.model}

    def files(self) -> Mapping[str, Path]:
        """Configuration, weights and tokenizer files by name.

        Raises:
            PlanError: if transformers or a file is missing, or the layout is another one.
        """
        if importlib.util.find_spec("transformers") is None or importlib.util.find_spec("torch") is None:
            raise PlanError("Celadon needs torch and transformers: pip install 'poolsieve[clip,text]'")
        return model_files(self.model, self.revision)

    def load(self) -> LoadedCeladon:
        """Loads the model."""
        return LoadedCeladon(self)


class LoadedCeladon:
    """The model in memory. Safe to call from several threads; each runs torch with one thread of its own."""

    def __init__(self, config: Celadon) -> None:
        import torch

        from poolsieve.scoring_models.celadon_files import load_model, load_tokenizer

        files = config.files()
        self.config, self.torch = config, torch
        self.device = device_of(torch, config.device)
        self.model = load_model(files, len(CATEGORIES), CLASSES).to(
            self.device, getattr(torch, DTYPES[config.precision])
        )
        self.tokenizer = load_tokenizer(files)
        self.gpu = gpu_lock(self.device)
        self.shapes = shapes(CONTEXT, config.tokens)
        self.settings: Mapping[str, Any] = {
            "dtype": config.precision,
            "shapes": [list(shape) for shape in self.shapes],
            "threads": 1,
            "device": gpu_name(torch, self.device),
        }

    def micro_batches(self, batch: pa.RecordBatch) -> Iterator[Sequence[int]]:
        """Rows that have a text, those of like length together, so that few blanks are needed."""
        texts = batch.column(self.config.text)
        lengths = np.array([len(text.as_buffer()) if text.is_valid else -1 for text in texts], dtype=np.int64)
        order = [int(i) for i in np.argsort(lengths, kind="stable") if lengths[i] >= 0]
        # Large pieces waste few blanks, several of them keep all threads busy; what they are changes no score.
        limit = min(max(int(lengths.clip(0).sum()) // 8, 4 * self.config.tokens), 32 * self.config.tokens)
        start = filled = 0
        for at, row in enumerate(order):
            filled += max(int(lengths[row]), 16)
            if filled > limit:
                yield order[start : at + 1]
                start, filled = at + 1, 0
        if start < len(order):
            yield order[start:]

    def prepare(self, batch: pa.RecordBatch, rows: Sequence[int]) -> tuple[list[Prepared], dict[int, RowError]]:
        """Windows of all texts as batches of the listed shapes."""
        texts = batch.column(self.config.text).take(pa.array(rows)).to_pylist()
        ids = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        first, last = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        made = [windows_of(tokens, CONTEXT, self.config.overlap, first, last) for tokens in ids]
        pad = self.tokenizer.pad_token_id or 0
        return [Prepared(rows, "windows", (len(rows), batches_of(made, self.shapes, pad)))], {}

    def infer(self, prepared: Prepared) -> Mapping[str, Any]:
        """The columns of each text, from the logits of all its windows."""
        count, batches = prepared.inputs
        owners = np.concatenate([batch.owners for batch in batches])
        logits = np.concatenate([self._logits(batch) for batch in batches])
        return gathered(logits, owners, count, self.config.probabilities)

    def _logits(self, batch: Batch) -> np.ndarray[Any, np.dtype[np.float32]]:
        """float32 (windows, categories, classes); what fills the batch up is left out."""
        torch = self.torch
        torch.set_num_threads(1)  # a setting of the calling thread; more would fight over the cores and change sums
        ids, mask = torch.from_numpy(batch.ids), torch.from_numpy(batch.mask)
        try:
            with torch.inference_mode(), self.gpu or NO_LOCK:
                made = self.model(ids.to(self.device), mask.to(self.device)).float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise PoolsieveError(
                f"the GPU has no room for {self.config.tokens} tokens at a time: say Celadon(..., tokens="
                f"{max(CONTEXT, self.config.tokens // 2)})"
            ) from error
        return np.asarray(made[: len(batch.owners)], dtype=np.float32)


def gathered(
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
