"""Two commands at once on one OUT or one target, and files of OUT that somebody removed or changed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow import fs
from poolsieve.dataflow.export.index import read_index
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.passes.submit import carry_out
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.store import layout
from poolsieve.dataflow.store.manifest import read_manifest
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.filters import Keep, Top, col
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests import forked
from tests.conftest import fingerprint_of, run, text_table, write_pool

GATED = """
import os, time
import pyarrow as pa
from pathlib import Path
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, Top, scorer, col

def slow(texts):
    Path("{gate}.asked").touch()
    started = time.monotonic()
    while not os.path.exists("{gate}") and time.monotonic() - started < 60:
        time.sleep(0.02)
    return {{"x": pa.array([float(len(text)) for text in texts.to_pylist()], pa.float32())}}

recipe = (
    Pool.parquet("{pool}/*.parquet", uid="uid", text="text")
    | Score(s=scorer(slow, reads=("text",), columns={{"x": "float32"}}))
    | Top("s", fraction={fraction})
)
"""


def poolsieve_command(*arguments: Any) -> list[str]:
    return [sys.executable, "-m", "poolsieve.jobs.cli", *map(str, arguments)]


def started(*arguments: Any) -> subprocess.Popen[str]:
    """A command that goes on by itself."""
    return forked.Popen(poolsieve_command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def command(*arguments: Any) -> subprocess.CompletedProcess[str]:
    return forked.run(poolsieve_command(*arguments), capture_output=True, text=True, timeout=300, check=False)


def ended(one: subprocess.Popen[str]) -> str:
    """What a command said; it must end well."""
    said, _ = one.communicate(timeout=300)
    assert one.returncode == 0, said
    return said


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that the scorer waits for."""
    return tmp_path / "gate"


def gated(tmp_path: Path, gate: Path, pool: Path, fraction: float = 0.3) -> Path:
    path = tmp_path / f"recipe-{fraction}.py"
    path.write_text(GATED.format(gate=gate, pool=pool, fraction=fraction))
    return path


def wait_for(path: Path, *going: subprocess.Popen[str]) -> None:
    """Until there is such a file, while commands go on that make it."""
    deadline = time.monotonic() + 120
    while not path.exists():
        for one in going:
            assert one.poll() is None, one.communicate()[0]
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


def test_prune_is_refused_while_a_run_scores_and_nothing_is_lost(tmp_path: Path, gate: Path, pool: Path) -> None:
    recipe, out = gated(tmp_path, gate, pool), tmp_path / "out"
    run(poolsieve.Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Top("clip", fraction=0.3), out)
    going = started("run", recipe, "--out", out)
    wait_for(Path(f"{gate}.asked"), going)
    refused = command("prune", out, "--yes")
    assert refused.returncode == 2 and "in use by poolsieve run" in refused.stderr
    assert f"process {going.pid}" in refused.stderr and "Traceback" not in refused.stderr
    gate.touch()
    ended(going)
    assert OutFolder(str(out)).ledger().num_rows == 1200
    pruned = command("prune", out, "--yes")
    assert pruned.returncode == 0 and pruned.stdout.count("removed decisions/") == 1
    assert not (out / "leases").exists() and not list((out / "runs").glob("*"))


def test_a_killed_run_holds_nobody_up(tmp_path: Path, gate: Path, pool: Path) -> None:
    recipe, out = gated(tmp_path, gate, pool), tmp_path / "out"
    run(poolsieve.Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Top("clip", fraction=0.3), out)
    going = started("run", recipe, "--out", out)
    wait_for(Path(f"{gate}.asked"), going)
    going.kill()
    going.wait()
    (out / "runs" / "killed" / "uids").mkdir(parents=True)
    pruned = command("prune", out, "--yes")
    assert pruned.returncode == 0 and "removed runs/killed" in pruned.stdout
    assert OutFolder(str(out)).ledger().num_rows == 1200


