"""Lines of shards, packed and in their file: as they were, in pool order, however they come."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.store import shard_lines as file_of_lines
from poolsieve.dataflow.store.layout import shards_url
from poolsieve.dataflow.store.shard_lines import (
    SHARDS_SCHEMA,
    LedgerHashes,
    ShardLine,
    lines_in,
    packed,
    pool_id,
    pool_id_of,
    read_shards,
    shard_lines,
    write_shards,
)
from poolsieve.dataflow.store.tables import write_table
from poolsieve.scoring_models.base.config import digest, list_digest
from poolsieve.scoring_models.base.errors import PoolsieveError


def lines_of(count: int, repeated: int | None = None) -> list[ShardLine]:
    shards = [Shard(path=f"é/{i // 2:05d}.parquet", first=i % 2, extent=1, start=i % 2, size=9) for i in range(count)]
    more = {"first_key": None, "last_key": "k", "ledger_sha256": "0" * 64, "ledger_bytes": 5, "repeated": repeated}
    counts = {"rows": 2, "kept": 1, "dropped": 1, "quarantined": 0, "nbytes": 1 << 62, "kept_bytes": 1}
    return [ShardLine(**shard.to_dict(), name=shard.name, **counts, **more) for shard in shards]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.randoms())
def test_blocks_come_in_any_order(sizes: list[int], random: object) -> None:
    lines, blocks, at = lines_of(sum(sizes)), [], 0
    for size in sizes:
        blocks.append(packed(lines[at : at + size]))
        at += size
    random.shuffle(blocks)  # type: ignore[attr-defined]
    assert list(lines_in(blocks)) == lines


@settings(max_examples=10)
@given(st.sampled_from([1, 7, 8, 9, 30]), st.sampled_from([None, 3]), st.sampled_from([1, 5, 64]))
def test_the_file_has_them_whatever_they_were_packed_in(
    tmp_path_factory: pytest.TempPathFactory, count: int, repeated: int | None, size: int
) -> None:
    out, lines = str(tmp_path_factory.mktemp("out")), lines_of(count, repeated)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_of_lines, "GROUP", 8)
        blocks = [packed(lines[at : at + size]) for at in range(0, count, size)]
        write_shards(out, "d", reversed(blocks), repeated is not None)
    assert read_shards(out, "d") == list(shard_lines(out, "d")) == lines
    assert pq.ParquetFile(shards_url(out, "d")).num_row_groups == -(-count // 8)


def test_a_file_of_one_group_is_a_table_s(tmp_path: Path) -> None:
    """As it was written before there were groups: an OUT keeps its bytes."""
    lines = lines_of(20)
    write_shards(str(tmp_path), "d", [packed(lines)], repeats=False)
    write_table(str(tmp_path / "one"), pa.Table.from_pylist(msgspec.to_builtins(lines), schema=SHARDS_SCHEMA))
    assert Path(shards_url(str(tmp_path), "d")).read_bytes() == (tmp_path / "one").read_bytes()


def test_a_file_that_is_cut_off_or_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(PoolsieveError, match="is missing, so the run is not whole"):
        read_shards(str(tmp_path), "d")
    write_shards(str(tmp_path), "d", [packed(lines_of(20))], repeats=False)
    path = Path(shards_url(str(tmp_path), "d"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PoolsieveError, match="is damaged"):
        next(shard_lines(str(tmp_path), "d"))


def test_a_listing_is_hashed_as_it_comes() -> None:
    shards = [line.shard for line in lines_of(9)]
    assert pool_id(shards[::-1], ["m"]) == pool_id_of(iter(shards), ["m"])
    assert pool_id(shards) == digest([shard.identity for shard in shards], 8)
    assert list_digest(iter([])) == digest([]) and list_digest(iter([1, "é", None])) == digest([1, "é", None])


def test_hashes_of_ledgers_are_found_by_name_and_take_little() -> None:
    lines = [
        msgspec.structs.replace(line, ledger_sha256=hashlib.sha256(line.name.encode()).hexdigest())
        for line in lines_of(500)
    ]
    lines[7] = msgspec.structs.replace(lines[7], ledger_sha256="no hash, of a file that was edited: é")
    made = LedgerHashes(iter(lines))
    assert [made.of(line.name) for line in lines] == [line.ledger_sha256 for line in lines]
    assert made.nbytes == 72 * len(lines)
    with pytest.raises(KeyError):
        made.of("another")
    with pytest.raises(KeyError):
        LedgerHashes([]).of("any")
