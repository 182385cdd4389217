"""What a report says of duplicates: counts, clusters with their members, and rows at the threshold."""

from __future__ import annotations

import io
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from poolsieve.dataflow import Pool
from poolsieve.dataflow.decisions.samples import _tie
from poolsieve.dataflow.store.layout import report_url
from poolsieve.filters import ExactHash, Score, TextSketch, dedup
from poolsieve.filters.dsl.derive import Derive
from poolsieve.filters.duplicates.families import report as families_report
from poolsieve.filters.near import Duplicates
from poolsieve.jobs.report.page import write_report
from poolsieve.scoring_models.base.derived import Extent
from tests.conftest import decide, ledger, run

WORDS = ["".join(random.Random(i).choices("abcdefghij", k=6)) for i in range(3000)]
HOSTILE = "<script>alert(1)</script>"


def texts() -> list[str]:
    rng = random.Random(0)
    bases = [[HOSTILE, *rng.choices(WORDS, k=300)] for _ in range(4)]
    made = [" ".join(base) for base in bases]
    made += [" ".join(bases[0])] * 5
    made += [changed(rng, bases[1], 0.02) for _ in range(3)]
    made += [changed(rng, bases[2], 0.09) for _ in range(6)]
    return made


def changed(rng: random.Random, words: list[str], share: float) -> str:
    return " ".join([words[0], *(rng.choice(WORDS) if rng.random() < share else word for word in words[1:])])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of two shards, run."""
    folder = tmp_path_factory.mktemp("duplicates")
    rows = texts()
    best = [1.0] * 4 + [0.0] * (len(rows) - 4)
    for i in (0, 1):
        pq.write_table(pa.table({"text": rows[i::2], "best": best[i::2]}), folder / f"p{i}.parquet")
    run(Pool.parquet(f"{folder}/*.parquet", text="text", best="best") | dedup.minhash(best="best"), folder / "out")
    return folder


def written(finished: Path, **given: Any) -> tuple[str, list[dict[str, Any]]]:
    summary = opened(finished).summary
    write_report(str(finished / "out"), summary, **given)
    pages = [Path(report_url(str(finished / "out"), summary.decision, kind)).read_text() for kind in ("html", "json")]
    return pages[0], json.loads(pages[1])["duplicates"]


def opened(finished: Path) -> Any:
    import poolsieve

    return poolsieve.open(str(finished / "out"))


def test_counts_are_those_of_the_ledger(finished: Path) -> None:
    _, (found,) = written(finished)
    rows = ledger(finished / "out").to_pylist()
    near = [row["dup.similarity"] for row in rows if row["dup.rank"] > 0 and not row["dup.copy"]]
    sizes = [row["dup.size"] for row in rows if row["dup.rank"] == 0 and row["dup.size"] > 1]
    assert found["counts"] == {"clusters": len(sizes), "copies": 5, "near": len(near)}
    assert sum(found["similarity"]["dropped"]) == len(near) and found["threshold"] == 0.55
    for line in found["sizes"]:
        assert line["clusters"] == sum(line["least"] <= size <= line["most"] for size in sizes)
    assert sum(line["clusters"] for line in found["sizes"]) == len(sizes)


def test_largest_clusters_come_first_with_members_that_say_how_they_differ(finished: Path) -> None:
    html, (found,) = written(finished)
    sizes = [family["size"] for family in found["families"]]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] == 6
    assert all(piece["kind"] in ("same", "skipped") for m in found["families"][0]["members"] for piece in m["pieces"])
    near = next(family for family in found["families"] if family["size"] == 4)
    assert len(near["members"]) == 3
    assert all({"gone", "new"} <= {piece["kind"] for piece in m["pieces"]} for m in near["members"])
    assert HOSTILE not in html and "&lt;script&gt;" in html and "<ins>" in html


def test_rows_on_both_sides_of_the_threshold(finished: Path) -> None:
    _, (found,) = written(finished)
    rows = ledger(finished / "out").to_pylist()
    assert found["above"] and found["below"] and found["looked_at"] == sum(row["keep"] for row in rows)
    least = min(row["dup.similarity"] for row in rows if row["dup.rank"] > 0)
    assert found["above"][0]["other"]["similarity"] == pytest.approx(least)
    for pair in found["below"]:
        assert 0.35 <= pair["other"]["similarity"] < 0.55
        assert pair["kept"]["reason"] == "" and pair["other"]["pieces"]
    for pair in found["above"]:
        assert pair["kept"]["caption"] and pair["other"]["row"]["reason"] == "dup.near"


def test_members_that_are_gone_from_the_pool_say_so(finished: Path) -> None:
    (finished / "p1.parquet").rename(finished / "elsewhere")
    try:
        html, (found,) = written(finished)
    finally:
        (finished / "elsewhere").rename(finished / "p1.parquet")
    members = [member for family in found["families"] for member in family["members"]]
    assert {member["pieces"] is None for member in members} == {True, False}
    assert "read from the pool any more" in html


def test_no_samples_means_no_rows(finished: Path) -> None:
    html, (found,) = written(finished, samples=False)
    assert not found["families"] and not found["above"] and not found["below"] and found["sizes"]
    assert "script" not in html.split("<main")[1]


def test_pictures_of_a_cluster_stand_side_by_side(tmp_path: Path) -> None:
    def picture(seed: int) -> bytes:
        sink = io.BytesIO()
        Image.fromarray(np.random.default_rng(seed).integers(0, 255, (32, 32, 3), np.uint8)).save(sink, "PNG")
        return sink.getvalue()

    pq.write_table(pa.table({"image": [picture(i % 3) for i in range(9)]}), tmp_path / "p.parquet")
    run(Pool.parquet(f"{tmp_path}/*.parquet", image="image") | dedup.exact(role="image"), tmp_path / "out")
    html, (found,) = written(tmp_path)
    assert [family["size"] for family in found["families"]] == [3, 3, 3]
    section = html.split('id="duplicates"')[1].split('id="scores"')[0]
    assert section.count("data:image/jpeg") == 9 and found["threshold"] is None and found["similarity"] is None


def test_clusters_of_one_size_are_the_same_at_each_place(tmp_path: Path) -> None:
    """More clusters of a size than are shown: their members must be of those whose first row is."""
    rows = [" ".join([*WORDS[i : i + 9], str(i)]) for i in range(40)] * 3
    pq.write_table(pa.table({"text": rows[:50]}), tmp_path / "p0.parquet")
    pq.write_table(pa.table({"text": rows[50:]}), tmp_path / "p1.parquet")
    run(Pool.parquet(f"{tmp_path}/*.parquet", text="text") | dedup.exact(), tmp_path / "out")
    _, (found,) = written(tmp_path)
    assert [len(family["members"]) for family in found["families"]] == [2] * 6


@pytest.mark.parametrize("n", [0, 1])
def test_pools_without_duplicates_have_a_section_that_says_so(tmp_path: Path, n: int) -> None:
    pq.write_table(
        pa.table({"text": pa.array(["one two three four five six"] * n, pa.string())}), tmp_path / "p.parquet"
    )
    run(Pool.parquet(f"{tmp_path}/*.parquet", text="text") | dedup.minhash(), tmp_path / "out")
    html, (found,) = written(tmp_path)
    assert found["counts"] == {"clusters": 0, "copies": 0, "near": 0} and not found["families"]
    assert "0 clusters of two rows or more" in html


def split_pool(folder: Path) -> Any:
    """Families of 5 and of 4 near rows, and of 2 and 6 copies, of which components of 3 are the largest allowed."""
    rng, rows = random.Random(4), list[str]()
    for near, copies in ((4, 0), (3, 1), (1, 0), (0, 5)):
        base = ["first", *rng.choices(WORDS, k=300)]
        rows += [" ".join(base)] * (1 + copies) + [changed(rng, base, 0.01) for _ in range(near)]
    for i in (0, 1):
        pq.write_table(pa.table({"text": rows[i::2]}), folder / f"p{i}.parquet")
    pool = Pool.parquet(f"{folder}/*.parquet", text="text")
    scores = Score(exact=ExactHash("text"), near=TextSketch())
    return lambda cap: pool | scores | Derive(dup=Duplicates(hash="exact", sketch="near", cap=cap))


@pytest.mark.parametrize(
    "how",
    [{}, {"at_once": 0}, {"at_once": 0, "extent": Extent(1 << 28, 1 << 40)}],
    ids=["one worker", "rounds", "rounds of a large pool"],
)
def test_components_that_were_split_are_told_now_and_later(tmp_path: Path, how: dict[str, Any]) -> None:
    made = split_pool(tmp_path)
    run(made(3), tmp_path / "out", **how)
    html, (found,) = written(tmp_path)
    assert found["split"] == {"components": 2, "largest": 5, "rows": 9}
    said = html.split("Split:</strong>")[1].split("</p>")[0]
    assert all(part in said for part in ("2 components", "9 rows together", "the largest 5"))
    shutil.rmtree(tmp_path / "out" / "derived")  # what a report says is in the decision
    assert written(tmp_path)[1] == [found]
    decide(made(4), tmp_path / "out", **how)
    html, (found,) = written(tmp_path)
    assert found["split"] == {"components": 1, "largest": 5, "rows": 5} and "It had 5 rows" in html
    decide(made(5), tmp_path / "out", **how)
    html, (found,) = written(tmp_path)
    assert found["split"] is None and "Split:" not in html


def test_a_row_that_is_alone_after_a_split_says_so_in_the_ledger(tmp_path: Path) -> None:
    run(split_pool(tmp_path)(2), tmp_path / "out")
    alone = [row for row in ledger(tmp_path / "out").to_pylist() if row["dup.size"] == 1]
    assert alone and all(
        row[f"dup.{name}"] == value
        for row in alone
        for name, value in {"cluster": None, "rank": 0, "copy": 0, "similarity": None, "of": None}.items()
    )


def test_lost_sketches_cost_the_pairs_below_the_threshold_alone(finished: Path) -> None:
    (folder,) = (finished / "out" / "scores").glob("dup.sketch-*")
    folder.rename(finished / "gone")
    try:
        _, (found,) = written(finished)
    finally:
        (finished / "gone").rename(folder)
    assert not found["below"] and found["above"] and all(pair["kept"]["caption"] for pair in found["above"])


def test_ties_are_broken_whatever_files_are_called() -> None:
    found = _tie(pa.array(["a\nb:1", "c:d.parquet:18446744073709551615", ":", "no digits", "p.parquet:7"]))
    assert found.shape == (5,) and (found >= 0).all() and (found < 1).all() and len(set(found.tolist())) == 4


def test_a_cluster_of_any_size_is_in_one_class() -> None:
    size = [2, 3, 4, 7, 8, 1_000_000, 2**40, 2**40 - 1]
    scores = {
        "size": pa.array(size, pa.int64()),
        "rank": pa.array([0] * len(size), pa.int64()),
        "copy": pa.array([0] * len(size), pa.int64()),
        "similarity": pa.array([1.0] * len(size), pa.float32()),
    }
    found = families_report(scores, np.ones(len(size), dtype=bool))["sizes"]
    assert found == {"2": 1, "3": 1, "4": 2, "8": 1, str(2**19): 1, str(2**40): 1, str(2**39): 1}
