"""`against=`: rows that another corpus has, or has one like."""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.filters import ExactHash, Score, dedup, lines
from poolsieve.filters.against import Against, equals, pairs
from poolsieve.filters.duplicates.bands import Bands
from poolsieve.filters.duplicates.others import MOST, NONE, Nearest
from poolsieve.filters.parted import read_parted
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import decide, ledger, run

WORDS = ["".join(random.Random(i).choices("abcdefghij", k=2 + i % 7)) for i in range(900)]


def text(seed: int, changed: float = 0.0) -> str:
    """120 words; a part of them are others."""
    words, rng = random.Random(seed).choices(WORDS, k=120), random.Random(seed + 1000)
    return " ".join("changed" if rng.random() < changed else word for word in words)


OTHER = [text(1), None, text(2), "", text(1), "short", text(3)]
MINE = [text(1), text(2, 0.02), text(9), None, "", "short", "shorter", text(3).upper(), text(9)]
LIKE = [1, 1, 0, 0, 1, 1, 0, 1, 0]
"""Which of them the other pool has, or has one like."""


def write(folder: Path, texts: list[str | None], files: int = 2) -> Pool:
    folder.mkdir(parents=True)
    for i, part in enumerate(np.array_split(np.arange(len(texts)), files)):
        rows = pa.array([texts[k] for k in part], pa.string())
        pq.write_table(pa.table({"body": rows}), folder / f"{i}.parquet")
    return Pool.parquet(f"{folder}/*.parquet", text="body")


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pool, Pool, Path]:
    folder = tmp_path_factory.mktemp("against")
    return write(folder / "mine", MINE), write(folder / "other", OTHER), folder


@pytest.fixture(scope="module")
def near(pools: tuple[Pool, Pool, Path]) -> Path:
    out = pools[2] / "near"
    run(pools[0] | dedup.minhash(against=pools[1]), out)
    return out


def test_copies_and_near_rows_of_another_pool_go(near: Path) -> None:
    lines = ledger(near).to_pylist()
    assert [line["reason"] == "dup.against" for line in lines] == list(map(bool, LIKE))
    assert [line["dup.against.of"] for line in lines] == [
        *("0.parquet:0", "0.parquet:2", None, None, "0.parquet:3", "1.parquet:1", None, "1.parquet:2", None)
    ]
    similarity = [line["dup.against.similarity"] for line in lines]
    assert [similarity[i] for i in (0, 2, 3, 4, 5, 6, 7)] == [1, 0, 0, 1, 1, 0, 1] and 0.55 < similarity[1] < 1
    assert [line["reason"] for line in lines].count("dup.exact") == 1  # the second copy of text(9), that is left


def test_copies_alone(pools: tuple[Pool, Pool, Path], tmp_path: Path) -> None:
    summary = run(pools[0] | dedup.exact(against=pools[1]), tmp_path / "out")
    assert summary.reasons == {"dup.against": 3, "dup.exact": 1}
    found = run(pools[0] | dedup.exact(against=pools[1], normalised=True), tmp_path / "out")
    assert found.reasons == {"dup.against": 4, "dup.exact": 1}
    assert len(list((tmp_path / "out" / "artefacts").glob("*.json"))) == 2


def test_the_artefact_has_each_text_once_however_it_is_read(pools: tuple[Pool, Pool, Path], near: Path) -> None:
    (file,) = (near / "artefacts").glob("*.json")
    (table,), made = read_parted(str(file)).tables, Against(pool=pools[1], hash="h", sketch="s")
    assert table.num_rows == len({row for row in OTHER if row is not None})
    assert table.column("sketch").null_count == 2  # "" and "short"
    rows = [(f"{k // 4}.parquet", k % 4, one) for k, one in enumerate(OTHER)]
    random.Random(1).shuffle(rows)
    tables = (
        made.lines(pa.record_batch({"text": pa.array([one], pa.string())}), path, np.array([row]))
        for path, row, one in rows
    )
    assert made.collected(tables).to_pylist() == table.to_pylist()


def test_another_threshold_needs_neither_pool(pools: tuple[Pool, Pool, Path], near: Path) -> None:
    moved = pools[2] / "gone"
    (pools[2] / "other").rename(moved)
    try:
        made = decide(pools[0] | dedup.minhash(against=pools[1], threshold="0.99"), near)
    finally:
        moved.rename(pools[2] / "other")
    assert made.reasons["dup.against"] == sum(LIKE) - 1
    again = run(pools[0] | dedup.minhash(against=pools[1]), near)
    assert again.work.scored == {}


