"""Decoding images that nobody vouches for."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from poolsieve.scoring_models import ImageSize
from poolsieve.scoring_models.base.errors import RowError
from poolsieve.scoring_models.base.images_io import decode_image


def noise(width: int = 40, height: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, form: str, **how: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, form, **how)
    return sink.getvalue()


FORMS = {
    "RGB": lambda: encoded(noise(), "JPEG"),
    "L": lambda: encoded(noise().convert("L"), "JPEG"),
    "CMYK": lambda: encoded(noise().convert("CMYK"), "JPEG"),
    "P": lambda: encoded(noise().quantize(16), "PNG"),
    "RGBA": lambda: encoded(noise().convert("RGBA"), "PNG"),
    "LA": lambda: encoded(noise().convert("LA"), "PNG"),
    "1": lambda: encoded(noise().convert("1"), "PNG"),
    "GIF": lambda: encoded(noise().quantize(16), "GIF", save_all=True, append_images=[noise().quantize(8)]),
    "WEBP": lambda: encoded(noise(), "WEBP"),
}
BROKEN = {
    "empty": b"",
    "HTML": b"<html><body>404 Not Found</body></html>",
    "noise": bytes(range(256)) * 4,
    "corrupt JPEG": b"\xff\xd8\xff" + b"\x07" * 300,
    "truncated JPEG": encoded(noise(300, 300), "JPEG")[:2000],
    "truncated PNG": encoded(noise(300, 300), "PNG")[:2000],
}


@pytest.mark.parametrize("name", FORMS)
def test_every_mode_decodes_to_what_pillow_gives(name: str) -> None:
    data = FORMS[name]()
    found = decode_image(data)
    assert isinstance(found, Image.Image)
    assert np.array_equal(found.convert("RGB"), Image.open(io.BytesIO(data)).convert("RGB"))


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = (np.arange(1200, dtype=np.uint32) * 54).astype(np.uint16).reshape(30, 40)
    found = decode_image(encoded(Image.fromarray(ramp), "PNG"))
    assert isinstance(found, Image.Image)
    assert np.array_equal(np.asarray(found.convert("L")), (ramp // 257).astype(np.uint8))


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_errors(name: str) -> None:
    found = decode_image(BROKEN[name])
    assert isinstance(found, RowError)
    assert found.kind == "image_decode"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9_600, 14_000, 20_000])
def test_bombs_are_refused_before_they_are_decoded(side: int) -> None:
    found = decode_image(encoded(Image.new("1", (side, side)), "PNG"))
    assert isinstance(found, RowError)
    assert found.kind == "image_bomb"


def test_exif_rotation_is_ignored_as_in_open_clip() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = decode_image(encoded(noise(40, 30), "JPEG", exif=exif.tobytes()))
    assert isinstance(found, Image.Image)
    assert found.size == (40, 30)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_threads_do_not_disturb_one_another() -> None:
    data = [FORMS[name]() for name in FORMS] * 20 + [encoded(Image.new("1", (9_600, 9_600)), "PNG")] * 4
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(decode_image, data))
    assert sum(isinstance(one, RowError) for one in found) == 4


def test_size_comes_from_the_header() -> None:
    batch = pa.record_batch({"image": [FORMS["RGB"](), None, BROKEN["HTML"], BROKEN["truncated PNG"]]})
    made = ImageSize().score(batch)
    assert made.columns["width"].to_pylist() == [40, None, None, 300]
    assert made.columns["height"].to_pylist() == [30, None, None, 300]
    assert {i: e.kind for i, e in made.errors.items()} == {2: "image_decode"}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_said_of_a_broken_image_is_the_same_every_time(name: str) -> None:
    """Pillow names the object that it read from, and where that lay in memory; a stored message must not."""
    first, second = (decode_image(bytes(bytearray(BROKEN[name]))) for _ in range(2))
    assert isinstance(first, RowError) and first == second
    assert "0x" not in first.message
