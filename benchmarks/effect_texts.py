"""Worlds of text that a Debian machine has, and a pool, a small target set and a held-out part made of them.

Texts are pieces of files, cut between lines. What is near one another (the pages of `git-*`, a package's files) is one
family, and a family is in the pool, in the target set or in the held-out part, never in two of them. A piece that was
there before is left out: licences and changelogs repeat each other.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
import sysconfig
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PIECE, SHORTEST = 800, 300
"""Characters of a piece, and of the shortest that counts."""

PER_FILE, PER_FAMILY = 4, 12
"""Pieces of one file and of one family: no large file, nor a family of hundreds of pages, makes up a world."""

LARGEST = 1 << 20
"""Bytes of a file that are read."""

_COMMENT = re.compile(r"^[.'][ \t]{0,9}\\\\?\".*\n?", re.M)
"""A line of a manual that is never shown."""

Piece = tuple[str, str]
"""(where it is from, text)."""


@dataclass(frozen=True)
class World:
    """A kind of text: where its files are."""

    name: str
    what: str
    places: tuple[tuple[str, str], ...]
    """(folder, pattern below it)."""

    def files(self) -> list[Path]:
        """Its files, without links (which are second names of the same), in a fixed order."""
        found: list[Path] = []
        for folder, pattern in self.places:
            found += sorted(path for path in Path(folder).glob(pattern) if path.is_file() and not path.is_symlink())
        return found


_LIBRARY = sysconfig.get_paths()["stdlib"]

WORLDS = (
    World("manuals", "manual pages, as troff", (("/usr/share/man", "man[1-9]/*.gz"),)),
    World("foreign", "manual pages in other languages", (("/usr/share/man", "[a-z][a-z]*/man[1-9]/*.gz"),)),
    World("python", "sources of Python's library", ((_LIBRARY, "*.py"), (_LIBRARY, "[a-rt-z]*/**/*.py"))),
    World("perl", "sources and pods of Perl's library", (("/usr/share/perl", "*/**/*.p[lmo]*"),)),
    World("headers", "C and C++ headers", (("/usr/include", "**/*.h"),)),
    World("html", "documentation as HTML", (("/usr/share/doc", "**/*.html"),)),
    World("licences", "licences and copyright files", (("/usr/share/doc", "*/copyright"),)),
    World("changes", "changelogs", (("/usr/share/doc", "*/changelog*.gz"), ("/usr/share/doc", "*/NEWS*.gz"))),
)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How much of what, in characters; `share` of the pool is of the target's world, the rest in equal parts."""

    pool: int
    share: float
    target: int
    held_out: int


@dataclass
class Made:
    """What was made: globs of the pool and the target set, held-out texts, and what each row of the pool is."""

    pool: str
    target: str
    held_out: list[str]
    rows: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    """uid -> (world, file, text)."""


def family(path: Path) -> str:
    """Whose file it is: the first word of a manual's name, the folder of anything else."""
    if "man" in path.parts:
        return re.split(r"[-_.:]", path.name, maxsplit=1)[0]
    return str(path.parent)


def text_of(path: Path) -> str:
    """The beginning of a file's text; nothing for one that can't be read. Manuals leave their comments, mostly licences."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            text = file.read(LARGEST).decode("utf-8", "replace")
    except (OSError, EOFError, zlib.error):
        return ""
    return _COMMENT.sub("", text) if "man" in path.parts else text


def pieces(path: Path) -> Iterator[str]:
    """A file's first pieces, of whole lines where these are not longer than a piece."""
    held, size, made = [], 0, 0
    for line in text_of(path).splitlines(keepends=True):
        held.append(line[:PIECE])
        size += len(held[-1])
        if size >= PIECE:
            yield "".join(held)
            held, size, made = [], 0, made + 1
            if made == PER_FILE:
                return
    if size >= SHORTEST:
        yield "".join(held)


def families(world: World, dice: random.Random) -> Iterator[list[Piece]]:
    """The pieces of each family, in an order of families and of files that follows from the dice."""
    groups: dict[str, list[Path]] = {}
    for path in world.files():
        groups.setdefault(family(path), []).append(path)
    names = sorted(groups)
    dice.shuffle(names)
    for name in names:
        paths = groups[name]
        dice.shuffle(paths)
        yield [(str(path), text) for path in paths[:PER_FAMILY] for text in pieces(path)][:PER_FAMILY]


