"""Documents that a benchmark reads: manual pages, HTML pages, JSON lines, or what every machine with Python has."""

from __future__ import annotations

import argparse
import gzip
import itertools
import random
import re
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1]))

from poolsieve.dataflow import Pool
from poolsieve.scoring_models import Language
from tests.filters.corpus import real

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


def add_kinds(parser: argparse.ArgumentParser) -> None:
    """The options that say which documents."""
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--manuals", action="store_true", help="manual pages")
    kinds.add_argument("--html", type=Path, metavar="FOLDER", help="English HTML pages below a folder")
    kinds.add_argument("--jsonl", metavar="GLOB", help="texts of JSON lines, such as your own")


def documents(given: argparse.Namespace) -> list[str]:
    """At most `given.documents` of what the options say."""
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
