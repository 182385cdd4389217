"""Pixels for CLIP against open_clip's own transform, and what hostile images may cost."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageFile

from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, col
from poolsieve.scoring_models import Clip
from poolsieve.scoring_models.base import images_io
from poolsieve.scoring_models.base.errors import PlanError, RowError
from poolsieve.scoring_models.base.images_io import MAX_SCANNED, decode_image
from tests.conftest import run

open_clip = pytest.importorskip("open_clip")
pytest.importorskip("torch")

from open_clip.transform import PreprocessCfg, image_transform_v2  # noqa: E402

from poolsieve.scoring_models.clip.pixels import Pixels, split_transform  # noqa: E402
from poolsieve.scoring_models.feeding.driver import score_rows  # noqa: E402
from tests.scoring_models.clip.test_scorer import folder, image_bytes  # noqa: E402, F401


def transform(size: Any = 224, **how: Any) -> Any:
    return image_transform_v2(PreprocessCfg(size=size, **how), is_train=False)


TRANSFORMS = {
    "224": transform(),
    "32": transform(32),
    "bilinear": transform(64, interpolation="bilinear"),
    "squash": transform(64, resize_mode="squash"),
    "longest": transform(64, resize_mode="longest"),
    "not square": transform((48, 64)),
}
SIZES = [(1, 1), (1, 2), (1, 300), (3000, 40), (40, 3000), (224, 224), (225, 224), (33, 32), (447, 449), (640, 480)]


def noise(width: int = 90, height: int = 60) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 255, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, form: str, **how: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, form, **how)
    return sink.getvalue()


def exif(orientation: int) -> bytes:
    made = Image.Exif()
    made[0x0112] = orientation
    return made.tobytes()


def with_colour_key() -> bytes:
    return encoded(noise().quantize(16), "PNG", transparency=3)


FILES: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: encoded(noise(), "JPEG"),
    "progressive": lambda: encoded(noise(), "JPEG", progressive=True),
    "grey JPEG": lambda: encoded(noise().convert("L"), "JPEG"),
    "CMYK": lambda: encoded(noise().convert("CMYK"), "JPEG"),
    "turned by EXIF": lambda: encoded(noise(), "JPEG", exif=exif(6)),
    "RGBA": lambda: encoded(noise().convert("RGBA"), "PNG"),
    "half transparent": lambda: encoded(Image.merge("RGBA", [*noise().split(), noise().convert("L")]), "PNG"),
    "grey and alpha": lambda: encoded(noise().convert("LA"), "PNG"),
    "palette": lambda: encoded(noise().quantize(16), "PNG"),
    "palette with a transparent colour": with_colour_key,
    "one bit": lambda: encoded(noise().convert("1"), "PNG"),
    "GIF": lambda: encoded(noise().quantize(16), "GIF", save_all=True, append_images=[noise(90, 61).quantize(8)]),
    "WebP": lambda: encoded(noise(), "WEBP"),
    "WebP with alpha": lambda: encoded(noise().convert("RGBA"), "WEBP", lossless=True),
    "float": lambda: encoded(noise().convert("F"), "TIFF"),
    "BMP": lambda: encoded(noise(), "BMP"),
}


def theirs(steps: Any, data: bytes) -> Any:
    return np.asarray(split_transform(steps)[0](Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("file", FILES)
def test_pixels_are_open_clips_in_every_mode(file: str, name: str) -> None:
    data = FILES[file]()
    found = Pixels(TRANSFORMS[name])(data)
    assert isinstance(found, np.ndarray) and found.dtype == np.uint8
    assert np.array_equal(found, theirs(TRANSFORMS[name], data))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_are_open_clips_in_every_size(size: tuple[int, int]) -> None:
    for name in ("224", "32", "bilinear", "squash", "not square"):
        for mode in ("RGB", "L", "RGBA"):
            data = encoded(noise(*size).convert(mode), "PNG")
            assert np.array_equal(Pixels(TRANSFORMS[name])(data), theirs(TRANSFORMS[name], data)), (name, mode)


def test_the_usual_steps_are_taken_without_torchvision() -> None:
    """Else the tests above would compare torchvision with itself."""
    usual = {name: Pixels(steps)._plain is not None for name, steps in TRANSFORMS.items()}
    assert usual == {"224": True, "32": True, "bilinear": True, "squash": False, "longest": False, "not square": False}


def test_sixteen_bits_are_scaled_before_they_are_resized() -> None:
    ramp = (np.arange(5400, dtype=np.uint32) * 12).astype(np.uint16).reshape(60, 90)
    found = Pixels(TRANSFORMS["32"])(encoded(Image.fromarray(ramp), "PNG"))
    eight = encoded(Image.fromarray((ramp // 257).astype(np.uint8)), "PNG")
    assert np.array_equal(found, theirs(TRANSFORMS["32"], eight))
    wide = np.array([[0, 256, 257, 65535, 65536, 2**31 - 1, -1]], np.int32)
    made = np.asarray(images_io.eight_bits(Image.fromarray(wide)))
    assert made.tolist() == [[0, 0, 1, 255, 255, 255, 255]]


def test_a_transform_that_is_no_such_thing_is_refused() -> None:
    from torchvision.transforms import Compose, Resize

    with pytest.raises(PlanError, match="can batch"):
        Pixels(Compose([Resize(3)]))


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1), (2, 65_000)], ids=str)
@pytest.mark.parametrize("name", ["224", "not square"])
def test_a_thread_of_an_image_does_not_become_gigabytes(size: tuple[int, int], name: str) -> None:
    """Brought to 224 pixels in width, 1 x 60,000 would be 3 thousand million pixels, of which 224 rows are kept."""
    found = Pixels(transform((448, 224)) if name == "not square" else TRANSFORMS[name])(
        encoded(Image.new("RGB", size), "PNG")
    )
    assert isinstance(found, RowError)
    assert found.kind == "image_bomb"


def test_thin_images_are_only_refused_where_their_long_side_grows() -> None:
    data = encoded(Image.new("RGB", (60_000, 1)), "PNG")
    found = Pixels(TRANSFORMS["squash"])(data)
    assert isinstance(found, np.ndarray) and found.shape == (64, 64, 3)


def scans(side: int, extra: int) -> bytes:
    """A progressive JPEG whose last scan is there again and again: a hundred bytes each, and a pass over the image."""
    data = encoded(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * extra + b"\xff\xd9"


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded() -> None:
    found = decode_image(scans(2000, MAX_SCANNED // 2000**2))
    assert found == RowError("image_bomb", f"{MAX_SCANNED // 2000**2 + 6} scans of 2000 x 2000 pixels")


def test_a_jpeg_of_many_scans_is_decoded() -> None:
    found = decode_image(scans(200, 40))
    assert isinstance(found, Image.Image) and found.size == (200, 200)


def test_post_script_is_not_run() -> None:
    found = decode_image(encoded(noise(), "EPS"))
    assert found == RowError("image_decode", "PostScript is a program, and is not run")


def test_of_an_animation_the_first_frame_alone_is_decoded() -> None:
    frames = [Image.new("P", (30, 20), i % 7) for i in range(10_000)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], optimize=False)
    found = images_io.open_image(data)
    assert isinstance(found, Image.Image)
    assert isinstance(images_io.decoded(found, data), Image.Image)
    assert found.fp is None or found.fp.tell() < 2000  # type: ignore[union-attr]


class Hungry(ImageFile.ImageFile):
    """A plugin whose files say how many bytes they want at once."""

    format = "HUNGRY"

    def _open(self) -> None:
        assert self.fp is not None
        self._mode, self._size = "L", (2, 2)
        self.wanted = int(self.fp.read(40)[7:])

    def load(self) -> Any:
        return bytearray(self.wanted)


@pytest.fixture
def hungry() -> Any:
    Image.init()
    Image.register_open("HUNGRY", Hungry, lambda prefix: prefix.startswith(b"hungry:"))
    yield
    Image.ID.remove("HUNGRY")
    del Image.OPEN["HUNGRY"]


def test_an_image_that_asks_for_absurd_memory_costs_its_row(hungry: None) -> None:
    found = decode_image(b"hungry:" + str(2**62).encode())
    assert isinstance(found, RowError)
    assert (found.kind, found.message.partition(":")[0]) == ("image_decode", "MemoryError")


SHORT = """
import io, json, resource, sys
import numpy as np
from PIL import Image
from poolsieve.scoring_models.base import images_io
sink = io.BytesIO()
Image.new("RGB", (9000, 9000)).save(sink, "PNG")
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 100 * 2**20, resource.RLIM_INFINITY))
try:
    images_io.decode_image(sink.getvalue())
