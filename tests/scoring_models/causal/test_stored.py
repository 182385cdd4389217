"""Losses in the published layout, written by the same steps as the reference's writer takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.filters import Score, Top
from poolsieve.scoring_models import StoredLosses
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.causal.stored import PER_FILE
from tests.conftest import ledger, run


def write(folder: Path, numbers: Any, losses: Any, runs: int = 1, length: int = PER_FILE + 100) -> Path:
    """`DictMemmapWriter`: maps of zeros, filled from the front; `files.txt` is appended to."""
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(runs):
        index = np.memmap(folder / "mmap_index.npy", np.int64, mode="w+", shape=(length,))
        index[: len(numbers)] = numbers
        for number, start in enumerate(range(0, len(losses), PER_FILE), 1):
            path = folder / f"{number}.npy"
            with (folder / "files.txt").open("a") as listing:
                listing.write(f"/n/elsewhere/score/{path.name}\n")
            some = np.asarray(losses[start : start + PER_FILE], np.float32)
            np.memmap(path, np.float32, mode="w+", shape=(PER_FILE, 1))[: len(some), 0] = some
    return folder


def scored(folder: Path, asked: list[int | None]) -> dict[str, list[Any]]:
    scorer = StoredLosses(prior=str(folder / "prior"), conditional=str(folder / "conditional"))
    made = scorer.score(pa.record_batch({"instance": pa.array(asked, pa.int64())}))
    assert not made.errors
    return {name: column.to_pylist() for name, column in made.columns.items()}


def both(folder: Path, numbers: Any, **options: Any) -> tuple[Any, Any]:
    dice = np.random.default_rng(0)
    prior, conditional = (dice.uniform(1, 9, len(numbers)).astype(np.float32) for _ in range(2))
    write(folder / "prior", numbers, prior, **options)
    write(folder / "conditional", numbers, conditional, **options)
    return prior, conditional


@pytest.mark.parametrize("runs", [1, 2])
def test_losses_are_found_by_number_over_the_ends_of_files_and_runs(tmp_path: Path, runs: int) -> None:
    numbers = np.random.default_rng(1).permutation(PER_FILE + 50) + 7
    prior, conditional = both(tmp_path, numbers, runs=runs)
    places = [0, 5, PER_FILE - 1, PER_FILE, PER_FILE + 49]
    found = scored(tmp_path, [*numbers[places].tolist(), 3, None, PER_FILE + 57, -1])
    assert found["prior"] == [*prior[places].tolist(), None, None, None, None]
    assert found["conditional"][:5] == conditional[places].tolist()
    assert found[""][:5] == (conditional - prior)[places].tolist()


@pytest.mark.parametrize("numbers", [[4, 2, 0], [0, 4, 2], [4, 0, 2], [0]])
def test_instance_0_is_found_wherever_it_stands(tmp_path: Path, numbers: list[int]) -> None:
    prior, _ = both(tmp_path, numbers)
    assert scored(tmp_path, [0])["prior"] == [prior[numbers.index(0)]]


def test_zeros_behind_the_index_are_no_instance_0(tmp_path: Path) -> None:
    both(tmp_path, [4, 2])
    assert scored(tmp_path, [0, 2])["prior"][0] is None


def test_a_loss_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "prior", [3, 4], [1.0, np.nan])
    write(tmp_path / "conditional", [3, 4], [1.0, 2.0])
    scorer = StoredLosses(prior=str(tmp_path / "prior"), conditional=str(tmp_path / "conditional"))
    made = scorer.score(pa.record_batch({"instance": pa.array([4, 3], pa.uint32())}))
    assert {row: error.kind for row, error in made.errors.items()} == {0: "not_a_number"}
    assert made.columns[""].to_pylist() == [None, 0.0]


def test_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    both(tmp_path, [4, 2])
    write(tmp_path / "other", [2, 4], [1.0, 2.0])
    scorer = StoredLosses(prior=str(tmp_path / "prior"), conditional=str(tmp_path / "other"))
    with pytest.raises(PlanError, match="losses of other instances, or in another order"):
        scorer.score(pa.record_batch({"instance": pa.array([4])}))
    (tmp_path / "other" / "1.npy").write_bytes(b"\x93NUMPY" + bytes(2))
    with pytest.raises(PlanError, match=r"1\.npy has 8 bytes"):
        scorer.files()
    (tmp_path / "other" / "files.txt").write_text("a/1.npy\na/3.npy\n")
    with pytest.raises(PlanError, match=r"names 1\.npy, 3\.npy: expected 1\.npy, 2\.npy"):
        scorer.files()
    with pytest.raises(PlanError, match="is no folder of stored losses"):
        StoredLosses(prior=str(tmp_path), conditional=str(tmp_path / "other")).files()


def test_one_folder_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="so that every score is 0"):
        StoredLosses(prior=str(tmp_path), conditional=f"{tmp_path}/")


def test_a_run_over_a_pool_of_numbers(tmp_path: Path) -> None:
    numbers = np.random.default_rng(2).permutation(200)
    prior, conditional = both(tmp_path, numbers)
    pq.write_table(pa.table({"id": np.arange(200, dtype=np.uint32), "text": ["a"] * 200}), tmp_path / "a.parquet")
    scorer = StoredLosses(prior=str(tmp_path / "prior"), conditional=str(tmp_path / "conditional"))
    pool = Pool.parquet(f"{tmp_path}/a.parquet", instance="id", text="text")
    run(pool | Score(color=scorer) | Top("color", count=12, lowest=True), tmp_path / "out")
    rows = ledger(tmp_path / "out").to_pylist()
    best = numbers[np.argsort(conditional - prior)[:12]]
    assert [row for row in range(200) if rows[row]["keep"]] == sorted(best.tolist())
    with pytest.raises(PlanError, match="reads 'text' as numbers of instances, but it is string"):
        run(
            pool | Score(color=StoredLosses(prior=scorer.prior, conditional=scorer.conditional, instance="text")),
            tmp_path / "no",
        )


def token_files(folder: Path, chunks: dict[str, int]) -> None:
    folder.mkdir(exist_ok=True)
    for name, count in chunks.items():
        np.arange(8 * count + 3, dtype=np.uint16).tofile(folder / name)


@pytest.mark.parametrize("workers", [1, 2])
def test_token_files_have_the_numbers_by_themselves(tmp_path: Path, workers: int) -> None:
    """As the reference does it: score = prior - conditional, the last k of its ascending order."""
    token_files(tmp_path / "c4", {"b.npy": 70, "a.npy": 50, "c.npy": 80})
    numbers = np.random.default_rng(2).permutation(200)
    prior, conditional = both(tmp_path, numbers)
    scorer = StoredLosses(prior=str(tmp_path / "prior"), conditional=str(tmp_path / "conditional"))
    pool = Pool.tokens(f"{tmp_path}/c4/*.npy", length=8, split_bytes=16 * 30)
    run(pool | Score(color=scorer) | Top("color", tau=8, lowest=True), tmp_path / "out", workers=workers)
    rows = ledger(tmp_path / "out").to_pylist()
    stored = dict(zip(numbers.tolist(), (conditional - prior).tolist(), strict=True))
    assert [row["color"] for row in rows] == [stored[number] for number in range(200)]
    poolsieve.export(str(tmp_path / "out"), format="indices", to=str(tmp_path / "selected"))
    selected = np.fromfile(tmp_path / "selected" / "selected_indices.npy", np.uint32)
    assert selected.tolist() == numbers[np.argsort(prior - conditional)[-25:]].tolist()


def test_a_file_that_comes_first_shifts_all_numbers(tmp_path: Path) -> None:
    token_files(tmp_path / "c4", {"b.npy": 5})
    numbers = np.arange(9)
    prior, conditional = both(tmp_path, numbers)
    scorer = StoredLosses(prior=str(tmp_path / "prior"), conditional=str(tmp_path / "conditional"))
    recipe = Pool.tokens(f"{tmp_path}/c4/*.npy", length=8) | Score(color=scorer)
    for own in ({}, {"a.npy": 4}):
        token_files(tmp_path / "c4", own)
        run(recipe, tmp_path / "out")
        rows = ledger(tmp_path / "out").to_pylist()
        assert [row["color"] for row in rows] == (conditional - prior)[: len(rows)].tolist()
        assert len(rows) == (9 if own else 5)


def test_a_sample_of_token_files_keeps_their_numbers(tmp_path: Path) -> None:
    token_files(tmp_path / "c4", {"a.npy": 60, "b.npy": 60})
    prior, conditional = both(tmp_path, np.arange(120))
    scorer = StoredLosses(prior=str(tmp_path / "prior"), conditional=str(tmp_path / "conditional"))
    pool = Pool.tokens(f"{tmp_path}/c4/*.npy", length=8).sample(0.3)
    run(pool | Score(color=scorer), tmp_path / "out")
    found = ledger(tmp_path / "out")
    rows = found.column("row").to_numpy()
    places = rows + 60 * np.cumsum(np.diff(rows, prepend=0) < 0)  # of the second file once they begin anew
    assert 10 < len(places) < 60 < places[-1]
    assert found.column("color").to_pylist() == (conditional - prior)[places].tolist()
