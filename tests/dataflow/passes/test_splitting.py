"""Big files are split by workers, once: planning opens none of them, and OUT keeps where their pieces begin."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.passes.splitting import split_by_workers, split_here
from poolsieve.dataflow.pools.formats.base import ShardChanged
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.recipe import SPLIT_BYTES, Recipe
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.filters import Keep, Top, col
from poolsieve.jobs import api
from tests.conftest import fingerprint_of

FILES, LINES, PIECE = 3, 60, 1000
SMALL = 20


def lines(count: int) -> bytes:
    rows = [json.dumps({"id": f"{i:04d}", "text": "w " * (1 + i % 7), "n": i * 37 % 101}) for i in range(count)]
    return ("\n".join(rows) + "\n").encode()


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    folder = tmp_path / "pool"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(lines(SMALL))  # below the size of a piece: planning looks at it for the keys
    assert (folder / "a.jsonl").stat().st_size < PIECE
    for i in range(FILES):
        (folder / f"b{i}.jsonl").write_bytes(lines(LINES + i))
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(lines(2000)))
    return folder


def recipe(pool: Path, split_bytes: int | None = PIECE) -> Recipe:
    few = Keep(col("text").word_count() >= 2, reason="short")
    return Pool.jsonl(f"{pool}/*", text="text", split_bytes=split_bytes) | few | Top("n", fraction=0.4)


def rows_of(out: Path) -> list[tuple[Any, ...]]:
    table = poolsieve.open(str(out)).ledger()
    columns = ["path", "row", "uid", "keep", "reason", "n"]
    return sorted(zip(*(table[name].to_pylist() for name in columns), strict=True))


def splits(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "splits").glob("*")}


def test_the_same_rows_and_the_pieces_are_kept(pool: Path, tmp_path: Path) -> None:
    whole = poolsieve.run(recipe(pool, 1 << 30), str(tmp_path / "whole"))
    assert len(whole.shards) == FILES + 2 and not splits(tmp_path / "whole")
    made = poolsieve.run(recipe(pool), str(tmp_path / "out"))
    assert len(made.shards) > 3 * FILES and rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")
    kept = splits(tmp_path / "out")
    assert len(kept) == FILES  # the packed one is one shard by its name
    again = poolsieve.run(recipe(pool), str(tmp_path / "out"))
    assert again.decision == made.decision and splits(tmp_path / "out") == kept


def test_workers_and_parts_come_to_the_same_bytes(pool: Path, tmp_path: Path) -> None:
    poolsieve.run(recipe(pool), str(tmp_path / "one"))
    poolsieve.run(recipe(pool), str(tmp_path / "two"), workers=2)
    for part in ("1/2", "0/2"):
        poolsieve.run(recipe(pool), str(tmp_path / "parts"), part=part)
    poolsieve.finish(recipe(pool), str(tmp_path / "parts"))
    assert fingerprint_of(tmp_path / "one") == fingerprint_of(tmp_path / "two") == fingerprint_of(tmp_path / "parts")


OPENED = """
import json, sys
from pathlib import Path
seen = set()
sys.addaudithook(lambda event, args: seen.add(str(args[0])) if event == "open" else None)
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, col
from poolsieve.jobs import api
recipe = Pool.jsonl(sys.argv[1] + "/*", text="text", split_bytes=int(sys.argv[3])) | Keep(col("text").word_count() >= 2)
found = api.plan(recipe, sys.argv[2], sample_rows=0)
opened = sorted(Path(name).name for name in seen if name.startswith(sys.argv[1]))
print(json.dumps([found.shards, found.big_files, opened]))
"""


def planned(pool: Path, out: Path) -> tuple[int, int, list[str]]:
    command = [sys.executable, "-c", OPENED, str(pool), str(out), str(PIECE)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    shards, big, opened = json.loads(done.stdout)
    return shards, big, opened


def test_planning_opens_no_big_file_and_estimates_their_pieces(pool: Path, tmp_path: Path) -> None:
    sizes = [path.stat().st_size for path in pool.iterdir() if path.suffix != ".gz"]
    about = sum(-(-size // PIECE) for size in sizes) + 1
    assert planned(pool, tmp_path / "out") == (about, FILES, ["a.jsonl"])
    made = poolsieve.run(recipe(pool), str(tmp_path / "out"))
    assert planned(pool, tmp_path / "out") == (len(made.shards), 0, ["a.jsonl"])


def test_footers_are_read_by_workers_too(tmp_path: Path) -> None:
    table = pa.table({"text": ["a b c"] * 400})
    for name in ("a", "b"):
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=100, use_dictionary=False)
    stage = Keep(col("text").word_count() >= 2)
    plan = prepare(Pool.parquet(f"{tmp_path}/*.parquet", text="text", split_bytes=1) | stage, str(tmp_path / "out"))
    assert len(plan.unsplit) == 2 and len(plan.shards) == 2
    for made in (split_by_workers(plan, Engine()), split_here(plan)):
        assert [(one.path, one.first, one.start) for one in made.shards] == [
            (f"{name}.parquet", group, 100 * group) for name in "ab" for group in range(4)
        ]
        assert not made.unsplit and made.job.pool_id != plan.job.pool_id


def test_a_file_that_changes_meanwhile_is_not_split_and_the_others_are_kept(pool: Path, tmp_path: Path) -> None:
    plan = prepare(recipe(pool), str(tmp_path / "out"))
    with (pool / "b1.jsonl").open("ab") as file:
        file.write(b'{"text": "grown"}\n')
    with pytest.raises(ShardChanged, match=r"b1\.jsonl has changed: .* bytes.*Run `poolsieve run` again"):
        split_here(plan)
    assert not any(name.startswith("b1-") for name in splits(tmp_path / "out"))
    kept = splits(tmp_path / "out")
    found = poolsieve.run(recipe(pool), str(tmp_path / "out"))
    assert found.counts.rows_in == SMALL + sum(LINES + i for i in range(FILES)) + 2000 + 1
    assert splits(tmp_path / "out").items() > kept.items()
    # Cut short, it is another file: it is split and scored anew, and no other one is.
    whole = (pool / "b0.jsonl").read_bytes()
    (pool / "b0.jsonl").write_bytes(whole[: whole.rindex(b"\n", 0, -1) + 1])
    again = poolsieve.run(recipe(pool), str(tmp_path / "out"))
    assert again.counts.rows_in == found.counts.rows_in - 1
    assert again.summary.work.scored["text.word_count"] == LINES - 1
    known = splits(tmp_path / "out")
    gone = {name.removeprefix("splits/") for name in again.remove_older() if name.startswith("splits/")}
    assert len(gone) == 1 and gone <= kept.keys() and splits(tmp_path / "out").keys() == known.keys() - gone
    assert not prepare(recipe(pool), str(tmp_path / "out")).unsplit


def test_a_split_that_lies_is_made_anew(pool: Path, tmp_path: Path) -> None:
    plan = prepare(recipe(pool), str(tmp_path / "out"))
    pieces = split_here(plan).shards
    victim = next((tmp_path / "out" / "splits").glob("b0-*"))
    good = victim.read_text()
    for lie in ("", "{", "[]", "null", *map(json.dumps, wrong_splits(json.loads(good)))):
        victim.write_text(lie)
        again = prepare(recipe(pool), str(tmp_path / "out"))
        assert [shard.path for shard in again.unsplit] == ["b0.jsonl"], lie
        assert split_here(again).shards == pieces and victim.read_text() == good


def wrong_splits(good: dict[str, Any]) -> list[dict[str, Any]]:
    """What is of another file, has a gap, leaves the end out, goes beyond it, counts back, or has no rows' number."""
    first, *others = good["pieces"]
    last = others[-1]
    longer = {**last, "extent": last["extent"] + 1}
    negative, later = {**first, "start": -1}, {**first, "start": 10**6}
    wrong = [
        [first, *others[1:]],
        [first, *others[:-1], longer],
        [later, *others],
        [negative, *others],
        [first, *others[:-1]],
    ]
    return [{**good, "path": "b1.jsonl"}, {**good, "size": 5}, *({**good, "pieces": pieces} for pieces in wrong)]


