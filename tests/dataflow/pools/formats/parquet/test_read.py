"""Parquet shards as chunks, against files written by pyarrow, whole and broken."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolsieve.dataflow.pools.formats.base import uids
from poolsieve.dataflow.pools.shards import BATCH_BYTES, BATCH_ROWS, Batch, Shard
from poolsieve.dataflow.recipes.recipe import Pool
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests.conftest import derived_uid


def read(pool: Pool, *roles: str, want: Callable[[int, int], bool] | None = None, shard: int = 0) -> list[Batch]:
    shards = pool.located().listing().shards
    types = pool.located().role_types(shards, [role for role in roles if role not in pool.roles])
    return list(pool.located().batches(shards[shard], roles, types, want))


def values(chunks: list[Batch], role: str) -> list[Any]:
    return [value for chunk in chunks for value in chunk.roles.column(role).to_pylist()]


def errors(chunks: list[Batch], role: str = "") -> dict[int, str]:
    """Row in the file -> kind of error, of a role or of the reading."""
    found = {}
    for chunk in chunks:
        of = chunk.role_errors.get(role, {}) if role else chunk.read_errors
        found |= {chunk.start + row: error.kind for row, error in of.items()}
    return found


def write(folder: Path, table: pa.Table, name: str = "a.parquet", **options: Any) -> Path:
    pq.write_table(table, folder / name, **options)
    return folder / name


def test_roles_from_columns_and_nested_fields(tmp_path: Path) -> None:
    meta = pa.array([{"width": 1, "deep": {"x": "p"}}, None, {"width": None, "deep": {"x": "q"}}])
    table = pa.table({"caption": ["x", None, "é"], "meta": meta, "a.b": [1.5, 2.5, None], "rest": [1, 2, 3]})
    write(tmp_path, table)
    pool = Pool.parquet(f"{tmp_path}/*.parquet", text="caption", width="meta.width", x="meta.deep.x", dot="a.b")
    (chunk,) = read(pool, "text", "width", "x", "dot", "rest")
    assert chunk.roles.to_pydict() == {
        "text": ["x", None, "é"],
        "width": [1, None, None],
        "x": ["p", None, "q"],
        "dot": [1.5, 2.5, None],
        "rest": [1, 2, 3],
    }
    assert chunk.roles.schema.types == [pa.string(), pa.int64(), pa.string(), pa.float64(), pa.int64()]
    assert not chunk.role_errors and not chunk.read_errors and chunk.offset is None
    assert chunk.uid.to_pylist() == [derived_uid("a.parquet", row) for row in range(3)]
    assert chunk.nbytes.dtype == np.int64 and chunk.nbytes[0] > 0


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.binary()]
)
def test_text_of_any_type_is_a_string(tmp_path: Path, kind: pa.DataType) -> None:
    plain = pa.array(["x", None, "é"])
    write(tmp_path, pa.table({"t": plain.cast(kind)}))
    (chunk,) = read(Pool.parquet(f"{tmp_path}/a.parquet", text="t", uid="t"), "text", "uid")
    assert chunk.roles.column("text").equals(plain)
    assert chunk.uid.to_pylist() == ["x", derived_uid("a.parquet", 1), "é"] == values([chunk], "uid")


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([7, None, -1]), ["7", None, "-1"]),
        (pa.array([2**64 - 1, 0, 1], pa.uint64()), [str(2**64 - 1), "0", "1"]),
        (pa.array(["a", "a", None]), ["a", "a", None]),
    ],
)
def test_uids_are_strings(tmp_path: Path, ids: pa.Array, expected: list[str | None]) -> None:
    write(tmp_path, pa.table({"id": ids}))
    (chunk,) = read(Pool.parquet(f"{tmp_path}/a.parquet", uid="id"))
    assert chunk.uid.to_pylist() == [uid or derived_uid("a.parquet", row) for row, uid in enumerate(expected)]
    assert chunk.roles.num_rows == 3 and chunk.roles.num_columns == 0


def test_uids_in_bulk_equal_derived_uid() -> None:
    assert uids("d/é.parquet", 998, 5).to_pylist() == [derived_uid("d/é.parquet", 998 + row) for row in range(5)]
    uids("x", 0, 0).validate(full=True)


def test_invalid_utf8_costs_its_rows(tmp_path: Path) -> None:
    raw = pa.array([b"ok", b"\xff\xfe", None, b"\xed\xa0\x80", "ü".encode()] * 2000, pa.binary())
    write(tmp_path, pa.table({"t": pa.Array.from_buffers(pa.string(), len(raw), raw.buffers()), "u": raw}))
    chunks = read(Pool.parquet(f"{tmp_path}/a.parquet", text="t", uid="u"), "text")
    assert values(chunks, "text") == ["ok", None, None, None, "ü"] * 2000
    bad = errors(chunks, "text")
    assert set(bad.values()) == {"text_utf8"} and sorted(bad) == [n for n in range(10_000) if n % 5 in (1, 3)]
    assert chunks[0].uid[0].as_py() == "ok" and chunks[0].uid[1].as_py() == derived_uid("a.parquet", 1)
    for chunk in chunks:
        chunk.roles.validate(full=True)


def test_the_hubs_image_struct(tmp_path: Path) -> None:
    images = [{"bytes": b"1", "path": "p"}, {"bytes": None, "path": "q"}, None, {"bytes": b"2", "path": None}]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    write(tmp_path, pa.table({"image": pa.array(images, kind), "raw": [b"1", b"2", b"3", None]}))
    pool = Pool.parquet(f"{tmp_path}/a.parquet", image="image")
    (chunk,) = read(pool, "image", "raw")
    assert chunk.roles.schema.types == [pa.binary(), pa.binary()]
    assert values([chunk], "image") == [b"1", None, None, b"2"]
    assert errors([chunk], "image") == {1: "no_bytes"} and "embed" in chunk.role_errors["image"][1].message
    assert pool.located().columns(pool.located().listing().shards) == {"image": pa.binary(), "raw": pa.binary()}


def test_schemas_that_differ_between_shards(tmp_path: Path) -> None:
    write(tmp_path, pa.table({"t": ["x"], "w": [1]}), "a.parquet")
    write(tmp_path, pa.table({"t": ["x"] * 5, "w": ["1", "no", None, "3", "2.5"]}), "b.parquet")
    write(tmp_path, pa.table({"t": [["x"], None]}), "c.parquet")
    write(tmp_path, pa.table({"t": ["x"] * 3, "w": [1.0, 2.5, float("nan")]}), "d.parquet")
    pool = Pool.parquet(f"{tmp_path}/*.parquet", text="t", width="w")
    chunks = read(pool, "text", "width", shard=1)
    assert values(chunks, "width") == [1, None, None, 3, None] and errors(chunks, "width") == {1: "cast", 4: "cast"}
    chunks = read(pool, "text", "width", shard=2)
    assert values(chunks, "text") == [None, None] and errors(chunks, "text") == {0: "cast"}
    assert values(chunks, "width") == [None, None]
    assert errors(chunks, "width") == {0: "missing_column", 1: "missing_column"}
    chunks = read(pool, "width", shard=3)
    assert values(chunks, "width") == [1, None, None] and errors(chunks, "width") == {1: "cast", 2: "cast"}


def test_a_wrong_column_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, pa.table({"caption": ["x"], "meta": [{"width": 1}]}))
    pool = Pool.parquet(f"{tmp_path}/a.parquet", text="captoin")
    with pytest.raises(PlanError, match=r"role 'text' reads column 'captoin'.* Did you mean 'caption'"):
        pool.located().role_types(pool.located().listing().shards)
    pool = Pool.parquet(f"{tmp_path}/a.parquet")
    with pytest.raises(PlanError, match=r"column 'meta.with' .* Did you mean 'meta.width'"):
        pool.located().role_types(pool.located().listing().shards, ["meta.with"])


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda data: b"", "empty_file"),
        (lambda data: data[: len(data) // 2], "truncated"),
        (lambda data: data[:-1], "truncated"),
        (lambda data: data[:-20] + b"\xff" * 12 + data[-8:], "truncated"),
        (lambda data: b"<html>not found</html>" * 9, "not_parquet"),
        (lambda data: b"x", "not_parquet"),
    ],
)
def test_a_broken_file_is_one_row(tmp_path: Path, make: Callable[[bytes], bytes], kind: str) -> None:
    good = write(tmp_path, pa.table({"t": ["x", "y"] * 100}), "z.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(make(good))
    pool = Pool.parquet(f"{tmp_path}/*.parquet", text="t")
    (chunk,) = read(pool, "text", "uid")
    assert errors([chunk]) == {0: kind} and chunk.num_rows == 1 and chunk.nbytes.tolist() == [0]
    assert chunk.roles.to_pydict() == {"text": [None], "uid": [derived_uid("a.parquet", 0)]}


def test_no_readable_shard_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"")
    pool = Pool.parquet(f"{tmp_path}/*.parquet", text="t")
    with pytest.raises(PlanError, match=r"none of the pool's first 1 shards .*a.parquet: empty_file"):
        pool.located().role_types(pool.located().listing().shards)


def damaged(path: Path, group: int, column: int = 0) -> None:
    """Overwrites the first page of a column chunk."""
    at = pq.ParquetFile(path).metadata.row_group(group).column(column).data_page_offset
    data = bytearray(path.read_bytes())
    data[at : at + 40] = b"\xff" * 40
    path.write_bytes(bytes(data))


def test_a_broken_row_group_costs_its_rows(tmp_path: Path) -> None:
    path = write(tmp_path, pa.table({"t": [f"text {n}" for n in range(30)]}), row_group_size=10, use_dictionary=False)
    damaged(path, 1)
    chunks = read(Pool.parquet(str(path), text="t"), "text")
    assert errors(chunks) == dict.fromkeys(range(10, 20), "row_group")
    assert values(chunks, "text") == [f"text {n}" if n // 10 != 1 else None for n in range(30)]
    assert [chunk.start for chunk in chunks] == [0, 10, 20] and (chunks[1].nbytes > 0).all()


def test_damage_within_a_row_group_does_not_depend_on_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"t": [f"text number {n:06}" for n in range(9000)]})
    options = {"use_dictionary": False, "data_page_size": 2000, "write_batch_size": 50, "compression": "none"}
    path = write(tmp_path, table, write_page_checksum=True, **options)
    data = bytearray(path.read_bytes())
    at = data.index(b"number 00513")
    data[at : at + 8] = b"\0" * 8  # a bit of rot that only the page's checksum shows
    path.write_bytes(bytes(data))
    firsts = set()
    for batch_bytes in (BATCH_BYTES, 20_000, 3000):
        monkeypatch.setattr("poolsieve.dataflow.pools.formats.parquet.read.BATCH_BYTES", batch_bytes)
        chunks = read(Pool.parquet(str(path), text="t"), "text")
        bad = errors(chunks)
        firsts.add(first := min(bad))
        assert set(bad) == set(range(first, 9000)) and 4900 < first <= 5139
        assert values(chunks, "text")[:first] == table["t"].to_pylist()[:first]
        assert sum(chunk.num_rows for chunk in chunks) == 9000
    assert len(firsts) == 1


def test_only_what_is_needed_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, pa.table({"t": ["x"] * 9, "big": ["y"] * 9}), row_group_size=3, use_dictionary=False)
    damaged(path, 0, column=1)
    damaged(path, 1, column=1)
    pool = Pool.parquet(str(path), text="t", uid="big")
    assert errors(read(Pool.parquet(str(path), text="t"), "text")) == {}
    assert set(errors(read(pool, "text"))) == set(range(6))
    asked: list[tuple[int, int]] = []
    chunks = read(pool, "text", want=lambda start, n: asked.append((start, n)) or start == 6)  # type: ignore[func-returns-value]
    assert asked == [(0, 3), (3, 3), (6, 3)] and [(chunk.start, chunk.num_rows) for chunk in chunks] == [(6, 3)]


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    write(tmp_path, pa.table({"t": pa.array([], pa.string())}))
    assert read(Pool.parquet(f"{tmp_path}/a.parquet", text="t"), "text") == []


def test_chunks_stay_below_their_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poolsieve.dataflow.pools.formats.parquet.read.BATCH_BYTES", 100_000)
    # The same long text in each row: the dictionary makes the footer's sizes far too small.
    write(tmp_path, pa.table({"t": ["x" * 10_000] * 500}), "a.parquet", use_dictionary=True)
    write(tmp_path, pa.table({"t": [str(n) * 1000 for n in range(9999)]}), "b.parquet", use_dictionary=False)
    pool = Pool.parquet(f"{tmp_path}/*.parquet", text="t")
    for shard, rows in ((0, 500), (1, 9999)):
        chunks = read(pool, "text", shard=shard)
        assert sum(chunk.num_rows for chunk in chunks) == rows
        assert all(chunk.num_rows <= BATCH_ROWS and chunk.roles.nbytes <= 201_000 for chunk in chunks)
        assert all(chunk.roles.get_total_buffer_size() <= 300_000 for chunk in chunks)


def rows(pool: Pool) -> list[tuple[Any, ...]]:
    found = []
    for shard in pool.located().listing().shards:
        for chunk in pool.located().batches(shard, ["text"], {"text": pa.string()}):
            texts = chunk.roles.column("text").to_pylist()
            found += [
                (chunk.start + n, uid, t) for n, (uid, t) in enumerate(zip(chunk.uid.to_pylist(), texts, strict=True))
            ]
    return found


def test_a_split_file_has_the_same_rows(tmp_path: Path) -> None:
    path = write(tmp_path, pa.table({"t": [f"{n * 7919 % 1000:050}" for n in range(1000)]}), row_group_size=64)
    whole = Pool.parquet(str(path), text="t")
    (shard,) = whole.located().listing().shards
    assert shard.extent is None
    for size in (1, 900, 5000):
        split = Pool.parquet(str(path), text="t", split_bytes=size)
        shards = split.located().listing().shards
        assert len(shards) > 1 and sum(shard.extent or 0 for shard in shards) == 16
        assert len({shard.name for shard in shards}) == len(shards)
        assert split.located().listing().nbytes == path.stat().st_size
        assert rows(split) == rows(whole)


def test_a_broken_big_file_is_not_split(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + b"x" * 100)
    assert len(Pool.parquet(f"{tmp_path}/a.parquet", split_bytes=10).located().listing().shards) == 1


def test_a_file_that_changed_is_no_verdict(tmp_path: Path) -> None:
    path = write(tmp_path, pa.table({"t": ["x"] * 9}), row_group_size=3)
    pool = Pool.parquet(str(path), text="t", split_bytes=1)
    last = pool.located().listing().shards[-1]
    write(tmp_path, pa.table({"t": ["x"]}))
    with pytest.raises(PoolsieveError, match="changed since it was listed"):
        list(pool.located().batches(last, ["text"], {"text": pa.string()}))


def test_missing_and_forbidden_files_are_no_verdict(tmp_path: Path) -> None:
    pool = Pool.parquet(f"{tmp_path}/a.parquet", text="t")
    with pytest.raises(FileNotFoundError):
        list(pool.located().batches(Shard(path="a.parquet"), ["text"], {"text": pa.string()}))
    remote = Pool.parquet("memory://nowhere/a.parquet", text="t")
    with pytest.raises(FileNotFoundError):
        list(remote.located().batches(Shard(path="a.parquet"), ["text"], {"text": pa.string()}))


class Flaky:
    """A file whose reads fail a number of times, as a storage's client fails."""

    def __init__(self, file: Any, failures: list[BaseException]) -> None:
        self._file, self.failures = file, failures

    def read(self, size: int = -1) -> bytes:
        """Fails while there are failures left."""
        if self.failures:
            raise self.failures.pop()
        return bytes(self._file.read(size))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_storage_trouble_is_retried_and_then_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poolsieve.dataflow.retries.FIRST_PAUSE", 0.001)
    system = fsspec.filesystem("memory")
    with system.open("/flaky/a.parquet", "wb") as file:
        pq.write_table(pa.table({"t": ["x", "y"]}), file)
    pool = Pool.parquet("memory://flaky/a.parquet", text="t")
    shard = pool.located().listing().shards[0]
    failures: list[BaseException] = []
    opened = type(system)._open
    monkeypatch.setattr(type(system), "_open", lambda *a, **k: Flaky(opened(*a, **k), failures))
    types = {"text": pa.string()}
    failures[:] = [ConnectionError("reset"), TimeoutError("slow")]
    assert values(list(pool.located().batches(shard, ["text"], types)), "text") == ["x", "y"] and not failures
    failures[:] = [OSError("the gateway is away")] * 99  # looks like Arrow's own errors, and is none
    with pytest.raises(OSError, match="gateway"):
        list(pool.located().batches(shard, ["text"], types))
    failures[:] = [ConnectionError("reset")] * 99
    with pytest.raises(ConnectionError):
        list(pool.located().batches(shard, ["text"], types))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.one_of(st.none(), st.text(max_size=20)), max_size=60),
    group=st.integers(1, 20),
    split=st.integers(1, 2000),
)
def test_round_trip(tmp_path: Path, texts: list[str | None], group: int, split: int) -> None:
    path = write(tmp_path, pa.table({"t": pa.array(texts, pa.string())}), row_group_size=group)
    found = rows(Pool.parquet(str(path), text="t", split_bytes=split))
    assert found == [(row, derived_uid("a.parquet", row), text) for row, text in enumerate(texts)]


def test_memory_stays_flat_on_one_big_row_group(tmp_path: Path) -> None:
    script = """
        import resource, sys
        import numpy as np, pyarrow as pa, pyarrow.parquet as pq
        from poolsieve.dataflow.recipes.recipe import Pool
        path = sys.argv[1]
        if sys.argv[2] == "write":
            block = np.random.default_rng(0).integers(97, 123, 2**20, np.uint8).tobytes().decode()
            texts = pa.array([block[n : n + 1000] for n in range(600_000)])
            pq.write_table(pa.table({"t": texts}), path, row_group_size=10**9, use_dictionary=False, compression="none")
        else:
            pool = Pool.parquet(path, text="t")
            shard = pool.located().listing().shards[0]
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            assert sum(c.num_rows for c in pool.located().batches(shard, ["text"], {"text": pa.string()})) == 600_000
            print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
    """
    path = str(tmp_path / "big.parquet")
    command = [sys.executable, "-c", textwrap.dedent(script), path]
    subprocess.run([*command, "write"], check=True)
    grown = int(subprocess.run([*command, "read"], check=True, capture_output=True, text=True).stdout)
    assert Path(path).stat().st_size > 600_000_000 and grown < 100, f"{grown} MB"
