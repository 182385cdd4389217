"""What is under way at a time: batches of a shard in order, one failure for all of them, and how many shards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from poolsieve.dataflow import Pool, progress
from poolsieve.dataflow.passes.flight import (
    FEW_ROWS,
    LEAST_SHARDS,
    MOST_AHEAD,
    MOST_SHARDS,
    SHARE_BYTES,
    in_flight,
    shards_in_flight,
)
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.filters import Keep, Score, col
from poolsieve.scoring_models import Clip
from poolsieve.scoring_models.feeding.feed import Check
from tests.conftest import write_pool

MODEL = Path(__file__).parents[3] / "recipes" / "demo" / "clip"


class Gate:
    """Work on numbers; those of `held` wait until they are told to stop or the gate opens."""

    def __init__(self, held: set[int], failing: int | None = None) -> None:
        self.held, self.failing, self.open = held, failing, threading.Event()
        self.begun: list[int] = []
        self.stopped: list[int] = []

    def work(self, number: int, check: Check) -> int:
        self.begun.append(number)
        if number == self.failing:
            raise ValueError(f"number {number}")
        while number in self.held and not self.open.wait(0.01):
            try:
                check()
            except BaseException:
                self.stopped.append(number)
                raise
        return number * 10


def numbers(n: int) -> Iterator[int]:
    yield from range(n)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_results_come_in_order(n: int) -> None:
    gate = Gate(held=set())
    assert list(in_flight(numbers(20), gate.work, n)) == [10 * i for i in range(20)]
    assert sorted(gate.begun) == list(range(20))


def test_the_next_is_worked_on_while_the_first_waits() -> None:
    gate = Gate(held={0})
    made = in_flight(numbers(3), lambda i, check: (i == 1 and gate.open.set()) or gate.work(i, check), 2)
    assert list(made) == [0, 10, 20]  # the first would wait for ever if the second did not begin


@pytest.mark.parametrize(("rows", "at_a_time"), [(FEW_ROWS, 2), (FEW_ROWS // 4, 4), (1, MOST_AHEAD), (0, MOST_AHEAD)])
def test_batches_of_few_rows_are_worked_on_more_at_a_time(rows: int, at_a_time: int) -> None:
    """The first few all wait for one another; one more would never begin."""
    begun, meant = list[int](), list[int]()
    together = threading.Barrier(at_a_time, action=lambda: meant.extend(begun), timeout=20)

    def work(number: int, check: Check) -> int:
        begun.append(number)
        if number < at_a_time:
            together.wait()
        return number

    assert list(in_flight(numbers(20), work, 2, lambda _: rows)) == list(range(20))
    assert sorted(meant) == list(range(at_a_time))


@pytest.mark.parametrize("failing", [0, 1, 3])
def test_a_failure_is_told_as_it_was_and_stops_the_others(failing: int) -> None:
    gate = Gate(held={0, 1, 2, 3} - {failing}, failing=failing)
    if failing == 3:
        gate.held = {2}
    with pytest.raises(ValueError, match=f"number {failing}"):
        list(in_flight(numbers(50), gate.work, 2))
    assert len(gate.begun) <= failing + 3
    assert set(gate.stopped) <= gate.held


def test_whoever_leaves_early_waits_for_nobody() -> None:
    gate = Gate(held={1, 2, 3})
    made = in_flight(numbers(50), gate.work, 2)
    assert next(made) == 0
    made.close()  # type: ignore[attr-defined]
    assert set(gate.stopped) == set(gate.begun) - {0}


def test_a_reader_that_fails_stops_what_is_under_way() -> None:
    def broken() -> Iterator[int]:
        yield 0
        raise OSError("the storage is gone")

    gate = Gate(held={0})
    with pytest.raises(OSError, match="the storage is gone"):
        list(in_flight(broken(), gate.work, 2))
    assert gate.stopped == [0]


def test_the_user_stops_all_of_them() -> None:
    gate = Gate(held={0, 1})
    timer = threading.Timer(0.2, progress.ask_to_stop)
    timer.start()
    try:
        with pytest.raises(progress.Interrupted):
            list(in_flight(numbers(4), gate.work, 2))
    finally:
        timer.join()
        progress.reset()
    assert sorted(gate.stopped) == sorted(gate.begun)


def test_how_many_shards_are_under_way(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool", sizes=(4, 4, 4))
    source = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text", image="text")
    scored = source | Score(clip=Clip(f"local-dir:{MODEL}")) | Keep(col("clip") > 0)
    made = prepare(scored, str(tmp_path / "out"))

    def at_a_time(size: int, count: int) -> int:
        return shards_in_flight(made.job.program, [replace(made.shards[0], size=size)] * count)

    assert at_a_time(10**9, 3) == LEAST_SHARDS
    assert at_a_time(10**5, 10**4) == MOST_SHARDS
    # A worker takes time to start: a small pool is through before many have.
    assert at_a_time(10**5, 8) == LEAST_SHARDS
    assert [at_a_time(1, count) for count in (0, 1, 2, 50)] == [1, 1, 2, LEAST_SHARDS]
    assert at_a_time(2 * SHARE_BYTES, 3) == 3 and at_a_time(SHARE_BYTES // 2, 10) == 5
    plain = prepare(source | Keep(col("text").word_count() > 3), str(tmp_path / "plain"))
    assert shards_in_flight(plain.job.program, plain.shards) == 1
