"""The feed of a loaded model: batches are filled whoever rows are from, and every caller gets its own scores alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.scoring_models.base.errors import PoolsieveError, RowError
from poolsieve.scoring_models.base.scorer import ModelBatch, ModelRow, Scored, Scores
from poolsieve.scoring_models.feeding import feed
from poolsieve.scoring_models.feeding.driver import score_rows

FLOAT = {"": pa.float32()}
SOON = 60.0
"""Seconds after which what should have come does not come any more."""

Rows = Sequence[Sequence[int] | None]


def nothing(values: Sequence[int]) -> None:
    """What a model does beside its work, unless a test says otherwise."""


class Doubling:
    """Scores rows of whole numbers by twice their sum: each number is a part, even and odd ones have shapes of theirs.

    Args:
        room: parts of a full batch.
        bad: numbers on which it falls over.
        piece: rows that are decoded in one go.
        decoding, inferring: called with the numbers that are decoded, or that the model sees.
    """

    settings: ClassVar[dict[str, Any]] = {"room": 4}

    def __init__(
        self,
        *,
        room: int = 4,
        bad: Sequence[int] = (),
        piece: int = 1,
        decoding: Callable[[Sequence[int]], None] = nothing,
        inferring: Callable[[Sequence[int]], None] = nothing,
    ) -> None:
        self.size, self.bad, self.piece = room, set(bad), piece
        self.decoding, self.inferring = decoding, inferring
        self.seen: list[tuple[str, list[int]]] = []
        self.shapes: set[tuple[str, tuple[int, ...]]] = set()

    def pieces(self, batch: pa.RecordBatch) -> Iterator[Sequence[int]]:
        rows = np.flatnonzero(batch.column("x").is_valid().to_numpy(zero_copy_only=False)).tolist()
        return (rows[i : i + self.piece] for i in range(0, len(rows), self.piece))

    def decode(self, batch: pa.RecordBatch, rows: Sequence[int]) -> tuple[list[ModelRow], dict[int, RowError]]:
        values = {row: batch.column("x")[row].as_py() for row in rows}
        self.decoding([value for some in values.values() for value in some])
        errors = {row: RowError("negative", "below 0") for row, some in values.items() if min(some, default=0) < 0}
        good = [(row, value) for row, some in values.items() if row not in errors for value in some]
        return [ModelRow(row, self.shape_of(value), (np.array([value]),)) for row, value in good], errors

    def shape_of(self, value: int) -> str:
        return "odd" if value % 2 else "even"

    def room(self, shape: str) -> int:
        return {"even": self.size, "odd": self.size}[shape]

    def filled(self, shape: str, inputs: Sequence[tuple[np.ndarray[Any, Any], ...]]) -> Any:
        made = np.zeros(self.room(shape), dtype=np.int64)
        made[: len(inputs)] = np.concatenate([value for (value,) in inputs])
        return made

    def infer(self, prepared: ModelBatch) -> Scores:
        values = prepared.inputs[: len(prepared.rows)].tolist()
        self.seen.append((prepared.shape, values))
        self.shapes.add((prepared.shape, prepared.inputs.shape))
        self.inferring(values)
        if self.bad & set(values):
            raise RuntimeError("the model fell over")
        return {"double": 2.0 * prepared.inputs}

    def joined(self, parts: Scores, owners: np.ndarray[Any, Any], count: int) -> Scores:
        return {"": np.bincount(owners, weights=parts["double"], minlength=count).astype(np.float32)}


def batch_of(rows: Rows) -> pa.RecordBatch:
    return pa.record_batch({"x": pa.array(rows, pa.list_(pa.int64()))})


def score(model: Any, rows: Rows, threads: int = 1, check: Callable[[], object] = feed.never) -> Scored:
    return score_rows(model, batch_of(rows), FLOAT, threads=threads, check=check)


def values_of(model: Any, rows: Rows, threads: int = 1) -> list[float | None]:
    found: list[float | None] = score(model, rows, threads).columns[""].to_pylist()
    return found


class Held:
    """Holds the decoding of the number 0 up until all of `others` are decoded, so that they meet in one batch."""

    def __init__(self, *others: int) -> None:
        self.missing, self.all, self.begun = set(others), threading.Event(), threading.Event()

    def __call__(self, values: Sequence[int]) -> None:
        if 0 in values:
            self.begun.set()
        self.missing -= set(values)
        if not self.missing:
            self.all.set()
        if 0 in values:
            assert self.all.wait(SOON)


def together(model: Doubling, first: Rows, *others: Rows) -> list[Future[Scored]]:
    """What callers get who are in a feed at a time; the first brings the 0, and a second thread for the others."""
    assert isinstance(model.decoding, Held)
    with ThreadPoolExecutor(1 + len(others)) as pool:
        coming = [pool.submit(score, model, first, 2)]
        assert model.decoding.begun.wait(SOON)
        return [*coming, *(pool.submit(score, model, rows) for rows in others)]


def of(future: Future[Scored]) -> list[float | None]:
    found: list[float | None] = future.result(SOON).columns[""].to_pylist()
    return found


def test_batches_are_filled_in_the_order_of_arrival_and_the_last_ones_filled_up() -> None:
    model = Doubling(room=2)
    assert values_of(model, [[1], [2], [3], None, [4], [6], [5]]) == [2, 4, 6, None, 8, 12, 10]
    assert model.seen == [("odd", [1, 3]), ("even", [2, 4]), ("even", [6]), ("odd", [5])]
    assert model.shapes == {("odd", (2,)), ("even", (2,))}


def test_of_several_full_batches_the_one_that_waits_longest_goes_first() -> None:
    model = Doubling(room=2, piece=9)
    values_of(model, [[2], [1], [3], [5], [4], [6], [8], [7]])
    assert model.seen == [("even", [2, 4]), ("odd", [1, 3]), ("odd", [5, 7]), ("even", [6, 8])]


def test_a_batch_is_filled_from_all_callers_and_each_gets_its_own() -> None:
    model = Doubling(room=6, decoding=Held(2, 4, 6))
    first, second, third = together(model, [[0], [8], [10]], [[2], [4]], [[6]])
    assert (of(first), of(second), of(third)) == ([0, 16, 20], [4, 8], [12])
    assert [sorted(values) for _, values in model.seen] == [[0, 2, 4, 6, 8, 10]]


def test_a_row_of_several_parts_is_joined_over_batches_and_shapes() -> None:
    model = Doubling(room=3)
    assert values_of(model, [list(range(100)), [], [7], [1, 2]]) == [9900, None, 14, 6]
    assert {len(values) for _, values in model.seen} <= {1, 2, 3}


def test_parts_come_to_be_joined_by_row_and_in_the_order_in_which_they_were_decoded() -> None:
    class Joining(Doubling):
        def joined(self, parts: Scores, owners: np.ndarray[Any, Any], count: int) -> Scores:
            texts = [",".join(str(int(value / 2)) for value in parts["double"][owners == row]) for row in range(count)]
            return {"": np.array(texts, dtype=object)}

    rows = [[9, 2, 7, 4, 5], [8, 1], [], None, [3]]
    made = score_rows(Joining(room=2), batch_of(rows), {"": pa.string()}, threads=2)
    assert made.columns[""].to_pylist() == ["9,2,7,4,5", "8,1", None, None, "3"]


def test_a_failing_row_fails_alone_and_at_the_same_shape() -> None:
    model = Doubling(room=8, bad=[6], piece=8)
    made = score(model, [[2 * i] for i in range(8)])
    assert made.columns[""].to_pylist() == [0, 4, 8, None, 16, 20, 24, 28]
    assert {row: error.kind for row, error in made.errors.items()} == {3: "runtime_error"}
    assert model.shapes == {("even", (8,))}
    assert len(model.seen) == 7  # of 8, 4, 2 and one row, and the other halves


def test_a_failing_row_is_no_matter_of_the_callers_beside_it() -> None:
    model = Doubling(room=4, bad=[2], decoding=Held(2, 4, 6))
    first, second, third = together(model, [[0]], [[2], [4]], [[6]])
    assert (of(first), of(second), of(third)) == ([0], [None, 8], [12])
    assert not first.result().errors and set(second.result().errors) == {0} and not third.result().errors


def test_a_row_with_a_failing_part_has_no_score_and_its_other_parts_are_dropped() -> None:
    model = Doubling(room=1, bad=[1], piece=2)
    made = score(model, [[1, 3, 5, 2], [7, 4]])
    assert made.columns[""].to_pylist() == [None, 22]
    assert list(made.errors) == [0]
    assert model.seen == [("odd", [1]), ("odd", [7]), ("even", [4])]


def test_rows_that_can_not_be_decoded_are_errors() -> None:
    def decoding(values: Sequence[int]) -> None:
        if 5 in values:
            raise ValueError("no 5")

    made = score(Doubling(piece=4, decoding=decoding), [[1], [-1], [5], [2, 5], None, [3]], threads=2)
    assert made.columns[""].to_pylist() == [2, None, None, None, None, 6]
    assert {row: error.kind for row, error in made.errors.items()} == {
        1: "negative",
        2: "value_error",
        3: "value_error",
    }


def test_what_is_no_rows_fault_reaches_all_who_had_rows_in_it_and_nobody_else() -> None:
    def inferring(values: Sequence[int]) -> None:
        if 2 in values:
            raise MemoryError("no room")

    model = Doubling(room=4, decoding=Held(2, 1, 3), inferring=inferring)
    first, second, third = together(model, [[0]], [[2], [1]], [[3], [5]])
    for caller in (first, second):
        with pytest.raises(MemoryError, match="no room"):
            caller.result(SOON)
    assert of(third) == [6, 10]
    assert values_of(Doubling(), [[2]]) == [4]


def test_a_caller_that_stops_takes_its_own_rows_out() -> None:
    begun, gone = threading.Event(), threading.Event()

    def inferring(values: Sequence[int]) -> None:
        begun.set()
        assert gone.wait(SOON)

    def stop() -> None:
        raise KeyboardInterrupt

    model = Doubling(room=1, inferring=inferring)
    with ThreadPoolExecutor(2) as pool:
        stopping = pool.submit(score, model, [[1, 3, 5] for _ in range(50)], 1, stop)
        assert begun.wait(SOON)
        staying = pool.submit(score, model, [[2], [4]])
        with pytest.raises(KeyboardInterrupt):
            stopping.result(SOON)
        gone.set()
        assert of(staying) == [4, 8]
    assert len([shape for shape, _ in model.seen if shape == "odd"]) <= 2  # what the workers had in hand


def test_the_last_caller_ends_the_threads() -> None:
    model = Doubling(bad=[3])
    score(model, [[1], [3]], threads=4)
    with pytest.raises(ZeroDivisionError):
        score(Doubling(inferring=lambda values: threading.Event().wait(1.0)), [[1]], check=lambda: 1 / 0)
    assert not [thread for thread in threading.enumerate() if thread.name == "poolsieve-model"]
    assert not feed._feeds


def test_two_models_that_are_used_crosswise_do_not_wait_for_one_another() -> None:
    models = [Doubling(room=3), Doubling(room=5)]

    def use(order: Sequence[int]) -> list[list[float | None]]:
        return [values_of(models[which], [[i, i + 1] for i in range(7)]) for _ in range(20) for which in order]

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(use, order) for order in ((0, 1), (1, 0))]
        assert [one.result(SOON) for one in both] == [[[4.0 * i + 2 for i in range(7)]] * 40] * 2


@pytest.mark.parametrize("parts", [1, 40])
def test_rows_are_not_decoded_far_ahead_of_a_slow_model(parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of 40 parts is beyond the window by itself, and goes through all the same."""
    monkeypatch.setattr(feed, "WINDOW", 10 * (feed.OVERHEAD + 8))
    decoded, inferred, most = 0, 0, 0
    lock, ahead = threading.Lock(), threading.Event()

    def decoding(values: Sequence[int]) -> None:
        nonlocal decoded, most
        with lock:
            decoded += len(values)
            most = max(most, decoded - inferred)
        if decoded - inferred >= 10:
            ahead.set()

    def inferring(values: Sequence[int]) -> None:
        nonlocal inferred
        assert ahead.wait(SOON)
        with lock:
            inferred += len(values)

    model = Doubling(room=2, decoding=decoding, inferring=inferring)
    model.at_once = 1  # type: ignore[attr-defined]
    assert values_of(model, [[2] * parts] * 200, threads=2) == [4.0 * parts] * 200
    # The window, what three workers decode at a time, and the batches of three workers.
    assert 10 <= most <= 10 + 3 * parts + 3 * 2


