"""Causal models in memory: rows become windows of ids, all models see a batch in one go, sums become scores."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.base.arrow import byte_lengths, texts
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError, RowError
from poolsieve.scoring_models.base.scorer import ModelBatch, ModelRow, Scores
from poolsieve.scoring_models.causal.encoding import encode_of, ids_of
from poolsieve.scoring_models.causal.files import compare, loaded_parts
from poolsieve.scoring_models.causal.losses import AT_ONCE, TokenLosses, load_causal
from poolsieve.scoring_models.causal.units import Ids, check_ids, chunk_lengths, chunk_of, filled, windows_of
from poolsieve.scoring_models.devices.batch_sizes import fitting, weight_bytes, widest
from poolsieve.scoring_models.devices.choice import DTYPES, device_of, gpu_name, precision_of
from poolsieve.scoring_models.devices.gpu import runner_of
from poolsieve.scoring_models.devices.token_shapes import (
    LISTED,
    Shape,
    pieces_of,
    shape_name,
    shape_of,
    shapes,
    tokens_that_fit,
)
from poolsieve.scoring_models.hub.checkpoints import CONFIG, load_tokenizer

if TYPE_CHECKING:
    from poolsieve.scoring_models.causal.scorer import CausalScorer

PREDICTED = "\0predicted"
"""The name under which a window's number of losses travels beside the sums of each model; no column can have it."""

WORD = 4
"""Bytes that an id counts as, where pieces are cut by bytes of text: a token of English has about as many."""


