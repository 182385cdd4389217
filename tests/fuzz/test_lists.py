"""Damaged lists of uids: sorted pairs or a clear refusal, and no pair that was not there where only one was hit."""

from __future__ import annotations

import io
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz import tasks
from tests.fuzz.batches import fell
from tests.fuzz.conftest import Campaign
from tests.fuzz.mutators import Input, mutant

LISTS = 150


def uids(r: Random) -> list[str]:
    return [r.choice((r.randbytes(16).hex(), f"name-{r.randrange(99)}", "é" * 16)) for _ in range(r.randrange(1, 60))]


def npy(r: Random) -> bytes:
    sink, n = io.BytesIO(), r.randrange(60)
    kind: Any = r.choice(("u8,u8", ">u8,>u8", "u8,i8", "u8", "f8,f8", "S8,S8", "O", "u4,u4", "u8,u8,u8"))
    data = np.zeros(r.choice((n, (n, 2), ())), dtype=kind)
    np.save(sink, data, allow_pickle=True)
    return sink.getvalue()


def parquet(r: Random) -> bytes:
    sink, found = io.BytesIO(), uids(r)
    column: Any = r.choice((found, [None] * len(found), [[one] for one in found], range(len(found))))
    table = pa.table({"uid": column}) if r.random() < 0.9 else pa.table({"key": found, "uid2": found})
    pq.write_table(table, sink, compression="none")
    return sink.getvalue()


def text(r: Random) -> bytes:
    return r.choice(("", "\ufeff")).encode() + r.choice(("\n", "\r\n", "\r")).join(uids(r)).encode()


MAKERS = {"npy": npy, "parquet": parquet, "txt": text}


def case(seed: int, folder: Path) -> list[str]:
    r, paths = Random(f"list {seed}"), []
    for i in range(LISTS):
        ending = r.choice(list(MAKERS))
        good, other = MAKERS[ending](r), MAKERS[r.choice(list(MAKERS))](r)
        places = [(0, 128), (max(0, len(good) - 200), len(good))]
        path = folder / f"{i:03d}.{ending}"
        path.write_bytes(mutant(r, Input(data=good, places=places, other=other), {}).data)
        paths.append(str(path))
    return fell(tasks.load_lists, paths, log=folder / "log")


def test_damaged_lists(campaign: Campaign) -> None:
    campaign.each(case, seeds=(1, 2))
