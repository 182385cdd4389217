"""Artefacts in parts: the same bytes in any order of shards, batches and blocks, and readers that find all of them."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pytest

from poolsieve.dataflow import Pool
from poolsieve.dataflow.passes.artefacts.kinds import Good, Kind
from poolsieve.dataflow.passes.artefacts.lines import Lines
from poolsieve.dataflow.passes.artefacts.repeats import Repeats
from poolsieve.dataflow.store.artefacts import write_part, write_parts
from poolsieve.filters.against import COLUMNS, Against, opened, pairs
from poolsieve.filters.lines import Pieces, Repeated
from poolsieve.filters.parted import COUNTS, Counted, read_parted, readable
from poolsieve.scoring_models.base.errors import PoolsieveError
from poolsieve.scoring_models.feeding.driver import score_rows

OTHER = Pool.jsonl("other.jsonl", text="text")
TEXTS = [f"{i % 37} is what this line of text number {i % 11} has to say, and no more\n" * (i % 3) for i in range(90)]
FILES = ("a", "b")
KINDS: dict[str, tuple[type[Kind], Any]] = {
    "repeats": (Repeats, Repeated(pool=OTHER, pieces=Pieces(min_chars=5))),
    "lines": (Lines, Against(pool=OTHER, hash="h")),
}


def make(url: str, name: str, bits: int, *, seed: int) -> str:
    """Writes an artefact of the texts, that are read in another order and in other batches for each seed."""
    rng, kind = random.Random(seed), KINDS[name][0](KINDS[name][1], bits)
    shards = [_batches(file, rng) for file in rng.sample(FILES, 2)]
    met: dict[int, list[Any]] = {}
    for shard in shards:
        for place, block in kind.sent(shard):
            met.setdefault(place, []).append(block)
    parts = [write_part(url, place, kind.joined(rng.sample(blocks, len(blocks)))) for place, blocks in met.items()]
    write_parts(url, bits, rng.sample(parts, len(parts)))
    return url


def _batches(file: str, rng: random.Random) -> list[Good]:
    rows = np.arange(FILES.index(file), len(TEXTS), 2)
    cuts = sorted(rng.sample(range(1, len(rows)), rng.randint(0, 5)))
    made = [(np.arange(len(part)), part) for part in np.split(rows, cuts)]
    starts = [0, *cuts]
    return [_good(file, part, start + places) for (places, part), start in zip(made, starts, strict=True)]


def _good(file: str, part: Sequence[int], rows: Any) -> Good:
    return Good("p", file, pa.record_batch({"text": [TEXTS[i] for i in part]}), rows)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("bits", [0, 3, 8])
@pytest.mark.parametrize("name", list(KINDS))
def test_the_same_bytes_whatever_the_order(name: str, bits: int, tmp_path: Path) -> None:
    for seed in range(4):
        make(str(tmp_path / str(seed) / "x.json"), name, bits, seed=seed)
    found = [contents(tmp_path / str(seed)) for seed in range(4)]
    assert all(one == found[0] for one in found)
    assert len(found[0]) > (2 if bits else 1) and all(len(one) for one in found[0].values())


@pytest.mark.parametrize("bits", [0, 3, 8])
@pytest.mark.parametrize("remote", [False, True])
def test_counted_hashes_are_found_in_any_number_of_parts(bits: int, remote: bool, tmp_path: Path) -> None:
    url = make(f"memory://{tmp_path}/x.json" if remote else str(tmp_path / "x.json"), "repeats", bits, seed=1)
    scorer = KINDS["repeats"][1]
    every = np.concatenate(list(scorer.hashes(pa.record_batch({"text": TEXTS}))))
    hashes, counts = np.unique(every, return_counts=True)
    parted = read_parted(url)
    assert parted.mapped != remote
    for most in (1, 2, 3, 10**6):
        often = Counted(parted, most)
        assert often.of(np.concatenate([every, every + np.uint64(1)])).tolist() == hashes[counts > most].tolist()
        assert often.of(every[:0]).tolist() == []


def test_another_corpus_in_parts_is_that_of_one(tmp_path: Path) -> None:
    one, many = (opened(make(str(tmp_path / f"{bits}.json"), "lines", bits, seed=bits)) for bits in (0, 5))
    assert np.array_equal(one.hashes, many.hashes) and len(one.hashes) == len(set(TEXTS))
    every = np.arange(len(one.hashes))
    assert one.names(every).to_pylist() == many.names(every).to_pylist()
    assert (np.diff(many.hashes["f0"].astype(object)) > 0).all() and len(pairs(np.zeros((1, 16), np.uint8))) == 1


@pytest.mark.parametrize("remote", [False, True])
def test_a_part_that_is_missing_or_another_one_is_named(remote: bool, tmp_path: Path) -> None:
    url = make(f"memory://{tmp_path}/y.json" if remote else str(tmp_path / "y.json"), "repeats", 3, seed=1)
    system, path = fsspec.core.url_to_fs(url)
    place = json.loads(system.cat_file(path))["parts"][0]["place"]
    part = f"{path.removesuffix('.json')}/{place:05d}.arrow"
    data = system.cat_file(part)
    for wrong in (data[:-1], b"", None):
        if wrong is None:
            system.rm_file(part)
        else:
            system.pipe_file(part, wrong)
        with pytest.raises(PoolsieveError, match=r"00000\.arrow, a part of .*y\.json.*remove .*y\.json, and run again"):
            read_parted(url)


@pytest.mark.parametrize("name", list(KINDS))
@pytest.mark.parametrize(
    "wrong", [b"", b'{"bits": 3, "pa', b'{"bits": 3}', b"[1, 2]", b'{"bits": "x", "parts": []}', None]
)
def test_a_list_that_is_none_costs_no_row(wrong: bytes | None, name: str, tmp_path: Path) -> None:
    url, scorer = make(str(tmp_path / "x.json"), name, 3, seed=1), KINDS[name][1]
    if wrong is None:
        Path(url).unlink()
    else:
        Path(url).write_bytes(wrong)
    batch = pa.record_batch({"text": ["a text"], "h": pa.array([b"x" * 16], pa.binary(16))})
    given = dataclasses.replace(scorer, artefact=url)
    with pytest.raises(PoolsieveError, match=r"x\.json can't be read \(.*\): remove .*x\.json, and run again"):
        score_rows(given, batch.select(given.reads), given.columns, threads=1)


@pytest.mark.parametrize(("name", "columns"), [("repeats", COUNTS), ("lines", COLUMNS)])
def test_a_part_of_another_kind_is_named(name: str, columns: dict[str, pa.DataType], tmp_path: Path) -> None:
    url = make(str(tmp_path / "x.json"), name, 0, seed=1)
    read_parted(url, columns)
    rows = json.loads(Path(url).read_text())["parts"][0]["rows"]
    for other, said in (
        (pa.table({"x": range(rows)}), "its hash is None, and no "),
        (pa.table({"hash": map(float, range(rows))}), "its hash is double, and no "),
        (
            pa.table({key: pa.array([None] * (rows + 1), kind) for key, kind in columns.items()}),
            f"it has {rows + 1:,} rows",
        ),
    ):
        part = write_part(url, 0, other)
        write_parts(url, 0, [part._replace(rows=rows)])
        with pytest.raises(
            PoolsieveError, match=rf"00000\.arrow, a part of .*\({said}.*remove .*x\.json, and run again"
        ):
            read_parted(url, columns)


def test_storage_that_is_away_is_no_damage() -> None:
    class ClientError(Exception):
        """As botocore's, which are no `OSError`."""

    with (
        pytest.raises(PoolsieveError, match=r"^x can't be read \(ClientError: away\): run again when its storage"),
        readable("x"),
    ):
        raise ClientError("away")
    for error in (ConnectionResetError("reset"), PermissionError(13, "denied"), TimeoutError(), MemoryError()):
        with pytest.raises(type(error)), readable("x"):
            raise error
