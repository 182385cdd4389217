"""Keeps a loaded model busy: the rows of all callers are prepared ahead and go through it in full batches. No Beam.

One feed for each loaded model in a process, there as long as somebody has rows in it. Callers (the batches of several
shards) bring rows and wait for their own results; the feed's workers decode rows piece by piece, in the order in which
they came, and put them into batches whoever they are from. So the model does not run dry at the end of a batch.

What a score depends on stays what it was: the shape that a row goes through is a function of the row alone, and a batch
that is not full is filled up, never sent through a smaller shape.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.base.errors import RowError
from poolsieve.scoring_models.base.scorer import LoadedByRow, ModelBatch, Scored, Scores
from poolsieve.scoring_models.devices.choice import cores
from poolsieve.scoring_models.feeding.calls import Call, halved
from poolsieve.scoring_models.feeding.finite import not_finite
from poolsieve.scoring_models.feeding.meter import Meter, State

Check = Callable[[], object]
"""Called now and then by a caller that waits; raises if it should wait no longer."""

WINDOW = 256 * 2**20
"""Bytes of decoded rows from which on no more are decoded while a full batch waits for the model."""

OVERHEAD = 400
"""Bytes that a decoded part takes beside the contents of its arrays: tuples, and an array's own 112."""

OVERTAKEN = 4096
"""Decoded rows (or parts of them) that may come after one before its batch goes as it is: a shard must not wait for a
shape that is rare until no other shard has any rows left."""

PAUSE = 0.5
"""Seconds between two calls of `check`."""


def never() -> None:
    """The check of a caller that nobody stops."""


class _Ready(NamedTuple):
    """A decoded row, or a part of one, that waits for its batch; `number` is its place in the order of arrival."""

    number: int
    call: Call
    row: int
    inputs: Any
    size: int