def test_what_killed_workers_left_goes_with_the_next_whole_run_unless_another_one_is_there(
    tmp_path: Path, gate: Path, pool: Path
) -> None:
    recipe, out = gated(tmp_path, gate, pool), tmp_path / "out"
    left = [out / "rows" / f"{fs.TEMPORARY}1", out / "scores" / "any" / f"{fs.TEMPORARY}2"]
    foreign = out / "another run" / "rows" / f"{fs.TEMPORARY}3"
    for one in (*left, foreign):
        one.parent.mkdir(parents=True, exist_ok=True)
        one.write_bytes(b"half")
    going = started("run", recipe, "--out", out)
    wait_for(Path(f"{gate}.asked"), going)
    other = poolsieve.Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Top("clip", fraction=0.3)
    run(other, out)
    assert all(one.exists() for one in left), "the other run may be writing them"
    gate.touch()
    ended(going)
    assert not any(one.exists() for one in left) and not (out / "leases").exists()
    assert foreign.exists(), "who works there holds no lease here"


def test_two_runs_of_one_recipe_at_once_both_end_well(tmp_path: Path, gate: Path, pool: Path) -> None:
    recipe, out = gated(tmp_path, gate, pool), tmp_path / "out"
    going = [started("run", recipe, "--out", out) for _ in range(3)]
    wait_for(Path(f"{gate}.asked"), *going)
    gate.touch()
    for one in going:
        ended(one)
    run(RecipeSource.read(str(recipe)), tmp_path / "alone")
    assert fingerprint_of(out) == fingerprint_of(tmp_path / "alone")


def test_runs_and_decisions_of_several_recipes_at_once(tmp_path: Path, gate: Path, pool: Path) -> None:
    gate.touch()
    recipes = [gated(tmp_path, gate, pool, fraction) for fraction in (0.1, 0.2, 0.4)]
    out = tmp_path / "out"
    ended(started("run", recipes[0], "--out", out))
    going = [started("run", recipes[1], "--out", out), *(started("decide", one, "--out", out) for one in recipes)]
    for one in going:
        ended(one)
    found = OutFolder(str(out))
    assert found.ledger().num_rows == 1200 and found.counts.kept in (120, 240, 480)
    assert len(fs.names(layout.decisions_folder(str(out)))) == 3
    assert sum(found.ledger(columns=["keep"]).column("keep").to_pylist()) == found.counts.kept


def test_of_two_exports_into_one_folder_one_waits_or_is_refused(tmp_path: Path, pool: Path) -> None:
    out = tmp_path / "out"
    run(poolsieve.Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Top("clip", fraction=0.3), out)
    going = [
        started("export", out, "--to", tmp_path / "to", *more, "--replace")
        for more in ((), ("--format", "jsonl"), ("--reason", "*"))
    ]
    said = [one.communicate(timeout=300)[0] for one in going]
    codes = [one.returncode for one in going]
    assert 0 in codes and set(codes) <= {0, 2}, said
    assert all("in use by poolsieve export" in text for text, code in zip(said, codes, strict=True) if code)
    index = read_index(str(tmp_path / "to"))
    assert index is not None
    there = {str(path.relative_to(tmp_path / "to")) for path in (tmp_path / "to").rglob("*.*") if path.is_file()}
    assert there == {*index.names, "_export.json"}


@pytest.fixture
def out(tmp_path: Path, pool: Path) -> Path:
    """A whole run."""
    run(poolsieve.Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Top("clip", fraction=0.3), tmp_path / "o")
    return tmp_path / "o"


def test_no_manifest_over_a_ledger_that_lacks_a_shard(tmp_path: Path, pool: Path) -> None:
    def remove(url: str, summary: Any) -> None:
        os.remove(next(Path(layout.ledger_folder(url, summary.decision)).iterdir()))

    recipe = poolsieve.Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Top("clip", fraction=0.3)
    plan = prepare(recipe, str(tmp_path / "out"))
    with pytest.raises(PoolsieveError, match="lacks the lines of 1 of 3 shards"):
        carry_out(plan, before_manifest=lambda made, found: remove(made.job.out, found))
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert run(recipe, tmp_path / "out").rows == 1200