SLOW = """
import sys, time
from poolsieve.dataflow.pools.formats.jsonl import read
plain = read.JsonlReader.split
def slow(self, files, shard):
    time.sleep(1)
    return plain(self, files, shard)
read.JsonlReader.split = slow
import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Top, col
pool = Pool.jsonl(sys.argv[1] + "/*", text="text", split_bytes=int(sys.argv[3]))
poolsieve.run(pool | Keep(col("text").word_count() >= 2, reason="short") | Top("n", fraction=0.4), sys.argv[2], workers=1)
"""


def test_killed_in_the_middle_it_goes_on_with_the_files_that_are_left(pool: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    killed = subprocess.Popen([sys.executable, "-c", SLOW, str(pool), str(out), str(PIECE)])
    while not splits(out):
        assert killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    kept = splits(out)
    assert 0 < len(kept) < FILES + 1 and not (out / "manifest.json").exists()
    poolsieve.run(recipe(pool), str(out))
    assert splits(out).items() > kept.items()
    poolsieve.run(recipe(pool), str(tmp_path / "once"))
    assert fingerprint_of(out) == fingerprint_of(tmp_path / "once")


def test_pieces_stay_as_out_was_scored_with_where_the_recipe_says_nothing(pool: Path, tmp_path: Path) -> None:
    made = poolsieve.run(recipe(pool), str(tmp_path / "out"))
    unsaid = poolsieve.run(recipe(pool, None), str(tmp_path / "out"))
    assert unsaid.decision == made.decision and unsaid.manifest.pool.split_bytes == PIECE
    decided = unsaid.decide(recipe(pool, None))
    assert decided.manifest.pool.split_bytes == PIECE
    other = poolsieve.run(recipe(pool, 2 * PIECE), str(tmp_path / "out"))  # but what is said is done
    assert other.manifest.pool.split_bytes == 2 * PIECE and len(other.shards) < len(made.shards)


def test_an_out_of_an_older_version_keeps_its_pieces_of_a_gibibyte(pool: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    poolsieve.run(recipe(pool, None), str(out))
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["pool"].pop("split_bytes") == SPLIT_BYTES == 128 << 20
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert prepare(recipe(pool, None), str(out)).job.pool.split_bytes == 1 << 30
    assert prepare(recipe(pool, None), str(tmp_path / "new")).job.pool.split_bytes == 128 << 20


def test_parts_of_a_union_keep_theirs(pool: Path, tmp_path: Path) -> None:
    def union(size: int | None) -> Any:
        more = Pool.jsonl(f"{pool}/c*", text="text")
        both = Pool.union(a=Pool.jsonl(f"{pool}/b*", text="text", split_bytes=size), c=more)
        return both | Keep(col("text").word_count() >= 2)

    made = poolsieve.run(union(PIECE), str(tmp_path / "out"))
    assert {name.partition("-")[0] for name in splits(tmp_path / "out")} == {f"b{i}" for i in range(FILES)}
    assert poolsieve.run(union(None), str(tmp_path / "out")).decision == made.decision


def test_by_default_a_file_of_300_mib_has_three_pieces(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "a.jsonl").write_bytes(lines(SMALL))
    for name in ("b.jsonl", "t.npy"):
        with (tmp_path / "pool" / name).open("wb") as file:
            file.truncate(300 << 20)
    stage = Keep(col("text").word_count() >= 2)
    plan = prepare(Pool.jsonl(f"{tmp_path}/pool/*.jsonl", text="text") | stage, str(tmp_path / "out"))
    assert plan.pieces == 1 + 3 and [shard.path for shard in plan.unsplit] == ["b.jsonl"]
    found = api.plan(Pool.jsonl(f"{tmp_path}/pool/*.jsonl", text="text") | stage, tmp_path / "out", sample_rows=0)
    assert (found.shards, found.big_files, found.passes[0].shards) == (4, 1, 4)
    tokens = Pool.tokens(f"{tmp_path}/pool/t.npy").with_split(None).located().listing()
    assert [type(one) for one in tokens.shards] == [Shard] * 3 and not tokens.unsplit
