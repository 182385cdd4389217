"""`dedup.*` over pools: which rows stay, whatever the files, batches and workers are, and what the ledger says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, col, dedup
from poolsieve.filters.dsl.derive import Derive
from poolsieve.filters.minhash import Chains, MinHash
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import decide, ledger, run
from tests.filters.duplicates.test_chains import corpus, removed_by_datatrove


def pool(folder: Path, files: list[list[str | None]], row_group: int = 1000, **columns: Any) -> Any:
    folder.mkdir(parents=True)
    for number, texts in enumerate(files):
        ids = [f"{number}-{row}" for row in range(len(texts))]
        pq.write_table(pa.table({"id": ids, "text": texts}), folder / f"{number:02}.parquet", row_group_size=row_group)
    return Pool.parquet(f"{folder}/*.parquet", uid="id", text="text", **columns)


def dropped(out: Path) -> set[tuple[int, int]]:
    found = ledger(out)
    uids = found.filter(pa.compute.invert(found["keep"]))["uid"].to_pylist()
    return {(int(file), int(row)) for file, row in (uid.split("-") for uid in uids)}


def test_the_rows_that_datatrove_keeps(tmp_path: Path) -> None:
    files = corpus(3)
    summary = run(pool(tmp_path / "pool", files, row_group=50) | dedup.datatrove(), tmp_path / "out", workers=2)
    theirs = removed_by_datatrove(files, tmp_path / "theirs", 1)
    assert dropped(tmp_path / "out") == theirs
    assert summary.reasons == {"dup.near": len(theirs)}


def test_what_the_ledger_says(tmp_path: Path) -> None:
    base = "one two three four five six seven eight nine ten eleven twelve"
    texts = [base, "nothing like it at all but some words of its own", base, None, base.upper() + "!", "few words"]
    run(pool(tmp_path / "pool", [texts[:3], texts[3:]]) | dedup.datatrove(), tmp_path / "out")
    found = {row.pop("uid"): row for row in ledger(tmp_path / "out").to_pylist()}
    assert {uid: row["dup.rank"] for uid, row in found.items()} == {
        "0-0": 0,
        "0-1": 0,
        "0-2": 1,
        "1-0": 0,
        "1-1": 2,
        "1-2": 0,
    }
    assert {row["dup.size"] for row in found.values()} == {1, 3}
    copy = found["1-1"]
    assert (copy["keep"], copy["reason"], copy["dup.similarity"]) == (False, "dup.near", 1.0)
    assert copy["dup.of"] == copy["dup.cluster"] == "00.parquet:0"
    assert found["1-0"]["keep"] and found["0-1"]["dup.of"] is None and found["0-0"]["dup.similarity"] is None
    assert "dup.signature" not in copy


def test_only_rows_that_are_alive_have_a_family(tmp_path: Path) -> None:
    base = "one two three four five six seven eight nine ten eleven twelve"
    made = pool(tmp_path / "pool", [[base + " spam", base, base]])
    first = Keep(col("text").word_count() < 13, reason="long")
    run(made | dedup.datatrove(), tmp_path / "out")
    assert dropped(tmp_path / "out") == {(0, 1), (0, 2)}
    run(made | first | dedup.datatrove(), tmp_path / "out")
    found = {row["uid"]: row for row in ledger(tmp_path / "out").to_pylist()}
    assert [found[f"0-{row}"]["dup.size"] for row in range(3)] == [None, 2, 2]
    assert [found[f"0-{row}"]["keep"] for row in range(3)] == [False, True, False]


def test_other_parts_need_no_pool(tmp_path: Path) -> None:
    made = pool(tmp_path / "pool", corpus(5))
    run(made | dedup.datatrove(), tmp_path / "out")
    before = len(dropped(tmp_path / "out"))
    decide(made | dedup.datatrove(buckets=28, per_bucket=4), tmp_path / "out")
    assert len(dropped(tmp_path / "out")) > before


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (lambda: Score(s=MinHash(count=10)) | Derive(dup=Chains(signature="s", buckets=3)), "a multiple of 3"),
        (lambda: Score(s=MinHash(count=0)), "count=0"),
        (lambda: Score(s=MinHash(hash="md5")), "md5"),
        (lambda: Derive(dup=Chains(signature="none")), "none"),
        (lambda: Derive(dup=Chains(signature="text.word_count", buckets=0)), "buckets=0"),
    ],
)
def test_wrong_plans(tmp_path: Path, stage: Any, said: str) -> None:
    made = pool(tmp_path / "pool", [["one two three"]])
    with pytest.raises(PlanError, match=said):
        run(made | stage(), tmp_path / "out")


def test_a_pool_without_duplicates_and_an_empty_one(tmp_path: Path) -> None:
    words = np.array(["alpha", "beta", "gamma", "delta", "rho", "tau", "phi", "chi"])
    texts = [" ".join(np.random.default_rng(i).permutation(words)) for i in range(20)]
    for name, files in {"apart": [texts], "empty": [[]], "null": [[None, ""]]}.items():
        summary = run(pool(tmp_path / name / "pool", files) | dedup.fineweb(), tmp_path / name / "out")
        assert summary.kept == len(files[0])
