"""Thumbnails of a pool's images, small enough to stand inside the page."""

from __future__ import annotations

import base64
import io
import warnings
from typing import Any

import numpy as np

from poolsieve.scoring_models.base.errors import RowError, error_text
from poolsieve.scoring_models.base.images_io import eight_bits, open_image, unsafe

SIDE = 160
"""Longest side of a thumbnail in pixels."""


def brief(error: Exception) -> str:
    """An error in one line: its class, and the first sentence of what it says."""
    return error_text(error).split(". ")[0].removesuffix(": ")[:220]


def picture_uri(data: bytes) -> tuple[str | None, str]:
    """(data URI of the thumbnail, ""), or (None, why there is none)."""
    try:
        return "data:image/jpeg;base64," + base64.b64encode(thumbnail(data)).decode(), ""
    except Exception as error:  # noqa: BLE001  (decoders raise whatever they like on broken images)
        return None, f"no picture: {brief(error)[:120]}"


def thumbnail(data: bytes, side: int = SIDE) -> bytes:
    """An image as a small upright JPEG; the first frame of an animated one, on white where it is transparent.

    Raises:
        ValueError: for what is no image, or one too large or unsafe to decode.
    """
    from PIL import ImageOps

    found = open_image(data)
    if isinstance(found, RowError):
        raise ValueError(found.message)
    refused = unsafe(found, data)
    if refused is not None:
        raise ValueError(refused.message)
    with found as image, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.draft("RGB", (side * 2, side * 2))
        small = _eight_bits(ImageOps.exif_transpose(image))
        small.thumbnail((side, side))
        sink = io.BytesIO()
        _on_white(small).save(sink, "JPEG", quality=72, optimize=True)
    return sink.getvalue()


def _eight_bits(image: Any) -> Any:
    """Grey levels as a model sees them, 16 bits scaled to 8; float ones, which no model reads, up to their maximum."""
    from PIL import Image

    if image.mode.startswith("I"):
        return eight_bits(image)
    if image.mode != "F":
        return image
    values = np.asarray(image, dtype=np.float64)
    top = max(float(values.max(initial=0)), 255.0)
    return Image.fromarray((values / top * 255).clip(0, 255).astype(np.uint8))


def _on_white(image: Any) -> Any:
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        whole = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")
    return image.convert("RGB")
