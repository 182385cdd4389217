"""A tiny CLIP with random weights in open_clip's layout, and pairs for it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

SIDE, DIM = 32, 16
MODEL: dict[str, Any] = {
    "embed_dim": DIM,
    "quick_gelu": True,
    "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
PREPROCESS = {"size": SIDE, "mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28], "resize_mode": "shortest"}


def make(folder: Path) -> Path:
    """Writes weights and configuration; gives the folder."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    state = open_clip.CLIP(**MODEL).state_dict()
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": MODEL, "preprocess_cfg": PREPROCESS}))
    return folder


def image_bytes(seed: int, mode: str = "RGB", form: str = "PNG") -> bytes:
    """An image of noise, of 30 to 90 pixels a side."""
    r = np.random.default_rng(seed)
    pixels = r.integers(0, 255, (int(r.integers(30, 90)), int(r.integers(30, 90)), 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(sink, form)
    return sink.getvalue()


def pairs(n: int = 11) -> pa.RecordBatch:
    """Images in every mode, with captions of several lengths."""
    modes = [
        ("RGB", "PNG"),
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("RGBA", "PNG"),
        ("P", "PNG"),
        ("LA", "PNG"),
        ("1", "PNG"),
    ]
    images = [image_bytes(i, *modes[i % len(modes)]) for i in range(n)]
    texts = [f"a photo of {i} things " + "and more " * (7 * i) for i in range(n)]
    return pa.record_batch({"image": pa.array(images, pa.binary()), "text": texts})
