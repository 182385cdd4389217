"""What runs CLIP's two towers on a batch: pixels and tokens in, similarities and embeddings out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from poolsieve.scoring_models.base.scorer import Scores
from poolsieve.scoring_models.devices.choice import DTYPES, precision_of
from poolsieve.scoring_models.devices.flops import flops_of
from poolsieve.scoring_models.devices.gpu import runner_of

if TYPE_CHECKING:
    from poolsieve.scoring_models.clip.scorer import Clip

Array = np.ndarray[Any, Any]


class TorchTowers:
    """Both towers in torch. Safe to call from several threads; each runs torch with one thread of its own.

    Attention is torch's own scaled dot product in both towers: open_clip's blocks ask for no weights, and there the
    image tower takes the native multi-head attention, the text tower, whose mask is of floats, the function itself.

    Args:
        config: the scorer.
        model: of open_clip, on the CPU in fp32, in evaluation mode; it belongs to this object from here on.
        normalise: float32 pixels (n, 3, height, width) in [0, 1] -> what the image tower takes.
        device: of torch.
    """

    def __init__(self, config: Clip, model: Any, normalise: Any, device: Any) -> None:
        import torch

        self.config, self.normalise = config, normalise
        self.dtype = getattr(torch, DTYPES[precision_of(torch, config.precision, device)])
        self.runner = runner_of(device, f"Clip({config.model!r})")
        self.model = self.runner.placed(lambda: self._placed(model, device))

    def _placed(self, model: Any, device: Any) -> Any:
        model = model.to(device, self.dtype)
        if device.type == "cuda":
            # Pixels come as channels-last. With weights that are too, cuDNN converts neither for the convolutions.
            model.visual.to(memory_format=self.runner.torch.channels_last)
        return model

    def __call__(self, pixels: Array, tokens: Array) -> Scores:
        """Scores of a batch.

        Args:
            pixels: uint8 (n, height, width, 3).
            tokens: int64 (n, context).

        Returns:
            `""`: cosine similarity, float32 (n,); with `embeddings`, both sides as float16 (n, dim).

        Raises:
            PoolsieveError: if the device has no room for the batch, or fails.
        """
        smaller = f"say Clip(..., batch_size={max(1, len(pixels) // 2)}), it has {len(pixels)} pairs at a time"
        return self.runner(self.embed, (pixels, tokens), smaller=smaller)

    def flops(self, pairs: int, context: int) -> float:
        """Floating-point operations of both towers for that many pairs, captions of `context` tokens (`flops_of`)."""
        import torch

        size = self.model.visual.image_size
        height, width = size if isinstance(size, (tuple, list)) else (size, size)

        def forward(model: Any) -> object:
            pixels = torch.zeros(pairs, 3, height, width, dtype=self.dtype, device="meta")
            tokens = torch.zeros(pairs, context, dtype=torch.int64, device="meta")
            return model.encode_image(pixels), model.encode_text(tokens)

        return flops_of(self.model, forward)

    def embed(self, pixels: Any, tokens: Any) -> dict[str, Any]:
        """The same from tensors on the device to tensors there."""
        x = pixels.permute(0, 3, 1, 2).float().div(255)
        image = self.model.encode_image(self.normalise(x).to(self.dtype), normalize=True).float()
        text = self.model.encode_text(tokens, normalize=True).float()
        made = {"": (image * text).sum(-1)}
        if self.config.embeddings:
            made |= {"image_embedding": image.half(), "text_embedding": text.half()}
        return made
