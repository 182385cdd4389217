"""`make demo-color`: its texts, its tiny pair and the recipe over both, as the Makefile runs them."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

pytest.importorskip("accelerate")

from poolsieve.dataflow.recipes.source import RecipeSource
from tests import forked
from tests.conftest import decide, ledger

REPOSITORY = Path(__file__).parents[1]


def make(folder: Path) -> None:
    script = REPOSITORY / "recipes" / "demo" / "make_texts.py"
    forked.run([sys.executable, script, folder, "--rows", "600", "--shards", "2"], check=True)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's texts, 600 of them in two shards."""
    target = tmp_path_factory.mktemp("demo") / "texts"
    make(target)
    return target


def commands() -> list[list[str]]:
    """What the Makefile runs for `demo-color`, its folder as `demo`."""
    rule = re.search(r"^demo-color:.*\n((?:\t.*\n)+)", (REPOSITORY / "Makefile").read_text(), re.M)
    assert rule
    lines = rule.group(1).replace("\\\n", " ").replace("$(DEMO)", "demo").replace("$(BIN)/poolsieve", "poolsieve")
    return [shlex.split(line) for line in lines.strip().splitlines()]


def test_texts_are_the_same_bytes_each_time_and_no_target_is_in_the_pool(texts: Path, tmp_path: Path) -> None:
    make(tmp_path / "again")
    names = ["target.jsonl", "truth.parquet", *(f"pool/part-0000{i}.jsonl.zst" for i in range(2))]
    assert all((texts / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)
    import zstandard

    packed = [
        zstandard.ZstdDecompressor().stream_reader(path.open("rb")).read() for path in sorted(texts.glob("pool/*"))
    ]
    rows = [json.loads(line) for part in packed for line in part.splitlines()]
    truth = dict(
        zip(*(pq.read_table(texts / "truth.parquet")[name].to_pylist() for name in ("uid", "matches")), strict=True)
    )
    assert truth == {row["id"]: row["kind"] == "docstring" for row in rows}
    target = {json.loads(line)["text"] for line in (texts / "target.jsonl").read_text().splitlines()}
    assert len(target) > 30 and not target & {row["text"] for row in rows}


def test_the_demo_finds_docstrings(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In as few steps as tell something; the Makefile's own take a minute."""
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "texts").symlink_to(texts)
    (tmp_path / "recipes").symlink_to(REPOSITORY / "recipes")
    train, score = commands()
    short = ["--steps", "60", "--epochs", "1"]
    for command in ([*train, *short], score):
        line = [sys.executable, "-m", "poolsieve.jobs.cli", *command[1:]]
        done = forked.run(line, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
    found = ledger(tmp_path / "demo" / "out-color")
    truth = pq.read_table(texts / "truth.parquet")
    matches = dict(zip(truth["uid"].to_pylist(), truth["matches"].to_pylist(), strict=True))
    wanted = np.array([matches[uid] for uid in found["uid"].to_pylist()])
    keep = np.array(found["keep"].to_pylist())
    assert keep.sum() == len(keep) // 10
    assert wanted[keep].mean() > 0.4 > 0.2 > wanted.mean()
    monkeypatch.chdir(tmp_path)
    given = {"pool": "demo/texts/pool/*.jsonl.zst", "uid": "id", "pair": "demo/pair", "by": "color.conditional"}
    again = decide(RecipeSource.read(str(REPOSITORY / "recipes" / "color.py"), given), tmp_path / "demo" / "out-color")
    assert again.kept == len(keep) // 16
