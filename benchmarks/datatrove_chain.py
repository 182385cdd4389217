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
import gzip
import itertools
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
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

from poolsieve.dataflow import Pool
from poolsieve.dataflow.transforms import apply_stages, program_for
from poolsieve.filters import c4, fineweb, gopher
from poolsieve.filters.dsl.stages import Stage
from poolsieve.filters.words.tokenizer import tokenizer
from poolsieve.scoring_models import Language
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


_MACRO = re.compile(r"^[.'](?!(?:[BIR]{1,2}|SM|SH|SS|PP)\b).*\n|^\.[A-Z]+ *", re.MULTILINE)
_ESCAPE = re.compile(r"\\(?:f(?:\[.*?\]|\(..|.)|\(..|\[.*?\]|[&|^e~]|(?=[- ]))")


def manual(path: Path) -> str:
    """The text of a manual page, with its macros and escapes taken out, a paragraph a line."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8", "replace")
    marked = re.sub(r"^\.(SH|SS|PP|P|TP|IP|LP)\b", r"\n\n.\1", text, flags=re.MULTILINE)
    plain = _ESCAPE.sub("", _MACRO.sub("", marked))
    return "\n".join(" ".join(part.split()) for part in plain.split("\n\n") if part.strip())


class _Blocks(HTMLParser):
    """The text of a page, in blocks."""

    INLINE = frozenset(
        ("a", "abbr", "b", "code", "em", "i", "kbd", "q", "small", "span", "strong", "sub", "sup", "tt", "var")
    )
    NO_TEXT = frozenset(("head", "script", "style", "nav", "header", "footer"))

    def __init__(self) -> None:
        super().__init__()
        self.blocks, self.inside = [""], 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.inside += tag in self.NO_TEXT
        if tag not in self.INLINE:
            self.blocks.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside -= tag in self.NO_TEXT and self.inside > 0
        if tag not in self.INLINE:
            self.blocks.append("")

    def handle_data(self, data: str) -> None:
        if not self.inside:
            self.blocks[-1] += data.replace("¶", "")


def page(path: Path) -> str:
    """The text of an HTML page, a block a line."""
    reader = _Blocks()
    reader.feed(path.read_text("utf-8", errors="replace"))
    return "\n".join(" ".join(block.split()) for block in reader.blocks if block.strip())


def english(texts: list[str]) -> list[str]:
    """Those that FineWeb's first stage keeps."""
    made = Language().score(pa.record_batch({"text": texts})).columns
    sure = zip(texts, made["label"].to_pylist(), made["probability"].to_pylist(), strict=True)
    return [text for text, label, probability in sure if label == "en" and probability >= 0.65]


def files(folder: Path, patterns: tuple[str, ...], read: Callable[[Path], str]) -> Iterator[str]:
    """Different texts of at least 400 characters, in a fixed random order."""
    paths = sorted({path for one in patterns for path in folder.rglob(one) if path.is_file() and not path.is_symlink()})
    random.Random(0).shuffle(paths)
    return iter(dict.fromkeys(text for path in paths if len(text := read(path)) >= 400))


def of_pool(glob: str) -> Iterator[str]:
    """Texts of a pool of JSON lines."""
    pool = Pool.jsonl(glob, text="text").absolute()
    shards = pool.located().listing().shards
    types = pool.located().role_types(shards)
    chunks = (chunk for shard in shards for chunk in pool.located().batches(shard, ("text",), types))
    return (text for chunk in chunks for text in chunk.roles.column("text").to_pylist() if text)


def documents(given: argparse.Namespace) -> list[str]:
    """The documents to filter."""
    if given.jsonl:
        found = of_pool(given.jsonl)
    elif given.html:
        found = iter(english(list(files(given.html, ("*.html", "*.html.en"), page))))
    elif given.manuals:
        found = files(Path("/usr/share/man"), ("man*/*",), manual)
    else:
        texts = list(real(given.documents))
        random.Random(0).shuffle(texts)
        found = iter(texts)
    return list(itertools.islice(found, given.documents))


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
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--manuals", action="store_true", help="manual pages")
    kinds.add_argument("--html", type=Path, metavar="FOLDER", help="English HTML pages below a folder")
    kinds.add_argument("--jsonl", metavar="GLOB", help="texts of JSON lines, such as your own")
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
