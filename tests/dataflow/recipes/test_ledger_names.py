"""Names that the ledger has columns of: rules may read the pool's own, and no score is called so."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, Top, col, scorer
from poolsieve.scoring_models.base.errors import PlanError

NAMES = ("path", "row", "uid", "keep", "reason")


def pool(folder: Path) -> Pool:
    columns = {name: [f"{name}{n}" for n in range(6)] for name in NAMES}
    pq.write_table(pa.table({**columns, "size": list(range(6))}), folder / "p.parquet")
    return Pool.parquet(f"{folder}/p.parquet", **{name: name for name in NAMES})


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_reads_the_pools_column(tmp_path: Path, name: str) -> None:
    recipe = pool(tmp_path) | Keep(col(name) != f"{name}3", reason="not.three") | Top("size", count=1, by=name)
    made = poolsieve.run(recipe, str(tmp_path / "out"))
    table = made.ledger()
    assert sorted(set(table.column_names)) == sorted(table.column_names)
    assert table.column(f"pool.{name}").to_pylist() == [f"{name}{n}" for n in range(6)]
    assert table.column("uid").to_pylist() == [f"uid{n}" for n in range(6)]
    assert made.manifest.reasons == {"not.three": 1}


def size(values: pa.Array) -> pa.Array:
    return values


@pytest.mark.parametrize("name", NAMES)
def test_no_score_is_called_so(tmp_path: Path, name: str) -> None:
    made = scorer(size, reads=("size",), columns={"": "int64"})
    with pytest.raises(PlanError, match=f"the ledger has a column '{name}' of its own"):
        poolsieve.run(pool(tmp_path) | Score(**{name: made}), str(tmp_path / "out"))