def test_another_file_of_the_other_pool_is_another_artefact(tmp_path: Path) -> None:
    mine, other = write(tmp_path / "mine", MINE), write(tmp_path / "other", OTHER)
    run(mine | dedup.exact(against=other), tmp_path / "out")
    pq.write_table(pa.table({"body": [text(9)]}), tmp_path / "other" / "2.parquet")
    made = run(mine | dedup.exact(against=other), tmp_path / "out")
    assert made.reasons == {"dup.against": 5} and made.work.scored == {"dup.against": len(MINE)}


def test_against_itself_nothing_with_a_text_is_left(pools: tuple[Pool, Pool, Path], tmp_path: Path) -> None:
    made = run(pools[0] | dedup.minhash(against=pools[0]), tmp_path / "out")
    assert made.kept == MINE.count(None) and set(made.reasons) == {"dup.against"}


@pytest.mark.parametrize("texts", [[], [None, None]])
def test_a_pool_without_texts_has_nothing(
    texts: list[str | None], pools: tuple[Pool, Pool, Path], tmp_path: Path
) -> None:
    other = write(tmp_path / "other", texts, files=1)
    made = run(pools[0] | dedup.minhash(against=other), tmp_path / "out")
    assert "dup.against" not in made.reasons
    assert set(ledger(tmp_path / "out")["dup.against.similarity"].to_pylist()) == {0.0}


