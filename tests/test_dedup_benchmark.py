"""`benchmarks/dedup.py`, `dedup_images.py` and `dedup_semantic.py`: what they plant, how they judge, and the whole of them at a size that measures nothing."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import dedup_images, dedup_semantic
from benchmarks.dedup import KINDS, Judge, judged, planted, synthetic, variant
from tests.filters.duplicates.plain import shingle_hashes

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "dedup.py"


def test_variants_are_as_far_from_their_base_as_their_names_say() -> None:
    base = next(synthetic(1))
    texts = [base, *(variant(kind, base, ["xx", "yy", "zz"], random.Random(0)) for kind in KINDS)]
    judge = Judge(texts)
    near = dict(zip(KINDS, (judge.similarity(0, i + 1) for i in range(len(KINDS))), strict=True))
    assert near["exact"] == 1 and near["1 %"] > near["5 %"] > near["15 %"] > 0.1
    assert 0.85 < near["prefix"] < 0.95 and 0.85 < near["suffix"] < 0.95 and 0.6 < near["shuffled"] < 1
    a, b = set(shingle_hashes(texts[0])), set(shingle_hashes(texts[2]))
    assert near["1 %"] == len(a & b) / len(a | b)


def test_bases_of_two_seeds_are_different_ones() -> None:
    texts = list(synthetic(60))
    first, second = (planted(texts, seed, 8, 1) for seed in range(2))
    bases = [{t for t, kind in zip(pool.texts, pool.kind, strict=True) if kind == "base"} for pool in (first, second)]
    assert len(bases[0]) == len(bases[1]) == 8 and not bases[0] & bases[1]
    assert len(first.texts) == 60 + 8 * len(KINDS) and (np.bincount(first.family[first.family >= 0]) == 8).all()


def test_a_row_dropped_for_one_that_it_does_not_resemble_is_false() -> None:
    pool = planted(list(synthetic(40)), 0, 4, 1)
    kept = np.arange(len(pool.texts))
    copy = pool.kind.index("exact")
    others = [i for i, kind in enumerate(pool.kind) if kind == "other"]
    kept[copy] = next(i for i, kind in enumerate(pool.kind) if kind == "base" and pool.family[i] == pool.family[copy])
    kept[others[0]] = others[1]
    said = judged(pool, kept, Judge(pool.texts))
    assert "exact 0.250" in said and "5 % 0.000" in said and "dropped 2, 0 bases" in said and "false 50.00%" in said


def test_the_whole_of_it(tmp_path: Path) -> None:
    sizes = ["--documents", "60", "--bases", "5", "--each", "1", "--runs", "1", "--edges", "1000"]
    command = [sys.executable, str(SCRIPT), "--html", str(tmp_path), *sizes]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    ours = [line for line in done.stdout.splitlines() if line.startswith("  ") and "chains" not in line]
    assert len(ours) == 6 and all("exact 1.000  1 % 1.000" in line and "false 0.00%" in line for line in ours)
    assert "MB/s" in done.stdout and "components of 1,000 edges" in done.stdout


def test_pictures_and_their_variants(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for i, image in enumerate(dedup_images.made(2)):
        image.resize((1100, 600)).save(tmp_path / f"{i}.png")
    monkeypatch.setattr(sys, "argv", ["dedup_images.py", str(tmp_path), "--hashes", "1000", "--runs", "1"])
    dedup_images.main()
    said = capsys.readouterr().out
    assert "2 photographs, 0 of them without structure" in said and "4 cuts of them" in said
    assert said.count("copy 1.000") == 2 * (4 + 3) and "0 of 2 distinct ones dropped, 0 of 1 pairs near" in said
    assert "pictures of" in said and "1.0000 of 10 planted pairs" in said


def test_embeddings_beside_one_another(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = ["--rows", "2000", "--width", "64", "--groups", "5"]
    monkeypatch.setattr(sys, "argv", ["dedup_semantic.py", *sizes])
    dedup_semantic.main()
    said = capsys.readouterr().out
    assert "all with all: 0.995 1.000  0.97 1.000  0.951 1.000  0.94 0.000  0.91 0.000" in said
    assert "found: 0.995 1.000" in said and "products that differ one by one: 0 of 1,000 rows" in said
