"""Artefacts in parts: files of Arrow, each with the hashes of one prefix, and a list of them.

Where the files are on a disk of this machine they are mapped: processes share their pages, and none has them in memory
of its own. Of other storage they are read whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import fsspec
import numpy as np
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from poolsieve.filters.words.mixing import Hashes, first_bits
from poolsieve.scoring_models.base.errors import PoolsieveError, is_fatal

Bools = np.ndarray[Any, np.dtype[np.bool_]]


class Parted(NamedTuple):
    """An artefact.

    Attributes:
        bits: of a hash that say in which part it is.
        places: those bits of each part, ascending.
        tables: the parts, each ascending by hash.
        mapped: whether they are on a disk of this machine, and take no memory.
    """

    bits: int
    places: tuple[int, ...]
    tables: tuple[pa.Table, ...]
    mapped: bool


def read_parted(artefact: str, columns: Mapping[str, pa.DataType] | None = None) -> Parted:
    """Opens an artefact's parts.

    Args:
        artefact: URL of the list of them.
        columns: that each must have, and their types, if any are asked for.

    Raises:
        PoolsieveError: for a list or a part that is missing, or not the one that was written: naming it and what to do.
    """
    with readable(artefact):
        system, path = fsspec.core.url_to_fs(artefact)
        listed = json.loads(system.cat_file(path))
        bits, places = int(listed["bits"]), tuple(int(part["place"]) for part in listed["parts"])
    folder, mapped = path.removesuffix(".json"), isinstance(system, LocalFileSystem)
    tables = []
    for place, part in zip(places, listed["parts"], strict=True):
        where = f"{folder}/{place:05d}.arrow"
        with readable(artefact, f"{where}, a part of {artefact},"):
            tables.append(_table(_mapped(where, part) if mapped else _whole(system, where, part), part, columns or {}))
    return Parted(bits, places, tuple(tables), mapped)


@contextlib.contextmanager
def readable(artefact: str, what: str = "") -> Iterator[None]:
    """Names an artefact in what goes wrong while it is read: no row is at fault, and none must be quarantined for it.

    Args:
        artefact: its URL.
        what: is read, if not all of it.

    Raises:
        PoolsieveError: saying whether it is damaged, or its storage can't be reached.
    """
    try:
        yield
    except (FileNotFoundError, IsADirectoryError) as error:
        raise PoolsieveError(_damaged(artefact, what, error)) from error
    except Exception as error:
        if is_fatal(error):
            raise
        # Arrow's decoders raise a bare OSError; clients of storage have classes of their own.
        if isinstance(error, (OSError, ValueError, KeyError, TypeError, pa.ArrowException)):
            raise PoolsieveError(_damaged(artefact, what, error)) from error
        why = f"{type(error).__name__}: {error}"
        raise PoolsieveError(f"{what or artefact} can't be read ({why}): run again when its storage answers") from error


def _damaged(artefact: str, what: str, error: Exception) -> str:
    why = "it is missing" if isinstance(error, FileNotFoundError) else error
    why = f"it has no {error}" if isinstance(error, KeyError) else why
    return f"{what or artefact} can't be read ({why}): remove {artefact}, and run again"


def _table(data: Any, part: Mapping[str, Any], columns: Mapping[str, pa.DataType]) -> pa.Table:
    table = pa.ipc.open_file(data).read_all()
    found = dict(zip(table.schema.names, table.schema.types, strict=True))
    wrong = [
        f"its {name} is {found.get(name)}, and no {kind}" for name, kind in columns.items() if found.get(name) != kind
    ]
    if wrong:
        raise ValueError(wrong[0])
    if table.num_rows != part["rows"]:
        raise ValueError(f"it has {table.num_rows:,} rows, {part['rows']:,} were written")
    return table


def _mapped(path: str, part: dict[str, Any]) -> Any:
    """Not hashed: that would read all of it in each process."""
    file = pa.memory_map(path)
    if file.size() != part["size"]:
        raise ValueError(f"it has {file.size():,} bytes, {part['size']:,} were written")
    return file


def _whole(system: Any, path: str, part: dict[str, Any]) -> Any:
    data = system.cat_file(path)
    if hashlib.sha256(data).hexdigest() != part["sha256"]:
        raise ValueError("it has another SHA-256 than what was written")
    return pa.BufferReader(data)


COUNTS = {"hash": pa.uint64(), "count": pa.int64()}
"""Columns of what `Counted` reads."""


class Counted:
    """Hashes that were counted more than `most` times: in no memory if mapped, else 8 bytes each."""

    def __init__(self, parted: Parted, most: int) -> None:
        self._bits, self._parts = parted.bits, dict[int, tuple[Hashes, Any]]()
        for place, table in zip(parted.places, parted.tables, strict=True):
            hashes, counts = (_numbers(table, name) for name in ("hash", "count"))
            self._parts[place] = (hashes, counts) if parted.mapped else (hashes[counts > most], None)
        self._most = most

    def of(self, hashes: Hashes) -> Hashes:
        """Those of uint64 (n,) that are among them, each once, ascending."""
        asked = np.unique(hashes)
        return asked[self._has(asked)] if len(asked) else asked

    def _has(self, asked: Hashes) -> Bools:
        """bool (n,) of ascending hashes, whose parts are therefore one behind the other."""
        found = np.zeros(len(asked), dtype=bool)
        places = first_bits(asked, self._bits)
        values, firsts = np.unique(places, return_index=True)
        for place, first, end in zip(values.tolist(), firsts, [*firsts[1:], len(asked)], strict=True):
            if place in self._parts:
                found[first:end] = self._in_part(asked[first:end], *self._parts[place])
        return found

    def _in_part(self, asked: Hashes, known: Hashes, counts: Any) -> Bools:
        if not len(known):
            return np.zeros(len(asked), dtype=bool)
        at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
        there: Bools = known[at] == asked
        return there if counts is None else there & (counts[at] > self._most)


def _numbers(table: pa.Table, name: str) -> Any:
    """A column as NumPy's, without a copy: a part is one batch."""
    chunks: Sequence[Any] = table.column(name).chunks
    return chunks[0].to_numpy(zero_copy_only=True) if chunks else np.empty(0, np.uint64)
