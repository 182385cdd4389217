"""`dedup.images`: runs over pools of pictures, whatever their shards and history."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageEnhance

from poolsieve.dataflow import Pool
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.filters import ExactHash, ImageHash, Score, dedup
from poolsieve.filters.dsl.derive import Derive
from poolsieve.filters.near_pictures import NearPictures
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import decide, fingerprint_of, ledger, run
from tests.filters.test_sketches import encoded, photograph

BASES = 8


def rows() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for base in range(BASES):
        image = photograph(base, 256)
        white = image.copy()
        white.paste((255, 255, 255), (150, 220, 250, 250))
        kinds = {
            "base": encoded(image, quality=90),
            "copy": encoded(image, quality=90),
            "png": encoded(image, "PNG"),
            "resized": encoded(image.resize((160, 160)), quality=85),
            "q30": encoded(image, quality=30),
            "lighter": encoded(ImageEnhance.Brightness(image).enhance(1.2), quality=90),
            "mark": encoded(white, quality=90),
        }
        made += [{"image": data, "kind": kind, "base": base} for kind, data in kinds.items()]
    flat = [encoded(Image.new("RGB", (64, 64), colour), "PNG") for colour in ("white", "white", "black")]
    others = [*flat, None, None, b"no picture", b"no picture"]
    made += [{"image": data, "kind": "other", "base": -1} for data in others]
    random.Random(3).shuffle(made)
    return [{**row, "width": (i * 37) % 101} for i, row in enumerate(made)]


@pytest.fixture(scope="module")
def known() -> list[dict[str, Any]]:
    return rows()


def write(folder: Path, lines: list[dict[str, Any]], sizes: list[int]) -> Path:
    folder.mkdir()
    schema, start = pa.schema({"image": pa.binary(), "kind": pa.string(), "base": pa.int64(), "width": pa.int64()}), 0
    for i, size in enumerate(sizes):
        table = pa.Table.from_pylist(lines[start : start + size], schema)
        pq.write_table(table, folder / f"p{i}.parquet", row_group_size=7)
        start += size
    assert start == len(lines)
    return folder


def recipe(folder: Path, **given: Any) -> Recipe:
    return Pool.parquet(f"{folder}/*.parquet", image="image", width="width") | dedup.images(**given)


@pytest.fixture(scope="module")
def pool(known: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("images") / "pool", known, [30, 0, len(known) - 30])


@pytest.fixture(scope="module")
def out(pool: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("images") / "out"
    run(recipe(pool, best="width"), made)
    return made


def test_the_best_of_each_picture_stays_and_each_other_names_it(known: list[dict[str, Any]], out: Path) -> None:
    keys = [f"p0.parquet:{i}" for i in range(30)] + [f"p2.parquet:{i}" for i in range(len(known) - 30)]
    by_name, lines = dict(zip(keys, known, strict=True)), ledger(out).to_pylist()
    found = [(row, line) for row, line in zip(known, lines, strict=True) if row["base"] >= 0]
    for row, line in found:
        leader = by_name[line["dup.of"]]
        best = max(r["width"] for r in known if r["base"] == row["base"])
        assert leader["base"] == row["base"] and leader["width"] == best and line["dup.size"] == 7
        assert line["keep"] == (leader is row) and line["dup.similarity"] >= 56 / 64
        assert line["reason"] in ({None} if line["keep"] else {"dup.exact", "dup.near"})
    assert sum(line["reason"] == "dup.exact" for _, line in found) == BASES  # the worse of base and copy


def test_flat_and_missing_pictures_are_copies_at_most_and_broken_ones_go(
    known: list[dict[str, Any]], out: Path
) -> None:
    lines = ledger(out).to_pylist()
    said = [(row["image"], line["reason"]) for row, line in zip(known, lines, strict=True) if row["base"] < 0]
    reasons = [reason for _, reason in said]
    assert reasons.count("dup.exact") == 1 and reasons.count("quarantine.image_decode") == 2
    assert reasons.count(None) == 4 and [reason for image, reason in said if image is None] == [None, None]


def test_the_same_rows_for_any_shards(known: list[dict[str, Any]], out: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", known, [5, 40, len(known) - 45])
    run(recipe(other, best="width"), tmp_path / "out")
    few = ["keep", "reason", "dup.size", "dup.rank", "dup.copy", "dup.similarity"]
    assert ledger(tmp_path / "out").select(few) == ledger(out).select(few)


def test_another_distance_is_a_decision_without_the_pool(known: list[dict[str, Any]], tmp_path: Path) -> None:
    pool = write(tmp_path / "pool", known, [len(known)])
    run(recipe(pool, distance=8), tmp_path / "out")
    loose = ledger(tmp_path / "out").column("reason").to_pylist().count("dup.near")
    pool.rename(tmp_path / "gone")
    decide(recipe(pool, distance=0), tmp_path / "out")
    assert 0 < ledger(tmp_path / "out").column("reason").to_pylist().count("dup.near") < loose
    (tmp_path / "gone").rename(pool)
    run(recipe(pool, distance=0), tmp_path / "fresh")
    assert fingerprint_of(tmp_path / "fresh") == fingerprint_of(tmp_path / "out")


@pytest.mark.parametrize("count", [0, 1])
def test_a_pool_of_no_picture_or_one(known: list[dict[str, Any]], tmp_path: Path, count: int) -> None:
    run(recipe(write(tmp_path / "pool", known[:count], [count])), tmp_path / "out")
    assert ledger(tmp_path / "out").column("keep").to_pylist() == [True] * count


@pytest.mark.parametrize(
    "wrong", [{"distance": -1}, {"distance": 13}, {"distance": 2.5}, {"distance": True}, {"cap": 1}]
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=f"NearPictures\\({next(iter(wrong))}="):
        NearPictures(hash="h", picture="p", **wrong)


def test_scores_of_another_kind_are_refused_when_planned(pool: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="best='kind' is string, and numbers are needed"):
        prepare(recipe(pool, best="kind"), str(tmp_path / "out"))
    given = Pool.parquet(f"{pool}/*.parquet", image="image") | Score(h=ExactHash("image"), p=ImageHash())
    with pytest.raises(PlanError, match=r"'p\.dhash' is .*, and the score of an ExactHash is needed"):
        prepare(given | Derive(dup=NearPictures(hash="p.dhash", picture="p")), str(tmp_path / "out"))
    with pytest.raises(PlanError, match=r"reads 'h\.dhash', which is no score"):
        prepare(given | Derive(dup=NearPictures(hash="h", picture="h")), str(tmp_path / "out"))
