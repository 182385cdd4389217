"""How chunks lie in a token file: the type of an id and the ids of a chunk, which the file itself does not say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow.pools.formats.base import Location
from poolsieve.dataflow.pools.shards import BATCH_BYTES, Shard
from poolsieve.scoring_models.base.arrow import type_named
from poolsieve.scoring_models.base.errors import PlanError, RowError, unknown_name
from poolsieve.scoring_models.base.kinds import short

ROLE = "tokens"
"""The role of a chunk's ids. Its source is the layout, `uint16[512]`: it settles what is read and what a row is."""

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
"""Types of ids: OLMo's and Megatron-LM's indexed datasets write integers of these, little-endian."""

MAGIC = b"\x93NUMPY"
"""First bytes of a file of `numpy.save` (NEP 1). As ids of any type they would be read as the start of a text."""

_PACKED = (".gz", ".zst", ".zip", ".npz", ".xz", ".bz2", ".lz4")
"""Endings of compressed files, whose bytes would be taken for ids."""

_SOURCE = re.compile(r"([a-z0-9]{1,16})\[([1-9][0-9]{0,9})\]")


@dataclass(frozen=True)
class Layout:
    """`dtype`, one of `DTYPES`, and `length`, the ids of a chunk."""

    dtype: str
    length: int

    @property
    def stored(self) -> np.dtype[Any]:
        """An id as it stands in the file."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk."""
        return self.stored.itemsize * self.length

    @property
    def item(self) -> pa.DataType:
        """Arrow's type of an id."""
        return type_named(self.dtype)

    @property
    def type(self) -> pa.DataType:
        """Arrow's type of a chunk."""
        return pa.list_(self.item, self.length)

    def chunks(self, nbytes: int) -> int:
        """Whole chunks in so many bytes: a tail that is shorter is none."""
        return nbytes // self.chunk_bytes

    def array(self, data: bytes) -> pa.Array:
        """Whole chunks as an array of `type`; on little-endian machines over the bytes themselves."""
        ids = np.frombuffer(data, self.stored).astype(self.dtype, copy=False)
        return pa.FixedSizeListArray.from_arrays(pa.array(ids, self.item), self.length)

    def damage(self, shard: Shard, first: bytes) -> RowError | None:
        """Why a file is no token file of this layout, by its first bytes; None if it may be one."""
        if not first.startswith(MAGIC):
            return None
        return RowError(
            "numpy_header",
            f"{shard.path} was written by numpy.save: its first bytes are a header, not ids. Token files have none: "
            "write it anew by numpy.load(path).tofile(path), and give Pool.tokens the array's dtype",
        )

    def odd(self, shard: Shard) -> RowError | None:
        """What is wrong with a file that does not end with a whole id; None for others."""
        size, item = shard.size, self.stored.itemsize
        if size % item == 0:
            return None
        return RowError(
            "odd_bytes",
            f"{shard.path} has {size:,} bytes, no whole number of {self.dtype} ids ({item} bytes each): it was cut "
            "short, or its dtype is another",
        )


def source_of(dtype: str, length: int) -> str:
    """The source of the role `tokens`, as `uint16[512]`, once dtype and length have been checked.

    Raises:
        PlanError: for a type that is not listed, and for chunks of fewer than 2 ids: the first is not predicted.
    """
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise unknown_name(f"Pool.tokens(dtype={short(dtype)}): no type of ids", short(dtype), DTYPES)
    if type(length) is not int or length < 2:
        raise PlanError(f"Pool.tokens(length={short(length)}): a chunk is a whole number of ids, at least 2, as 512")
    if (size := Layout(dtype, length).chunk_bytes) > BATCH_BYTES:
        raise PlanError(f"Pool.tokens(length={length}): a chunk of {size:,} bytes is more than {BATCH_BYTES:,}")
    return f"{dtype}[{length}]"


def check_urls(urls: Sequence[str]) -> None:
    """Refuses what is compressed, by its name: nothing in the bytes tells it from ids.

    Raises:
        PlanError: naming the URL.
    """
    packed = next((url for url in urls if isinstance(url, str) and url.lower().endswith(_PACKED)), None)
    if packed is not None:
        raise PlanError(f"Pool.tokens({short(packed)}): compressed token files are not read: unpack them first")


def parse(source: str) -> Layout:
    """The layout that a source says.

    Raises:
        PlanError: for anything but `dtype[length]`.
    """
    found = _SOURCE.fullmatch(source)
    if found is None:
        raise PlanError(f"role {ROLE!r} reads {short(source)}: name type and length of a chunk, as 'uint16[512]'")
    source_of(found[1], int(found[2]))
    return Layout(found[1], int(found[2]))


def layout_of(files: Location) -> Layout:
    """The layout of a pool's files."""
    return parse(_required(files.roles))


def instances(files: Location, shard: Shard) -> int:
    """Chunks of a shard's whole file, as a trainer numbers them: by the size alone, whatever could be read of them.

    `MemMapDataset` of OLMo counts the same (olmo/data/memmap_dataset.py: size // (item size * chunk size)).
    """
    return layout_of(files).chunks(shard.size)


def _required(roles: Mapping[str, str]) -> str:
    if ROLE not in roles:
        raise PlanError(
            "a pool of token files says dtype and length: Pool.tokens('c4/*.npy', dtype='uint16', length=512)"
        )
    return roles[ROLE]
