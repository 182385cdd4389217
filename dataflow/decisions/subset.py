"""`subset.npy`: the kept uids, sorted, merged from the shards' files in a fixed amount of memory."""

from __future__ import annotations

import hashlib
import io
import itertools
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import numpy as np

from poolsieve.dataflow import fs
from poolsieve.dataflow.decisions.record import Record
from poolsieve.dataflow.store.layout import subset_url, uids_url
from poolsieve.dataflow.store.summary import FileMark
from poolsieve.filters.lists import PAIR, sort_pairs


def merge_subset(out: str, decision: str, record: Record, run_id: str, budget: int = 64 << 20) -> FileMark:
    """Merges the sorted uid files of a run's shards into one sorted `subset.npy`, in about `budget` bytes.

    They are copied one behind the other into one file of this machine, so that any number of them takes one open file.
    The shards' files stay, since a runner may call this again; they go with the run's folder.

    Returns:
        What the file is known by from now on.
    """
    with tempfile.TemporaryFile(prefix=fs.TEMPORARY) as file:
        ends = _copied(file, (uids_url(out, run_id, name) for name in record.uids))
        parts = _parts(file, ends)
        with fs.atomic_write(subset_url(out, decision)) as made:
            return _write(made, parts, record.kept if record.repeated is None else record.repeated, budget)


def _write(file: IO[bytes], parts: Sequence[Any], kept: int, budget: int) -> FileMark:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, _header(kept))
    made, size = hashlib.sha256(), 0
    for data in itertools.chain([head.getvalue()], _pieces(parts, kept, budget)):
        file.write(data)
        made.update(data)
        size += len(data)
    return FileMark(sha256=made.hexdigest(), bytes=size)


def _pieces(parts: Sequence[Any], kept: int, budget: int) -> Iterator[bytes]:
    for low, high in _ranges(kept, budget):
        yield _merged(parts, low, high).tobytes()


def _header(n: int) -> dict[str, Any]:
    return {"descr": PAIR.descr, "fortran_order": False, "shape": (n,)}


def _copied(file: IO[bytes], urls: Iterable[str]) -> list[int]:
    """Appends the pairs of uid files to a file; where those of each end, in pairs."""
    ends = [0]
    for url in urls:
        pairs = np.load(io.BytesIO(fs.read_bytes(url)), allow_pickle=False)
        file.write(pairs.tobytes())
        ends.append(ends[-1] + len(pairs))
    file.flush()
    return ends


def _parts(file: IO[bytes], ends: Sequence[int]) -> list[Any]:
    if ends[-1] == 0:
        return []  # nothing can't be mapped
    whole = np.memmap(file, dtype=PAIR, mode="r")  # type: ignore[call-overload]  # a file without a name is one too
    return [whole[first:end] for first, end in itertools.pairwise(ends)]


def _ranges(n: int, budget: int) -> list[tuple[int, int]]:
    """Ranges of the high half that split uids, which are uniform, into pieces of about `budget` bytes."""
    pieces = max(1, -(-n * PAIR.itemsize // budget))
    edges = [(1 << 64) * i // pieces for i in range(pieces + 1)]
    return list(itertools.pairwise(edges))


def _merged(parts: Sequence[Any], low: int, high: int) -> np.ndarray[Any, Any]:
    cut = [_slice(part, low, high) for part in parts]
    merged = np.concatenate(cut) if cut else np.zeros(0, PAIR)
    return sort_pairs(merged)


def _slice(part: Any, low: int, high: int) -> Any:
    first = np.searchsorted(part["f0"], np.uint64(low))
    last = len(part) if high == 1 << 64 else np.searchsorted(part["f0"], np.uint64(high))
    return part[first:last]
