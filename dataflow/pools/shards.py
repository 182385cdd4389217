"""The small records that passes hand to one another: shards, and batches of rows as a reader yields them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.base.config import JsonObject, digest
from poolsieve.scoring_models.base.errors import RowError

BATCH_ROWS = 4096
"""Most rows in a batch."""
BATCH_BYTES = 16 << 20
"""Most bytes in a batch, by the reader's best knowledge before it reads."""

DOCUMENT_BYTES = 32 << 20
"""Most bytes of one document, if the pool does not say: a bookshelf in one text, and several times what the longest
documents of curated corpora have. A text of 31 MB was measured to take 0.55 GB to count its words, and 1.7 GB in
Gopher's rules; at 64 MB both double, and every worker may hold one at a time."""

NAME_HASH_BYTES = 16
"""Of a path's hash in a shard's name: among 10^10 files two meet with a chance below 10^-18."""
_STEM_BYTES = 80
"""Of a file's own name in a shard's name. File systems allow 255 bytes, and a score's file adds 40 to the name."""


_UNSAFE = re.compile(r"[^\w-]")
"""In names of files: all but letters and digits of any script, `-` and `_`."""


@dataclass(frozen=True, kw_only=True, order=True, slots=True)
class Shard:
    """One file, or a part of a big one: the unit of work, resume and atomic output.

    `path` is relative to the pool's root and orders shards. A part is `extent` row groups of a Parquet file, or as
    many bytes of a file of JSON lines or tokens, from number `first` on (0 for a whole file); `start` is its first row.
    `tag` is the storage's word for the file's contents (ETag, or mtime in nanoseconds).
    """

    path: str
    first: int = 0
    extent: int | None = None
    start: int = 0
    size: int = 0
    tag: str = ""

    @property
    def name(self) -> str:
        """File stem, hash of the relative path, and which part of the file: stable, and safe as a file name."""
        stem = self.path.rsplit("/", 1)[-1].split(".", 1)[0] or "shard"
        # Counted in bytes, since a letter may have four of them.
        short = _UNSAFE.sub("_", stem).encode()[:_STEM_BYTES].decode("utf-8", "ignore")
        path = self.path.encode("utf-8", "surrogateescape")
        hashed = hashlib.blake2b(path, digest_size=NAME_HASH_BYTES).hexdigest()
        part = "" if self.extent is None else f"-{self.first:05d}-{self.first + self.extent - 1:05d}"
        return f"{short}-{hashed}{part}"

    @property
    def identity(self) -> str:
        """Hash of everything that tells this version of the shard from another one."""
        return digest([self.path, self.first, self.extent, self.size, self.tag])

    def to_dict(self) -> JsonObject:
        """Plain values, for JSON and Arrow."""
        return {
            "path": self.path,
            "first": self.first,
            "extent": self.extent,
            "start": self.start,
            "size": self.size,
            "tag": self.tag,
        }


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of one shard in file order, as a reader yields them: at most `BATCH_ROWS` rows and about `BATCH_BYTES`.

    Attributes:
        start: the position in the file (from 0) of the first row that was read; the rows follow without gaps, unless
            `positions` says where they stand.
        uid: string array, length n, never null (derived where the pool has none).
        nbytes: int64 (n,), payload bytes of each row, for planning exports.
        roles: one column for each role asked for (string, binary, numeric ...), length n. A value that could not be
            read is null, and the reason stands in `role_errors`.
        role_errors: role -> row index in the batch -> error. It costs a row only what reads that role.
        read_errors: row index in the batch -> error. It costs the row everything (`quarantine.<kind>`).
        offset: int64 (n,), where the sample's first header starts in the tar, or the line in the decompressed file.
        length: int64 (n,), bytes from there to the padded end of the sample's last member, or to the end of the line.
        key: string array (n,), WebDataset only: the samples' keys.
        positions: int64 (n,), ascending positions in the file, where some rows were left out (a sample of the pool).
    """

    start: int
    uid: pa.Array
    nbytes: np.ndarray[Any, np.dtype[np.int64]]
    roles: pa.RecordBatch
    role_errors: Mapping[str, Mapping[int, RowError]] = field(default_factory=dict)
    read_errors: Mapping[int, RowError] = field(default_factory=dict)
    offset: np.ndarray[Any, np.dtype[np.int64]] | None = None
    length: np.ndarray[Any, np.dtype[np.int64]] | None = None
    key: pa.Array | None = None
    positions: np.ndarray[Any, np.dtype[np.int64]] | None = None

    @property
    def num_rows(self) -> int:
        """Rows in the batch."""
        return len(self.uid)

    @property
    def rows(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """int64 (n,): the rows' positions in the file."""
        if self.positions is not None:
            return self.positions
        return np.arange(self.start, self.start + self.num_rows, dtype=np.int64)
