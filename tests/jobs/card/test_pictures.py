"""Pictures: which scores, readable PNGs, the same bytes again."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, col
from poolsieve.jobs.card.card import card_text
from poolsieve.jobs.card.pictures import MOST, _paths, captions, pictures, shown
from tests.jobs.card.subjects import subject_of, write_parquet


def test_the_scores_that_decide_have_pictures(parquet_run: poolsieve.Run) -> None:
    found = pictures(parquet_run)
    assert list(found) == ["assets/clip.png", "assets/text-word_count.png"] == list(captions(parquet_run))
    assert pictures(poolsieve.open(parquet_run.url)) == found
    for data in found.values():
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "PNG" and image.width == 1300 and image.info.keys() <= {"dpi"}
            pixels = np.asarray(image.convert("RGB"))
            assert "transparency" not in image.info and (pixels[0, 0] == 255).all()
            assert image.size[1] < image.size[0]
        # Bars of both kinds, and the line.
        for color in ((13, 127, 118), (195, 202, 212)):
            assert (np.abs(pixels.astype(int) - color).sum(axis=2) < 12).sum() > 500
        assert len(data) < 40_000


def test_what_they_show_stands_in_words(parquet_run: poolsieve.Run) -> None:
    words = captions(parquet_run)["assets/clip.png"]
    counts = parquet_run.summary.histograms["clip"].values()
    assert f"over {sum(map(sum, counts))} rows" in words and "marked: cut " in words


def test_few_pictures_and_the_rest_is_named(tmp_path: Path) -> None:
    pool = write_parquet(tmp_path / "pool")
    names = [f"clip{i}" for i in range(MOST + 2)]
    recipe = Pool.parquet(f"{pool}/*.parquet", text="text", **dict.fromkeys(names, "clip"))
    for name in names:
        recipe = recipe | Keep(col(name) > -1, reason=f"many.{name}")
    found, left_out = shown(poolsieve.run(recipe, tmp_path / "out", samples=False))
    assert len(found) == MOST and len(left_out) == 2


def test_names_of_files_need_no_escape_and_never_meet() -> None:
    names = ["a/b", "a-b", "A-B", "..", "", "é", "x" * 500, "a b"]
    paths = _paths(names)
    assert len({path.lower() for path in paths}) == len(names)
    assert all(path.startswith("assets/") and path.endswith(".png") and path.isascii() for path in paths)
    assert all(len(path) < 90 and "/" not in path.removeprefix("assets/") for path in paths)


def test_the_card_shows_them(parquet_run: poolsieve.Run) -> None:
    text = card_text(subject_of(parquet_run))
    assert "](assets/clip.png)" in text and "](assets/text-word_count.png)" in text
    assert "### Scores" not in card_text(subject_of(parquet_run, pictures={}))
