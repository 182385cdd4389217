"""Sketches as scorers: what Arrow hands in, what a run stores, and what no ledger has."""

from __future__ import annotations

import io
import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.filters import ExactHash, ImageHash, Keep, Score, TextSketch, Top, col
from poolsieve.filters.duplicates.pictures import dhash, phash
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import ledger
from tests.filters.duplicates.plain import sketch


def one(scorer: Any, values: pa.Array, column: str = "") -> list[bytes | None]:
    return scorer.score(pa.record_batch({scorer.reads[0]: values})).columns[column].to_pylist()


def encoded(image: Image.Image, form: str = "JPEG", **how: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, form, **how)
    return sink.getvalue()


def photograph(seed: int, side: int = 512) -> Image.Image:
    """Blurred noise of several sizes, which has what photographs have most: low frequencies."""
    rng = np.random.default_rng(seed)
    made = np.zeros((side, side, 3))
    for cells in (3, 6, 12, 25, 60):
        small = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        made += np.asarray(small.resize((side, side), Image.Resampling.BICUBIC), dtype=float) / cells
    return Image.fromarray((255 * (made - made.min()) / (made.max() - made.min())).astype(np.uint8))


def apart(a: bytes | None, b: bytes | None) -> int:
    assert a is not None and b is not None
    return (int.from_bytes(a) ^ int.from_bytes(b)).bit_count()


TEXTS = [
    "five words are enough here",
    None,
    "",
    "two words",
    "Größe und Maß: 12 Äpfel für Zoë",
    "漢字だけの文です",
    "x " * 5000,
]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_text_of_any_type_and_place_in_its_buffers(kind: pa.DataType) -> None:
    values = pa.array(TEXTS, pa.string()).cast(kind)
    expected = [None if text is None else sketch(text) for text in TEXTS]
    assert one(TextSketch(), values) == expected
    for start, n in ((0, 0), (2, 3), (1, 6), (6, 1)):
        assert one(TextSketch(), values.slice(start, n)) == expected[start : start + n]


def test_what_stands_under_a_null_is_not_seen() -> None:
    text = "a null may have bytes of its own in the buffer"
    whole = pa.array([text, text])
    hidden = pa.Array.from_buffers(pa.string(), 2, [pa.py_buffer(b"\x02"), *whole.buffers()[1:]])
    assert one(TextSketch(), hidden) == [None, sketch(text)]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1 << 32), st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_scores_depend_on_the_row_alone(seed: int, sizes: list[int]) -> None:
    rng = random.Random(seed)
    words = ["a", "Bé", "c1", "漢", "-", "dd", "\n"]
    texts = [None if rng.random() < 0.1 else " ".join(rng.choices(words, k=rng.randrange(40))) for _ in range(30)]
    values = pa.array(texts, pa.string())
    for scorer in (TextSketch(), ExactHash(), ExactHash(normalised=True)):
        whole, parts, start = one(scorer, values), list[Any](), 0
        for size in [*sizes, 30]:
            parts += one(scorer, values.slice(start, size))
            start += size
        assert parts[:30] == whole == [one(scorer, values.slice(i, 1))[0] for i in range(30)]


def test_exact_hashes_are_xxh3_of_the_bytes() -> None:
    texts = ["A  b", "a b", None, "", "é\n"]
    hashed = [None if t is None else xxhash.xxh3_128_digest(t.encode()) for t in texts]
    assert one(ExactHash(), pa.array(texts)) == hashed
    assert one(ExactHash("image"), pa.array([t and t.encode() for t in texts], pa.binary())) == hashed
    a, b, none, empty, last = one(ExactHash(normalised=True), pa.array(texts))
    assert a == b == hashed[1] and none is None and empty == hashed[3] and last == xxhash.xxh3_128_digest("é".encode())


