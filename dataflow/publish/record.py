"""`poolsieve.json` of a published dataset: which of its files are ours, so that the next version knows what to replace.

It is read back from the Hub, where anybody with the right to write may have changed it: it is data until checked.
"""

from __future__ import annotations

import datetime

import msgspec

from poolsieve.dataflow.store.summary import dumps
from poolsieve.scoring_models.base.errors import PoolsieveError

RECORD = "poolsieve.json"
"""Its path in the repository."""

CARD = "README.md"
"""The card belongs to the people who edit it as well: it is no stranger, and it is not on record."""

OF_THE_HUB = frozenset({".gitattributes"})
"""Files that the Hub makes in a new repository."""


class PublishedFile(msgspec.Struct, kw_only=True, frozen=True):
    """A file of ours: its path, size in bytes, SHA-256, and the rows it holds."""

    path: str
    bytes: int
    sha256: str
    rows: int | None = None


class Record(msgspec.Struct, kw_only=True, frozen=True):
    """What `poolsieve.json` says.

    Attributes:
        format: of this file.
        decision: whose rows are published.
        export: id of the export.
        pool: id of the pool's listing.
        published: the day on which these data were first published.
        started, ended: of the run, UTC; None where they are not known.
        files: every file of ours, but the card and this one.
    """

    format: int = 1
    decision: str
    export: str
    pool: str
    published: datetime.date
    started: datetime.datetime | None = None
    ended: datetime.datetime | None = None
    files: tuple[PublishedFile, ...]

    def to_bytes(self) -> bytes:
        """As it is stored."""
        return dumps(self)


class Damaged(PoolsieveError):
    """A record that is none."""


def read(data: bytes) -> Record:
    """A record from the Hub.

    Raises:
        Damaged: if it is something else, or of a newer version.
    """
    try:
        found = msgspec.json.decode(data, type=Record)
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError, RecursionError) as error:
        said = "".join(char for char in str(error)[:200] if char.isprintable())
        raise Damaged(f"{RECORD} there is not one of poolsieve's ({said})") from error
    if found.format != 1:
        raise Damaged(f"{RECORD} there is of a newer poolsieve (format {found.format})")
    return found
