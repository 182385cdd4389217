"""CLIP's two towers run by OpenVINO on a CPU: the same call as `TorchTowers`, and numbers that agree with its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from poolsieve.scoring_models.base.scorer import Scores
from poolsieve.scoring_models.clip.towers import Array
from poolsieve.scoring_models.devices.choice import precision_of
from poolsieve.scoring_models.devices.openvino import Run, agree, compiled
from poolsieve.scoring_models.devices.runner import Runner

if TYPE_CHECKING:
    from poolsieve.scoring_models.clip.scorer import Clip

AGREE = 1e-4
"""Largest difference between torch's cosine similarity and OpenVINO's, in fp32, that is let pass."""

TRACED = 2
"""Pairs that the model is traced with; it is compared at another number, which shows what tracing took for constant."""

LEAST_NORM = 1e-12
"""What a shorter embedding is divided by: `eps` of torch.nn.functional.normalize, which open_clip calls."""


class OpenVinoTowers:
    """Both towers in OpenVINO. Safe to call from several threads; each runs on one core.

    Pixels are normalised in the graph; embeddings leave it in float32 and are normalised and multiplied in float32,
    in bf16 too.

    Args:
        config: the scorer.
        model: of open_clip, on the CPU in fp32, in evaluation mode.
        normalise: float32 pixels (n, 3, height, width) in [0, 1] -> what the image tower takes.
        examples: more than `TRACED` pairs to trace and compare with, as they are scored: uint8 (n, height, width, 3)
            and int64 (n, context).

    Raises:
        PlanError: if OpenVINO can't convert the model, or its similarities are not torch's.
    """

    def __init__(self, config: Clip, model: Any, normalise: Any, examples: tuple[Array, Array]) -> None:
        import torch

        cpu, network = torch.device("cpu"), _network(model, normalise)
        few = (examples[0][:TRACED], examples[1][:TRACED])
        self.embeddings, self.runner = config.embeddings, Runner(cpu, "Clip")
        precision = precision_of(torch, config.precision, cpu)
        self.run = compiled(network, few, precision, lambda run: _compare(run, network, examples))

    def __call__(self, pixels: Array, tokens: Array) -> Scores:
        """Scores of a batch; arguments and result as of `TorchTowers`."""
        image, text = (_normalised(side) for side in self.run(pixels, tokens))
        made = {"": (image * text).sum(axis=-1)}
        if self.embeddings:
            made |= {"image_embedding": image.astype(np.float16), "text_embedding": text.astype(np.float16)}
        return made


def _network(model: Any, normalise: Any) -> Any:
    """`network(pixels, tokens) -> (image, text)`, both float32 (n, dim) and not normalised."""
    import torch

    class Network(torch.nn.Module):  # type: ignore[misc]
        """Both towers, from uint8 pixels on."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: Any, tokens: Any) -> Any:
            x = normalise(pixels.permute(0, 3, 1, 2).float().div(255))
            return self.model.encode_image(x), self.model.encode_text(tokens)

    return Network().eval()


def _normalised(x: Array) -> Array:
    """Rows of float32 (n, dim) by their length."""
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), LEAST_NORM))


def _compare(run: Run, network: Any, examples: tuple[Array, Array]) -> None:
    """Compares the similarities of every image with every caption. Raises `PlanError` if one differs."""
    import torch

    with torch.inference_mode():
        made = network(*(torch.from_numpy(part) for part in examples))
    theirs, ours = ([_normalised(side) for side in sides] for sides in ((s.numpy() for s in made), run(*examples)))
    agree(float(np.abs(ours[0] @ ours[1].T - theirs[0] @ theirs[1].T).max()), AGREE)
