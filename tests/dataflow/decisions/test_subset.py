"""`subset.npy` from the files of any number of shards."""

from __future__ import annotations

import io
import resource
from pathlib import Path

import numpy as np
import pytest

from poolsieve.dataflow import fs
from poolsieve.dataflow.decisions.record import Record
from poolsieve.dataflow.decisions.subset import merge_subset
from poolsieve.dataflow.store.layout import subset_url, uids_url
from poolsieve.filters.lists import PAIR, sort_pairs


def parts_of(out: Path, sizes: list[int]) -> tuple[Record, np.ndarray]:
    """A record of uid files with so many random pairs, and all the pairs."""
    record, found = Record(), []
    for i, size in enumerate(sizes):
        raw = np.random.default_rng(i).integers(0, 1 << 63, (size, 2), dtype=np.uint64) * np.uint64(2)
        pairs = sort_pairs(np.array([tuple(row) for row in raw.tolist()], dtype=PAIR))
        sink = io.BytesIO()
        np.save(sink, pairs)
        fs.write_bytes(uids_url(str(out), "run", f"s{i}"), sink.getvalue())
        record.uids.append(f"s{i}")
        record.kept += size
        found.append(pairs)
    return record, np.concatenate(found) if found else np.zeros(0, PAIR)


@pytest.mark.parametrize(("sizes", "budget"), [([3, 0, 5], 64 << 20), ([40, 1, 300], 512), ([], 64 << 20)])
def test_merged_is_what_sorting_all_gives(tmp_path: Path, sizes: list[int], budget: int) -> None:
    record, everything = parts_of(tmp_path, sizes)
    merge_subset(str(tmp_path), "0" * 16, record, "run", budget)
    made = np.load(subset_url(str(tmp_path), "0" * 16))
    assert made.tobytes() == sort_pairs(everything).tobytes()


def test_open_files_do_not_grow_with_shards(tmp_path: Path) -> None:
    record, everything = parts_of(tmp_path, [2] * 300)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name.name) for name in Path("/proc/self/fd").iterdir()) + 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (used, before[1]))
    try:
        merge_subset(str(tmp_path), "0" * 16, record, "run")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert np.load(subset_url(str(tmp_path), "0" * 16)).tobytes() == sort_pairs(everything).tobytes()
