"""What a folder of token files says of itself: `tokens.json`, and a note of each file while it is unfinished."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from poolsieve.dataflow.export.index import read_record
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.tokenizers.record import TOKENIZER_FILE, TokenizerRecord
from poolsieve.scoring_models.base.config import JsonObject, digest

INDEX = "tokens.json"
ENDING, DOCUMENTS = ".npy", ".documents.parquet"
"""Of a token file, which has no header in spite of its name (so are OLMo's called), and of the table beside it."""

_LAYOUT = 1
"""Raised when the same command would give other files, so that none goes on with what an older version began."""


class PoolSource(msgspec.Struct, kw_only=True, frozen=True):
    """Where the documents come from: the pool as its recipe has it, sources of text and uid, the sample's mark."""

    kind: str
    urls: tuple[str, ...]
    root: str
    text: str
    uid: str
    sample: tuple[str, ...] = ()


class About(msgspec.Struct, kw_only=True, frozen=True):
    """What tells one folder of tokens from another: the same, and the same pool, the same files.

    Attributes:
        tokenizer: see `TokenizerRecord`.
        dtype: of an id, little-endian: `uint16` or `uint32`.
        length: ids of a chunk.
        pool: see `PoolSource`.
    """

    tokenizer: TokenizerRecord
    dtype: str
    length: int
    pool: PoolSource

    @property
    def settings(self) -> JsonObject:
        """What makes an id what it is. The files' names are left out: the shards of each file are noted beside it."""
        tokens = self.tokenizer
        return {
            "tokenizer": tokens.sha256,
            "end-of-text token": tokens.eos_id,
            "dtype": self.dtype,
            "length": self.length,
            "text": self.pool.text,
            "uid": self.pool.uid,
        }

    @property
    def about_id(self) -> str:
        """Hash of the settings."""
        return digest([_LAYOUT, self.settings], 8)


class ShardRecord(msgspec.Struct, kw_only=True, frozen=True):
    """A shard; see `Shard`."""

    path: str
    first: int
    extent: int | None
    start: int
    size: int
    tag: str

    @classmethod
    def of(cls, shard: Shard) -> ShardRecord:
        """The record of a shard."""
        return cls(**shard.to_dict())


class Counts(msgspec.Struct, kw_only=True, frozen=True):
    """What became of the rows of a shard: rows = documents + empty + unreadable.

    Attributes:
        rows: of the shard.
        documents: that gave tokens.
        empty: null, or without a token.
        unreadable: left out, since the text could not be read.
        tokens: ids, an end of text behind each document counted.
    """

    rows: int = 0
    documents: int = 0
    empty: int = 0
    unreadable: int = 0
    tokens: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in Counts.__struct_fields__})


class TokenFile(Counts, kw_only=True, frozen=True):
    """A token file that is whole, with the table of its documents.

    Attributes:
        name, bytes, sha256: of the token file.
        chunks: whole ones; the rest of the file is shorter, and no row.
        beside, beside_bytes, beside_sha256: of the table.
        shard: where the documents come from.
    """

    name: str
    bytes: int
    sha256: str
    chunks: int
    beside: str
    beside_bytes: int
    beside_sha256: str
    shard: ShardRecord

    @property
    def named(self) -> list[str]:
        """See `Noted`."""
        return [self.name, self.beside]


class TokensIndex(About, kw_only=True, frozen=True):
    """`tokens.json`: its presence means that the folder is whole.

    Attributes:
        id: hash of what `About` says of settings.
        counts: of all files.
        chunks: of all files, each file's tail left out.
        warnings: for people.
        files: in the order of the pool's shards.
        versions: of what the files may depend on.
    """

    id: str
    counts: Counts
    chunks: int
    warnings: tuple[str, ...]
    files: tuple[TokenFile, ...]
    versions: dict[str, str]

    @property
    def names(self) -> list[str]:
        """Every file that was written, the index left out."""
        return [*(name for file in self.files for name in file.named), TOKENIZER_FILE]

    @property
    def named(self) -> list[str]:
        """See `Noted`."""
        return [self.id, *self.names]


def file_names(shard: Shard) -> tuple[str, str]:
    """Names of a shard's token file and of the table beside it."""
    return shard.name + ENDING, shard.name + DOCUMENTS


def total(files: Iterable[TokenFile]) -> Counts:
    """The counts of all files."""
    return sum(files, Counts())


def read_tokens_index(url: str) -> TokensIndex | None:
    """An index, or its copy among the notes; None where there is none.

    Raises:
        PlanError: if something else is in its place.
    """
    return read_record(url, TokensIndex)
