"""Encoders that classify texts: tokens, windows, a fixed list of batch shapes, logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.base.arrow import byte_lengths, texts
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import RowError
from poolsieve.scoring_models.base.packages import need
from poolsieve.scoring_models.base.scorer import ModelBatch, ModelRow, Resources, Scores, TextScorer
from poolsieve.scoring_models.devices.choice import check_precision, device_of, gpu_name, precision_of
from poolsieve.scoring_models.devices.token_shapes import pieces_of, recorded, shape_name, shape_of, shapes
from poolsieve.scoring_models.encoders.batch_tokens import tokens_of
from poolsieve.scoring_models.encoders.engines import TorchEngine, backend_of, check_backend, engine
from poolsieve.scoring_models.encoders.windows import filled, windows_of
from poolsieve.scoring_models.hub.checkpoints import loading, placed, shown

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
        object.__setattr__(self, "model", placed(self.model))

    @property
    def resources(self) -> Resources:
        """The model lets the interpreter lock go."""
        return Resources(device=self.device, memory_mb=2500)

    def to_dict(self) -> JsonObject:
        """Without the folder of local files, which enter the fingerprint by hash, and without the device."""
        out = {key: value for key, value in super().to_dict().items() if key != "device"}
        return {**out, "model": shown(self.model)}

    def as_recorded(self, settings: JsonObject) -> Self:
        """With the batches that stored scores were made with, if they were left to the device then and are now."""
        tokens = recorded(settings) if self.tokens is None else None
        return self if tokens is None else replace(self, tokens=tokens)

    def loaded(self, make: Callable[[], L]) -> L:
        """What `make` loads.

        Raises:
            PlanError: naming the model, for whatever its files can't do.
        """
        return loading(self.model, make)

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
        self._shape_named = {shape_name(shape): shape for shape in self.shapes}
        self.settings: JsonObject = {
            "dtype": config.precision,
            "shapes": [list(shape) for shape in self.shapes],
            "threads": 1,
            "device": gpu_name(torch, device),
            "backend": backend,
        }

    def pieces(self, batch: pa.RecordBatch) -> Iterator[Sequence[int]]:
        """Rows that have a text, some bytes of it at a time."""
        return iter(pieces_of(byte_lengths(batch.column(self.config.text))))

    def decode(self, batch: pa.RecordBatch, rows: Sequence[int]) -> tuple[list[ModelRow], dict[int, RowError]]:
        """The windows of each text, int32 (tokens,)."""
        some = texts(batch.column(self.config.text).take(pa.array(rows, pa.int64())))
        found = self.tokenizer(
            some, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False
        )["input_ids"]
        return [part for row, ids in zip(rows, found, strict=True) for part in self._parts(row, ids)], {}

    def _parts(self, row: int, ids: Sequence[int]) -> list[ModelRow]:
        windows = windows_of(ids, self.context, self.config.overlap, self.around, self.longest)
        parts = [ModelRow(row, shape_name(shape_of(len(window), self.shapes)), (window,)) for window in windows]
        # Means are added up, and equals told apart, in this order, a short last window first: stored scores show it.
        return sorted(parts, key=lambda part: int(part.shape))

    def room(self, shape: str) -> int:
        """Windows of a batch."""
        return self._shape_named[shape][0]

    def filled(self, shape: str, inputs: Sequence[tuple[np.ndarray[Any, Any], ...]]) -> Any:
        """int64 ids and mask (windows, tokens)."""
        return filled(self._shape_named[shape], [window for (window,) in inputs], self.tokenizer.pad_token_id or 0)

    def infer(self, prepared: ModelBatch) -> Scores:
        """`logits`, float32 (windows, ...), of the batch's windows, blanks included."""
        return {"logits": self.run(*prepared.inputs)}

    def flops(self, shape: str) -> float | None:
        """Floating-point operations of a full batch (`flops_of`); None for an engine that can't tell."""
        return self.run.flops(*self._shape_named[shape]) if isinstance(self.run, TorchEngine) else None
