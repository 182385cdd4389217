"""FineWeb's chain against datatrove's own filters: documents a second on one core, the same documents and verdicts.

    python benchmarks/datatrove_chain.py --html /usr/share/doc
    python benchmarks/datatrove_chain.py --manuals     # or --jsonl GLOB, your own; or neither, see below

Both run in this process. Ours reads all documents, a few hundred at a time as a shard is read, from an empty memory of
words on; datatrove, whose speed is the same throughout, reads the last of them, and has to say the same of each. Two
ratios: on those last documents, as in a run that has met most of the words that it will meet; and of characters a second
over the whole run. A document that falls at an early rule is read no further, by both, so the ratio depends on how many
stay.

`--html` reads the English HTML pages below a folder, a block of text a line; Debian has some thousands in apache2-doc,
debian-handbook, git-doc, postgresql-doc, python3-doc and sqlite3-doc. `--manuals` reads manual pages. Without either the
documents are docstrings, readmes, licences and sources (two thirds code) of this Python.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1]))

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)

from benchmarks.documents import add_kinds, documents
from poolsieve.dataflow.transforms import apply_stages, program_for
from poolsieve.filters import c4, fineweb, gopher
from poolsieve.filters.dsl.stages import Stage
from poolsieve.filters.words.tokenizer import tokenizer

CHAINS: dict[str, tuple[tuple[Any, ...], Stage]] = {
    "gopher.repetition": ((GopherRepetitionFilter(),), gopher.repetition()),
    "gopher.quality": ((GopherQualityFilter(),), gopher.quality()),
    "c4.quality": ((C4QualityFilter(filter_no_terminal_punct=False),), c4.quality(terminal_punctuation=False)),
    "fineweb.quality": ((FineWebQualityFilter(),), fineweb.quality()),
}
CHAINS["the chain"] = (
    tuple(one for filters, _ in CHAINS.values() for one in filters),
    gopher.repetition() | gopher.quality() | c4.quality(terminal_punctuation=False, edit=True) | fineweb.quality(),
)


BATCH = 500
"""Documents that ours reads at a time."""


def theirs(filters: tuple[Any, ...], text: str) -> bool:
    """Whether datatrove keeps a document."""
    document = Document(text=text, id="0")
    return all(one.filter(document) is True for one in filters)


def ours(stage: Stage, texts: list[str]) -> list[bool]:
    """Which documents poolsieve keeps."""
    batch = pa.record_batch({"text": texts})
    return list(apply_stages(program_for(stage, batch.schema), batch).column("keep").to_pylist())


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """(processor seconds, result)."""
    start = time.process_time()
    made = work()
    return time.process_time() - start, made


def compared(name: str, texts: list[str], sample: int) -> str:
    """What is to be said of one chain.

    Raises:
        SystemExit: where the two disagree.
    """
    filters, stage = CHAINS[name]
    last = texts[-sample:]
    slow, expected = seconds(lambda: [theirs(filters, text) for text in last])
    tokenizer().forget()
    starts = range(0, len(texts) - len(last), BATCH)
    batches = [texts[start : min(start + BATCH, len(texts) - len(last))] for start in starts]
    taken, kept = zip(*(seconds(lambda part=part: ours(stage, part)) for part in [*batches, last]), strict=True)  # type: ignore[misc]
    if kept[-1] != expected:
        raise SystemExit(f"{name}: datatrove and poolsieve disagree")
    whole = (sum(map(len, texts)) / sum(taken)) / (sum(map(len, last)) / slow)
    return (
        f"{name}: {len(last)} documents, of which {np.mean(expected):.0%} stay: datatrove {len(last) / slow:.0f}/s, "
        f"poolsieve {len(last) / taken[-1]:.0f}/s ({slow / taken[-1]:.1f} times); whole run {whole:.1f} times"
    )


def main() -> None:
    """Prints a line for the chain, and if asked for each filter."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=6000, help="most that ours reads")
    parser.add_argument("--sample", type=int, default=300, help="documents that datatrove reads")
    add_kinds(parser)
    parser.add_argument("--each", action="store_true", help="each filter as well")
    given = parser.parse_args()
    texts = documents(given)
    if len(texts) < 50:
        raise SystemExit(f"{len(texts)} such documents here: give another folder, or --manuals")
    filters, stage = CHAINS["the chain"]
    for text in texts[:5]:  # loads what both load at first use
        ours(stage, [text])
        theirs(filters, text)
    print(f"{len(texts)} documents of {sum(map(len, texts)) / len(texts):.0f} characters on average")
    for name in CHAINS if given.each else ["the chain"]:
        print(compared(name, texts, given.sample), flush=True)


if __name__ == "__main__":
    main()
