"""The job through Beam's portability layer: a job service and an external worker pool, in processes of their own."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.scoring_models.base.errors import PoolsieveError
from tests.cluster import job_service
from tests.conftest import fingerprint_of, run

RECIPE = '''
from __future__ import annotations
from dataclasses import dataclass
import pyarrow as pa
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, Top, col, scorer

@dataclass
class Weights:
    """A class of the recipe file, which no worker could import."""
    letter: float = 1.5

def weigh(text: pa.Array) -> pa.Array:
    return pa.array([None if t is None else len(t) * Weights().letter for t in text.to_pylist()])

def recipe(pool: str, least: int = 3):
    return (
        Pool.parquet(pool, uid="uid", text="text")
        | Keep(col("text").word_count() >= least, reason="caption.short")
        | Score(weight=scorer(weigh, reads=("text",), columns={"w": "float32"}))
        | Top("weight", fraction=0.4, of="pool")
        | Keep(col("clip") > 0.1, reason="clip.low")
    )
'''


def test_same_ledger_through_a_job_service(
    pool: Path,
    tmp_path: Path,
    recipe_file: Callable[..., RecipeSource],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(pool.parent)  # relative paths must mean the same on a worker that runs from /
    source = recipe_file(RECIPE, pool="pool/*.parquet")
    run(source, tmp_path / "local")
    with job_service(tmp_path) as flags:
        run(source, tmp_path / "portable", runner="portable", beam_flags=flags)
    assert len(fingerprint_of(tmp_path / "local")) == 4
    assert fingerprint_of(tmp_path / "local") == fingerprint_of(tmp_path / "portable")


def test_a_job_that_gets_no_worker_is_given_up(
    pool: Path, tmp_path: Path, recipe_file: Callable[..., RecipeSource]
) -> None:
    source = recipe_file(RECIPE, pool=str(pool / "*.parquet"))
    with job_service(tmp_path) as flags, socket.create_server(("0.0.0.0", 0)) as silent:
        # An address that is not known to be this machine's, so that it is not asked before.
        flags[-1] = f"--environment_config=0.0.0.0:{silent.getsockname()[1]}"
        with pytest.raises(PoolsieveError, match="no worker at work and nothing done for 3 s"):
            run(source, tmp_path / "out", runner="portable", beam_flags=[*flags, "--start_seconds=3"])