class LoadedCausal:
    """One or two models in memory. Safe to call from several threads, each of which keeps one core busy.

    Args:
        config: the scorer.
        files: column -> files of its model; all have one tokenizer.

    Raises:
        PlanError: if a model can't be read, or the tokenizers differ.
    """

    def __init__(self, config: CausalScorer, files: Mapping[str, Mapping[str, Path]]) -> None:
        import torch

        self.config, self.role = config, config.reads[0]
        device = device_of(torch, config.device)
        precision = precision_of(torch, config.precision, device)
        who = f"{type(config).__name__}({', '.join(repr(model) for model, _ in config.named.values())})"
        self._decode = self._documents(config, files, who) if config.tokens is None else self._chunks
        self.runner = runner_of(device, who)
        self.at_once = self.runner.at_once
        self.models = {key: self._load(found, DTYPES[precision], who) for key, found in files.items()}
        self.vocabulary = min(min(model.vocabulary, model.words) for model in self.models.values())
        self.window = config.window_of(files)
        self.shapes = self._settled(shapes(self.window, self._tokens()))
        self._named = {shape_name(shape): shape for shape in self.shapes}
        self.settings: JsonObject = {
            "dtype": precision,
            "shapes": [list(shape) for shape in self.shapes],
            "threads": 1,
            "device": gpu_name(torch, device),
            "losses": {key or "loss": model.way for key, model in self.models.items()},
        }

    def _load(self, files: Mapping[str, Path], dtype: str, who: str) -> TokenLosses:
        model = load_causal(str(files[CONFIG].parent), dtype, who)
        with self.runner.named():
            return TokenLosses(self.runner.placed(lambda: model.to(self.runner.device)), who)

    def _documents(self, config: CausalScorer, files: Mapping[str, Mapping[str, Path]], who: str) -> Callable[..., Any]:
        """What decodes documents, once all models' tokenizers have been found to be one."""
        made = {key: load_tokenizer(found) for key, found in files.items()}
        (name, tokenizer), *others = made.items()
        for other, its in others:
            one, two = (f"{key} {config.named[key][0]}" for key in (name, other))
            compare(one, two, loaded_parts(tokenizer), loaded_parts(its))
        start = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        if start is None:
            raise PlanError(f"{who}: the tokenizer has no token for a sequence's beginning or end to start a text with")
        return functools.partial(self._texts, encode_of(tokenizer), int(start))

    def _tokens(self) -> int:
        sizes = functools.partial(sizes_for, [model.model for model in self.models.values()])
        return tokens_that_fit(self.runner, self.window, self.config.batch_tokens, sizes, self._attempt)

    def _attempt(self, shape: Shape) -> None:
        self.runner.once(self._compute, filled(shape, []))

    def _settled(self, listed: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """The shapes; of one window each where windows of a batch would have a part in each other's last digits."""
        if any(model.alone for model in self.models.values()) or not self._apart(listed[0]):
            return tuple((1, length) for _, length in listed)
        return listed

    def _apart(self, shape: Shape) -> bool:
        """Whether a window has the same bits at either end of a batch, beside whatever others."""
        if shape[0] == 1:
            return True
        wave = np.arange(2 * shape[0] * shape[1], dtype=np.int64).reshape(2, *shape) * 7919 % self.vocabulary
        one, other = (filled(shape, list(some.astype(np.int32))) for some in wave)
        for first, second in zip(one, other, strict=True):
            second[-1] = first[0]
        sums, others = (self.runner.once(self._compute, tuple(some)) for some in (one, other))
        return all(bool(sums[key][0] == others[key][-1]) for key in self.models)

    def pieces(self, batch: pa.RecordBatch) -> Iterator[Sequence[int]]:
        """Rows that have a text or a chunk, some bytes of it at a time."""
        values = batch.column(self.role)
        if self.config.tokens is None:
            return iter(pieces_of(byte_lengths(values)))
        lengths = chunk_lengths(values)
        return iter(pieces_of(np.where(lengths < 0, -1, lengths * WORD)))

    def decode(self, batch: pa.RecordBatch, rows: Sequence[int]) -> tuple[list[ModelRow], dict[int, RowError]]:
        """The windows of each text, or each chunk, int32 (ids,); none for a row that has nothing to predict."""
        found, errors = self._decode(batch.column(self.role), rows)
        parts: list[ModelRow] = []
        for row, windows in found.items():
            try:
                for window in windows:
                    check_ids(window, self.vocabulary)
            except ValueError as error:
                errors[row] = RowError("token_id", str(error))
            else:
                parts += [ModelRow(row, shape_name(shape_of(len(one), self.shapes)), (one,)) for one in windows]
        return parts, errors

    def _texts(self, encode: Any, start: int, values: pa.Array, rows: Sequence[int]) -> Any:
        """Row -> windows, and row -> error."""
        ids = ids_of(encode, texts(values.take(pa.array(rows, pa.int64()))))
        return {row: windows_of(some, start, self.window) for row, some in zip(rows, ids, strict=True)}, {}

    def _chunks(self, values: pa.Array, rows: Sequence[int]) -> Any:
        """The same of chunks."""
        found: dict[int, list[Ids]] = {}
        errors: dict[int, RowError] = {}
        for row in rows:
            try:
                ids = chunk_of(values, row)
            except ValueError as error:
                errors[row] = RowError("token_id", str(error))
                continue
            found[row] = [ids] if len(ids) > 1 else []
            if len(ids) > self.window:
                said = f"a chunk of {len(ids)} ids, and {self.window} are read; give the scorer a larger window"
                errors[row] = RowError("too_long", f"{said}, up to the model's context")
                del found[row]
        return found, errors

    def room(self, shape: str) -> int:
        """Windows of a batch."""
        return self._named[shape][0]

    def filled(self, shape: str, inputs: Sequence[tuple[np.ndarray[Any, Any], ...]]) -> Any:
        """int64 ids and targets (windows, ids)."""
        return filled(self._named[shape], [window for (window,) in inputs])

    def infer(self, prepared: ModelBatch) -> Scores:
        """Column of each model -> float64 (windows,), its losses added up; and how many they are."""
        ids, targets = prepared.inputs
        smaller = f"give the scorer batch_tokens={max(1, ids.size // 2)}, it has {ids.size} at a time"
        made = self.runner(self._compute, (ids, targets), smaller=smaller)
        return {**made, PREDICTED: (targets >= 0).sum(axis=1)}

    def _compute(self, ids: Any, targets: Any) -> dict[str, Any]:
        return {key: model.sums(ids, targets) for key, model in self.models.items()}

    def joined(self, parts: Scores, owners: np.ndarray[Any, Any], count: int) -> Scores:
        """The columns of each row: sums over its windows, in their order, divided by the number of losses."""
        counts = np.bincount(owners, weights=parts[PREDICTED], minlength=count)
        means = {
            key: (np.bincount(owners, weights=parts[key], minlength=count) / counts).astype(np.float32)
            for key in self.models
        }
        if len(means) == 1:
            return means
        return {"": means["conditional"] - means["prior"], **means}

    def flops(self, shape: str) -> float:
        """Floating-point operations of a full batch, of all models (`flops_of`)."""
        return sum(model.flops(*self._named[shape]) for model in self.models.values())


def sizes_for(models: Sequence[Any], total: int) -> tuple[int, ...]:
    """Ids of a batch that a device of `total` bytes should have room for, largest first.

    Beside the weights of all models and a slice of logits (in fp32, and as many again for their exponentials), an id
    takes four times the widest layer of a model's base: attention keeps no weights over a window, and only one model
    computes at a time.
    """
    each = max(next(model.parameters()).element_size() * 4 * widest(model.base_model) for model in models)
    return fitting(LISTED, total, sum(map(weight_bytes, models)) + 8 * AT_ONCE["cuda"], each)
