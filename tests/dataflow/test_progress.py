"""Counters and the stop flag: each run's own, also where one process has several at once."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pytest

from poolsieve.dataflow import Pool, fs, leases, progress
from poolsieve.dataflow.leases import LeaseLost
from poolsieve.dataflow.passes.flight import in_flight
from poolsieve.dataflow.passes.plan import Plan, prepare
from poolsieve.dataflow.passes.submit import carry_out
from poolsieve.dataflow.store import layout
from poolsieve.filters import Keep, Score, col, scorer
from poolsieve.scoring_models.base.errors import PoolsieveError


class Gate:
    """A score that waits until somebody opens the gate; `asked` is set once a batch is there."""

    def __init__(self) -> None:
        self.asked, self.open = threading.Event(), threading.Event()

    def __call__(self, texts: pa.Array) -> dict[str, pa.Array]:
        self.asked.set()
        assert self.open.wait(60)
        return {"x": pa.array([float(len(text or "")) for text in texts.to_pylist()], pa.float32())}


GATES = {name: Gate() for name in ("one", "two")}


def first(texts: pa.Array) -> dict[str, pa.Array]:
    return GATES["one"](texts)


def second(texts: pa.Array) -> dict[str, pa.Array]:
    return GATES["two"](texts)


@pytest.fixture
def plans(pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Plan]:
    """Two runs of one pool, each of which waits in its first shard."""
    monkeypatch.setattr(leases, "BEAT", 0.05)
    progress.reset()
    made = {}
    for name, fn in (("one", first), ("two", second)):
        GATES[name] = Gate()
        slow = Score(s=scorer(fn, reads=("text",), columns={"x": "float32"}))
        recipe = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | slow | Keep(col("s") > 3)
        made[name] = prepare(recipe, str(tmp_path / name))
    return made


@contextlib.contextmanager
def opened_at_last() -> Iterator[None]:
    """Opens the gates where a test fails too: an executor that ends waits for what waits at them."""
    try:
        yield
    finally:
        for gate in GATES.values():
            gate.open.set()


def test_a_run_that_loses_its_lease_stops_no_other_run_of_the_process(plans: dict[str, Plan], pool: Path) -> None:
    with ThreadPoolExecutor(2) as threads, opened_at_last():
        running = {name: threads.submit(carry_out, plan) for name, plan in plans.items()}
        for gate in GATES.values():
            assert gate.asked.wait(60)
        folder = layout.leases_folder(plans["one"].job.out)
        stopped = progress.of(plans["one"].job.run_id)
        until = time.monotonic() + 60
        while not is_stopped(stopped) and time.monotonic() < until:
            for name in fs.names(folder):  # again, since one that goes while it is written is back at once
                fs.remove(f"{folder}/{name}")
            time.sleep(0.5)
        assert is_stopped(stopped) and not is_stopped(progress.of(plans["two"].job.run_id))
        for gate in GATES.values():
            gate.open.set()
        with pytest.raises(LeaseLost, match="was removed"):
            running["one"].result(60)
        assert running["two"].result(60).counts.rows_in == pads.dataset(pool).count_rows()
    assert not fs.exists(layout.manifest_url(plans["one"].job.out))


def test_two_runs_of_a_process_count_their_own_rows(plans: dict[str, Plan]) -> None:
    with ThreadPoolExecutor(2) as pool, opened_at_last():
        running = {name: pool.submit(carry_out, plan) for name, plan in plans.items()}
        assert GATES["two"].asked.wait(60)
        GATES["one"].open.set()
        whole = running["one"].result(60).counts.rows_in
        counts = {name: progress.of(plan.job.run_id).counts() for name, plan in plans.items()}
        assert counts["one"]["read"] == counts["one"]["s"] == counts["one"]["decide"] == whole
        assert counts["two"].get("s", 0) == 0
        GATES["two"].open.set()
        running["two"].result(60)
    assert progress.of(plans["two"].job.run_id).counts() == counts["one"]
    assert progress.counts() == {}


def is_stopped(one: progress.Progress) -> bool:
    try:
        one.check()
    except progress.Interrupted:
        return True
    return False


def test_threads_that_a_shard_starts_are_its_runs_too() -> None:
    mine = progress.Progress()

    def work(number: int, check: Any) -> int:
        progress.add("here", number)
        return number

    progress.reset()
    with mine.here():
        assert list(in_flight(iter([1, 2, 3]), work, 2)) == [1, 2, 3]
    assert mine.counts() == {"here": 6} and progress.counts() == {}


def test_a_thread_that_a_stopped_run_left_behind_is_still_stopped() -> None:
    progress.of("left").ask_to_stop()
    for other in range(200):
        progress.of(f"later {other}")
    with pytest.raises(progress.Interrupted):
        progress.of("left").check()


def test_a_run_within_a_run_gives_its_thread_back() -> None:
    outer, inner = progress.Progress(), progress.Progress()
    with outer.here():
        with pytest.raises(PoolsieveError), inner.here():
            inner.ask_to_stop()
            progress.check()
        progress.check()
        progress.add("a", 1)
    assert outer.counts() == {"a": 1} and inner.counts() == {}
