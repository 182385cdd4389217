"""Progress while big files are split: the display of runs, with files instead of shards."""

from __future__ import annotations

from rich.console import Console

from poolsieve.dataflow.passes.plan import Plan
from poolsieve.dataflow.store import layout
from poolsieve.jobs.display import LOG_SECONDS, Display, Files

SPLIT = "splitting"


class _Splits(Files):
    ending = ".json"


class SplittingDisplay(Display):
    """Shows how many big files of a plan are split: `split_by_workers(made, engine, SplittingDisplay(made).watch)`."""

    counted, kind_of_files = "files", _Splits

    def __init__(self, made: Plan, *, console: Console | None = None, log_seconds: float = LOG_SECONDS) -> None:
        self._begin([SPLIT], {SPLIT: layout.splits_folder(made.job.out)}, len(made.unsplit), console, log_seconds)
        self.files.only = frozenset(shard.name for shard in made.unsplit)