def test_a_rare_shape_is_not_overtaken_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "OVERTAKEN", 6)
    model = Doubling()
    assert values_of(model, [[1], *([2 * n] for n in range(1, 41))]) == [2.0, *(4.0 * n for n in range(1, 41))]
    shapes = [shape for shape, _ in model.seen]
    assert shapes.index("odd") == 1  # when the seventh has come, and not behind the tenth batch
    assert len(shapes) == 11


def test_a_shape_that_a_model_does_not_know_is_an_error_of_its_row() -> None:
    class Wide(Doubling):
        def shape_of(self, value: int) -> str:
            return "wide" if value > 8 else super().shape_of(value)

    made = score(Wide(piece=3), [[1], [9], [2]])
    assert made.columns[""].to_pylist() == [2, None, 4]
    assert made.errors[1].kind == "key_error"


def test_a_row_that_can_not_be_joined_fails_alone() -> None:
    class Picky(Doubling):
        def joined(self, parts: Scores, owners: np.ndarray[Any, Any], count: int) -> Scores:
            if 10.0 in parts["double"]:
                raise ValueError("five")
            return super().joined(parts, owners, count)

    made = score(Picky(bad=[7]), [[1, 2], [5], [7, 8], [3], None, [4, 4]])
    assert made.columns[""].to_pylist() == [6, None, None, 6, None, 16]
    assert {row: error.kind for row, error in made.errors.items()} == {1: "value_error", 2: "runtime_error"}


