"""Where the pieces of big files begin, found by whoever opened them first, and kept in OUT/splits by file identity.

A file that changed has another identity, and so no pieces until it is split again.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Self

import msgspec

from poolsieve.dataflow import fs
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.store.layout import split_name, splits_folder
from poolsieve.dataflow.store.shard_lines import ShardLine
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.errors import PoolsieveError
from poolsieve.scoring_models.base.work import Count

_VERSION = 1
"""Another one where the same file would be cut at other places."""


class Piece(msgspec.Struct, kw_only=True, frozen=True):
    """A piece of a file; see `Shard`."""

    first: Count
    extent: Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]
    start: Count


class Split(msgspec.Struct, kw_only=True, frozen=True):
    """The pieces of a file in order, and their hash; none for a file that is one shard."""

    path: str
    size: Count
    pieces: tuple[Piece, ...]
    mark: str

    @classmethod
    def of(cls, shard: Shard, pieces: tuple[Piece, ...]) -> Self:
        """The pieces of a file."""
        return cls(path=shard.path, size=shard.size, pieces=pieces, mark=_mark(pieces))

    def shards(self, shard: Shard) -> list[Shard] | None:
        """The pieces as shards; None if they are not this file's, or not one behind the other."""
        ends = [0, *(piece.first + piece.extent for piece in self.pieces)]
        whole = all(piece.first == end for piece, end in zip(self.pieces, ends, strict=False))
        whole = whole and all(a.start <= b.start for a, b in pairwise(self.pieces))
        own = (self.path, self.size, self.mark) == (shard.path, shard.size, _mark(self.pieces))
        if not own or not whole or ends[-1] > shard.size:
            return None
        return [_piece_of(shard, piece) for piece in self.pieces] or [shard]


def _mark(pieces: tuple[Piece, ...]) -> str:
    return digest([[piece.first, piece.extent, piece.start] for piece in pieces], 8)


def _piece_of(shard: Shard, piece: Piece) -> Shard:
    """A piece of a file, as a shard."""
    return Shard(
        path=shard.path, first=piece.first, extent=piece.extent, start=piece.start, size=shard.size, tag=shard.tag
    )


class StoredSplits:
    """The pieces that OUT knows, by one look at its folder.

    Args:
        out: OUT.
    """

    def __init__(self, out: str) -> None:
        self.out = out
        self._names = frozenset(fs.names(splits_folder(out)))

    def __call__(self, files: PoolFiles, shard: Shard) -> list[Shard] | None:
        """The pieces of a file; None if nobody split it so, or what stands there can't be read."""
        name = _name(files, shard)
        return _read(self.out, name, shard) if name in self._names else None


def is_split(out: str, files: PoolFiles, shard: Shard) -> bool:
    """Whether OUT has the pieces of a file by now."""
    name = _name(files, shard)
    return fs.exists(fs.join(splits_folder(out), name)) and _read(out, name, shard) is not None


def split(out: str, files: PoolFiles, shard: Shard) -> None:
    """Splits a file and keeps its pieces.

    Raises:
        ShardChanged: if the file is not the one that was listed, before it is read or after; nothing is kept then.
        PoolsieveError: if its pieces are not the whole file.
    """
    files.check_unchanged(shard)
    found = files.reader.split(files, shard)
    # Of a file that was cut short or grew meanwhile the pieces would be others.
    files.check_unchanged(shard)
    pieces = tuple(
        Piece(first=piece.first, extent=piece.extent, start=piece.start) for piece in found if piece.extent is not None
    )
    made = Split.of(shard, pieces)
    if made.shards(shard) is None:
        raise PoolsieveError(f"{files.url(shard)}: the pieces {pieces[:5]} are not the file; please report it")
    fs.write_bytes(fs.join(splits_folder(out), _name(files, shard)), msgspec.json.encode(made))


def unused(out: str, shards: Iterable[Shard | ShardLine]) -> set[str]:
    """Names of what OUT knows of files that are not among some shards, or no longer cut so.

    Args:
        out: OUT.
        shards: of the current decision.
    """
    there = {(one.path, one.size, one.first, one.extent or 0) for one in shards}
    return {name for name in fs.names(splits_folder(out)) if not _pieces_in(out, name) & there}


def _pieces_in(out: str, name: str) -> set[tuple[str, int, int, int]]:
    """Of a file that is one shard, that; none if it can't be read."""
    found = _decoded(out, name)
    if found is None:
        return set()
    pieces = {(found.path, found.size, piece.first, piece.extent) for piece in found.pieces}
    return pieces or {(found.path, found.size, 0, 0)}


def _name(files: PoolFiles, shard: Shard) -> str:
    return split_name(shard, f"{_VERSION} {files.format} {files.split_bytes}")


def _read(out: str, name: str, shard: Shard) -> list[Shard] | None:
    found = _decoded(out, name)
    return None if found is None else found.shards(shard)


def _decoded(out: str, name: str) -> Split | None:
    try:
        return msgspec.json.decode(fs.read_bytes(fs.join(splits_folder(out), name)), type=Split)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None  # a damaged one is made anew
