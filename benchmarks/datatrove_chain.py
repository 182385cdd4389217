"""FineWeb's chain against datatrove's own filters: documents a second on one core, the same documents and verdicts.

    python benchmarks/datatrove_chain.py --documents 500
    python benchmarks/datatrove_chain.py --documents 300 --only-chain --manuals   # or --jsonl GLOB

Both run in this process, one after the other, on documents of this machine: docstrings, readmes, licences and sources (two
thirds code), or manual pages, or a pool of JSON lines. A document that falls at an early rule is read no further, by both
tools, so the ratio depends on how many stay. Three figures of ours: "cold" starts with an empty memory of words; "next" reads other documents of the same
kind; "known" reads the first ones again, as where a run has met nearly all the words that it will meet.
"""

from __future__ import annotations

import argparse
import gzip
import random
import re
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

from poolsieve.dataflow import Pool
from poolsieve.dataflow.pool import open_chunks
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


_MACRO = re.compile(r"^[.'](?!(?:[BIR]{1,2}|SM|SH|SS|PP)\b).*\n|^\.[A-Z]+ *", re.MULTILINE)
_ESCAPE = re.compile(r"\\(?:f(?:\[.*?\]|\(..|.)|\(..|\[.*?\]|[&|^e~]|(?=[- ]))")


def manual(path: Path) -> str:
    """The text of a manual page, with its macros and escapes taken out, a paragraph a line."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8", "replace")
    marked = re.sub(r"^\.(SH|SS|PP|P|TP|IP|LP)\b", r"\n\n.\1", text, flags=re.MULTILINE)
    plain = _ESCAPE.sub("", _MACRO.sub("", marked))
    return "\n".join(" ".join(part.split()) for part in plain.split("\n\n") if part.strip())


def manuals(count: int) -> list[str]:
    """Manual pages of at least 200 characters, in a fixed order."""
    paths = sorted(path for path in Path("/usr/share/man").glob("man*/*") if path.is_file() and not path.is_symlink())
    random.Random(0).shuffle(paths)
    texts = (text for path in paths if len(text := manual(path)) >= 200)
    return [text for text, _ in zip(texts, range(count), strict=False)]


def of_pool(glob: str, count: int) -> list[str]:
    """Texts of a pool of JSON lines."""
    pool = Pool.jsonl(glob, text="text").absolute()
    shards = pool.listing().shards
    types = pool.role_types(shards)
    chunks = (chunk for shard in shards for chunk in open_chunks(pool, shard, ("text",), types))
    texts = (text for chunk in chunks for text in chunk.roles.column("text").to_pylist() if text)
    return [text for text, _ in zip(texts, range(count), strict=False)]


def documents(count: int, from_manuals: bool, glob: str | None) -> tuple[list[str], list[str]]:
    """(those that both tools read, those that ours reads next)."""
    if from_manuals or glob:
        texts = of_pool(glob, 3 * count) if glob else manuals(3 * count)
        if len(texts) < 2 * count:
            raise SystemExit(f"{len(texts)} such documents here; choose a smaller --documents")
        return texts[:count], texts[count:]
    texts = list(real(2 * count))
    return texts[::2], texts[1::2]


def main() -> None:
    """Prints a line for each filter and for the chain."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=600)
    parser.add_argument("--manuals", action="store_true", help="manual pages")
    parser.add_argument("--jsonl", metavar="GLOB", help="texts of JSON lines, such as your own")
    parser.add_argument("--only-chain", action="store_true", help="not each filter as well")
    given = parser.parse_args()
    first, second = documents(given.documents, given.manuals, given.jsonl)
    ours(CHAINS["the chain"][1], first[:5])
    theirs(CHAINS["the chain"][0], first[:5])
    print(f"{len(first)} documents of {sum(map(len, first)) / len(first):.0f} characters on average")
    chosen = {"the chain": CHAINS["the chain"]} if given.only_chain else CHAINS
    for name, (filters, stage) in chosen.items():
        slow, kept = rate(lambda f=filters: theirs(f, first), len(first))  # type: ignore[misc]
        tokenizer().forget()
        tokenizer().documents.clear()
        cold, same = rate(lambda s=stage: ours(s, first), len(first))  # type: ignore[misc]
        after, _ = rate(lambda s=stage: ours(s, second), len(second))  # type: ignore[misc]
        tokenizer().documents.clear()
        known, _ = rate(lambda s=stage: ours(s, first), len(first))  # type: ignore[misc]
        if kept != same:
            raise SystemExit(f"{name}: datatrove keeps {kept}, poolsieve {same}")
        ratios = ", ".join(
            f"{what} {one:.0f}/s ({one / slow:.1f} times)"
            for what, one in (("cold", cold), ("next", after), ("known", known))
        )
        print(f"{name}: datatrove {slow:.0f}/s; poolsieve {ratios}; both keep {kept}")


if __name__ == "__main__":
    main()