class Feed:
    """The rows on their way through one loaded model.

    A worker does what is nearest to the model: a full batch (or one that many have overtaken), else a piece to decode,
    else a batch that is not full and that nothing on its way could fill. It never waits for a caller: one that reads a
    slow disk, or waits at another model, holds nobody up.
    """

    def __init__(self, loaded: LoadedByRow, meter: Meter | None = None) -> None:
        self.users, self.ending, self.ended = 0, False, threading.Event()
        self.meter = meter or Meter.of(loaded)
        self._loaded = loaded
        self._at_once: int | None = getattr(loaded, "at_once", None)
        self._changed = threading.Condition()
        self._calls: list[Call] = []
        self._pieces: deque[tuple[Call, Sequence[int]]] = deque()
        self._ready: dict[str, deque[_Ready]] = {}
        self._numbers, self._newest = itertools.count(), 0
        self._bytes = self._preparing = self._inferring = 0
        self._workers: list[threading.Thread] = []
        self._closed, self._clock = False, time.perf_counter()

    def score(self, batch: pa.RecordBatch, columns: Mapping[str, pa.DataType], threads: int, check: Check) -> Scored:
        """Scores of a batch; waits until the last of its rows is through. Arguments and errors: see `score_rows`."""
        pieces = [piece for piece in self._loaded.pieces(batch) if len(piece)]
        call = Call(batch, columns, threads, left=sum(map(len, pieces)))
        try:
            self._enter(call, pieces)
            self._wait(call, check)
        finally:
            self._leave(call)
        if call.failure is not None:
            raise call.failure
        self.meter.scored(sum(map(len, pieces)) - len(call.errors))
        return dataclasses.replace(call.scored(getattr(self._loaded, "joined", None)), work=self.meter.take())

    def _enter(self, call: Call, pieces: list[Sequence[int]]) -> None:
        with self._changed:
            self._charge()
            self._calls.append(call)
            self._pieces.extend((call, piece) for piece in pieces)
            # Rows of a model on a device are decoded on all cores, while other threads wait for the device.
            wanted = self._threads() + (self._at_once or 0)
            while len(self._workers) < wanted and pieces:
                worker = threading.Thread(target=self._work, name="poolsieve-model")
                worker.start()
                self._workers.append(worker)
            self._note()
            self._changed.notify_all()

    def _threads(self) -> int:
        """As many as the callers brought, but not more than there are cores, unless one caller alone asks for more."""
        brought = [call.threads for call in self._calls]
        return min(sum(brought), max(cores(), *brought))

    def _wait(self, call: Call, check: Check) -> None:
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: call.failure is not None or not call.left, PAUSE):
                    return
            check()

    def _leave(self, call: Call) -> None:
        """Takes the caller's rows out, if it could not wait for them; what is in a worker's hands is thrown away."""
        with self._changed:
            self._charge()
            self._calls = [other for other in self._calls if other is not call]
            if call.left:
                self._pieces = deque(piece for piece in self._pieces if piece[0] is not call)
                self._ready = {
                    shape: deque(r for r in some if r.call is not call) for shape, some in self._ready.items()
                }
                self._bytes = sum(ready.size for some in self._ready.values() for ready in some)
            self._note()
            self._changed.notify_all()

    def _note(self) -> None:
        """Tells the meter how things stand; called, under the lock, when that has changed."""
        threads = max(len(self._workers) - (self._at_once or 0), 0)  # beside those that wait for a device
        self.meter.note(self, State(len(self._pieces), self._preparing, self._inferring, threads))

    def _charge(self) -> None:
        """Shares the time since the last change out among the callers, so that their seconds add up to the clock's."""
        now = time.perf_counter()
        for call in self._calls:
            call.seconds += (now - self._clock) / len(self._calls)
        self._clock = now

    def close(self) -> None:
        """Ends the workers, once their last caller has left; what one has in hand it brings to an end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()
        self.meter.forget(self)

    def _work(self) -> None:
        while (task := self._next()) is not None:
            task()
            del task  # or its rows would stay in memory while this worker waits

    def _next(self) -> Callable[[], None] | None:
        """The next thing to do, as soon as there is one; None at the end."""
        with self._changed:
            while not self._closed:
                task = self._choose()
                if task is not None:
                    self._note()
                    return task
                self._changed.wait()
        return None

    def _choose(self) -> Callable[[], None] | None:
        full = [shape for shape, some in self._ready.items() if some and self._goes(shape, some)]
        free = self._at_once is None or self._inferring < self._at_once
        if full and free:
            return self._batch(min(full, key=self._since))
        # Decoding is for as many threads as there are cores: the others are there to wait for a device.
        if self._pieces and self._preparing < self._threads() and (not full or self._bytes < WINDOW):
            self._preparing += 1
            return functools.partial(self._prepare, *self._pieces.popleft())
        waiting = [shape for shape, some in self._ready.items() if some]
        if waiting and free and not self._pieces and not self._preparing:
            return self._batch(min(waiting, key=self._since))
        return None

    def _goes(self, shape: str, some: deque[_Ready]) -> bool:
        """Whether a batch is full, or has waited long enough for rows of a rare shape."""
        return len(some) >= self._loaded.room(shape) or self._newest - some[0].number > OVERTAKEN

    def _since(self, shape: str) -> int:
        return self._ready[shape][0].number

    def _batch(self, shape: str) -> Callable[[], None]:
        """Takes the parts of a batch out of the window, but those of a row of which another part has failed."""
        some, rows, room = self._ready[shape], list[_Ready](), self._loaded.room(shape)
        while some and len(rows) < room:
            one = some.popleft()
            self._bytes -= one.size
            if one.row in one.call.errors:
                one.call.left -= 1
            else:
                rows.append(one)
        self._inferring += 1
        return functools.partial(self._infer, shape, rows)

    def _prepare(self, call: Call, rows: Sequence[int]) -> None:
        """Decodes a piece."""
        try:
            halved(functools.partial(self._decode, call), rows, functools.partial(self._failed, call))
        except BaseException as error:  # noqa: BLE001  (raised again in the caller's thread)
            call.failure = error
        finally:
            with self._changed:
                self._preparing -= 1
                self._note()
                self._changed.notify_all()

    def _failed(self, call: Call, row: int, error: RowError) -> None:
        with self._changed:
            call.fail(row, error)

    def _decode(self, call: Call, rows: Sequence[int]) -> None:
        decoded, errors = self._loaded.decode(call.batch, rows)
        sizes = [OVERHEAD + sum(array.nbytes for array in one.inputs) for one in decoded]
        for shape in {one.shape for one in decoded}:
            self._loaded.room(shape)  # one that it does not know is an error here, and not of whoever makes a batch
        with self._changed:
            call.decoded(len(rows), len(decoded), errors)
            if any(call is other for other in self._calls):  # it may have left meanwhile
                for one, size in zip(decoded, sizes, strict=True):
                    self._newest = next(self._numbers)
                    ready = _Ready(self._newest, call, one.row, one.inputs, size)
                    self._ready.setdefault(one.shape, deque()).append(ready)
                self._bytes += sum(sizes)
            self._changed.notify_all()

    def _infer(self, shape: str, rows: list[_Ready]) -> None:
        try:
            halved(
                functools.partial(self._through, shape), rows, lambda one, error: self._failed(one.call, one.row, error)
            )
        except BaseException as error:  # noqa: BLE001  (raised again in the callers' threads)
            for one in rows:
                one.call.failure = error
        finally:
            with self._changed:
                self._inferring -= 1
                self._note()
                self._changed.notify_all()

    def _through(self, shape: str, rows: Sequence[_Ready]) -> None:
        """Sends parts of rows through the model at their shape, and gives each caller its own scores."""
        inputs = self._loaded.filled(shape, [one.inputs for one in rows])
        made = self._loaded.infer(ModelBatch(range(len(rows)), shape, inputs))
        self.meter.ran(shape, len(rows), self._loaded.room(shape))
        wrong = not_finite(made, len(rows), self._loaded.settings.get("dtype"))
        for place, error in wrong.items():
            self._failed(rows[place].call, rows[place].row, error)
        places: dict[Call, list[int]] = {}
        for place, one in enumerate(rows):
            if place in wrong:
                continue
            places.setdefault(one.call, []).append(place)
        found = [(call, [rows[place] for place in own], _chosen(made, own)) for call, own in places.items()]
        with self._changed:
            for call, some, scores in found:
                call.through([one.row for one in some], [one.number for one in some], scores)


def _chosen(made: Scores, places: Sequence[int]) -> Scores:
    """The scores of some places of a batch, as copies: what fills it up is let go."""
    return {name: np.asarray(values)[np.asarray(places, dtype=np.int64)] for name, values in made.items()}


_feeds: dict[int, Feed] = {}
"""id of a loaded model -> its feed; who is in a feed holds the model, so an id means one model."""

_lock = threading.Lock()


@contextlib.contextmanager
def feed_of(loaded: LoadedByRow, meter: Meter | None = None) -> Iterator[Feed]:
    """The feed of a loaded model, shared by all who are in this block at the same time; the last one ends it.

    `meter` is the model's, which outlives the feed; without one the feed has its own.
    """
    feed = _entered(loaded, meter)
    try:
        yield feed
    finally:
        with _lock:
            feed.users -= 1
            last = feed.ending = feed.users == 0
        if last:
            _ended(loaded, feed)


def _entered(loaded: LoadedByRow, meter: Meter | None) -> Feed:
    while True:
        with _lock:
            feed = _feeds.get(id(loaded))
            if feed is None:
                feed = _feeds[id(loaded)] = Feed(loaded, meter)
            if not feed.ending:
                feed.users += 1
                return feed
        # Its last batch is still in the model; another feed beside it would take more places there than there are.
        feed.ended.wait()


def _ended(loaded: LoadedByRow, feed: Feed) -> None:
    try:
        feed.close()
    finally:
        with _lock:
            del _feeds[id(loaded)]
        feed.ended.set()
