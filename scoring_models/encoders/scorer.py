"""Encoders that classify texts: tokens, windows, a fixed list of batch shapes, logits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.base.config import JsonObject, absolute_path
from poolsieve.scoring_models.base.devices import check_precision, device_of, gpu_name, precision_of
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError, RowError
from poolsieve.scoring_models.base.packages import need
from poolsieve.scoring_models.base.scorer import ModelBatch, Resources, TextScorer
from poolsieve.scoring_models.encoders.batch_tokens import recorded, tokens_of
from poolsieve.scoring_models.encoders.engines import TorchEngine, backend_of, check_backend, engine
from poolsieve.scoring_models.encoders.windows import WindowBatch, batches_of, shapes, windows_of

L = TypeVar("L")


@dataclass(frozen=True, eq=False, kw_only=True)
class EncoderScorer(TextScorer):
    """What scorers that classify texts by an encoder have in common.

    Args:
        revision: of the repository; a commit makes a run repeatable.
        precision: "fp32", or "bf16" where the processor has it (some scores change), on a GPU "fp16"; "auto" is bf16
            where processor or GPU has it in hardware, else fp32. What it came to is recorded with the scores, and a
            machine where it is the other one is refused.
        overlap: tokens that neighbouring windows of a long text share.
        tokens: of one batch that the model sees, filled up with blanks. If not given, 512 on a CPU, and on a
            GPU as many as its kind has room for (`encoders/batch_tokens.py`).
        device: "auto" takes a GPU if there is one.
        backend: "torch" or "openvino"; "auto" takes OpenVINO on a CPU where it is installed.
        text: the role to read.
    """

    model: str
    revision: str | None = None
    precision: str = "fp32"
    overlap: int = 50
    tokens: int | None = None
    device: str = "auto"
    backend: str = "auto"

    packages = ("torch", "transformers", "tokenizers", "openvino")
    extra = "classifiers"

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_precision(name, self.precision)
        check_backend(name, self.backend, self.precision, self.device)
        if Path(absolute_path(self.model)).is_dir():
            object.__setattr__(self, "model", absolute_path(self.model))

    @property
    def resources(self) -> Resources:
        """The model lets the interpreter lock go."""
        return Resources(device=self.device, memory_mb=2500)

    def to_dict(self) -> JsonObject:
        """Without the folder of local files, which enter the fingerprint by hash, and without the device."""
        out = {key: value for key, value in super().to_dict().items() if key != "device"}
        return {**out, "model": Path(self.model).name if Path(self.model).is_absolute() else self.model}

    def as_recorded(self, settings: JsonObject) -> Self:
        """With the batches that stored scores were made with, if they were left to the device then and are now."""
        tokens = recorded(settings) if self.tokens is None else None
        return self if tokens is None else dataclasses.replace(self, tokens=tokens)

    def loaded(self, make: Callable[[], L]) -> L:
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
            raise PlanError(f"can't load the model {self.model}: {said}") from error

    def need_libraries(self) -> None:
        """Raises `PlanError` without torch or transformers; OpenVINO may be missing."""
        need(type(self).__name__, "torch", "transformers", extra=self.extra)


class LoadedEncoder:
    """A model in memory. Safe to call from several threads, each of which keeps one core busy.

    Args:
        config: the scorer.
        network: torch module in evaluation mode, `network(ids, mask) -> logits (windows, ...)`.
        tokenizer: of transformers.
        context: tokens of a window, special ones included.
        around: special tokens before and after a window's own.
        longest: windows of a text that are read at most; None for all.
    """

    def __init__(
        self,
        config: EncoderScorer,
        network: Any,
        tokenizer: Any,
        *,
        context: int,
        around: tuple[Sequence[int], Sequence[int]],
        longest: int | None = None,
    ) -> None:
        import torch

        device = device_of(torch, config.device)
        self.config = config = replace(config, precision=precision_of(torch, config.precision, device))
        self.tokenizer, self.context, self.around, self.longest = tokenizer, context, around, longest
        backend = backend_of(config.backend, device, config.precision)
        who = f"{type(config).__name__}({config.model!r})"
        self.run = engine(network, device, config.precision, backend, context, who)
        self.at_once = self.run.runner.at_once if isinstance(self.run, TorchEngine) else None
        self.tokens = tokens_of(self.run, context, config.tokens)
        self.shapes = shapes(context, self.tokens)
        self.settings: JsonObject = {
            "dtype": config.precision,
            "shapes": [list(shape) for shape in self.shapes],
            "threads": 1,
            "device": gpu_name(torch, device),
            "backend": backend,
        }

    def micro_batches(self, batch: pa.RecordBatch) -> Iterator[Sequence[int]]:
        """Rows that have a text, those of like length together, so that few blanks are needed."""
        texts = batch.column(self.config.text)
        lengths = np.array([len(text.as_buffer()) if text.is_valid else -1 for text in texts], dtype=np.int64)
        order = [int(i) for i in np.argsort(lengths, kind="stable") if lengths[i] >= 0]
        # Large pieces waste few blanks, several of them keep all threads busy; what they are changes no score.
        total = int(lengths.clip(0).sum())
        limit = min(max(total // 8, 4 * self.tokens), max(total // 32, 32 * self.tokens))
        start = filled = 0
        for at, row in enumerate(order):
            filled += max(int(lengths[row]), 16)
            if filled > limit:
                yield order[start : at + 1]
                start, filled = at + 1, 0
        if start < len(order):
            yield order[start:]

    def prepare(self, batch: pa.RecordBatch, rows: Sequence[int]) -> tuple[list[ModelBatch], dict[int, RowError]]:
        """Windows of all texts as batches of the listed shapes."""
        texts = batch.column(self.config.text).take(pa.array(rows)).to_pylist()
        ids = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        made = [windows_of(some, self.context, self.config.overlap, *self.around)[: self.longest] for some in ids]
        pad = self.tokenizer.pad_token_id or 0
        return [ModelBatch(rows, "windows", (len(rows), batches_of(made, self.shapes, pad)))], {}

    def logits(self, batches: Sequence[WindowBatch]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """(float32 (windows, ...), int64 (windows,): which text each is of); what fills a batch up is left out."""
        owners = np.concatenate([batch.owners for batch in batches])
        made = [self.run(batch.ids, batch.mask)[: len(batch.owners)] for batch in batches]
        return np.concatenate(made), owners
