"""Progress of `poolsieve tokenize`: the display of runs, with tokens beside the documents."""

from __future__ import annotations

import time

from rich.console import Console

from poolsieve.dataflow import progress
from poolsieve.dataflow.tokenize.tokenize import Prepared
from poolsieve.dataflow.tokenize.write import DOCUMENTS, TOKENS
from poolsieve.jobs.display import LOG_SECONDS, Display, Line, Rate


class TokensDisplay(Display):
    """Shows how far tokenising is: `tokenize(made, watch=TokensDisplay(made).watch)`."""

    def __init__(self, made: Prepared, *, console: Console | None = None, log_seconds: float = LOG_SECONDS) -> None:
        # A shard is done when its table of documents is there: Parquet, as the files that runs commit.
        self._begin([DOCUMENTS], {DOCUMENTS: made.target.url}, len(made.shards), console, log_seconds)
        self.tokens = Rate()

    def lines(self, now: float | None = None) -> list[Line]:
        """How far it is: rows are documents, and tokens stand where a run names its model."""
        now = time.monotonic() if now is None else now
        counts = progress.counts()
        tokens = counts.get(TOKENS, 0)
        rate = self.tokens.add(now, tokens)
        said = f"{tokens:,} tokens" + (f", {rate:,.0f} tokens/s" if rate else "")
        return list(self._line(DOCUMENTS, counts.get(DOCUMENTS), now, said if tokens else ""))