class Source:
    """A world's pieces, each once, family by family."""

    def __init__(self, world: World, dice: random.Random, seen: set[bytes]) -> None:
        self.world, self._families, self._seen = world, families(world, dice), seen

    def take(self, characters: int) -> list[Piece]:
        """Pieces of families that were not taken yet, of so many characters; fewer where there are no more."""
        found: list[Piece] = []
        size = 0
        while size < characters and (some := next(self._families, None)) is not None:
            for where, text in some:
                mark = hashlib.blake2b("".join(text.split()).encode(), digest_size=16).digest()
                if mark not in self._seen and size < characters:
                    self._seen.add(mark)
                    found.append((where, text))
                    size += len(text)
        return found


def enough(found: list[Piece], wanted: int, what: str) -> list[Piece]:
    """The pieces, if they have at least nine tenths of what is wanted.

    Raises:
        SystemExit: saying what is missing.
    """
    there = sum(len(text) for _, text in found)
    if there < 0.9 * wanted:
        raise SystemExit(f"too little text: {what} has {there:,} characters, {wanted:,} are wanted")
    return found


def others(sources: list[Source], characters: int) -> dict[str, list[Piece]]:
    """Pieces of the other worlds in parts as equal as they can be: what one has too little of, the next ones give.

    Raises:
        SystemExit: if all together have too little.
    """
    parts: dict[str, list[Piece]] = {}
    left = characters
    taken = {source.world.name: source.take(characters // len(sources)) for source in sources}
    for rest, source in zip(
        range(len(sources), 0, -1), sorted(sources, key=lambda one: size_of(taken, one)), strict=True
    ):
        some = taken[source.world.name]
        some += source.take(max(0, left // rest - size_of(taken, source)))
        parts[source.world.name] = some
        left -= size_of(taken, source)
    enough([piece for some in parts.values() for piece in some], characters, "all other worlds together")
    return {name: some for name, some in parts.items() if some}


def size_of(taken: dict[str, list[Piece]], source: Source) -> int:
    """Characters that were taken of a world."""
    return sum(len(text) for _, text in taken[source.world.name])


def make(folder: Path, wanted: Wanted, seed: int, *, world: str = "manuals", shards: int = 4) -> Made:
    """Writes `pool/*.jsonl` (rows of all worlds, mixed) and `target.jsonl`; the same for the same seed and machine.

    Raises:
        SystemExit: if this machine has too little text.
    """
    dice, seen = random.Random(seed), set[bytes]()
    sources = {one.name: Source(one, random.Random(f"{seed} {one.name}"), seen) for one in WORLDS}
    own = sources.pop(world)
    held_out = enough(own.take(wanted.held_out), wanted.held_out, f"{world}, to be held out,")
    target = enough(own.take(wanted.target), wanted.target, f"{world}, as target,")
    good = int(wanted.pool * wanted.share)
    rows = [(world, *piece) for piece in enough(own.take(good), good, f"{world}, for the pool,")]
    for name, some in others(list(sources.values()), wanted.pool - good).items():
        rows += [(name, *piece) for piece in some]
    dice.shuffle(rows)
    made = Made(str(folder / "pool" / "*.jsonl"), str(folder / "target.jsonl"), [text for _, text in held_out])
    made.rows = {f"row-{i:06d}": row for i, row in enumerate(rows)}
    (folder / "pool").mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"id": uid, "text": row[2]}) + "\n" for uid, row in made.rows.items()]
    for shard in range(shards):
        (folder / "pool" / f"part-{shard:05d}.jsonl").write_text("".join(lines[shard::shards]))
    Path(made.target).write_text("".join(json.dumps({"text": text}) + "\n" for _, text in target))
    return made


def found(made: Made) -> dict[str, dict[str, int]]:
    """World -> rows and characters that the pool has of it."""
    counts: dict[str, dict[str, int]] = {}
    for world, _, text in made.rows.values():
        one = counts.setdefault(world, {"rows": 0, "characters": 0})
        one["rows"] += 1
        one["characters"] += len(text)
    return dict(sorted(counts.items()))
