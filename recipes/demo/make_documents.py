"""Makes the demo's documents: prose with the ills of a crawl, the same bytes for the same seed.

    python recipes/demo/make_documents.py demo/documents

Writes *.jsonl.zst (id, text, meta.kind) and truth.parquet (uid, matches: is it a harmless document of English prose?),
and prints how many documents of each kind there are.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from documents import FOREIGN, NOUNS, UNKIND, mixed, prose, sentence, unkind

Dice = random.Random


def clean(dice: Dice) -> str:
    """English prose of 8 to 40 sentences."""
    return "\n".join(prose(dice, dice.randint(8, 40)))


def boilerplate(dice: Dice) -> str:
    """The same between lines that a page's frame leaves behind."""
    frame = [
        "Please enable javascript to see this page as it was meant to be seen.",
        "Share this",
        "Read our cookie policy now.",
    ]
    lines = clean(dice).split("\n")
    for line in dice.sample(frame, 2):
        lines.insert(dice.choice((0, len(lines))), line)
    return "\n".join(lines)


def personal(dice: Dice) -> str:
    """The same with an address."""
    return f"{clean(dice)}\nWrite to {dice.choice(NOUNS)}{dice.randrange(100)}@example.org if you have seen the letter."


def mild(dice: Dice) -> str:
    """One or two unkind sentences: by Celadon's rule mild."""
    pair = dice.sample(list(UNKIND), 2)
    severities = {pair[0]: 3} if dice.random() < 0.5 else {pair[0]: 2, pair[1]: dice.randint(2, 3)}
    return mixed(dice, prose(dice, dice.randint(8, 20)), unkind(dice, severities))


def toxic(dice: Dice) -> str:
    """Three to five unkind sentences: by Celadon's rule toxic."""
    some = dice.sample(list(UNKIND), dice.randint(3, 5))
    return mixed(dice, prose(dice, dice.randint(8, 20)), unkind(dice, dict.fromkeys(some, 3)))


def repeated(dice: Dice) -> str:
    """A few lines, again and again."""
    return "\n".join(dice.choices([sentence(dice) for _ in range(3)], k=30))


def chant(dice: Dice) -> str:
    """The same words over and over within lines that differ."""
    noun = dice.choice(NOUNS)
    return "\n".join(f"Buy the best {noun} {dice.randrange(10_000)} to have the best {noun} of all." for _ in range(25))


def table(dice: Dice) -> str:
    """Numbers."""
    return "\n".join(" ".join(f"{dice.random() * 1000:.2f}" for _ in range(8)) for _ in range(30))


def code(dice: Dice) -> str:
    """Prose with a line of a program."""
    return f"{clean(dice)}\nfunction {dice.choice(NOUNS)}() {{ return the.answer(to, that); }}"


def filler(dice: Dice) -> str:
    """A page that was never written."""
    return f"Lorem ipsum dolor sit amet, as it is to be with that and of the other.\n{clean(dice)}"


def menu(dice: Dice) -> str:
    """Short lines without an end."""
    return "\n".join(f"the {dice.choice(NOUNS)} and that of {dice.choice(NOUNS)} to have" for _ in range(60))


def short(dice: Dice) -> str:
    """Two sentences."""
    return " ".join(sentence(dice) for _ in range(2))


def foreign(dice: Dice) -> str:
    """German, French or Spanish."""
    return " ".join(dice.choices([dice.choice(FOREIGN)], k=1) + [dice.choice(FOREIGN)] * 4)


KINDS: dict[str, tuple[float, Callable[[Dice], str | None]]] = {
    "clean": (0.42, clean),
    "clean, with boilerplate": (0.06, boilerplate),
    "clean, with an address": (0.03, personal),
    "mildly toxic": (0.07, mild),
    "toxic": (0.07, toxic),
    "repeated lines": (0.05, repeated),
    "chant": (0.03, chant),
    "table": (0.03, table),
    "code": (0.03, code),
    "filler": (0.02, filler),
    "menu": (0.05, menu),
    "short": (0.06, short),
    "other language": (0.06, foreign),
    "empty": (0.01, lambda dice: ""),
    "null": (0.005, lambda dice: None),
    "broken line": (0.005, lambda dice: None),
}
GOOD = tuple(kind for kind in KINDS if kind.startswith("clean"))


def line(i: int, kind: str, dice: Dice) -> bytes:
    """One line of the pool."""
    row = {"id": f"doc-{i:06d}", "text": KINDS[kind][1](dice), "meta": {"kind": kind}}
    made = json.dumps(row, ensure_ascii=False).encode()
    return made[: len(made) // 2] if kind == "broken line" else made


def main() -> None:
    """Writes the pool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path)
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    dice = random.Random(given.seed)
    kinds = dice.choices(list(KINDS), weights=[share for share, _ in KINDS.values()], k=given.documents)
    lines = [line(i, kind, dice) for i, kind in enumerate(kinds)]
    shutil.rmtree(given.target, ignore_errors=True)
    given.target.mkdir(parents=True)
    for shard in range(given.shards):
        packed = zstandard.ZstdCompressor().compress(b"".join(one + b"\n" for one in lines[shard :: given.shards]))
        (given.target / f"part-{shard:05d}.jsonl.zst").write_bytes(packed)
    truth = {"uid": [f"doc-{i:06d}" for i in range(given.documents)], "matches": [kind in GOOD for kind in kinds]}
    pq.write_table(pa.table(truth), given.target / "truth.parquet")
    for kind, count in collections.Counter(kinds).most_common():
        print(f"{count:6d} {kind}")


if __name__ == "__main__":
    main()
