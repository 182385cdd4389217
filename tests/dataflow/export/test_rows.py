"""Which rows an export takes."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.export.rows import matching
from poolsieve.filters.lists import PAIR
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import ledger, run
from tests.dataflow.exported import (
    contents,
    npy,
    parquet_recipe,
    pool_table,
    read_back,
    same,
)


def test_reasons_by_glob(pool: Path, tmp_path: Path) -> None:
    run(parquet_recipe(pool), tmp_path / "out")
    for glob in ("caption.too_short", "caption.*"):
        found = export(str(tmp_path / "out"), target=str(tmp_path / "out" / glob[:-1]), select=glob)
        reasons = [
            reason is not None and fnmatch.fnmatch(reason, glob)
            for reason in ledger(tmp_path / "out")["reason"].to_pylist()
        ]
        assert same(read_back(tmp_path, found), pool_table(pool).filter(pa.array(reasons)))
    with pytest.raises(PlanError, match=r"'caption\.too_shrt'.*Did you mean 'caption\.too_short'"):
        export(str(tmp_path / "out"), select="caption.too_shrt")
    with pytest.raises(PlanError, match="one of them"):
        export(str(tmp_path / "out"), select="caption.*", uids="x.npy")


def test_matching_null_never_matches() -> None:
    assert matching(pa.array(["a.b", None, "a.c", "d"]), "*").tolist() == [True, False, True, True]
    assert matching(pa.array([None, None], pa.string()), "*").tolist() == [False, False]


def test_uids_are_a_multiset_in_parquet(pool: Path, tmp_path: Path) -> None:
    run(parquet_recipe(pool), tmp_path / "out")
    table = pool_table(pool)
    every = table["uid"].to_pylist()
    listed = [every[3], every[5], every[5], every[900], every[900], every[900], "0" * 32, "f" * 32, "f" * 32]
    found = export(str(tmp_path / "out"), uids=npy(tmp_path / "list.npy", listed))
    assert read_back(tmp_path, found)["uid"].to_pylist() == [every[i] for i in (3, 5, 5, 900, 900, 900)]
    assert (found.rows, found.missing) == (6, 2)
    assert list(found.warnings) == ["2 of the list's uids are not in the pool"]
    (tmp_path / "list.txt").write_text("\n".join(listed))
    again = export(str(tmp_path / "out"), uids=str(tmp_path / "list.txt"), target=str(tmp_path / "text"))
    assert contents(tmp_path / "text") == contents(Path(found.target))
    assert again.missing == 2


def test_own_subset_gives_the_same_files(pool: Path, tmp_path: Path) -> None:
    run(parquet_recipe(pool), tmp_path / "out")
    first = export(str(tmp_path / "out"))
    subset = next((tmp_path / "out" / "decisions").glob("*/subset.npy"))
    assert np.load(subset).dtype == PAIR
    second = export(str(tmp_path / "out"), uids=str(subset), target=str(tmp_path / "listed"))
    assert second.missing == 0
    assert same(read_back(tmp_path, second), read_back(tmp_path, first))


def test_a_uid_that_several_rows_carry(tmp_path: Path) -> None:
    folder = tmp_path / "pool"
    folder.mkdir()
    table = pa.table({"uid": ["a" * 32, "b" * 32, "a" * 32], "text": ["one two three"] * 3, "n": [0, 1, 2]})
    pq.write_table(table, folder / "a.parquet")
    run(parquet_recipe(folder), tmp_path / "out")
    found = export(str(tmp_path / "out"), uids=npy(tmp_path / "l.npy", ["a" * 32] * 2))
    assert read_back(tmp_path, found)["n"].to_pylist() == [0, 0, 2, 2]
    assert found.missing == 0
