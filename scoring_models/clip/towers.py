"""What runs CLIP's two towers on a batch: pixels and tokens in, similarities and embeddings out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from poolsieve.scoring_models.base.devices import DTYPES, NO_LOCK, gpu_lock
from poolsieve.scoring_models.base.errors import PoolsieveError
from poolsieve.scoring_models.base.flops import flops_of
from poolsieve.scoring_models.base.scorer import Scores

if TYPE_CHECKING:
    from poolsieve.scoring_models.clip.scorer import Clip

Array = np.ndarray[Any, Any]


class TorchTowers:
    """Both towers in torch. Safe to call from several threads; each runs torch with one thread of its own.

    Args:
        config: the scorer.
        model: of open_clip, on the CPU in fp32, in evaluation mode; it belongs to this object from here on.
        normalise: float32 pixels (n, 3, height, width) in [0, 1] -> what the image tower takes.
        device: of torch.
    """

    def __init__(self, config: Clip, model: Any, normalise: Any, device: Any) -> None:
        import torch

        self.config, self.torch, self.device, self.normalise = config, torch, device, normalise
        self.dtype = getattr(torch, DTYPES[config.precision])
        self.model = model.to(device, self.dtype)
        self.gpu = gpu_lock(device)

    def __call__(self, pixels: Array, tokens: Array) -> Scores:
        """Scores of a batch.

        Args:
            pixels: uint8 (n, height, width, 3).
            tokens: int64 (n, context).

        Returns:
            `""`: cosine similarity, float32 (n,); with `embeddings`, both sides as float16 (n, dim).

        Raises:
            PoolsieveError: if the device has no room for the batch.
        """
        torch = self.torch
        torch.set_num_threads(1)  # a setting of the calling thread; more would fight over the cores and change sums
        try:
            with torch.inference_mode(), self.gpu or NO_LOCK:
                return self._embed(torch.from_numpy(pixels), torch.from_numpy(tokens))
        except torch.OutOfMemoryError as error:
            raise PoolsieveError(
                f"the GPU has no room for {len(pixels)} pairs at a time: say Clip(..., batch_size="
                f"{max(1, len(pixels) // 2)})"
            ) from error

    def flops(self, pairs: int, context: int) -> float:
        """Floating-point operations of both towers for that many pairs, captions of `context` tokens (`flops_of`)."""
        import torch

        size = self.model.visual.image_size
        height, width = size if isinstance(size, (tuple, list)) else (size, size)
        pixels = torch.zeros(pairs, 3, height, width, dtype=self.dtype, device="meta")
        tokens = torch.zeros(pairs, context, dtype=torch.int64, device="meta")
        return flops_of(self.model, lambda model: (model.encode_image(pixels), model.encode_text(tokens)))

    def _embed(self, pixels: Any, tokens: Any) -> Scores:
        x = pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float().div(255)
        image = self.model.encode_image(self.normalise(x).to(self.dtype), normalize=True).float()
        text = self.model.encode_text(tokens.to(self.device, non_blocking=True), normalize=True).float()
        made = {"": (image * text).sum(-1).cpu().numpy()}
        if self.config.embeddings:
            made["image_embedding"] = image.half().cpu().numpy()
            made["text_embedding"] = text.half().cpu().numpy()
        return made
