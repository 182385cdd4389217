"""Damaged images, straight into the decoders: a picture or a reason, never an exception."""

from __future__ import annotations

import io
from pathlib import Path
from random import Random

from PIL import Image

from tests.fuzz import tasks
from tests.fuzz.batches import fell
from tests.fuzz.conftest import Campaign
from tests.fuzz.mutators import Input, mutant

FORMS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "ICO", "PPM", "TGA", "JPEG2000")
IMAGES = 300


def picture(r: Random, form: str) -> bytes:
    sink, side = io.BytesIO(), r.choice((1, 3, 17, 40))
    mode = r.choice(("L", "RGB", "RGBA", "P", "1", "I;16", "CMYK", "LA"))
    mode = mode if form in ("PNG", "TIFF") and mode != "CMYK" else r.choice(("RGB", "RGB", "L"))
    image = Image.frombytes("RGB", (side, side), r.randbytes(3 * side * side))
    image = Image.new("I;16", (side, side), 777) if mode == "I;16" else image.convert(mode)
    image.save(sink, form)
    return sink.getvalue()


def case(seed: int, folder: Path) -> list[str]:
    r, paths = Random(f"image {seed}"), []
    for i in range(IMAGES):
        form = r.choice(FORMS)
        good = picture(r, form)
        places = [(0, 64), (max(0, len(good) - 32), len(good))]
        path = folder / f"{i:03d}.{form.lower()}"
        path.write_bytes(mutant(r, Input(data=good, places=places, other=picture(r, r.choice(FORMS))), {}).data)
        paths.append(str(path))
    return fell(tasks.decode, paths, log=folder / "log")


def test_damaged_images(campaign: Campaign) -> None:
    campaign.each(case, seeds=(1, 2))