class Plain(Doubling):
    """A model whose rows are one part each."""

    joined = None  # type: ignore[assignment]

    def infer(self, prepared: ModelBatch) -> Scores:
        return {"": super().infer(prepared)["double"]}


def test_without_joined_a_row_is_one_part() -> None:
    assert values_of(Plain(), [[1], None, [2]]) == [2, None, 4]
    with pytest.raises(PoolsieveError, match="several parts for a row"):
        score(Plain(), [[1, 2]])
    with pytest.raises(PoolsieveError, match=r"gave 2 of '' for 2 rows; its scorer says column 'other'"):
        score_rows(Plain(), batch_of([[1], [2]]), {"other": pa.float32()}, threads=1)


@settings(max_examples=60, deadline=None)
@given(
    callers=st.lists(
        st.lists(st.one_of(st.none(), st.lists(st.integers(-1, 30), max_size=6)), min_size=1, max_size=12),
        min_size=1,
        max_size=4,
    ),
    bad=st.sets(st.integers(0, 30), max_size=4),
    room=st.integers(1, 5),
    piece=st.integers(1, 5),
    threads=st.integers(1, 3),
)
def test_every_caller_gets_what_it_would_get_alone(
    callers: list[Rows], bad: set[int], room: int, piece: int, threads: int
) -> None:
    model = Doubling(room=room, bad=sorted(bad), piece=piece)
    with ThreadPoolExecutor(len(callers)) as pool:
        coming = [pool.submit(score, model, rows, threads) for rows in callers]
    for rows, future in zip(callers, coming, strict=True):
        failing = {i for i, row in enumerate(rows) if row and (min(row) < 0 or bad & set(row))}
        good = [None if i in failing or not row else 2.0 * sum(row) for i, row in enumerate(rows)]
        assert of(future) == good
        assert set(future.result().errors) == failing
    assert {shape for _, shape in model.shapes} <= {(room,)}


