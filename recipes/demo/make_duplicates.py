"""Makes documents among which copies and near copies are planted, the same bytes for the same seed.

    python recipes/demo/make_duplicates.py demo/duplicates

Some documents have a family: copies, copies with 1 % or 5 % of other words or with shuffled paragraphs, beginnings and
ends of them, and near misses, which share too little to be duplicates. Others are alone. Writes *.jsonl.zst (id, text,
quality, kind, family), in which rows of a family lie far apart, and truth.parquet (uid, matches: is it to stay?), and
prints how many there are of each kind.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from documents import prose, words

Dice = random.Random


def replaced(dice: Dice, text: str, share: float) -> str:
    """A share of the words are others; one at least."""
    pieces, known = text.split(" "), words()
    for at in dice.sample(range(len(pieces)), max(1, round(len(pieces) * share))):
        pieces[at] = dice.choice(known)
    return " ".join(pieces)


def shuffled(dice: Dice, text: str) -> str:
    """The paragraphs in another order."""
    paragraphs = text.split("\n")
    return "\n".join(dice.sample(paragraphs, len(paragraphs)))


def beginning(dice: Dice, text: str) -> str:
    """The first nine tenths."""
    return text[: text.rindex(" ", 0, len(text) * 9 // 10)]


def end(dice: Dice, text: str) -> str:
    """The last nine tenths."""
    return text[text.index(" ", len(text) // 10) + 1 :]


VARIANTS: dict[str, Callable[[Dice, str], str]] = {
    "copy": lambda dice, text: text,
    "1 % other words": lambda dice, text: replaced(dice, text, 0.01),
    "5 % other words": lambda dice, text: replaced(dice, text, 0.05),
    "shuffled": shuffled,
    "beginning": beginning,
    "end": end,
    "near miss": lambda dice, text: replaced(dice, text, 0.1),
}
ALONE, BASE, MISS = "alone", "base", "near miss"
STAY = (ALONE, BASE, MISS)


def family(dice: Dice, name: str, most: int) -> list[dict[str, Any]]:
    """A document, whose quality is the best, and up to `most` variants of each kind."""
    text = "\n".join(prose(dice, dice.randint(24, 60)))
    made = [{"text": text, "kind": BASE, "family": name, "quality": round(dice.uniform(0.9, 1.0), 4)}]
    for kind, vary in VARIANTS.items():
        for _ in range(dice.randint(1, most)):
            quality = round(dice.uniform(0.0, 0.8), 4)
            made.append({"text": vary(dice, text), "kind": kind, "family": name, "quality": quality})
    return made


def alone(dice: Dice) -> dict[str, Any]:
    """A document of its own."""
    text = "\n".join(prose(dice, dice.randint(8, 40)))
    return {"text": text, "kind": ALONE, "family": "", "quality": round(dice.uniform(0.0, 1.0), 4)}


def pool(dice: Dice, documents: int, families: int) -> list[dict[str, Any]]:
    """All rows, shuffled; families are of any size, the later ones smaller."""
    rows = [row for i in range(families) for row in family(dice, f"family-{i:04d}", 1 + 11 // (1 + i // 2))]
    rows += [alone(dice) for _ in range(max(0, documents - len(rows)))]
    dice.shuffle(rows)
    return [{"id": f"doc-{i:06d}", **row} for i, row in enumerate(rows)]


def main() -> None:
    """Writes the pool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path)
    parser.add_argument("--documents", type=int, default=3000, help="rows; more where families alone have more")
    parser.add_argument("--families", type=int, default=80)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rows = pool(random.Random(given.seed), given.documents, given.families)
    shutil.rmtree(given.target, ignore_errors=True)
    given.target.mkdir(parents=True)
    for shard in range(given.shards):
        lines = b"".join(json.dumps(row).encode() + b"\n" for row in rows[shard :: given.shards])
        (given.target / f"part-{shard:05d}.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(lines))
    truth = {"uid": [row["id"] for row in rows], "matches": [row["kind"] in STAY for row in rows]}
    pq.write_table(pa.table(truth), given.target / "truth.parquet")
    for kind, count in collections.Counter(row["kind"] for row in rows).most_common():
        print(f"{count:6d} {kind}")


if __name__ == "__main__":
    main()
