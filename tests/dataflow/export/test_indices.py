"""`--format indices`: the reference's `selected_indices.npy`, from a run over token files."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import poolsieve
from poolsieve.dataflow.export import indices
from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.recipes.recipe import Pool, Recipe
from poolsieve.filters import Keep, Score, Top, any_of, col, scorer
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests.conftest import run, write_pool

LENGTH, VOCABULARY = 16, 97
SIZES = {"c4-10": 40 * LENGTH + 5, "c4-2": 25 * LENGTH, "d": 3, "e": 71 * LENGTH + 15}
FILE = indices.FILE

Floats = np.ndarray[Any, np.dtype[np.float32]]


def losses(chunks: np.ndarray[Any, Any], seed: int) -> Floats:
    """float32 (n, LENGTH - 1): what a table of next ids, made by `seed`, loses on each prediction of n chunks."""
    logits = np.random.default_rng(seed).normal(0, 2, (VOCABULARY, VOCABULARY)).astype(np.float32)
    table = np.log(np.exp(logits).sum(axis=1, keepdims=True)) - logits
    return np.asarray(table[chunks[:, :-1], chunks[:, 1:]], dtype=np.float32)


def color(tokens: Any) -> list[float]:
    """Conditional minus prior, as the paper writes it: lower is better."""
    chunks = np.array(tokens.to_pylist())
    return (losses(chunks, 2).mean(axis=1) - losses(chunks, 1).mean(axis=1)).tolist()  # type: ignore[no-any-return]


def coarse(tokens: Any) -> list[float]:
    """A score with ties everywhere."""
    return [float(chunk[0] % 3) for chunk in tokens.to_pylist()]


def whole(tokens: Any) -> list[int]:
    """A score of 64 bits."""
    return [int(sum(chunk)) * (1 << 40) for chunk in tokens.to_pylist()]


def never(tokens: Any) -> list[float | None]:
    """A score that every second row has not."""
    return [None if chunk[0] % 2 else 1.0 for chunk in tokens.to_pylist()]


def write(folder: Path) -> Pool:
    """Four files with tails, which are not written in the order of their names."""
    folder.mkdir()
    r = np.random.default_rng(3)
    for name, n in reversed(SIZES.items()):
        r.integers(0, VOCABULARY, n).astype("<u2").tofile(folder / f"{name}.npy")
    return Pool.tokens(f"{folder}/*.npy", length=LENGTH, split_bytes=700)


def corpus(folder: Path) -> np.ndarray[Any, Any]:
    """All chunks as the reference numbers them: file after file, tails dropped."""
    files = [np.memmap(path, "<u2", mode="r") for path in sorted(folder.glob("*.npy"))]
    return np.concatenate([ids[: len(ids) // LENGTH * LENGTH].reshape(-1, LENGTH) for ids in files]).astype(np.int64)


def scored(pool: Pool, fn: Any = color, kind: str = "float32") -> Recipe:
    return pool | Score(color=scorer(fn, reads=("tokens",), columns={"x": kind}))


def read(folder: Path) -> np.ndarray[Any, Any]:
    """As the reference reads it."""
    return np.memmap(folder / FILE, dtype=np.uint32, mode="r")


@pytest.mark.parametrize("tau", [1, 2, 7, 16, 64])
def test_the_selection_is_the_references(tmp_path: Path, tau: int) -> None:
    """`scripts/select_index_np.py`, said again: score = mean(prior) - mean(cond), the last k of an argsort."""
    run(scored(write(tmp_path / "p")) | Top("color", tau=tau, lowest=True), tmp_path / "out")
    index = export(str(tmp_path / "out"), format="indices", target=str(tmp_path / "ids"))
    chunks = corpus(tmp_path / "p")
    prior, conditional = losses(chunks, 1), losses(chunks, 2)
    score = prior.mean(axis=1) - conditional.mean(axis=1)
    k = int((1 / tau) * len(score))
    assert read(tmp_path / "ids").tolist() == np.argsort(score, kind="stable")[-k:].tolist()
    assert index.rows == k and (tmp_path / "ids" / FILE).stat().st_size == 4 * k


@pytest.mark.parametrize("lowest", [True, False])
def test_ties_stand_in_the_order_of_ids(tmp_path: Path, lowest: bool) -> None:
    run(scored(write(tmp_path / "p"), coarse) | Top("color", tau=1, lowest=lowest), tmp_path / "out")
    export(str(tmp_path / "out"), format="indices")
    score = corpus(tmp_path / "p")[:, 0] % 3 * (-1 if lowest else 1)
    assert read(tmp_path / "out" / "export").tolist() == np.argsort(score, kind="stable").tolist()


def test_scores_of_64_bits(tmp_path: Path) -> None:
    run(scored(write(tmp_path / "p"), whole, "int64") | Top("color", tau=3), tmp_path / "out")
    export(str(tmp_path / "out"), format="indices")
    score = corpus(tmp_path / "p").sum(axis=1)
    best = np.sort(score)[::-1][: len(score) // 3]
    ids = read(tmp_path / "out" / "export")
    assert score[ids].tolist() == best[::-1].tolist()
    assert all(a < b for a, b in itertools.pairwise(ids) if score[a] == score[b])


def test_it_names_the_chunks_of_the_raw_export(tmp_path: Path) -> None:
    """Earlier rules drop rows, and ids still count all chunks of the pool."""
    first = Keep(col("color") > -0.2, reason="color.tiny")
    made = poolsieve.run(scored(write(tmp_path / "p")) | first | Top("color", count=20, lowest=True), tmp_path / "out")
    made.export(to=tmp_path / "raw")
    made.export(to=tmp_path / "ids", format="indices")
    raw = np.concatenate([np.fromfile(path, "<u2") for path in sorted((tmp_path / "raw" / "data").iterdir())])
    named = corpus(tmp_path / "p")[np.sort(read(tmp_path / "ids"))]
    assert raw.reshape(-1, LENGTH).tolist() == named.tolist() and len(named) == 20


def test_damaged_files_keep_their_numbers(tmp_path: Path) -> None:
    """What could not be read is counted all the same: a trainer counts by sizes alone."""
    pool = write(tmp_path / "p")
    np.save(tmp_path / "p" / "a.npy", np.zeros(50 * LENGTH, "<u2"))
    with (tmp_path / "p" / "b.npy").open("wb") as file:
        file.write(bytes(4 * LENGTH * 2 + 1))
    run(scored(pool) | Top("color", tau=1, lowest=True), tmp_path / "out")
    export(str(tmp_path / "out"), format="indices")
    header = (tmp_path / "p" / "a.npy").stat().st_size // (2 * LENGTH)
    assert np.sort(read(tmp_path / "out" / "export")).tolist() == list(range(header, header + 4 + 136))


def test_nothing_kept_is_an_empty_file(tmp_path: Path) -> None:
    run(scored(write(tmp_path / "p")) | Top("color", count=0, lowest=True), tmp_path / "out")
    index = export(str(tmp_path / "out"), format="indices")
    assert (tmp_path / "out" / "export" / FILE).read_bytes() == b"" and index.warnings == ("no row was exported",)


def test_the_same_bytes_twice_and_other_exports_are_not_mixed_in(tmp_path: Path) -> None:
    recipe = scored(write(tmp_path / "p"))
    out, target = str(tmp_path / "out"), tmp_path / "out" / "export"
    run(recipe | Top("color", tau=2, lowest=True), out)
    export(out, format="indices")
    before, stat = (target / FILE).read_bytes(), (target / FILE).stat().st_mtime_ns
    export(out, format="indices")
    assert (target / FILE).stat().st_mtime_ns == stat
    with pytest.raises(PlanError, match="--replace"):
        export(out)
    run(recipe | Top("color", tau=4, lowest=True), out)
    with pytest.raises(PlanError, match="--replace"):
        export(out, format="indices")
    export(out, format="indices", replace=True)
    assert (target / FILE).read_bytes() == before[-4 * (136 // 4) :]
    export(out, replace=True)
    assert not (target / FILE).exists()
    found = json.loads((target / "_export.json").read_text())
    assert found["format"] == "tokens" and found["rows"] == 34


def test_what_has_no_numbers_or_no_order_is_refused(tmp_path: Path) -> None:
    pool = write(tmp_path / "p")
    out = str(tmp_path / "out")
    run(scored(pool) | Keep(col("color") < 0), out)
    with pytest.raises(PlanError, match=r"ranks by no score: add Top"):
        export(out, format="indices")
    run(scored(pool) | Top("color", tau=2, lowest=True), out)
    for asked in ({"select": "color.*"}, {"uids": "x.txt"}, {"scores": True}, {"target_bytes": 5}):
        with pytest.raises(PlanError, match="leave out --"):
            export(out, format="indices", **asked)  # type: ignore[arg-type]
    with pytest.raises(PlanError, match=r"not one of same, .*tokens, indices"):
        export(out, format="index")
    assert not (tmp_path / "out" / "export").exists()
    run(Pool.parquet(f"{write_pool(tmp_path / 'q')}/*.parquet") | Top("clip", tau=2), tmp_path / "other")
    with pytest.raises(PlanError, match="numbers the rows of token files; this pool is Parquet"):
        export(str(tmp_path / "other"), format="indices")


def test_a_kept_row_without_the_score_has_no_place(tmp_path: Path) -> None:
    pool = write(tmp_path / "p")
    some = Score(color=scorer(never, reads=("tokens",), columns={"x": "float32"}))
    length = Score(size=scorer(coarse, reads=("tokens",), columns={"x": "float32"}))
    rule = any_of(Top("color", tau=1), Keep(col("size") >= 0), reason="either")
    run(pool | some | length | rule, tmp_path / "out")
    with pytest.raises(PoolsieveError, match=r"row \d+ of c4-10\.npy was kept without a score 'color'"):
        export(str(tmp_path / "out"), format="indices")


def test_more_ids_than_32_bits_hold_are_refused(tmp_path: Path) -> None:
    """The sizes alone say how many chunks there are, so no file of 8 GB is needed."""
    (tmp_path / "p").mkdir()
    np.arange(4 * LENGTH, dtype="<u1").tofile(tmp_path / "p" / "b.bin")
    pool = Pool.tokens(f"{tmp_path}/p/*.bin", dtype="uint8", length=2)
    run(scored(pool, coarse) | Top("color", tau=2), tmp_path / "out")
    made = poolsieve.open(tmp_path / "out")
    made.export(format="indices")
    files = made.manifest.pool.pool().located()
    for size, fits in (((1 << 33) - 64, True), (1 << 33, True), ((1 << 33) + 2, False)):
        line = msgspec.structs.replace(made.shards[0], size=size)
        count = sum(files.instances([line.shard]).values())
        assert count == size // 2
        if fits:
            indices.check_ids(count)
        else:
            with pytest.raises(PlanError, match=r"4,294,967,297 chunks, and ids of 32 bits end at 4,294,967,296"):
                indices.check_ids(count)
