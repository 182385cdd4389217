"""A model that is fed from many shards at once: the same files byte for byte, whatever was under way together."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.filters import Keep, Score, col
from poolsieve.scoring_models import Clip
from tests.conftest import fingerprint_of, ledger

pytest.importorskip("open_clip")

MODEL = f"local-dir:{Path(__file__).parents[3] / 'recipes' / 'demo' / 'clip'}"


def jpeg(seed: int) -> bytes:
    """An image of one of several sizes."""
    r = np.random.default_rng(seed)
    pixels = r.integers(0, 255, (40 + seed % 50, 30 + seed % 70, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG")
    return sink.getvalue()


def tar(path: Path, rows: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as file:
        for key, image in rows:
            for ext, data in (("jpg", image), ("txt", f"a picture of {key}".encode())):
                info = tarfile.TarInfo(f"{key}.{ext}")
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten shards of three rows, one of 150, an empty one, and one of which no image can be read."""
    folder = tmp_path_factory.mktemp("fed") / "pool"
    folder.mkdir()
    for shard in range(10):
        tar(folder / f"{shard:03d}.tar", [(f"{shard:03d}{i}", jpeg(10 * shard + i)) for i in range(3)])
    tar(folder / "100.tar", [(f"100{i:04d}", jpeg(i)) for i in range(150)])
    tar(folder / "101.tar", [])
    tar(folder / "102.tar", [(f"102{i:04d}", jpeg(i)[:60]) for i in range(40)])
    return folder


def recipe_of(pool: Path, batch_size: int = 32) -> Recipe:
    return (
        Pool.webdataset(f"{pool}/*.tar", text="txt", image="jpg")
        | Score(clip=Clip(MODEL, batch_size=batch_size))
        | Keep(col("clip") >= 0)
    )


def scores_of(out: Path) -> dict[str, str]:
    """File -> SHA-256 of everything that was scored."""
    files = sorted([*out.glob("scores/clip-*/*.parquet"), *out.glob("rows/*.parquet")])
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("workers", [None, 2, 7])
def test_scores_and_ledger_are_those_of_one_shard_at_a_time(pool: Path, tmp_path: Path, workers: int | None) -> None:
    poolsieve.run(recipe_of(pool), tmp_path / "one", workers=1, samples=False)
    poolsieve.run(recipe_of(pool), tmp_path / "more", workers=workers, samples=False)
    assert scores_of(tmp_path / "one") == scores_of(tmp_path / "more")
    assert len(scores_of(tmp_path / "one")) == 25  # of the empty one no scores, but rows
    assert fingerprint_of(tmp_path / "one") == fingerprint_of(tmp_path / "more")


def test_broken_images_cost_their_own_rows(pool: Path, tmp_path: Path) -> None:
    poolsieve.run(recipe_of(pool), tmp_path / "out", samples=False)
    reasons = ledger(tmp_path / "out")["reason"].to_pylist()
    assert (len(reasons), reasons.count("quarantine.image_decode")) == (220, 40)


def test_a_row_alone_has_the_score_that_it_has_among_others(pool: Path, tmp_path: Path) -> None:
    poolsieve.run(recipe_of(pool), tmp_path / "all", samples=False)
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "003.tar").write_bytes((pool / "003.tar").read_bytes())
    poolsieve.run(recipe_of(alone), tmp_path / "one", samples=False)
    found = [next(path.glob("scores/clip-*/003-*.parquet")) for path in (tmp_path / "all", tmp_path / "one")]
    assert pq.read_table(found[0]).equals(pq.read_table(found[1]))
