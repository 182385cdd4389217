"""Shared fixtures: small real pools, and the whole job as one call."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow.passes.plan import prepare, prepare_stored
from poolsieve.dataflow.passes.submit import carry_out, what_if
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.store.job import Options
from poolsieve.dataflow.store.manifest import read_manifest
from poolsieve.dataflow.store.summary import Summary
from tests.hub_server import HubServer


def pytest_addoption(parser: pytest.Parser) -> None:
    """Of `tests/fuzz`. Here, since pytest asks no deeper conftest for options."""
    group = parser.getgroup("fuzzing (tests/fuzz)")
    group.addoption(
        "--long", nargs="?", const=3600.0, type=float, metavar="SECONDS", help="fuzz that long in all, with fresh seeds"
    )
    group.addoption("--seed", type=int, metavar="N", help="fuzz with this seed alone, to repeat a failure")


@pytest.fixture
def hub() -> Iterator[HubServer]:
    """A loopback Hub that writes too."""
    with HubServer() as made:
        yield made


def text_table(n: int, seed: int, **columns: Any) -> pa.Table:
    """n rows with uid, text of 0 to 19 words, original sizes, and a float32 score with many ties and some NaN."""
    r = np.random.default_rng(seed)
    uids = [r.bytes(16).hex() for _ in range(n)]
    score = r.normal(0.2, 0.05, n).astype(np.float32).round(2)
    score[r.random(n) < 0.01] = np.nan
    base = {
        "uid": uids,
        "text": [" ".join(["word"] * int(k)) for k in r.integers(0, 20, n)],
        "original_width": r.integers(50, 900, n),
        "original_height": r.integers(50, 900, n),
        "clip": pa.array(score, pa.float32()),
    }
    return pa.table({**base, **columns})


def write_pool(folder: Path, sizes: Sequence[int] = (400, 300, 500), row_group: int = 200, seed: int = 0) -> Path:
    """A Parquet pool of one file for each of `sizes`."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, n in enumerate(sizes):
        pq.write_table(text_table(n, seed * 1000 + i), folder / f"part-{i:03d}.parquet", row_group_size=row_group)
    return folder


def derived_uid(path: str, row: int) -> str:
    """The uid of a row that has none: 128-bit hexadecimal hash of (relative path, row)."""
    return hashlib.blake2b(f"{path}\0{row}".encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """A Parquet pool of 1,200 rows in three files."""
    return write_pool(tmp_path / "pool")


def run(recipe: Recipe | RecipeSource, out: Path | str, **options: Any) -> Summary:
    """The whole run, without a report. `workers`, `frozen` and `Options` fields as keywords."""
    engine = Engine(options.pop("runner", "local"), options.pop("workers", 1), options.pop("beam_flags", ()))
    frozen = options.pop("frozen", None)
    plan = prepare(recipe, str(out), options=Options(**options), frozen=frozen)
    return carry_out(plan, engine=engine).summary


def decide(recipe: Recipe | RecipeSource | None, out: Path | str, **options: Any) -> Summary:
    """A decision from stored scores alone; with `write=False` a what-if."""
    write = options.pop("write", True)
    plan = prepare_stored(recipe, str(out), frozen=options.pop("frozen", None), options=Options(**options))
    return carry_out(plan, score=False).summary if write else what_if(plan)


def ledger(out: Path | str) -> pa.Table:
    """The current ledger, all shards in order of name."""
    folder = Path(out) / read_manifest(str(out)).ledger
    return pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob("*.parquet")))


def fingerprint_of(out: Path | str) -> dict[str, str]:
    """SHA-256 of every ledger file and of subset.npy of the current decision."""
    folder = (Path(out) / read_manifest(str(out)).ledger).parent
    files = [*folder.glob("ledger/*.parquet"), folder / "subset.npy"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


@pytest.fixture
def recipe_file(tmp_path: Path) -> Callable[[str], RecipeSource]:
    """Writes recipe text to a file and gives its source."""

    def make(text: str, **parameters: str) -> RecipeSource:
        path = tmp_path / f"recipe_{hashlib.sha256(text.encode()).hexdigest()[:8]}.py"
        path.write_text(text)
        return RecipeSource.read(str(path), parameters)

    return make


@pytest.fixture
def beside_the_benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Their modules find each other, as when one is run as a script; none stays for other tests."""
    before, folder = set(sys.modules), Path(__file__).parents[1] / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    yield
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == folder:
            del sys.modules[name]
