"""Sums over shards, as Beam combines them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam

from poolsieve.dataflow.decisions.record import Record
from poolsieve.dataflow.decisions.selection import DigitCounts, add_counts
from poolsieve.dataflow.decisions.tables import Counts, add_sums
from poolsieve.dataflow.store.lacking import Lacks
from poolsieve.dataflow.store.summary import Work


class Sum(beam.CombineFn):
    """Adds up what shards give, in any order.

    Attributes:
        empty: class of a sum; called without arguments it is that of nothing. It has `add`, or `add_input` is another.
    """

    empty: Callable[[], Any]

    def create_accumulator(self) -> Any:
        """The sum of nothing."""
        return self.empty()

    def add_input(self, total: Any, found: Any) -> Any:
        """Adds one shard's, or another sum."""
        return total.add(found)

    def merge_accumulators(self, totals: Iterable[Any]) -> Any:
        """Adds sums."""
        out = self.create_accumulator()
        for total in totals:
            self.add_input(out, total)
        return out

    def extract_output(self, total: Any) -> Any:
        """The sum."""
        return total


class SumCounts(Sum):
    """Adds up group -> counts over shards."""

    empty = dict

    def add_input(self, total: dict[str, DigitCounts], found: dict[str, DigitCounts]) -> dict[str, DigitCounts]:
        """Adds one shard's."""
        return add_counts(total, found)


class SumTables(Sum):
    """Adds up group -> name -> sum over shards."""

    empty = dict

    def add_input(self, total: Counts, found: Counts) -> Counts:
        """Adds one shard's."""
        return add_sums(total, found)


class SumRecords(Sum):
    """Adds up decision records over shards."""

    empty = Record


class SumWork(Sum):
    """Adds up what passes report of their work."""

    empty = Work


class SumLacks(Sum):
    """Adds up what shards lack."""

    empty = Lacks
