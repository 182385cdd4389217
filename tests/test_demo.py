"""The demo as a new user meets it: its pool, its network, its recipe, and the same ledger whatever happens on the way."""

from __future__ import annotations

import collections
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.store.manifest import read_manifest
from tests import forked
from tests.cluster import job_service
from tests.conftest import fingerprint_of, ledger, run
from tests.forked import TORCH

pytest.importorskip("open_clip")

REPOSITORY = Path(__file__).parents[1]
RECIPE = REPOSITORY / "recipes" / "datacomp_dfn.py"
POOLSIEVE = str(Path(sys.executable).parent / "poolsieve")

STEPS = """
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, Top, col
from poolsieve.scoring_models import Clip

def recipe(pool: str, model: str, words: int, fraction: float):
    return (
        Pool.webdataset(pool, uid="json:uid", text="txt", image="jpg;png;webp;gif")
        | Keep(col("text").word_count() >= words, reason="caption.short")
        | Score(dfn=Clip(model))
        | Top("dfn", fraction=fraction, of="pool")
    )
"""


def make(out: Path, rows: int, shards: int) -> str:
    """Runs the demo's script; gives what it printed."""
    script = REPOSITORY / "recipes" / "demo" / "make_pool.py"
    command = [sys.executable, str(script), str(out), "--rows", str(rows), "--shards", str(shards)]
    return forked.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's pool with 320 rows in four shards."""
    out = tmp_path_factory.mktemp("demo") / "pool"
    make(out, 320, 4)
    return out


def source(pool: Path, form: str = "webdataset/*.tar", **parameters: Any) -> RecipeSource:
    """The demo's recipe over another pool."""
    given = {"pool": f"{pool}/{form}", **parameters}
    return RecipeSource.read(str(RECIPE), {name: str(value) for name, value in given.items()})


@pytest.fixture(scope="module")
def usual(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of a run over it, in one go."""
    out = tmp_path_factory.mktemp("usual") / "out"
    run(source(demo), out)
    return out


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_pool_is_the_same_bytes_each_time_and_has_every_ill(tmp_path: Path) -> None:
    said = make(tmp_path / "one", 120, 2)
    make(tmp_path / "two", 120, 2)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert len(digests(tmp_path / "one")) == 7
    for ill in ("mismatched", "other language", "corrupt image", "CMYK", "16-bit PNG", "EXIF rotated", "clean"):
        (line,) = [line for line in said.splitlines() if line.strip().split(maxsplit=1)[1] == ill]
        assert int(line.split()[0]) >= 1


def test_the_network_tells_matching_captions_from_others(demo: Path, usual: Path) -> None:
    found = ledger(usual)
    truth = pq.read_table(demo / "truth.parquet")
    matches = dict(zip(truth["uid"].to_pylist(), truth["matches"].to_pylist(), strict=True))
    label = np.array([matches[uid] for uid in found["uid"].to_pylist()])
    score = np.array(found["dfn"].to_pylist(), dtype=float)
    true, false = score[label & ~np.isnan(score)], score[~label & ~np.isnan(score)]
    assert (true[:, None] > false[None, :]).mean() > 0.9
    keep = np.array(found["keep"].to_pylist())
    assert label[keep].mean() > 0.9 > 0.7 > label.mean()
    reasons = {reason.split(".")[0] for reason in read_manifest(str(usual)).reasons}
    assert reasons == {"datacomp", "caption", "quarantine", "dfn"}, reasons


def test_the_parquet_variant_comes_to_the_same(demo: Path, usual: Path, tmp_path: Path) -> None:
    run(source(demo, parquet=True), tmp_path / "parquet")
    columns = ("uid", "keep", "reason", "dfn", "repeated")
    tars, parquet = (
        collections.Counter(zip(*(map(str, ledger(out)[name].to_pylist()) for name in columns), strict=True))
        for out in (usual, tmp_path / "parquet")
    )
    assert tars == parquet


def test_the_same_ledger_whatever_happens_on_the_way(demo: Path, usual: Path, tmp_path: Path) -> None:
    """Two workers, and three runs killed at random moments and gone on with."""
    run(source(demo), tmp_path / "workers", workers=2)
    command = [POOLSIEVE, "run", str(RECIPE), "-p", f"pool={demo}/webdataset/*.tar", "--out", str(tmp_path / "killed")]
    random.seed()
    for _ in range(3):
        _kill_after_first_sign(command, tmp_path / "killed")
    forked.run(command, also=TORCH, capture_output=True, check=True)
    first = fingerprint_of(usual)
    assert len(first) == 5
    for other in ("workers", "killed"):
        assert fingerprint_of(tmp_path / other) == first, other


def _kill_after_first_sign(command: list[str], out: Path) -> None:
    """SIGKILL to the whole group at a random moment after the first new file (it takes seconds to load the model)."""
    before = len(list(out.rglob("*")))
    process = forked.Popen(
        command, also=TORCH, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    for _ in range(600):
        if process.poll() is not None or len(list(out.rglob("*"))) > before:
            break
        time.sleep(0.02)
    time.sleep(random.uniform(0, 0.6))
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    manifest = out / "manifest.json"
    assert not manifest.exists() or json.loads(manifest.read_text())["rows"]["in"] == 320


def test_a_loosened_rule_in_two_steps(demo: Path, tmp_path: Path) -> None:
    path = tmp_path / "steps.py"
    path.write_text(STEPS)

    def given(words: int, fraction: float) -> RecipeSource:
        model = f"local-dir:{REPOSITORY}/recipes/demo/clip"
        parameters = {"pool": f"{demo}/webdataset/*.tar", "model": model, "words": words, "fraction": fraction}
        return RecipeSource.read(str(path), {name: str(value) for name, value in parameters.items()})

    run(given(9, 0.1), tmp_path / "steps")
    run(given(4, 0.4), tmp_path / "steps")
    run(given(4, 0.4), tmp_path / "once")
    assert fingerprint_of(tmp_path / "steps") == fingerprint_of(tmp_path / "once")
    assert len(list((tmp_path / "steps" / "scores").glob("dfn-*/*.parquet"))) == 8  # a file more for each shard


def test_the_same_ledger_through_a_job_service(demo: Path, usual: Path, tmp_path: Path) -> None:
    """The demo's recipe, with its own scorer, on EXTERNAL workers that start in another folder."""
    with job_service(tmp_path) as flags:
        run(source(demo), tmp_path / "portable", runner="portable", beam_flags=flags)
    assert fingerprint_of(usual) == fingerprint_of(tmp_path / "portable")