class Perceptron(Doubling):
    """A real torch network, of which a number's shape and batch would show in its last digits."""

    def __init__(self, torch: Any) -> None:
        super().__init__(room=8, piece=3)
        torch.manual_seed(0)
        self.torch = torch
        sizes = [(33, 64), (64, 64), (64, 1)]
        layers = [layer for pair in sizes for layer in (torch.nn.Linear(*pair), torch.nn.GELU())]
        self.network = torch.nn.Sequential(*layers).eval()

    def infer(self, prepared: ModelBatch) -> Scores:
        torch = self.torch
        torch.set_num_threads(1)
        wide = torch.from_numpy(prepared.inputs)[:, None] * torch.linspace(0.01, 1.0, 33)
        with torch.inference_mode():
            return {"double": self.network(wide.sin())[:, 0].double().numpy()}


def test_scores_of_a_real_network_are_bit_equal_for_any_threads_and_callers() -> None:
    torch = pytest.importorskip("torch")
    dice = np.random.default_rng(0)
    rows = [dice.integers(0, 1000, dice.integers(1, 9)).tolist() for _ in range(120)]
    alone = [values_of(Perceptron(torch), [row])[0] for row in rows]
    assert len(set(alone)) > 100
    for threads in (1, 2, 8):
        model = Perceptron(torch)
        assert values_of(model, rows, threads) == alone
        with ThreadPoolExecutor(3) as pool:
            coming = [pool.submit(score, model, rows[i::3], threads) for i in range(3)]
        assert [of(one) for one in coming] == [alone[i::3] for i in range(3)]
