"""Sums over shards, as Beam combines them."""

from __future__ import annotations

from collections.abc import Iterable

import apache_beam as beam

from poolsieve.dataflow.decisions.record import Record
from poolsieve.dataflow.decisions.selection import DigitCounts, add_counts
from poolsieve.dataflow.decisions.tables import Counts, add_sums
from poolsieve.dataflow.store.lacking import Lacks
from poolsieve.dataflow.store.summary import Work


class SumCounts(beam.CombineFn):
    """Adds up group -> counts over shards."""

    def create_accumulator(self) -> dict[str, DigitCounts]:
        """No counts."""
        return {}

    def add_input(self, total: dict[str, DigitCounts], counts: dict[str, DigitCounts]) -> dict[str, DigitCounts]:
        """Adds one shard's."""
        return add_counts(total, counts)

    def merge_accumulators(self, totals: Iterable[dict[str, DigitCounts]]) -> dict[str, DigitCounts]:
        """Adds sums."""
        out: dict[str, DigitCounts] = {}
        for total in totals:
            self.add_input(out, total)
        return out

    def extract_output(self, total: dict[str, DigitCounts]) -> dict[str, DigitCounts]:
        """The sum."""
        return total


class SumTables(beam.CombineFn):
    """Adds up group -> name -> sum over shards."""

    def create_accumulator(self) -> Counts:
        """No sums."""
        return {}

    def add_input(self, total: Counts, sums: Counts) -> Counts:
        """Adds one shard's."""
        return add_sums(total, sums)

    def merge_accumulators(self, totals: Iterable[Counts]) -> Counts:
        """Adds sums."""
        out: Counts = {}
        for total in totals:
            add_sums(out, total)
        return out

    def extract_output(self, total: Counts) -> Counts:
        """The sum."""
        return total


class SumRecords(beam.CombineFn):
    """Adds up decision records over shards."""

    def create_accumulator(self) -> Record:
        """An empty record."""
        return Record()

    def add_input(self, total: Record, record: Record) -> Record:
        """Adds one shard's."""
        return total.add(record)

    def merge_accumulators(self, totals: Iterable[Record]) -> Record:
        """Adds sums."""
        out = Record()
        for total in totals:
            out.add(total)
        return out

    def extract_output(self, total: Record) -> Record:
        """The sum."""
        return total


class SumWork(beam.CombineFn):
    """Adds up what passes report of their work."""

    def create_accumulator(self) -> Work:
        """No work."""
        return Work()

    def add_input(self, total: Work, work: Work) -> Work:
        """Adds one shard's."""
        return total.add(work)

    def merge_accumulators(self, totals: Iterable[Work]) -> Work:
        """Adds sums."""
        out = Work()
        for total in totals:
            out.add(total)
        return out

    def extract_output(self, total: Work) -> Work:
        """The sum."""
        return total


class SumLacks(beam.CombineFn):
    """Adds up what shards lack."""

    def create_accumulator(self) -> Lacks:
        """Nothing."""
        return Lacks()

    def add_input(self, total: Lacks, found: Lacks) -> Lacks:
        """Adds one shard's."""
        return total.add(found)

    def merge_accumulators(self, totals: Iterable[Lacks]) -> Lacks:
        """Adds sums."""
        out = Lacks()
        for total in totals:
            out.add(total)
        return out

    def extract_output(self, total: Lacks) -> Lacks:
        """The sum."""
        return total
