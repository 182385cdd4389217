"""What a run over many more rows would take, from rates that were measured: arithmetic alone, no figure of its own.

Sums are taken to grow with the rows, since no row knows of another, and shards to have as many rows as those measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from poolsieve.dataflow.passes.growth import Growth
from poolsieve.dataflow.passes.items import IN_FILE, LISTED, shards_in_item
from poolsieve.dataflow.recipes.program import Program

REQUEST_BYTES = 10_000_000
"""Most bytes of a request that creates a job (https://cloud.google.com/dataflow/quotas, "job creation request size");
job servers of Spark and Flink take more, but hold it in memory."""

WHOLE = "memory of the one worker that sees all rows"
FEWER = "rules that drop rows before; for duplicates of documents a cluster, where no worker sees them all"

Kind = Literal["cpu", "gpu"]


class StageRate(msgspec.Struct, kw_only=True, frozen=True):
    """What a stage was measured to take.

    Attributes:
        step: a scorer's name; "read", "write", or "decide".
        rows: that were measured.
        seconds: of one worker for each of them: by the clock, but for "decide", of the processor.
        share: of the pool's rows that come to it.
        device: "cpu", or the device's name.
        cost: for each row, of what an endpoint asks for; 0 for none.
    """

    step: str
    rows: int
    seconds: float
    share: float = 1.0
    device: str = "cpu"
    cost: float = 0.0


class Rates(msgspec.Struct, kw_only=True, frozen=True):
    """What was measured, and where.

    Attributes:
        source: for people.
        rows_per_shard, shard_bytes: of a shard, on average; bytes of its part of the file.
    """

    source: str
    rows_per_shard: float
    shard_bytes: float
    stages: tuple[StageRate, ...]


class Machine(msgspec.Struct, kw_only=True, frozen=True):
    """The machine that plans. `memory`: its bytes; `resident`: the most that this process had of them so far."""

    memory: int
    resident: int
    descriptors: int
    open_files: int


class StageProjection(msgspec.Struct, kw_only=True, frozen=True):
    """A stage over all rows: rows that come to it, hours of a device, and what these cost (None without a price)."""

    step: str
    device: str
    rows: int
    measured_rows: int
    seconds_per_row: float
    hours: float
    cost: float | None


class Limit(msgspec.Struct, kw_only=True, frozen=True):
    """A quantity that has a limit.

    Attributes:
        what: its name.
        value: for the rows that were asked for, in `unit`.
        most: the limit.
        rows: of a pool that reaches it; None for what does not grow with the pool.
        remedy: what moves it.
    """

    what: str
    value: int
    most: int
    unit: Literal["bytes", "files"]
    rows: int | None
    remedy: str


class Projection(msgspec.Struct, kw_only=True, frozen=True):
    """What a run over `rows` rows would take.

    Attributes:
        source: where the rates were measured.
        bytes: of the pool.
        items: work items, which shards are handed on in.
        shuffle_bytes: that all steps hand on to others, at most.
        driver_bytes: memory of the submitting process.
        hours: kind of device -> hours.
        cost: of all stages; None if some stage has no price.
        limits: the one that is reached first stands first.
        ends: where it stops scaling, in a sentence.
    """

    rows: int
    source: str
    shards: int
    rows_per_shard: int
    bytes: int
    items: int
    shuffle_bytes: int
    driver_bytes: int
    hours: dict[str, float]
    cost: float | None
    stages: tuple[StageProjection, ...]
    limits: tuple[Limit, ...]
    ends: str


def project(
    rows: int, rates: Rates, growth: Growth, program: Program, machine: Machine, prices: Mapping[str, float]
) -> Projection:
    """The projection.

    Args:
        rows: of the pool.
        rates: of the stages.
        growth: of what a shard adds.
        program: the recipe, compiled.
        machine: which submits the job.
        prices: kind of device -> price of an hour.
    """
    sized = _Sized(rates, growth, program, machine)
    stages = tuple(_stage(rows, rate, prices) for rate in rates.stages)
    hours: dict[str, float] = {}
    for stage in stages:
        hours[kind_of(stage.device)] = hours.get(kind_of(stage.device), 0.0) + stage.hours
    costs = [stage.cost for stage in stages]
    limits = sized.limits(rows)
    return Projection(
        rows=rows,
        source=rates.source,
        shards=sized.shards(rows),
        rows_per_shard=round(rates.rows_per_shard),
        bytes=round(rows / rates.rows_per_shard * rates.shard_bytes),
        items=sized.items(rows),
        shuffle_bytes=round(sized.shards(rows) * growth.shuffled),
        driver_bytes=sized.driver(rows),
        hours=hours,
        cost=None if None in costs else sum(cost or 0.0 for cost in costs),
        stages=stages,
        limits=limits,
        ends=_ends(limits),
    )


def kind_of(device: str) -> Kind:
    """What a device's hours are counted as."""
    return "cpu" if device == "cpu" else "gpu"


def _stage(rows: int, rate: StageRate, prices: Mapping[str, float]) -> StageProjection:
    coming = round(rows * rate.share)
    hours, price = coming * rate.seconds / 3600, prices.get(kind_of(rate.device))
    known = price is not None or rate.cost > 0
    return StageProjection(
        step=rate.step,
        device=rate.device,
        rows=coming,
        measured_rows=rate.rows,
        seconds_per_row=rate.seconds,
        hours=hours,
        cost=hours * (price or 0.0) + coming * rate.cost if known else None,
    )


class _Sized:
    """Quantities by the number of rows."""

    def __init__(self, rates: Rates, growth: Growth, program: Program, machine: Machine) -> None:
        self.rates, self.growth, self.program, self.machine = rates, growth, program, machine

    def shards(self, rows: int) -> int:
        return max(1, -(-rows // max(1, round(self.rates.rows_per_shard))))

    def items(self, rows: int) -> int:
        shards = self.shards(rows)
        return -(-shards // shards_in_item(self.program, shards, self.rates.shard_bytes))

    def request(self, rows: int) -> int:
        """Bytes of the job: shards stand in it, until it only names the files that list them."""
        shards, growth = self.shards(rows), self.growth
        inside = -(-shards // IN_FILE) * growth.listed if shards >= LISTED else shards * growth.item
        return round(growth.request + inside + shards * growth.per_file)

    def driver(self, rows: int) -> int:
        return self.machine.resident + round(self.shards(rows) * self.growth.driver)

    def worker(self, rows: int) -> int:
        """Two phases of every scorer may be remembered at a time, where one gives way to the next."""
        return round(self.shards(rows) * self.growth.worker * 2 * len(self.program.scorers))

    def gathered(self, rows: int) -> int:
        return self.machine.resident + round(rows * self.growth.gathered)

    def limits(self, rows: int) -> tuple[Limit, ...]:
        """In the order in which a growing pool reaches them."""
        memory, machine = self.machine.memory, self.machine
        larger = "larger shards; a submitting machine with more memory"
        made = [
            self._limit("job request", self.request, rows, REQUEST_BYTES, "larger shards"),
            self._limit("driver memory", self.driver, rows, memory, larger),
            self._limit("file names in a worker's memory", self.worker, rows, memory, "larger shards"),
            *([self._limit(WHOLE, self.gathered, rows, memory, FEWER)] if self.growth.gathered else []),
            Limit(
                what="open files",
                value=machine.open_files,
                most=machine.descriptors,
                unit="files",
                rows=None,
                remedy="ulimit -n",
            ),
        ]
        return tuple(sorted(made, key=lambda one: (one.rows is None, one.rows)))

    def _limit(self, what: str, value: Sizing, rows: int, most: int, remedy: str) -> Limit:
        return Limit(what=what, value=value(rows), most=most, unit="bytes", rows=reached(value, most), remedy=remedy)


class Sizing(Protocol):
    """Rows -> bytes."""

    def __call__(self, rows: int) -> int:
        """The bytes."""
        ...


MOST_ROWS = 10**15
"""Beyond any pool: what is within its limit there does not reach it."""


def reached(value: Sizing, most: int) -> int | None:
    """About the rows from which on a quantity is above its limit, within a percent; None for none."""
    if value(MOST_ROWS) <= most:
        return None
    low, high = 1, MOST_ROWS
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        low, high = (middle, high) if value(middle) <= most else (low, middle)
    return high


def _ends(limits: Sequence[Limit]) -> str:
    first = limits[0]
    if first.rows is None:
        return "nothing that was measured reaches a limit"
    return f"{first.what} comes first, at about {float(f'{first.rows:.2g}'):,.0f} rows; what helps: {first.remedy}"
