"""Decoding images that nobody vouches for: what they may cost is bounded before anything is decoded."""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from typing import Any

import numpy as np
from PIL import Image

from poolsieve.scoring_models.base.errors import RowError, error_text

MAX_PIXELS = 89_478_485
"""Pillow's own limit (a quarter of a gigabyte of RGB), above which it warns of a decompression bomb; here an error."""

MAX_SCANNED = 50 * MAX_PIXELS
"""Pixels times scans of a JPEG. Each scan goes over the whole image, and a file of 10 MB has room for 80,000 of them:
hours of work at 0.2 s each. Files that cameras and encoders write have about ten."""

MIN_SCAN = 10
"""Bytes of the shortest scan: marker, length, one component, spectral selection."""

LARGE = 2**24
"""Pixels above which images are decoded one at a time in a process, whatever the number of threads."""

SPARE = 16
"""Bytes a pixel that a decoder may ask for: coefficients of a progressive JPEG in colour, its pixels, and a copy."""

_ONE_LARGE = threading.Lock()


# Our own check below says the same as an error. Set once: `catch_warnings` is not safe in threads.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def open_image(data: bytes) -> Image.Image | RowError:
    """The image's header, or why it can't be read. Nothing is decoded yet; the first frame of an animation.

    Raises:
        MemoryError: if memory is short.
    """
    try:
        image = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        return RowError("image_bomb", error_text(error))
    except Exception as error:  # noqa: BLE001  (Pillow's plugins raise whatever a broken file leads them to)
        return _fault(error, LARGE)
    width, height = image.size
    if width * height > MAX_PIXELS:
        return RowError("image_bomb", f"{width} x {height} pixels are more than {MAX_PIXELS}")
    return image


def decode_image(data: bytes) -> Image.Image | RowError:
    """The decoded image in its own mode, or why it can't be decoded; see `decoded`."""
    image = open_image(data)
    if isinstance(image, RowError):
        return image
    with turn(image.width * image.height):
        return decoded(image, data)


def decoded(image: Image.Image, data: bytes) -> Image.Image | RowError:
    """An opened image with its pixels, in its own mode, or why it can't be decoded.

    EXIF rotation is ignored, as in open_clip. The one mode that is changed is 16-bit grayscale: converting it to RGB,
    as a model's transform does, would clip nearly every pixel to white, so it is scaled to 8 bits.

    Raises:
        MemoryError: if memory is short.
    """
    refused = unsafe(image, data)
    if refused is not None:
        return refused
    try:
        image.load()
        return eight_bits(image) if image.mode.startswith("I") else image
    except Exception as error:  # noqa: BLE001
        return _fault(error, image.width * image.height)


def unsafe(image: Image.Image, data: bytes) -> RowError | None:
    """Why an opened image must not be decoded at all, though its size is allowed."""
    if image.format == "EPS":  # Pillow would start Ghostscript, without a limit of time
        return RowError("image_decode", "PostScript is a program, and is not run")
    pixels = image.width * image.height
    if image.format in ("JPEG", "MPO") and pixels * (len(data) // MIN_SCAN) > MAX_SCANNED:
        scans = _scans(data)
        if pixels * scans > MAX_SCANNED:
            return RowError("image_bomb", f"{scans} scans of {image.width} x {image.height} pixels")
    return None


def turn(pixels: int) -> contextlib.AbstractContextManager[Any]:
    """To be held while so many pixels are decoded or resized: large images take turns in a process.

    So the memory of decoding is at most that of threads x `LARGE` + `MAX_PIXELS` pixels, not threads x `MAX_PIXELS`.
    """
    return _ONE_LARGE if pixels > LARGE else contextlib.nullcontext()


def eight_bits(image: Image.Image) -> Image.Image:
    """A 16-bit grayscale image (modes `I`, `I;16` and their like) scaled to 8 bits: 65535 is white, and so is more."""
    values = np.asarray(image)
    made = np.empty(values.shape, np.uint8)
    for row, levels in zip(made, values, strict=True):  # row by row: copies of a whole large one are four bytes a pixel
        row[...] = np.minimum(levels.astype(np.uint32) // 257, 255)
    return Image.fromarray(made)


def _scans(data: bytes) -> int:
    """Start-of-scan markers (0xFFDA, ITU-T T.81 table B.1), also those of thumbnails inside."""
    count = 0
    for start in (0, 1):
        pairs = np.frombuffer(data, np.dtype(">u2"), (len(data) - start) // 2, start)
        count += int(np.count_nonzero(pairs == 0xFFDA))
    return count


def _fault(error: Exception, pixels: int) -> RowError:
    """The image's error; a `MemoryError` is only that if there is memory for an honest image of so many pixels."""
    if isinstance(error, MemoryError):
        np.empty(SPARE * pixels, np.uint8)  # raises MemoryError: then it is no row's fault
    return RowError("image_decode", error_text(error))