except MemoryError:
    print("MemoryError")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_where_memory_is_short_no_row_is_blamed() -> None:
    done = subprocess.run([sys.executable, "-c", SHORT], capture_output=True, text=True, check=False)
    assert done.stdout == "MemoryError\n", done.stderr[-1500:]


TOGETHER = """
import io, resource, threading
from PIL import Image
from poolsieve.scoring_models.base.images_io import decode_image
def png(side):
    sink = io.BytesIO()
    Image.new("RGB", (side, side)).save(sink, "PNG")
    return sink.getvalue()
def work():
    sizes.append(decode_image(data).size)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
sizes, data = [], png(4500)
before = peak()
running = [threading.Thread(target=work) for _ in range(5)]
for thread in running: thread.start()
for thread in running: thread.join()
print(peak() - before, sizes == [(4500, 4500)] * 5)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes there")
def test_large_images_take_turns() -> None:
    """Five threads with images of 81 MB in memory each; making the file took as much before."""
    done = subprocess.run([sys.executable, "-c", TOGETHER], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
    grown, whole = done.stdout.split()
    assert whole == "True"
    assert int(grown) < 150, f"{grown} MB"


def zip_bomb() -> bytes:
    """A small PNG of 19,000 x 19,000 pixels."""
    return encoded(Image.new("1", (19_000, 19_000)), "PNG")


def text_bomb() -> bytes:
    """A PNG with a compressed comment of 100 MB."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("comment", "x" * 100_000_000, zip=True)
    return encoded(noise(), "PNG", pnginfo=info)


