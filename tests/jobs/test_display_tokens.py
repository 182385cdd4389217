"""The progress of `poolsieve tokenize`."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from poolsieve.dataflow import Pool, progress
from poolsieve.dataflow.tokenize.tokenize import Wishes, prepare, tokenize
from poolsieve.jobs.display_tokens import TokensDisplay
from tests.dataflow.tokenize import tiny


def test_documents_shards_and_tokens_are_shown(tmp_path: Path) -> None:
    documents, tokenizer = tiny.pool_of_documents(tmp_path / "docs"), tiny.bpe(tmp_path / "tokenizer")
    made = prepare(Pool.jsonl(f"{documents}/*.jsonl"), tmp_path / "to", Wishes(tokenizer=str(tokenizer)))
    display = TokensDisplay(made, console=Console(file=io.StringIO()))
    progress.reset()
    display.files.count()
    assert display.text().endswith(": starting")
    found = tokenize(made, watch=lambda done: done.wait(100) and None)
    display.files.count()
    (line,) = display.lines()
    assert line.rows == found.counts.documents and line.shards == 3 and f"{found.counts.tokens:,} tokens" in line.model
    assert "3/3 shards" in display.text() and "75 rows" in display.text()
