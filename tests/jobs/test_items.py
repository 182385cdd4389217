"""Items of a pool in DatBench's layout."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.export.export import export
from poolsieve.filters import Keep, col
from poolsieve.jobs.cli import main
from poolsieve.scoring_models.base.errors import PlanError
from tests import forked
from tests.conftest import run
from tests.dataflow.exported import add

PNG = b"\x89PNG\r\n\x1a\n"

ROWS: list[dict[str, Any]] = [
    {"id": "a", "q": "Which is red?", "gold": "B", "choices": ["sky", "rose", "sea"]},
    {"id": "b", "q": "How many?", "gold": "3", "choices": None},
    {"id": "no-option", "q": "Which is blue?", "gold": "grass", "choices": ["sky", "rose"]},
    {"id": "twice", "q": "Which?", "gold": "sky", "choices": ["sky", "sky"]},
    {"id": "no-answer", "q": "Which?", "gold": None, "choices": ["sky", "rose"]},
    {"id": "no-question", "q": "", "gold": "sky", "choices": ["sky", "rose"]},
    {"id": "no-image", "q": "Which?", "gold": "sky", "choices": ["sky", "rose"]},
]
BAD = {"no-option", "twice", "no-answer", "no-question", "no-image"}


def write_items(folder: Path, files: int = 2) -> Path:
    folder.mkdir()
    for i in range(files):
        rows = [{**row, "id": f"{row['id']}-{i}" if row["id"] not in BAD else row["id"] + f"-{i}"} for row in ROWS]
        images = [
            None if row["id"].startswith("no-image") else {"bytes": PNG + row["id"].encode(), "path": "x.png"}
            for row in rows
        ]
        image = pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
        kinds = pa.schema(
            [("id", pa.string()), ("q", pa.string()), ("gold", pa.string()), ("choices", pa.list_(pa.string()))]
        )
        pq.write_table(pa.Table.from_pylist(rows, kinds).append_column("image", image), folder / f"{i}.parquet")
    return folder


ROLES = {"uid": "id", "question": "q", "answer": "gold", "options": "choices", "image": "image"}


def pool_of(folder: Path) -> Pool:
    return Pool.parquet(f"{folder}/*.parquet", **ROLES)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((folder / "data").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def bytes_of(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "_items.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_rows_as_they_are(tmp_path: Path) -> None:
    found = poolsieve.items(pool_of(write_items(tmp_path / "pool")), to=tmp_path / "to")
    assert (found.rows, found.items, found.layout) == (14, 4, "datbench")
    assert found.left_out == {
        "answer_not_an_option": 2,
        "double_options": 2,
        "no_answer": 2,
        "no_image": 2,
        "no_question": 2,
    }
    rows = rows_of(tmp_path / "to")
    assert [row["id"] for row in rows] == ["a-0", "b-0", "a-1", "b-1"]
    assert rows[0]["image"]["bytes"] == PNG + b"a-0"
    assert rows[0]["prompt_format"] == {"prefix": "", "suffix": ""}
    assert json.loads(rows[0]["metadata"])["index2ans"] == {"A": "sky", "B": "rose", "C": "sea"}
    assert rows[1]["all_answers"] == ["3"] and rows[1]["eval_mode"] == "direct"
    assert rows[1]["source_info"]["original_idx"] == "b-0"
    listed = [
        json.loads(line) for line in (tmp_path / "to/_left_out/train-00001-of-00002.jsonl").read_text().splitlines()
    ]
    assert [line["uid"] for line in listed] == [
        f"{name}-1" for name in ("no-option", "twice", "no-answer", "no-question", "no-image")
    ]
    assert listed[1]["path"] == "1.parquet" and listed[1]["row"] == 3 and "the same" in listed[1]["message"]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_multiple_choice_rewritten(tmp_path: Path) -> None:
    pool = pool_of(write_items(tmp_path / "pool", 1))
    opened = poolsieve.items(pool, to=tmp_path / "open", layout="generative")
    assert (opened.items, opened.unchanged) == (2, 1)
    rows = rows_of(tmp_path / "open")
    assert [(row["question"], row["answer"], row["eval_mode"]) for row in rows] == [
        ("Which is red?", "rose", "judge"),
        ("How many?", "3", "direct"),
    ]
    turned = poolsieve.items(pool, to=tmp_path / "turned", layout="circular")
    assert turned.items == 4
    rows = rows_of(tmp_path / "turned")
    assert [row["id"] for row in rows] == ["a-0-r0", "a-0-r1", "a-0-r2", "b-0"]
    assert [row["answer"] for row in rows] == ["B", "A", "C", "3"]
    assert [row["source_info"]["rotation"] for row in rows] == [0, 1, 2, None]
    assert {row["image"]["bytes"] for row in rows[:3]} == {PNG + b"a-0"}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_was_written_is_read_by_its_own_pool_and_written_again(tmp_path: Path) -> None:
    poolsieve.items(pool_of(write_items(tmp_path / "pool")), to=tmp_path / "one")
    pool = Pool.datbench(f"{tmp_path}/one/data/*.parquet")
    poolsieve.items(pool, to=tmp_path / "two")
    one, two = (rows_of(tmp_path / name) for name in ("one", "two"))
    assert one == two
    run(pool | Keep(col("answer") == "3", reason="answer.other"), tmp_path / "out")
    export(str(tmp_path / "out"))
    kept = rows_of(tmp_path / "out" / "export")
    assert kept == [row for row in one if row["answer"] == "3"]
    schemas = [pq.read_schema(next((tmp_path / name / "data").iterdir())) for name in ("one", "out/export")]
    assert schemas[0].equals(schemas[1], check_metadata=True)


def test_the_part_of_a_union_is_the_source_and_numbers_are_texts(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"q": "How many?", "a": 3, "all": ["3", "three"]}\n{"q": "How much?", "a": 0.5}\n'
    )
    pq.write_table(pa.table({"q": ["Sum?"], "a": pa.array([7], pa.int32())}), tmp_path / "b.parquet")
    pool = Pool.union(
        count=Pool.jsonl(f"{tmp_path}/a.jsonl", question="q", answer="a", answers="all"),
        sums=Pool.parquet(f"{tmp_path}/b.parquet", question="q", answer="a"),
    )
    poolsieve.items(pool, to=tmp_path / "to")
    rows = rows_of(tmp_path / "to")
    assert [(row["source_info"]["dataset"], row["answer"]) for row in rows] == [
        ("count", "3"),
        ("count", "0.5"),
        ("sums", "7"),
    ]
    assert rows[0]["all_answers"] == ["3", "three"] and rows[2]["all_answers"] == ["7"]
    assert rows[0]["image"] is None


def test_discrimination_is_filled_where_the_pool_has_it(tmp_path: Path) -> None:
    table = pa.table({"question": ["Q?"], "answer": ["a"], "panel.discrimination": pa.array([0.25], pa.float32())})
    pq.write_table(table, tmp_path / "a.parquet")
    pool = Pool.parquet(f"{tmp_path}/a.parquet", discrimination="panel.discrimination")
    poolsieve.items(pool, to=tmp_path / "to")
    assert rows_of(tmp_path / "to")[0]["eval_metrics"] == {"discrimination": 0.25}


@pytest.mark.parametrize(("layout", "count"), [("datbench", 2), ("generative", 2), ("circular", 3)])
def test_items_without_images_in_tars_and_lines(tmp_path: Path, layout: str, count: int) -> None:
    row = {"q": "Which?", "a": "rose", "o": ["sky", "rose"]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({"q": "Why?", "a": "so", "o": []}) + "\n")
    pool = Pool.jsonl(f"{tmp_path}/a.jsonl", question="q", answer="a", options="o")
    assert poolsieve.items(pool, to=tmp_path / "lines", layout=layout).items == count
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add(archive, "0.json", json.dumps(row).encode())
    pool = Pool.webdataset(f"{tmp_path}/a.tar", question="json:q", answer="json:a", options="json:o")
    poolsieve.items(pool, to=tmp_path / "tars", layout=layout)
    assert rows_of(tmp_path / "tars")[0]["question"] == "Which?"
    assert all(row["image"] is None for row in rows_of(tmp_path / "lines"))


def test_rows_that_can_not_be_read_are_listed(tmp_path: Path) -> None:
    lines = [
        b'{"question": "Q?", "answer": "a", "answers": ["a"]}',
        b"{",
        b'{"question": "Q?", "answer": "a", "answers": [1]}',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*lines, b'{"question": 1, "answer": "a"}', b""]))
    (tmp_path / "b.jsonl").write_bytes(b"")
    with pytest.warns(UserWarning, match="3 rows are no items"):
        found = poolsieve.items(Pool.jsonl(f"{tmp_path}/*.jsonl", answers="answers"), to=tmp_path / "to")
    assert (found.rows, found.items, len(found.files)) == (4, 1, 2)
    assert found.left_out == {"json_decode": 1, "json_type": 2}
    assert found.files[1].items == 0 and not found.files[1].beside


def test_doubled_ids_are_said(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["x", "x"], "question": ["Q?", "R?"], "answer": ["a", "b"]}), tmp_path / "a.parquet")
    with pytest.warns(UserWarning, match="1 ids are those of several items, the first 'x'"):
        poolsieve.items(Pool.parquet(f"{tmp_path}/a.parquet", uid="id"), to=tmp_path / "to")


def test_what_can_not_be_items_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"question": ["Q?"], "reply": ["a"], "n": [1]}), tmp_path / "a.parquet")
    url = f"{tmp_path}/a.parquet"
    with pytest.raises(PlanError, match="no role 'answer'"):
        poolsieve.items(url, to=tmp_path / "to")
    with pytest.raises(PlanError, match="'image' of the pool holds string, and an item's is bytes"):
        poolsieve.items(Pool.parquet(url, answer="reply", image="reply"), to=tmp_path / "to")
    with pytest.raises(PlanError, match="'answers' of the pool holds int64"):
        poolsieve.items(Pool.parquet(url, answer="reply", answers="n"), to=tmp_path / "to")
    with pytest.raises(PlanError, match="no layout 'open'"):
        poolsieve.items(Pool.parquet(url, answer="reply"), to=tmp_path / "to", layout="open")
    with pytest.raises(PlanError, match="holds the pool"):
        poolsieve.items(Pool.parquet(url, answer="reply"), to=tmp_path)
    with pytest.raises(PlanError, match="have no columns"):
        poolsieve.items("a.tar", to=tmp_path / "to")
    assert not (tmp_path / "to").exists()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_another_layout_needs_replace_and_removes_what_was_there(tmp_path: Path) -> None:
    pool = pool_of(write_items(tmp_path / "pool"))
    poolsieve.items(pool, to=tmp_path / "to")
    stamp = (tmp_path / "to" / "_items.json").stat().st_mtime_ns
    poolsieve.items(pool, to=tmp_path / "to")
    assert (tmp_path / "to" / "_items.json").stat().st_mtime_ns == stamp
    with pytest.raises(PlanError, match=r"holds 4 items \(datbench\).*--replace"):
        poolsieve.items(pool, to=tmp_path / "to", layout="circular")
    poolsieve.items(pool, to=tmp_path / "to", layout="circular", replace=True)
    assert len(rows_of(tmp_path / "to")) == 8
    (tmp_path / "to" / "data" / "mine.parquet").write_bytes(b"")
    with pytest.raises(PlanError, match="files that no items wrote"):
        poolsieve.items(pool, to=tmp_path / "to", replace=True)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_killed_three_times_the_bytes_are_the_same(tmp_path: Path) -> None:
    pool = write_items(tmp_path / "pool", 12)
    poolsieve.items(pool_of(pool), to=tmp_path / "whole", layout="circular", workers=2)
    code = (
        "import time, poolsieve, poolsieve.jobs.items_write as w\n"
        "from poolsieve.dataflow import Pool\n"
        "real = w.RowGroups.close\n"
        "w.RowGroups.close = lambda self: (time.sleep(0.3), real(self))\n"
        f"poolsieve.items(Pool.parquet('{pool}/*.parquet', **{ROLES!r}), to='{tmp_path}/to', layout='circular')\n"
    )
    seen = []
    for _ in range(3):
        before = len(list((tmp_path / "to").glob("data/*.parquet")))
        process = forked.Popen([sys.executable, "-c", code], start_new_session=True, env={**os.environ})
        while len(list((tmp_path / "to").glob("data/*.parquet"))) < before + 2 and process.poll() is None:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        seen.append({path: path.stat().st_mtime_ns for path in (tmp_path / "to").glob("data/*.parquet")})
        assert not (tmp_path / "to" / "_items.json").exists()
    poolsieve.items(pool_of(pool), to=tmp_path / "to", layout="circular")
    assert bytes_of(tmp_path / "to") == bytes_of(tmp_path / "whole")
    # A file whose note the kill came before is written again; no other.
    assert all(len(one.items() - more.items()) <= 1 for one, more in itertools.pairwise(seen))
    assert len(seen[0]) < len(seen[2])


def test_the_command(tmp_path: Path) -> None:
    write_items(tmp_path / "pool")
    (tmp_path / "r.yaml").write_text(
        f"pool: {{parquet: ['{tmp_path}/pool/${{n}}.parquet'], {', '.join(f'{a}: {b}' for a, b in ROLES.items())}}}\nstages: []\n"
    )
    asked = ["items", str(tmp_path / "r.yaml"), "-p", "n=0", "--as", "circular", "--to", str(tmp_path / "to")]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    assert "4 items of 2 rows, 1 of them open already, in 1 files" in done.output
    assert "5 rows are no items and were left out" in done.output
