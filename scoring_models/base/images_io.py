"""Decoding images that nobody vouches for."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image

from poolsieve.scoring_models.base.errors import RowError, error_text

MAX_PIXELS = 89_478_485
"""Pillow's own limit (a quarter of a gigabyte of RGB), above which it warns of a decompression bomb; here an error."""


# Our own check below says the same as an error. Set once: `catch_warnings` is not safe in threads.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def open_image(data: bytes) -> Image.Image | RowError:
    """The image's header, or why it can't be read. Nothing is decoded yet; the first frame of an animation."""
    try:
        image = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        return RowError("image_bomb", error_text(error))
    except Exception as error:  # noqa: BLE001  (Pillow's plugins raise whatever a broken file leads them to)
        return RowError("image_decode", error_text(error))
    width, height = image.size
    if width * height > MAX_PIXELS:
        return RowError("image_bomb", f"{width} x {height} pixels are more than {MAX_PIXELS}")
    return image


def decode_image(data: bytes) -> Image.Image | RowError:
    """The decoded image in its own mode, or why it can't be decoded.

    EXIF rotation is ignored, as in open_clip. The one mode that is changed is 16-bit grayscale: converting it to RGB,
    as a model's transform does, would clip nearly every pixel to white, so it is scaled to 8 bits.
    """
    image = open_image(data)
    if isinstance(image, RowError):
        return image
    try:
        image.load()
        return eight_bits(image) if image.mode.startswith("I") else image
    except Exception as error:  # noqa: BLE001
        return RowError("image_decode", error_text(error))


def eight_bits(image: Image.Image) -> Image.Image:
    """A 16-bit grayscale image (modes `I`, `I;16` and their like) scaled to 8 bits: 65535 is white, and so is more."""
    values = np.asarray(image).astype(np.uint32) // 257
    return Image.fromarray(np.minimum(values, 255).astype(np.uint8))
