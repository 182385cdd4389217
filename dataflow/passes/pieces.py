"""Scores that cost much are committed as they come: a run that is killed asks for none of them again."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator, Mapping
from typing import cast

import pyarrow as pa

from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.program import ScoreStep
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.scores import by_row, write_scores
from poolsieve.scoring_models.base.errors import PoolsieveError
from poolsieve.scoring_models.base.scorer import PieceScorer


class _Waiting:
    """Lines of one step that are not committed yet."""

    def __init__(self) -> None:
        self.tables: list[pa.Table] = []
        self.rows, self.since = 0, 0.0

    def add(self, table: pa.Table) -> None:
        if not self.tables:
            self.since = time.monotonic()
        self.tables.append(table)
        self.rows += table.num_rows


class Pieces:
    """Scores of one shard that wait to be committed. All of its batches share it; safe to call from several threads.

    A commit of `commit_rows` rows or `commit_seconds` seconds is a further file of the shard. What is left when the
    shard is through goes with its other scores (`rest`).
    """

    def __init__(self, job: Job, shard: Shard, label: str) -> None:
        self.job, self.shard, self.label = job, shard, label
        self._lock = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}

    def add(self, step: ScoreStep, table: pa.Table) -> None:
        """Lines of a score file, in any order; none of them has come before. Commits what is due."""
        with self._lock:
            waiting = self._waiting.setdefault(step.name, _Waiting())
            if table.num_rows:
                waiting.add(table)
            if waiting.rows and _due(cast("PieceScorer", step.scorer), waiting):
                self._commit(step.name)

    def save(self) -> None:
        """Commits everything: the shard is given up."""
        with self._lock:
            for name in list(self._waiting):
                self._commit(name)

    def rest(self) -> Mapping[str, list[pa.Table]]:
        """Lines that nobody has committed, by step; they are the caller's now."""
        with self._lock:
            left, self._waiting = self._waiting, {}
        return {name: [by_row(pa.concat_tables(found.tables))] for name, found in left.items() if found.rows}

    def _commit(self, name: str) -> None:
        """Lines stay where they are until they are written: whoever stops the run in between saves them."""
        found = self._waiting[name]
        if found.rows:
            step = next(step for step in self.job.program.scorers if step.name == name)
            self.job.files.check_unchanged(self.shard)  # else these would be scores of another file
            write_scores(self.job.score_files(self.label, step), self.shard, [by_row(pa.concat_tables(found.tables))])
        del self._waiting[name]

    @contextlib.contextmanager
    def saved_on_failure(self) -> Generator[None]:
        """What has come is committed if the block fails; that failure is the one that is told."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(PoolsieveError, OSError):
                self.save()
            raise


def _due(scorer: PieceScorer, waiting: _Waiting) -> bool:
    return waiting.rows >= scorer.commit_rows or time.monotonic() - waiting.since >= scorer.commit_seconds
