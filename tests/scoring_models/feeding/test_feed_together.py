"""Many callers at one feed, some of whom stop or bring what can't be scored: each gets its own scores, nothing stays."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from poolsieve.scoring_models.base.errors import PoolsieveError, RowError
from poolsieve.scoring_models.base.scorer import ModelBatch, ModelRow
from poolsieve.scoring_models.feeding.driver import score_rows

FLOAT = {"": pa.float32()}
ROOM = 4
OUT_OF_MEMORY, NO_DEVICE = 999_983, 999_979


class Gone(Exception):
    """A caller was told to stop."""


class Fussy:
    """Doubles numbers, four at a time; what a number is made of says what goes wrong with it."""

    def __init__(self, seed: int, at_once: int | None) -> None:
        self.settings: dict[str, Any] = {"device": "cpu"}
        self.dice, self.at_once, self.lock = random.Random(seed), at_once, threading.Lock()
        self.now = self.most = 0

    def pieces(self, batch: pa.RecordBatch) -> Iterator[Sequence[int]]:
        rows = [i for i, value in enumerate(batch.column("x").to_pylist()) if value is not None]
        return (rows[i : i + 3] for i in range(0, len(rows), 3))

    def decode(self, batch: pa.RecordBatch, rows: Sequence[int]) -> tuple[list[ModelRow], dict[int, RowError]]:
        made, errors = [], {}
        for row in rows:
            value = batch.column("x")[row].as_py()
            if value == OUT_OF_MEMORY:
                raise MemoryError
            if value % 19 == 4:
                raise ValueError("can't be decoded, and its neighbours are tried again")
            if value % 17 == 3:
                errors[row] = RowError("broken", "x")
            elif value % 23 != 5:
                made.append(ModelRow(row, f"shape {value % 3}", (np.array([value]),)))
        return made, errors

    def room(self, shape: str) -> int:
        return ROOM

    def filled(self, shape: str, inputs: Sequence[tuple[np.ndarray[Any, Any], ...]]) -> Any:
        made = np.zeros((ROOM, 1), np.int64)
        made[: len(inputs)] = [one[0] for one in inputs]
        return made

    def infer(self, prepared: ModelBatch) -> dict[str, Any]:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            if self.dice.random() < 0.1:
                time.sleep(0.001)
            return self._doubled(prepared)
        finally:
            with self.lock:
                self.now -= 1

    def _doubled(self, prepared: ModelBatch) -> dict[str, Any]:
        values = prepared.inputs[: len(prepared.rows), 0]
        if NO_DEVICE in values:
            raise PoolsieveError("the device is gone")
        if (values % 29 == 7).any():
            raise RuntimeError("the model can't stand this batch")
        return {"": (2 * prepared.inputs[:, 0]).astype(np.float32)}


def expected(value: int | None) -> tuple[float | None, bool]:
    """(score, whether it is an error)."""
    if value is None:
        return None, False
    if value % 19 == 4 or value % 17 == 3:
        return None, True
    if value % 23 == 5:
        return None, False
    return (None, True) if value % 29 == 7 else (2.0 * value, False)


def call(model: Fussy, dice: random.Random) -> list[Any]:
    """One caller's rows; what it got that it should not have."""
    values = [None if dice.random() < 0.1 else dice.randrange(900_000) for _ in range(dice.randrange(60))]
    fatal = dice.choice([OUT_OF_MEMORY, NO_DEVICE]) if values and dice.random() < 0.1 else None
    if fatal:
        values[dice.randrange(len(values))] = fatal
    stop = dice.random() < 0.1

    def check() -> None:
        if stop:
            raise Gone

    batch = pa.record_batch({"x": pa.array(values, pa.int64())})
    try:
        made = score_rows(model, batch, FLOAT, threads=dice.choice([1, 2, 5]), check=check)
    except Gone:
        return []
    except PoolsieveError:
        return []  # its own row's, or one that was in the same batch
    except MemoryError:
        return [] if fatal == OUT_OF_MEMORY else ["another caller's MemoryError in decoding"]
    got = [(score, row in made.errors) for row, score in enumerate(made.columns[""].to_pylist())]
    return [pair for pair in zip(values, got, strict=True) if fatal or expected(pair[0]) != pair[1]]


@pytest.mark.parametrize("at_once", [None, 1, 2])
@pytest.mark.parametrize("callers", [1, 5, 16])
def test_each_gets_its_own_scores_and_nothing_stays(callers: int, at_once: int | None) -> None:
    for seed in range(5):
        model, wrong = Fussy(seed, at_once), []

        def work(number: int, model: Fussy = model, wrong: list[Any] = wrong, seed: int = seed) -> None:
            dice = random.Random(100 * seed + number)
            for _ in range(5):
                wrong.extend(call(model, dice))

        threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a caller waits for ever"
        assert wrong == []
        assert at_once is None or model.most <= at_once
        assert not [one for one in threading.enumerate() if one.name == "poolsieve-model"]


class Slow(Fussy):
    """Its first batch stays in the model until it is let go."""

    def __init__(self) -> None:
        super().__init__(seed=0, at_once=1)
        self.inside, self.go = threading.Event(), threading.Event()

    def _doubled(self, prepared: ModelBatch) -> dict[str, Any]:
        self.inside.set()
        assert self.go.wait(60)
        return super()._doubled(prepared)


def test_a_new_caller_waits_for_the_batch_of_one_that_left() -> None:
    model, batch = Slow(), pa.record_batch({"x": pa.array([1, 2], pa.int64())})

    def leave() -> None:
        if model.inside.is_set():
            raise Gone

    def first() -> None:
        with pytest.raises(Gone):
            score_rows(model, batch, FLOAT, threads=1, check=leave)

    gone = threading.Thread(target=first, daemon=True)
    gone.start()
    assert model.inside.wait(60)
    release = threading.Timer(1.0, model.go.set)
    release.start()
    made = score_rows(model, batch, FLOAT, threads=1)
    gone.join(60)
    assert (made.columns[""].to_pylist(), model.most) == ([2.0, 4.0], 1)
