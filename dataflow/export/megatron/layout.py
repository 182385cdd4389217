"""The two files of an indexed dataset: `PREFIX.bin` has the ids, `PREFIX.idx` says where each sequence lies in it.

As Megatron-LM reads them (NVIDIA/Megatron-LM, `megatron/core/datasets/indexed_dataset.py`, `_IndexReader`) and
datatrove writes them (`datatrove/pipeline/tokens/megatron_tokenizer.py`, `MegatronTokenizedFile`). The `.bin` is raw
ids. The `.idx`, all little-endian:

| bytes | what |
|---|---|
| 9 | `MMIDIDX`, and two zeros |
| 8 | uint64, the version: 1 |
| 1 | the code of the ids' type (`CODES`) |
| 8 | uint64, sequences: n |
| 8 | uint64, ends of documents, the zero before the first counted: n + 1 |
| 4 n | int32, ids of each sequence |
| 8 n | int64, where each begins in the `.bin`, in bytes |
| 8 (n + 1) | int64, the sequence at which each document begins, and n |

Every sequence is a document of its own here, as with datatrove.
"""

from __future__ import annotations

import array
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from poolsieve.dataflow.pools.formats.outgoing import Sink
from poolsieve.scoring_models.base.errors import PlanError

IDS, INDEX = ".bin", ".idx"
"""Endings of the two; Megatron-LM is given the path without them."""

CODES: Mapping[str, int] = {"uint8": 1, "int8": 2, "int16": 3, "int32": 4, "int64": 5, "uint16": 8}
"""Type of an id -> its code (`DType` of Megatron-LM). The format has no wider unsigned types."""

_AS: Mapping[str, str] = {"uint32": "int32", "uint64": "int64"}
"""Types that the format has not -> those of the same width, whose bytes are the same up to half of their range."""

_MAGIC, _VERSION = b"MMIDIDX\x00\x00", 1

_BLOCK = 1 << 16
"""Sequences whose numbers are made at once."""

Ints = np.ndarray[Any, np.dtype[np.int64]]


def type_of(name: str, vocabulary: int) -> str:
    """The type of ids below `vocabulary`: `uint16` if it holds them, else `int32`, as datatrove chooses.

    Raises:
        PlanError: if there are more than int32 holds.
    """
    if vocabulary > 1 << 31:
        most = (1 << 31) - 1
        raise PlanError(f"{name} has ids up to {vocabulary - 1:,}, and Megatron's files hold none above {most:,}")
    return "uint16" if vocabulary <= 1 << 16 else "int32"


def stored_as(dtype: str) -> str:
    """The type of the format that a token file's ids have there, byte for byte the same."""
    return _AS.get(dtype, dtype)


class Sequences:
    """How long the sequences of a `.bin` are, in order. Takes 4 bytes for each."""

    def __init__(self) -> None:
        self._sizes = array.array("i")

    def __len__(self) -> int:
        return len(self._sizes)

    def add(self, sizes: Ints) -> None:
        """Takes the ids of some sequences, int64 (n,)."""
        self._sizes.frombytes(sizes.astype(np.intc).tobytes())

    def write(self, sink: Sink, dtype: str) -> None:
        """Writes the `.idx`, with what is as long as there are sequences made block by block.

        Args:
            sink: for the file.
            dtype: of an id, one of `CODES`.
        """
        n = len(self)
        sink.write(_MAGIC + struct.pack("<QBQQ", _VERSION, CODES[dtype], n, n + 1))
        for sizes in self._blocks():
            sink.write(sizes.astype("<i4").tobytes())
        position, item = 0, np.dtype(dtype).itemsize
        for sizes in self._blocks():
            ends = position + np.cumsum(sizes * item)
            sink.write((ends - sizes * item).astype("<i8").tobytes())
            position = int(ends[-1])
        for start in range(0, n + 1, _BLOCK):
            sink.write(np.arange(start, min(start + _BLOCK, n + 1)).astype("<i8").tobytes())

    def _blocks(self) -> Iterator[Ints]:
        whole = np.frombuffer(self._sizes, np.intc)
        for start in range(0, len(whole), _BLOCK):
            yield whole[start : start + _BLOCK].astype(np.int64)