BROKEN = {
    "image_decode": [
        b"",
        b"<html>404</html>",
        b"\xff\xd8\xff nonsense",
        image_bytes(0, "RGB", "JPEG")[:300],
        image_bytes(1)[:300],
        text_bomb(),
    ],
    "image_bomb": [zip_bomb(), scans(2000, MAX_SCANNED // 2000**2), encoded(Image.new("L", (1, 100_000)), "PNG")],
}


def test_a_batch_of_nothing_but_broken_images_and_an_empty_one(folder: Path) -> None:  # noqa: F811
    config = Clip(f"local-dir:{folder}", batch_size=4)
    loaded, images = config.load(), [data for some in BROKEN.values() for data in some]
    batch = pa.record_batch({"image": pa.array(images, pa.binary()), "text": ["a caption"] * len(images)})
    made = score_rows(loaded, batch, config.columns, threads=3)
    assert made.columns[""].null_count == len(images)
    assert [made.errors[i].kind for i in range(len(images))] == [kind for kind, some in BROKEN.items() for _ in some]
    assert len(score_rows(loaded, batch.slice(0, 0), config.columns, threads=3).columns[""]) == 0


def test_a_run_over_shards_of_broken_images_ends(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    """One shard of nothing else, one that is empty, and one with a bomb between thumbnails."""
    good = [image_bytes(i) for i in range(6)]
    shards = [[data for some in BROKEN.values() for data in some], [], [*good[:3], zip_bomb(), *good[3:]]]
    for number, images in enumerate(shards):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as file:
            for i, data in enumerate(images):
                for name, content in ((f"{i:03d}.jpg", data), (f"{i:03d}.txt", b"a caption")):
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    file.addfile(info, io.BytesIO(content))
    pool = Pool.webdataset(f"{tmp_path}/*.tar", text="txt", image="jpg")
    recipe = pool | Score(clip=Clip(f"local-dir:{folder}", batch_size=4)) | Keep(col("clip") >= -1, reason="clip.none")
    summary = run(recipe, tmp_path / "out")
    assert summary.reasons == {"quarantine.image_decode": 6, "quarantine.image_bomb": 4}
    assert summary.kept == 6
