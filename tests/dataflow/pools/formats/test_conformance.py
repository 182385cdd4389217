"""Every registered format, by the same tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.pools.formats import FORMATS
from poolsieve.dataflow.pools.formats.format import Format
from poolsieve.dataflow.pools.shards import Batch
from poolsieve.dataflow.recipes.recipe import Pool
from poolsieve.filters import Keep, col
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import ledger, run
from tests.dataflow.pools.formats import conformance as the

SIZES = (130, 1, 77)

BUILT = [format for format in FORMATS.values() if format.builder is not None]


@pytest.fixture(params=FORMATS.values(), ids=FORMATS)
def format(request: pytest.FixtureRequest) -> Format:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def folder(format: Format, tmp_path: Path) -> Path:
    """A pool of three files."""
    made = tmp_path / "pool"
    for i, n in enumerate(SIZES):
        the.build(format, made / f"{i}{format.ending}", the.table(n, sum(SIZES[:i])), step=30)
    return made


@pytest.fixture(params=BUILT, ids=[format.name for format in BUILT])
def built(request: pytest.FixtureRequest) -> Format:
    """A format that has a builder."""
    return request.param  # type: ignore[no-any-return]


def rows(format: Format, n: int = sum(SIZES), first: int = 0) -> list[dict[str, Any]]:
    return the.table(n, first).select(list(the.columns_of(format))).to_pylist()  # type: ignore[no-any-return]


def test_what_is_built_is_read(format: Format, folder: Path) -> None:
    files = the.pool(format, folder)
    assert the.whole(files) == rows(format)
    assert (folder / f"0{format.ending}").name.endswith(format.endings)
    assert {role: files.reader.source(role, source) for role, source in files.roles.items()}


def test_how_rows_come_does_not_change_the_file(built: Format, tmp_path: Path) -> None:
    contents = []
    for step in (1, 7, 500):
        the.build(built, tmp_path / f"{step}{built.ending}", the.table(100), step)
        contents.append((tmp_path / f"{step}{built.ending}").read_bytes())
    assert contents[0] == contents[1] == contents[2]


def test_shards_of_any_size_hold_the_same_rows(format: Format, folder: Path) -> None:
    for split_bytes in (1, 900, 1 << 30):
        files = the.pool(format, folder, split_bytes=split_bytes)
        assert the.whole(files) == rows(format)
        starts: dict[str, int] = {}
        for shard in files.listing().shards:
            assert shard.start == starts.get(shard.path, 0)
            starts[shard.path] = shard.start + sum(batch.num_rows for batch in the.batches(files, shard))


def test_rows_that_nobody_wants_may_be_skipped_and_no_others(format: Format, tmp_path: Path) -> None:
    the.build(format, tmp_path / f"a{format.ending}", the.table(2000))
    files = the.pool(format, tmp_path)
    (shard,) = files.listing().shards
    whole = the.values(the.batches(files, shard))
    for asked in ([0], [1999], [3, 700, 701], []):
        found = the.values(
            the.batches(files, shard, want=lambda start, n, a=asked: any(start <= x < start + n for x in a))
        )
        assert [row for row in found if row["row"] in asked] == [whole[i] for i in asked]
        assert all(row == whole[row["row"]] for row in found)


def test_damage_costs_what_is_behind_it(format: Format, folder: Path, tmp_path: Path) -> None:
    """A cut file: rows before the cut are as they were, what is lost has a reason, and nothing is raised."""
    data = (folder / f"0{format.ending}").read_bytes()
    for share in (0, 0.3, 0.8, 0.999):
        there = tmp_path / str(share)
        there.mkdir()
        (there / f"0{format.ending}").write_bytes(data[: int(len(data) * share)])
        files = the.pool(format, there)
        (shard,) = files.listing().shards
        found = the.batches(files, shard)
        good = the.values(found)
        if format.row_role:
            _cut_between_ids(good, found, int(len(data) * share))
            continue
        # A tar that ends between two members of a sample can't be told from one that has no more of it.
        sure = good if format.reader.has_columns else good[:-1]
        assert [{k: v for k, v in row.items() if k != "row"} for row in sure] == rows(format)[: len(sure)]
        errors = [error for batch in found for error in batch.read_errors.values()]
        assert all(error.kind and error.message for error in errors)
        if format.reader.has_columns:
            assert errors or len(good) == SIZES[0] or (share == 0 and not good)
        else:
            assert (errors and not good) if share == 0 else len(good) >= share * SIZES[0] / 2


def _cut_between_ids(good: list[dict[str, Any]], found: list[Batch], size: int) -> None:
    """Nothing but half an id tells that a file of bare numbers was cut."""
    assert [row["tokens"] for row in good] == the.table(size // 16)["tokens"].to_pylist()
    errors = [error.kind for batch in found for error in batch.read_errors.values()]
    assert errors == (["odd_bytes"] if size % 2 else [])


def test_all_rows_copied_are_the_same_and_copied_again_the_same_bytes(
    format: Format, folder: Path, tmp_path: Path
) -> None:
    files = the.pool(format, folder)
    done = the.copy(files, tmp_path / "one" / f"a{format.ending}", [[1] * n for n in SIZES])
    assert (done.rows, done.unreadable, done.renamed, done.empty) == (sum(SIZES), 0, 0, {})
    once = the.pool(format, tmp_path / "one")
    assert the.whole(once) == rows(format)
    the.copy(once, tmp_path / "two" / f"a{format.ending}", [[1] * sum(SIZES)])
    one, two = ((tmp_path / name / f"a{format.ending}").read_bytes() for name in ("one", "two"))
    assert one == two


def test_rows_leave_as_often_as_they_are_listed(format: Format, folder: Path, tmp_path: Path) -> None:
    files = the.pool(format, folder)
    r = np.random.default_rng(0)
    copies = [r.integers(0, 4, n).tolist() for n in SIZES]
    copies[1] = [0]
    done = the.copy(files, tmp_path / "out" / f"a{format.ending}", copies)
    times = [times for some in copies for times in some]
    assert done.rows == sum(times)
    assert the.whole(the.pool(format, tmp_path / "out")) == [
        row for row, n in zip(rows(format), times, strict=True) for _ in range(n)
    ]


def test_built_rows_leave_as_often_as_they_are_listed(built: Format, tmp_path: Path) -> None:
    made, copies = the.plan(built), [1, 2, 1, 3] * 5
    with the.sink(str(tmp_path / f"a{built.ending}")) as file:
        done = built.build_with().build(made, the.rows_of(made, the.table(20), 6, copies), file)
    assert done.rows == sum(copies)
    found = the.whole(the.pool(built, tmp_path))
    assert found == [row for row, n in zip(rows(built, 20), copies, strict=True) for _ in range(n)]


def test_no_rows_are_a_file_without_rows(format: Format, folder: Path, tmp_path: Path) -> None:
    the.build(format, tmp_path / "built" / f"a{format.ending}", the.table(0))
    the.copy(the.pool(format, folder), tmp_path / "copied" / f"a{format.ending}", [[0] * n for n in SIZES])
    for name in ("built", "copied"):
        files = the.pool(format, tmp_path / name)
        (shard,) = files.listing().shards
        assert sum(batch.num_rows for batch in the.batches(files, shard)) == 0


@pytest.mark.parametrize("way", ["copied", "built"])
@pytest.mark.parametrize("format", BUILT, ids=[format.name for format in BUILT])
def test_scores_go_along(format: Format, folder: Path, tmp_path: Path, way: str) -> None:
    scores = [None if i % 5 == 0 else i / 8 for i in range(sum(SIZES))]
    column = pa.array(scores, pa.float32())
    path = tmp_path / "out" / f"a{format.ending}"
    if way == "copied":
        edges = np.cumsum([0, *SIZES])
        parts = [pa.table({"score": column.slice(edges[i], n)}) for i, n in enumerate(SIZES)]
        the.copy(the.pool(format, folder), path, [[1] * n for n in SIZES], parts)
    else:
        made = the.plan(format, {"score": pa.float32()})
        table = the.table(sum(SIZES)).append_column("score", column)
        with the.sink(str(path)) as file:
            format.build_with().build(made, the.rows_of(made, table, 40), file)
    found = the.whole(the.pool(format, tmp_path / "out", "uid", "text", "n", "score"))
    assert found == [{**row, "score": score} for row, score in zip(rows(format), scores, strict=True)]


@pytest.mark.parametrize("to", [format.name for format in BUILT])
@pytest.mark.parametrize("format", BUILT, ids=[format.name for format in BUILT])
def test_every_pair_of_formats_keeps_values(format: Format, folder: Path, tmp_path: Path, to: str) -> None:
    pool = Pool(format.name, (f"{folder}/*",), the.sources(format, "uid", "text", "n"))
    run(pool | Keep(col("n") >= 5, reason="n.low"), tmp_path / "out")
    made = export(str(tmp_path / "out"), format=to, target_bytes=1)
    keep = set(ledger(tmp_path / "out").filter(ledger(tmp_path / "out")["keep"])["uid"].to_pylist())
    kept = [row for row in rows(format) if row["uid"] in keep]
    roles = the.sources(FORMATS[to], "uid", "text", "n")
    if not format.reader.has_columns and FORMATS[to].reader.has_columns:
        # A row of a tar has its members: the text, and the JSON member, whose fields are read as they stand there.
        roles = {"uid": "uid", "text": "txt"}
        kept = [{"uid": row["uid"], "text": row["text"]} for row in kept]
    found = the.whole(
        the.PoolFiles(root=made.target, format=to, patterns=(f"{made.target}/data/train-*",), roles=roles)
    )
    assert found == kept
    assert made.rows == len(kept) > 100
    assert [file.name for file in made.files] == [FORMATS[to].part_name(i, 3) for i in range(3)]


@pytest.mark.parametrize("to", [format.name for format in FORMATS.values() if format.builder is None])
@pytest.mark.parametrize("format", BUILT, ids=[format.name for format in BUILT])
def test_what_is_not_built_is_refused_with_its_reason(format: Format, folder: Path, tmp_path: Path, to: str) -> None:
    pool = Pool(format.name, (f"{folder}/*",), the.sources(format, "uid", "text", "n"))
    run(pool | Keep(col("n") >= 5, reason="n.low"), tmp_path / "out")
    with pytest.raises(PlanError) as refused:
        export(str(tmp_path / "out"), format=to)
    assert str(refused.value) == FORMATS[to].not_built and "poolsieve tokenize" in str(refused.value)
    assert not (tmp_path / "out" / "export").exists()
