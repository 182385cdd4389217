"""CLIP similarity of an image and its caption through open_clip: the scorer of data filtering networks.

Fang et al., "Data Filtering Networks", arXiv 2309.17425, section 3: the score is the cosine of the L2-normalised
embeddings, without the model's logit scale. The network that was published as a filter is `hf-hub:apple/DFN-public`;
`apple/DFN2B-CLIP-*` and `DFN5B-CLIP-*` are models trained on what a filter kept.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from poolsieve.scoring_models.base.arrow import texts
from poolsieve.scoring_models.base.config import JsonObject, absolute_path
from poolsieve.scoring_models.base.errors import PlanError, RowError
from poolsieve.scoring_models.base.packages import need
from poolsieve.scoring_models.base.scorer import ModelBatch, ModelRow, Resources, ScorerConfig, Scores
from poolsieve.scoring_models.clip.batch_size import LISTED, ON_CPU, batch_size_of
from poolsieve.scoring_models.clip.captions import Captions
from poolsieve.scoring_models.clip.files import (
    HUB,
    LOCAL,
    embedding_size,
    folder_files,
    folder_of,
    layout_of,
    registry_config,
    tag_file,
)
from poolsieve.scoring_models.clip.openvino import OpenVinoTowers
from poolsieve.scoring_models.clip.pixels import Pixels
from poolsieve.scoring_models.clip.towers import Array, TorchTowers
from poolsieve.scoring_models.devices.choice import check_precision, device_of, gpu_name, precision_of
from poolsieve.scoring_models.devices.openvino import check_there, check_wanted
from poolsieve.scoring_models.hub.files import read_json

BACKENDS = ("torch", "openvino")

PIECE = 8
"""Pairs that one thread decodes in one go: few, so that all cores work on the first batch."""

PAIRS = "pairs"
"""The name of the only shape."""


@dataclass(frozen=True, eq=False)
class Clip(ScorerConfig):
    """Cosine similarity of image and caption, float32 in [-1, 1]. A row without image or caption has a null score.

    Args:
        model: `"hf-hub:apple/DFN-public"`, `"local-dir:/path"` (either in open_clip's or in `transformers`' layout),
            `("ViT-B-16-quickgelu", "dfn2b")` (open_clip's names), or `("ViT-B-32", "/path/weights.safetensors")`.
        precision: of weights and activations: "fp32", "bf16", on a GPU "fp16", or "auto": bf16 where processor or GPU
            has it in hardware, else fp32. If not given, a GPU has bf16 where it can, and a CPU fp32. bf16 is faster
            there, and its scores differ from fp32's in the third digit. What it came to is recorded with the scores,
            and a machine where it is the other one is refused.
        batch_size: pairs that the model sees at a time; the last ones of a shard are filled up with blanks. If not
            given, 32 on a CPU, and on a GPU as many as its kind has room for (`clip/batch_size.py`).
        device: "auto" takes a GPU if there is one.
        embeddings: also store both normalised embeddings, as float16.
        revision: of a hub repository; a commit makes a run repeatable.
        image: the image role.
        text: the caption role.
        backend: "torch", or on a CPU "openvino", whose scores agree with torch's to 1e-4: that is checked when the
            model is loaded.
    """

    model: str | tuple[str, str]
    precision: str | None = None
    batch_size: int | None = None
    device: str = "auto"
    embeddings: bool = False
    revision: str | None = None
    image: str = "image"
    text: str = "text"
    version: int = 1
    backend: str = "torch"

    packages = ("open_clip_torch", "torch", "torchvision", "transformers", "pillow")
    extra = "clip"

    def __post_init__(self) -> None:
        check_precision("Clip", self.precision)
        if self.batch_size is not None and self.batch_size < 1:
            raise PlanError(f"Clip(batch_size={self.batch_size}): must be at least 1")
        if self.backend not in BACKENDS:
            raise PlanError(f"Clip(backend={self.backend!r}): expected one of {', '.join(BACKENDS)}")
        if self.backend == "openvino":
            check_wanted("Clip", self.precision, self.device)
            object.__setattr__(self, "packages", (*type(self).packages, "openvino"))
        object.__setattr__(self, "model", _absolute(self.model))

    @property
    def reads(self) -> tuple[str, ...]:
        """Image and caption."""
        return (self.image, self.text)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """The similarity, and with `embeddings` two `fixed_size_list<float16>[dim]`."""
        if not self.embeddings:
            return {"": pa.float32()}
        kind = pa.list_(pa.float16(), _embedding_size(self.model, self.revision))
        return {"": pa.float32(), "image_embedding": kind, "text_embedding": kind}

    @property
    def resources(self) -> Resources:
        """Decoding and the model let the interpreter lock go."""
        return Resources(device=self.device, memory_mb=2000)

    def to_dict(self) -> JsonObject:
        """Without the folder of local files, which enter the fingerprint by hash, and without the device.

        32 pairs at a time were the default when the first scores were stored, and are not written.
        """
        left_out = {"device", "batch_size"} if self.batch_size == ON_CPU else {"device"}
        out = {key: value for key, value in super().to_dict().items() if key not in left_out}
        return {**out, "model": _portable(self.model)}

    def as_recorded(self, settings: JsonObject) -> Clip:
        """With the batch size that stored scores were made with, if it was left to the device then and is now."""
        match settings.get("shape"):
            case [int(rows), int()] if self.batch_size is None and rows in LISTED:
                return replace(self, batch_size=rows)
        return self

    def files(self) -> Mapping[str, Path]:
        """Configuration, weights and tokenizer files by name.

        Raises:
            PlanError: if open_clip, the backend or a file is missing, or QuickGELU does not match.
        """
        need("Clip", "open_clip_torch", "torch", extra=self.extra)
        if self.backend == "openvino":
            need("Clip(backend='openvino')", "openvino", extra="classifiers")
        if isinstance(self.model, str):
            return folder_files(folder_of(self.model, self.revision))
        arch, weights = self.model
        registry_config(arch)
        path = Path(weights) if Path(weights).is_file() else tag_file(arch, weights)
        return {path.name: path}

    def load(self) -> LoadedClip:
        """Loads the model."""
        return LoadedClip(self)


def _absolute(model: Any) -> str | tuple[str, str]:
    if isinstance(model, (tuple, list)) and len(model) == 2:
        arch, weights = model
        return (arch, absolute_path(weights) if "/" in weights or Path(weights).is_file() else weights)
    if isinstance(model, str) and model.startswith(LOCAL):
        return LOCAL + absolute_path(model.removeprefix(LOCAL))
    if isinstance(model, str) and model.startswith(HUB):
        return model
    raise PlanError(
        f"Clip({model!r}): expected 'hf-hub:organisation/name', 'local-dir:/path', or two strings: an open_clip "
        "architecture and a tag or weights file"
    )


def _portable(model: str | tuple[str, str]) -> str | list[str]:
    if isinstance(model, tuple):
        return [model[0], model[1].rsplit("/", 1)[-1]]
    return LOCAL + model.rsplit("/", 1)[-1] if model.startswith(LOCAL) else model


@functools.cache
def _embedding_size(model: str | tuple[str, str], revision: str | None) -> int:
    if isinstance(model, tuple):
        return embedding_size(registry_config(model[0]))
    config, _ = layout_of(folder_of(model, revision))
    return embedding_size(read_json(config))


class LoadedClip:
    """A CLIP model in memory. Safe to call from several threads; each runs torch with one thread of its own."""

    def __init__(self, config: Clip) -> None:
        import torch

        from poolsieve.scoring_models.clip.weights import load_parts

        device = device_of(torch, config.device)
        if config.backend == "openvino":
            check_there(device)
        self.config = config = replace(config, precision=precision_of(torch, config.precision, device))
        parts = load_parts(config.model, config.revision)
        self.pixels, self.captions = Pixels(parts.transform), Captions(parts.tokenizer, parts.context)
        self.context, normalise = parts.context, self.pixels.normalise
        if config.backend == "openvino":
            self.towers: OpenVinoTowers | TorchTowers = OpenVinoTowers(config, parts.model, normalise, self._examples())
            self.rows = config.batch_size or ON_CPU
        else:
            self.towers = TorchTowers(config, parts.model, normalise, device)
            self.rows = batch_size_of(self.towers, self._blank, config.batch_size)
        self.at_once = self.towers.runner.at_once
        self.settings: JsonObject = {
            "dtype": config.precision,
            "shape": [self.rows, self.context],
            "threads": 1,
            "device": gpu_name(torch, device),
            "preprocessing": str(parts.transform),
        }
        if config.backend != "torch":  # scores that were stored before there was another one have no such line
            self.settings["backend"] = config.backend

    def pieces(self, batch: pa.RecordBatch) -> Iterator[Sequence[int]]:
        """Rows that have both image and caption, `PIECE` at a time."""
        both = [batch.column(role).is_valid().to_numpy(zero_copy_only=False) for role in self.config.reads]
        rows = np.flatnonzero(both[0] & both[1])
        return (rows[i : i + PIECE].tolist() for i in range(0, len(rows), PIECE))

    def decode(self, batch: pa.RecordBatch, rows: Sequence[int]) -> tuple[list[ModelRow], dict[int, RowError]]:
        """Decodes images to uint8 (height, width, 3), tokenises captions to int64 (context,)."""
        images, errors = batch.column(self.config.image), {}
        pixels = {}
        for row in rows:
            found = self.pixels(images[row].as_py())
            if isinstance(found, RowError):
                errors[row] = found
            else:
                pixels[row] = found
        if not pixels:
            return [], errors
        captions = self.captions(texts(batch.column(self.config.text).take(pa.array(list(pixels), pa.int64()))))
        made = zip(pixels, captions, strict=True)
        return [ModelRow(row, PAIRS, (pixels[row], tokens)) for row, tokens in made], errors

    def _blank(self) -> tuple[Array, Array]:
        """A pair to try the model with: uint8 (1, height, width, 3) and int64 (1, context)."""
        return self.pixels.of(Image.new("RGB", (64, 64)))[None], self.captions([""])

    def _examples(self) -> tuple[Array, Array]:
        """Noise and captions of several lengths, as this model takes them: uint8 (n, h, w, 3), int64 (n, context)."""
        captions = ["a", "a photo of a dog", "two small boats in front of a white house at the sea, in the morning"]
        side = self.pixels.of(Image.new("RGB", (64, 64))).shape
        dice = np.random.default_rng(0)
        return dice.integers(0, 256, (len(captions), *side), dtype=np.uint8), self.captions(captions)

    def room(self, shape: str) -> int:
        """The one shape's rows."""
        return self.rows

    def filled(self, shape: str, inputs: Sequence[tuple[np.ndarray[Any, Any], ...]]) -> Any:
        """uint8 (rows, height, width, 3) and int64 (rows, context): blank pairs after the real ones."""
        made = tuple(self.towers.runner.buffer((self.rows, *part.shape), part.dtype) for part in inputs[0])
        for whole, parts in zip(made, zip(*inputs, strict=True), strict=True):
            for place, part in enumerate(parts):
                whole[place] = part
            whole[len(parts) :] = 0
        return made

    def flops(self, shape: str) -> float | None:
        """Floating-point operations of a full batch; None for an engine that can't tell."""
        count = getattr(self.towers, "flops", None)
        return None if count is None else float(count(self.room(shape), self.context))

    def infer(self, prepared: ModelBatch) -> Scores:
        """Similarity float32 (rows,), and with `embeddings` float16 (rows, dim) of both sides."""
        return self.towers(*prepared.inputs)
