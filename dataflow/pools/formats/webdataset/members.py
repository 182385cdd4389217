"""Members of tars as we write them, and pieces of archives taken apart and renamed."""

from __future__ import annotations

import io
import json
import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

from poolsieve.dataflow.pools.formats.outgoing import Sink
from poolsieve.dataflow.pools.json_text import dump, plain
from poolsieve.scoring_models.base.errors import PoolsieveError

SCORES = "poolsieve.json"
"""Extension of the member that holds a sample's scores."""


def end_archive(sink: Sink) -> None:
    """Two zero blocks, filled up to tar's record of 20 blocks, as every tar writer ends an archive."""
    sink.write(bytes(2 * tarfile.BLOCKSIZE))
    sink.write(bytes(-sink.tell() % tarfile.RECORDSIZE))


def split_name_as_written(name: str) -> tuple[str, str, str]:
    """(key, dot, extension) of a member's name as it is spelled; a key ends at the first dot after the last slash."""
    folder, slash, base = name.rpartition("/")
    stem, dot, extension = base.partition(".")
    return folder + slash + stem, dot, extension


def members(data: bytes) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """The members of a piece of an archive, each with its data and padding."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
        for info in archive:
            size = -(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE if info.isreg() else 0
            yield info, data[info.offset_data : info.offset_data + size]


def renamed(data: bytes, key: str) -> Iterator[bytes]:
    """The bytes of a sample under another key: its members' data as it was, their headers with the new name.

    Raises:
        PoolsieveError: for a sparse member, whose header holds more than a name.
    """
    for info, payload in members(data):
        _, dot, extension = split_name_as_written(info.name)
        if not (info.isreg() and dot):
            continue
        if info.issparse():
            raise PoolsieveError(f"member {info.name!r} is stored with holes and can't be copied under another name")
        info.name = f"{key}.{extension}"
        pax = {name: value for name, value in info.pax_headers.items() if name != "path"}
        info.pax_headers = pax
        yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        yield payload


def member(name: str, data: bytes) -> bytes:
    """A member of our own: no owner, no date, so that the same data gives the same bytes."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    head = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    return head + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def score_member(key: str, uid: str, scores: Mapping[str, Any]) -> bytes:
    """`{key}.poolsieve.json`: the uid and the scores; what is null or NaN is null."""
    return member(f"{key}.{SCORES}", dump({"uid": uid, "scores": {k: plain(v) for k, v in scores.items()}}))


def sizes(rows: Mapping[str, int]) -> dict[str, bytes]:
    """`sizes.json` beside the tars, as DataComp and open_clip have it: base name -> samples."""
    folder = posixpath.dirname(next(iter(rows), "data/"))
    counts = {posixpath.basename(name): count for name, count in rows.items()}
    return {f"{folder}/sizes.json": (json.dumps(counts, indent=1, sort_keys=True) + "\n").encode()}