def test_a_changed_ledger_is_never_read(out: Path, tmp_path: Path, pool: Path) -> None:
    found = OutFolder(str(out))
    path = Path(layout.ledger_url(str(out), found.decision, found.shards[1].name))
    table = pq.read_table(path)
    pq.write_table(table.slice(0, table.num_rows - 1), path)
    for read in (
        lambda: OutFolder(str(out)).ledger(),
        lambda: poolsieve.export(out, to=str(tmp_path / "to")),
        lambda: poolsieve.export(out, to=str(tmp_path / "to"), format="jsonl"),
    ):
        with pytest.raises(PoolsieveError, match="is not the file that the decision was closed with"):
            read()
    recipe = poolsieve.Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Top("clip", fraction=0.4)
    with pytest.raises(PoolsieveError, match="is not the file"):
        poolsieve.decide(recipe, out, what_if=True)
    poolsieve.run(poolsieve.Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Top("clip", fraction=0.3), out)
    assert OutFolder(str(out)).ledger().num_rows == 1200


@pytest.mark.parametrize("name", ["../../../elsewhere", "/etc/passwd", "a/b", "", "..", "x"])
def test_names_in_shards_parquet_stay_inside(out: Path, name: str) -> None:
    url = layout.shards_url(str(out), OutFolder(str(out)).decision)
    for column in ("name", "path"):
        lines = pq.read_table(url)
        changed = [name, *lines.column(column).to_pylist()[1:]]
        pq.write_table(lines.set_column(lines.schema.get_field_index(column), column, [changed]), url)
        with pytest.raises(PoolsieveError, match="was edited"):
            _ = OutFolder(str(out)).shards
        pq.write_table(lines, url)


@pytest.mark.parametrize("decision", ["../decisions", "..", "", "0123456789ABCDEF", "0123456789abcdef/../x", 5])
def test_the_manifest_names_a_decision_and_nothing_else(out: Path, decision: object) -> None:
    manifest = out / "manifest.json"
    text = manifest.read_text().replace(f'"{read_manifest(str(out)).decision}"', repr(decision).replace("'", '"'))
    manifest.write_text(text)
    with pytest.raises(PlanError, match=r"manifest\.json is damaged"):
        OutFolder(str(out))


def recipe_of(pool: Path, **roles: str) -> Any:
    return poolsieve.Pool.parquet(f"{pool}/*.parquet", uid="uid", **roles) | Keep(
        col("original_width") > 100, reason="image.narrow"
    )


def test_another_pool_does_not_take_the_place_of_the_first(out: Path, tmp_path: Path, pool: Path) -> None:
    other = write_pool(tmp_path / "other", sizes=(11, 12, 13))
    before = (out / "manifest.json").read_bytes()
    planned = poolsieve.plan(recipe_of(other), out)
    assert any("--replace-pool" in text for text in planned.warnings)
    with pytest.raises(PlanError, match=r"no file of that is in the pool.*--replace-pool"):
        poolsieve.run(recipe_of(other), out)
    assert (out / "manifest.json").read_bytes() == before
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"original_width": 5, "uid": "a"}\n')
    with pytest.raises(PlanError, match="jsonl"):
        poolsieve.run(poolsieve.Pool.jsonl(str(lines), uid="uid") | Keep(col("original_width") > 1, reason="a.b"), out)
    assert poolsieve.run(recipe_of(other), out, replace_pool=True).counts.rows_in == 36


def test_a_pool_that_changes_is_the_same(out: Path, tmp_path: Path, pool: Path) -> None:
    pq.write_table(text_table(50, 7), pool / "part-009.parquet")
    os.remove(pool / "part-000.parquet")
    assert poolsieve.run(recipe_of(pool, text="text"), out).counts.rows_in == 850
    for path in pool.iterdir():
        os.utime(path, (1, 1))
    assert poolsieve.run(recipe_of(pool), out).counts.rows_in == 850
    pool.rename(tmp_path / "moved")
    assert poolsieve.run(recipe_of(tmp_path / "moved"), out).counts.rows_in == 850
    for path in (tmp_path / "moved").iterdir():
        pq.write_table(text_table(9, 3), path)
    assert poolsieve.run(recipe_of(tmp_path / "moved"), out).counts.rows_in == 27
