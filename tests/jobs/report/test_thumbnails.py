"""Thumbnails of images as they are found in pools."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from poolsieve.jobs.report.thumbnails import picture_uri, thumbnail


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1", "I;16", "I", "F"])
def test_thumbnails_of_every_mode(mode: str) -> None:
    gradient = np.tile(np.linspace(0, 255, 300), (200, 1))
    if mode in ("I;16", "I"):
        image = Image.fromarray((gradient * 257).astype(np.uint16 if mode == "I;16" else np.int32))
    elif mode == "F":
        image = Image.fromarray(gradient.astype(np.float32))
    else:
        image = Image.fromarray(gradient.astype(np.uint8)).convert("RGB" if mode == "CMYK" else "L").convert(mode)
    sink = io.BytesIO()
    image.save(sink, "JPEG" if mode == "CMYK" else "TIFF")
    small = Image.open(io.BytesIO(thumbnail(sink.getvalue())))
    grey = np.asarray(small.convert("L"), dtype=float)
    assert small.format == "JPEG" and small.mode == "RGB" and max(small.size) == 160
    assert grey[:, :20].mean() < 60 and grey[:, -20:].mean() > 195


def test_thumbnails_are_upright_and_refuse_what_is_no_image() -> None:
    image, sink = Image.new("RGB", (40, 20)), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(sink, "JPEG", exif=exif)
    assert Image.open(io.BytesIO(thumbnail(sink.getvalue()))).size == (20, 40)
    with pytest.raises(ValueError, match="identify"):
        thumbnail(b"no image")


def test_why_there_is_no_picture_is_the_same_in_every_report() -> None:
    image, why = picture_uri(b"no image")
    assert image is None and why == picture_uri(b"no image")[1]
    assert why.startswith("no picture: ") and "identify" in why and "0x" not in why


def test_what_is_unsafe_to_decode_has_no_picture() -> None:
    """Pillow would have Ghostscript run a PostScript file, where there is one."""
    sink = io.BytesIO()
    Image.new("RGB", (40, 20)).save(sink, "EPS")
    assert picture_uri(sink.getvalue()) == (None, "no picture: ValueError: PostScript is a program, and is not run")
