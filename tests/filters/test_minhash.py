"""`dedup.datatrove` over pools, and what all stages of `dedup` have in common."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, col, dedup
from poolsieve.filters.dsl.derive import Derive
from poolsieve.filters.duplicates.edges import least_equal
from poolsieve.filters.duplicates.shingles import Texts
from poolsieve.filters.duplicates.sketch import sketches
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
    assert found["1-0"]["keep"] and found["0-1"]["dup.of"] is None and found["0-0"]["dup.similarity"] == 1
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


TEXTS = [text for texts in corpus(8, families=40) for text in texts]


def split(texts: list[str], sizes: list[int]) -> list[list[str | None]]:
    edges = np.cumsum([0, *sizes])
    assert edges[-1] == len(texts)
    return [list(texts[start:stop]) for start, stop in itertools.pairwise(edges)]


def kept(out: Path) -> list[bool]:
    return [row["keep"] for row in ledger(out).to_pylist()]


def test_each_row_that_goes_resembles_one_that_stays(tmp_path: Path) -> None:
    run(pool(tmp_path / "pool", split(TEXTS, [len(TEXTS)])) | dedup.minhash(), tmp_path / "out")
    found = ledger(tmp_path / "out").to_pylist()
    made, _ = sketches(Texts.of(pa.array(TEXTS)))
    gone = [(i, int(row["dup.of"].rpartition(":")[2])) for i, row in enumerate(found) if not row["keep"]]
    assert all(found[of]["keep"] and found[of]["dup.rank"] == 0 for _, of in gone)
    for i, of in gone:
        same = [j for j, text in enumerate(TEXTS) if text == TEXTS[i]]
        assert sorted(found[j]["dup.copy"] for j in same) == list(range(len(same)))
        assert found[i]["reason"] == ("dup.exact" if found[i]["dup.copy"] else "dup.near")
        assert (made[i] == made[of]).sum() >= least_equal(0.55)
        assert found[i]["dup.cluster"] == found[of]["dup.cluster"]
        assert found[i]["dup.size"] == sum(row["dup.cluster"] == found[i]["dup.cluster"] for row in found)
    assert {row["reason"] for row in found} == {None, "dup.exact", "dup.near"}


@pytest.mark.parametrize("stage", [dedup.minhash(), dedup.exact(), dedup.datatrove()])
def test_files_batches_and_workers_do_not_show(tmp_path: Path, stage: Any) -> None:
    n = len(TEXTS)
    run(pool(tmp_path / "a" / "pool", split(TEXTS, [n])) | stage, tmp_path / "a" / "out")
    many = pool(tmp_path / "b" / "pool", split(TEXTS, [7, n - 50, 0, 43]), row_group=11)
    run(many | stage, tmp_path / "b" / "out", workers=3)
    assert kept(tmp_path / "a" / "out") == kept(tmp_path / "b" / "out")
    assert sum(kept(tmp_path / "a" / "out")) < n


def test_the_best_one_stays(tmp_path: Path) -> None:
    texts = ["one two three four five six seven eight"] * 5
    pool(tmp_path / "pool", [list(texts)])
    table = pq.read_table(tmp_path / "pool" / "00.parquet")
    scores = pa.array([0.5, None, float("nan"), 0.75, 0.25], pa.float32())
    pq.write_table(table.append_column("score", scores), tmp_path / "pool" / "00.parquet")
    made = Pool.parquet(f"{tmp_path}/pool/*.parquet", uid="id", text="text")
    run(made | dedup.exact(best="score"), tmp_path / "out")
    assert kept(tmp_path / "out") == [False, False, False, True, False]
    with pytest.raises(PlanError, match="best='text'"):
        run(made | dedup.exact(best="text"), tmp_path / "out2")


def test_equal_documents_without_end(tmp_path: Path) -> None:
    texts = ["the same words in each and every one of these documents"] * 60_000
    summary = run(pool(tmp_path / "pool", [texts], row_group=20_000) | dedup.minhash(), tmp_path / "out")
    assert (summary.kept, summary.reasons) == (1, {"dup.exact": 59_999})