def test_hashes_of_pictures_stay_near_when_the_picture_does() -> None:
    image = photograph(0)
    variants = [
        image,
        image.resize((300, 300)),
        ImageEnhance.Brightness(image).enhance(1.2),
        image.convert("L"),
    ]
    files = [*(encoded(one, quality=90) for one in variants), encoded(image, quality=30), encoded(image, "PNG")]
    others = [encoded(photograph(seed)) for seed in range(1, 6)]
    for column in ("dhash", "phash"):
        first, *near = one(ImageHash(), pa.array(files), column)
        assert max(apart(first, other) for other in near) <= 8
        assert min(apart(first, other) for other in one(ImageHash(), pa.array(others), column)) > 12


def test_bits_are_those_of_the_published_formulas() -> None:
    levels = np.asarray(photograph(3, 64).convert("L"), dtype=np.int64)
    places = np.arange(32)
    cosines = np.cos(np.pi * np.outer(np.arange(8), 2 * places + 1) / 64)
    low = cosines @ levels[:32, :32] @ cosines.T
    assert phash(levels[:32, :32]) == np.packbits(low > np.median(low)).tobytes()
    rows = [[int(b > a) for a, b in itertools.pairwise(row)] for row in levels[:8, :9].tolist()]
    assert dhash(levels[:8, :9]) == np.packbits(rows).tobytes()


def test_pictures_without_structure_have_no_hash_and_broken_ones_an_error() -> None:
    flat = [encoded(Image.new(mode, (80, 60), colour)) for mode, colour in (("RGB", "white"), ("L", 7))]
    tiny = encoded(photograph(1).resize((1, 1)), "PNG")
    batch = pa.record_batch({"image": pa.array([*flat, tiny, None, b"no picture", encoded(photograph(2))[:3000]])})
    made = ImageHash().score(batch)
    assert made.columns["phash"].null_count == 6 and {4, 5} == set(made.errors)
    assert {error.kind for error in made.errors.values()} == {"image_decode"}


def pool(folder: Path, rows: int = 60) -> Path:
    rng = random.Random(0)
    words = [f"w{i}x" for i in range(50)]
    for shard in range(2):
        texts = [" ".join(rng.choices(words, k=rng.randrange(30))) for _ in range(rows)]
        pq.write_table(pa.table({"text": texts, "n": range(rows)}), folder / f"p{shard}.parquet")
    return folder


def recipe(folder: Path) -> Recipe:
    return (
        Pool.parquet(f"{folder}/*.parquet", text="text")
        | Score(exact=ExactHash(), near=TextSketch())
        | Keep(col("text").word_count() >= 3, reason="x.short")
        | Top("n", fraction="0.5")
    )


def test_a_run_stores_sketches_and_its_ledger_report_and_decisions_do_without(tmp_path: Path) -> None:
    given = recipe(pool(tmp_path))
    out = poolsieve.run(given, str(tmp_path / "out"))
    names = ledger(tmp_path / "out").column_names
    assert "text.word_count" in names and not {"exact", "near"} & set(names)
    files = sorted((tmp_path / "out").glob("scores/near-*/*.parquet"))
    texts = pq.read_table(tmp_path / "p0.parquet").column("text").to_pylist()
    stored = pq.read_table(files[0])
    assert stored.schema.field("near").type == pa.binary(256) and stored.column("near").to_pylist() == list(
        map(sketch, texts)
    )
    out = out.decide(given)
    assert out.counts.kept and "text.word_count" in Path(out.report).read_text()


def test_roles_that_are_no_text_are_refused_when_planned(tmp_path: Path) -> None:
    found = Pool.parquet(f"{pool(tmp_path)}/*.parquet", text="text", n="n")
    with pytest.raises(PlanError, match=r"'n', which is int64: name a column of text or bytes"):
        prepare(found | Score(e=ExactHash("n")), str(tmp_path / "out"))
    with pytest.raises(PlanError, match="fixed_size_binary"):
        prepare(found | Score(e=ExactHash()) | Keep(col("e") >= 1, reason="a.b"), str(tmp_path / "out"))
