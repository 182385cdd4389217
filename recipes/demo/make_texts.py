"""Makes the texts of `make demo-color` from what every Python installation has: no download, nothing synthetic.

    python recipes/demo/make_texts.py demo/texts

The pool has three kinds of pieces of Python's own library: sources, docstrings, and data (tests' tables, encodings'
maps). The target set is docstrings of other modules. Writes pool/*.jsonl.zst (id, text, kind), target.jsonl and
truth.parquet (uid, matches: is it a docstring?), and prints how many there are of each kind. On one installation the
same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import ast
import collections
import json
import random
import shutil
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

SHORTEST, LONGEST = 200, 900
"""Characters of a piece."""

LARGEST = 400_000
"""Bytes of a file that is read."""

SHARES = {"docstring": 0.125, "data": 0.05, "source": 0.825}

Pieces = dict[str, list[str]]


def modules() -> list[Path]:
    """The files of Python's library, packages of others left out, in a fixed order."""
    library = Path(sysconfig.get_paths()["stdlib"])
    found = (path for path in library.rglob("*.py") if not {"site-packages", "dist-packages"} & set(path.parts))
    return sorted(path for path in found if path.stat().st_size <= LARGEST)


def docstrings(tree: ast.AST) -> Iterator[str]:
    """Those of a module that are long enough, cut where they are too long."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            text = ast.get_docstring(node) or ""
            if len(text) >= SHORTEST:
                yield text[:LONGEST]


def pieces_of(path: Path) -> Pieces:
    """The pieces of a file by kind; none of one that Python can't read."""
    made: Pieces = {kind: [] for kind in SHARES}
    try:
        text = path.read_text("utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (OSError, SyntaxError, ValueError):
        return made
    made["docstring"] = list(docstrings(tree))
    for at in range(0, min(len(text), 20 * LONGEST), LONGEST):
        piece = text[at : at + LONGEST]
        if len(piece) >= SHORTEST and not any(quote in piece for quote in ('"""', "'''")):
            made["data" if numeric(piece) else "source"].append(piece)
    return made


def numeric(text: str) -> bool:
    """Whether a fifth of it is digits and signs of hexadecimal numbers: a table of a test or of an encoding."""
    return 5 * sum(one.isdigit() or one in "\\x" for one in text) > len(text)


def gathered(rows: int, dice: random.Random) -> tuple[list[str], Pieces]:
    """(docstrings for the target, pieces for the pool): those of a module are all in one or the other.

    Modules are read, in the dice's order, until there are enough of each kind.
    """
    target: list[str] = []
    pool: Pieces = {kind: [] for kind in SHARES}
    seen: set[str] = set()
    paths = modules()
    dice.shuffle(paths)
    for path in paths:
        found = pieces_of(path)
        if sum(map(len, target)) < 40_000 and found["docstring"]:
            target += found["docstring"][:8]
            continue
        for kind, some in found.items():
            pool[kind] += [piece for piece in some if piece not in seen]
            seen.update(some)
        if all(len(pool[kind]) >= share * rows for kind, share in SHARES.items()):
            break
    return target, pool


def rows_of(pool: Pieces, rows: int, dice: random.Random) -> list[tuple[str, str]]:
    """(kind, text) of so many rows, or fewer where a kind has too few, mixed."""
    made = [
        (kind, text)
        for kind, some in pool.items()
        for text in dice.sample(some, min(len(some), round(SHARES[kind] * rows)))
    ]
    dice.shuffle(made)
    return made


def main() -> None:
    """Writes the pool, the target set and the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    dice = random.Random(given.seed)
    target, pool = gathered(given.rows, dice)
    rows = rows_of(pool, given.rows, dice)
    counts = collections.Counter(kind for kind, _ in rows)
    if counts["docstring"] < 0.05 * given.rows or len(rows) < given.rows / 2:
        raise SystemExit(f"this Python's library has too few texts: {dict(counts)}")
    write(given.target, target, rows, given.shards)
    for kind, count in counts.most_common():
        print(f"{count:6d} {kind}")


def write(folder: Path, target: list[str], rows: list[tuple[str, str]], shards: int) -> None:
    """The three files; the folder appears when it is whole."""
    partial = folder.with_name(f"{folder.name}.partial")
    for path in (folder, partial):
        shutil.rmtree(path, ignore_errors=True)
    (partial / "pool").mkdir(parents=True)
    lines = [
        json.dumps({"id": f"text-{i:06d}", "text": text, "kind": kind}) + "\n" for i, (kind, text) in enumerate(rows)
    ]
    for shard in range(shards):
        packed = zstandard.ZstdCompressor().compress("".join(lines[shard::shards]).encode())
        (partial / "pool" / f"part-{shard:05d}.jsonl.zst").write_bytes(packed)
    (partial / "target.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in target))
    truth = {"uid": [f"text-{i:06d}" for i in range(len(rows))], "matches": [kind == "docstring" for kind, _ in rows]}
    pq.write_table(pa.table(truth), partial / "truth.parquet")
    partial.rename(folder)


if __name__ == "__main__":
    main()
