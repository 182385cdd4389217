"""FineWeb's chain against datatrove's own filters: documents a second on one core, the same documents and verdicts.

    python benchmarks/datatrove_chain.py --documents 600

Both run in this process, one after the other, on documents that any machine has (docstrings, readmes, licences, sources).
Ours starts with an empty memory in each run ("cold"); "warm" is a second run over other documents of the same kind.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1]))

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)

from poolsieve.dataflow.transforms import apply_stages, program_for
from poolsieve.filters import c4, fineweb, gopher
from poolsieve.filters.stages import Stage
from poolsieve.filters.words import tokenizer
from tests.filters.corpus import real

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


def theirs(filters: tuple[Any, ...], texts: list[str]) -> int:
    """Documents kept by datatrove."""
    documents = [Document(text=text, id="0") for text in texts]
    return sum(all(one.filter(document) is True for one in filters) for document in documents)


def ours(stage: Stage, texts: list[str]) -> int:
    """Documents kept by poolsieve."""
    batch = pa.record_batch({"text": texts})
    return int(apply_stages(program_for(stage, batch.schema), batch).column("keep").to_numpy(False).sum())


def rate(work: Callable[[], int], documents: int) -> tuple[float, int]:
    """(documents a second, kept)."""
    start = time.process_time()
    kept = work()
    return documents / (time.process_time() - start), kept


def main() -> None:
    """Prints a line for each filter and for the chain."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=600)
    given = parser.parse_args()
    texts = list(real(2 * given.documents))
    first, second = texts[::2], texts[1::2]
    ours(CHAINS["the chain"][1], texts[:5])
    theirs(CHAINS["the chain"][0], texts[:5])
    print(f"{len(first)} documents of {sum(map(len, first)) / len(first):.0f} characters on average")
    for name, (filters, stage) in CHAINS.items():
        slow, kept = rate(lambda f=filters: theirs(f, first), len(first))  # type: ignore[misc]
        tokenizer().forget()
        tokenizer().documents.clear()
        cold, same = rate(lambda s=stage: ours(s, first), len(first))  # type: ignore[misc]
        warm, _ = rate(lambda s=stage: ours(s, second), len(second))  # type: ignore[misc]
        if kept != same:
            raise SystemExit(f"{name}: datatrove keeps {kept}, poolsieve {same}")
        print(
            f"{name}: datatrove {slow:.0f}/s, poolsieve {cold:.0f}/s cold ({cold / slow:.0f} times), "
            f"{warm:.0f}/s warm ({warm / slow:.0f} times); both keep {kept}"
        )


if __name__ == "__main__":
    main()