def test_rows_that_cannot_be_read_are_left_out_and_said(
    pools: tuple[Pool, Pool, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "other.jsonl").write_text("\n".join([json.dumps({"t": text(1)}), '{"t": ', json.dumps({"t": text(2)})]))
    other = Pool.jsonl(f"{tmp_path}/other.jsonl", text="t")
    with caplog.at_level(logging.WARNING):
        made = run(pools[0] | dedup.exact(against=other), tmp_path / "out")
    assert made.reasons["dup.against"] == 1
    assert "dup.against: 1 rows of the pool 'against' can't be read and are left out" in caplog.text


def test_bytes_are_compared_with_bytes(tmp_path: Path) -> None:
    for name, images in (("mine", [b"a", b"\xff\x00", None]), ("other", [b"\xff\x00", b"c"])):
        (tmp_path / name).mkdir()
        pq.write_table(pa.table({"image": pa.array(images, pa.binary())}), tmp_path / name / "0.parquet")
    mine, other = (Pool.parquet(f"{tmp_path}/{name}/*.parquet", image="image") for name in ("mine", "other"))
    made = run(mine | dedup.exact(role="image", against=other), tmp_path / "out")
    assert made.reasons == {"dup.against": 1}
    with pytest.raises(PlanError, match="pool 'x': its role 'text' is binary, and sketches are made of text"):
        Against(pool=other, hash="h", sketch="s").check_pool("pool 'x'", pa.binary())


def test_a_plan_makes_no_artefact(pools: tuple[Pool, Pool, Path], tmp_path: Path) -> None:
    made = poolsieve.plan(pools[0] | dedup.minhash(against=pools[1]), tmp_path / "out")
    assert [one.sampled for one in made.stages if one.reason == "dup.against"] == [0]
    assert not (tmp_path / "out").exists()


def test_a_plan_shows_what_is_read_of_other_pools_first(pools: tuple[Pool, Pool, Path], tmp_path: Path) -> None:
    made = pools[0] | lines.repeated(pools[0]) | dedup.minhash(against=pools[1])
    found = {one.name: one for one in poolsieve.plan(made, tmp_path / "out").artefacts}
    for name, scorer, pool in (("dup.against", "Against", "other"), ("lines", "Repeated", "mine")):
        files = list((pools[2] / pool).glob("*.parquet"))
        one = found.pop(next(key for key in found if key.startswith(name)))
        assert one.shards == len(files) == 2 and one.bytes == sum(file.stat().st_size for file in files)
        assert one.pool.root.endswith(pool) and (one.role, one.type, one.scorer) == ("text", "string", scorer)
        assert one.artefact.startswith("artefacts/")
    assert not found
    run(made, tmp_path / "out")
    assert poolsieve.plan(made, tmp_path / "out").artefacts == ()


def test_wrong_pools_are_refused(pools: tuple[Pool, Pool, Path], tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"against='other.jsonl': give a pool"):
        dedup.exact(against="other.jsonl")
    with pytest.raises(PlanError, match=r"of several make one with Pool\.union"):
        dedup.minhash(against=list(pools[:2]))
    for other, said in (
        (Pool.parquet(f"{tmp_path}/none/*.parquet", text="body"), "pool 'against': the pool is empty"),
        (Pool.parquet(pools[1].urls[0]), "pool 'against': the pool declares no role 'text'"),
    ):
        with pytest.raises(PlanError, match=said):
            prepare(pools[0] | dedup.exact(against=other), str(tmp_path / "out"))
    with pytest.raises(PlanError, match="the score of a TextSketch is needed"):
        wrong = Against(pool=pools[1], hash="h", sketch="h2")
        prepare(pools[0] | Score(h=ExactHash(), h2=ExactHash()) | Score(a=wrong), str(tmp_path / "out"))


def test_yaml_spells_the_other_pool_as_a_recipes(pools: tuple[Pool, Pool, Path], tmp_path: Path) -> None:
    mine, other = (pool.urls[0] for pool in pools[:2])
    (tmp_path / "r.yaml").write_text(
        f"pool: {{parquet: ['{mine}'], text: body}}\n"
        f"stages: [{{dedup.exact: {{against: {{parquet: ['{other}'], text: body}}}}}}]\n"
    )
    made = run(RecipeSource.read(str(tmp_path / "r.yaml"), {}), tmp_path / "out")
    assert made.reasons["dup.against"] == 3


def test_the_nearest_is_the_one_of_all_comparisons() -> None:
    rng = np.random.default_rng(3)
    known = rng.integers(0, 256, (50, 256), dtype=np.uint8)
    asked = known[rng.integers(0, 50, 200)].copy()
    for row, share in zip(asked, rng.random(200), strict=True):
        other = rng.random(256) < share
        row[other] = rng.integers(0, 256, int(other.sum()))
    places, equal = Nearest(known, Bands()).of(asked)
    counts = (asked[:, None] == known[None]).sum(axis=2)
    found = places != NONE
    assert (equal[found] == counts.max(axis=1)[found]).all() and (places[found] == counts.argmax(axis=1)[found]).all()
    assert found[counts.max(axis=1) > 200].all() and not equal[~found].any()


def test_a_template_of_many_rows_costs_few_comparisons() -> None:
    known = np.zeros((4 * MOST, 256), np.uint8)
    known[:, 250:] = np.arange(4 * MOST, dtype=np.uint16).view(np.uint8).reshape(-1, 2).repeat(3, axis=1)
    index = Nearest(known, Bands())
    rows, at = index._candidates(known[-1:])
    assert len(at) <= MOST + 1 and (rows == 0).all()
    assert index.of(known[-1:])[1][0] >= 250


def test_hashes_of_one_half_are_told_apart() -> None:
    hashes = np.zeros((5, 16), np.uint8)
    hashes[:, 15] = [3, 1, 9, 0, 200]
    known = pairs(hashes[[1, 0, 4]])
    assert equals(hashes, known).tolist() == [1, 0, NONE, NONE, 2]
    assert equals(hashes, known[:0]).tolist() == [NONE] * 5


@pytest.mark.parametrize("made", [dedup.fineweb, dedup.datatrove, dedup.images])
def test_stages_that_take_no_other_pool_say_what_does(made: Any, pools: tuple[Pool, Pool, Path]) -> None:
    with pytest.raises(
        PlanError, match=rf"^dedup\.{made.__name__} takes no against=: .*put dedup\.\w+\(.*against=POOL"
    ):
        made(against=pools[1])


def test_yaml_says_so_too(tmp_path: Path) -> None:
    pool = "{parquet: ['a.parquet'], text: text}"
    (tmp_path / "r.yaml").write_text(f"pool: {pool}\nstages: [{{dedup.fineweb: {{against: {pool}}}}}]\n")
    with pytest.raises(PlanError, match=r"line 2, stage 1: dedup\.fineweb takes no against="):
        prepare(RecipeSource.read(str(tmp_path / "r.yaml"), {}), str(tmp_path / "out"))


def test_what_is_named_instead_drops_what_the_other_pool_has(pools: tuple[Pool, Pool, Path], tmp_path: Path) -> None:
    made = run(pools[0] | dedup.clusters(against=pools[1], name="other") | dedup.fineweb(), tmp_path / "out")
    assert made.reasons == {"other.against": sum(LIKE), "dup.near": 1}  # of the two copies that the other one has not
