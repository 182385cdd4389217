"""Pools of JSON lines: what is a row, what a value, what is damage, and that no setting changes any of it."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.dataflow.passes.estimate import describe_plan
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.recipes.recipe import Pool
from poolsieve.filters import Keep, Top, col
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import decide, fingerprint_of, ledger, run


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


PACKED = {"jsonl": bytes, "jsonl.gz": gzip.compress, "jsonl.zst": zstd}


def lines(n: int, seed: int = 0) -> list[bytes]:
    """Objects with a text, a nested score and an id."""
    dice = np.random.default_rng(seed)
    made = []
    for i in range(n):
        text = " ".join(["word"] * int(dice.integers(0, 20))) + "é" * int(dice.integers(0, 2))
        row = {
            "id": f"{seed:016x}{i:016x}",
            "text": text,
            "meta": {"score": round(float(dice.normal()), 3), "tags": [1]},
        }
        made.append(json.dumps(row, ensure_ascii=bool(i % 2)).encode())
    return made


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def pool_of(pattern: Path | str, **options: Any) -> Pool:
    return Pool.jsonl(str(pattern), uid="id", text="text", score="meta.score", **options)


def rows(pool: Pool, *roles: str) -> list[tuple[Any, ...]]:
    """(row, uid, read error, offset, length, values ...) of every row of a pool."""
    shards = pool.located().listing().shards
    types = pool.located().role_types(shards, roles)
    found = []
    for shard in shards:
        for chunk in pool.located().batches(shard, roles, types):
            for i in range(chunk.num_rows):
                error = chunk.read_errors.get(i)
                place = (None, None) if chunk.offset is None else (int(chunk.offset[i]), int(chunk.length[i]))
                values = [chunk.roles.column(role)[i].as_py() for role in roles]
                found.append((chunk.start + i, chunk.uid[i].as_py(), error and error.kind, *place, *values))
    return found


@pytest.mark.parametrize("extension", PACKED)
def test_every_form_gives_the_same_rows(tmp_path: Path, extension: str) -> None:
    made = lines(300)
    write(tmp_path / f"a.{extension}", PACKED[extension](b"\n".join(made) + b"\n"))
    found = rows(pool_of(tmp_path / "a.*"), "text", "score")
    objects = [json.loads(line) for line in made]
    assert [row[0] for row in found] == list(range(300))
    assert [row[1] for row in found] == [one["id"] for one in objects]
    assert [row[5:] for row in found] == [(one["text"], one["meta"]["score"]) for one in objects]
    whole = b"\n".join(made)
    assert [whole[row[3] : row[3] + row[4]] for row in found] == made


def test_the_form_is_told_by_the_bytes_and_members_follow_each_other(tmp_path: Path) -> None:
    first, second = b"\n".join(lines(20)) + b"\n", b"\n".join(lines(30, 1))
    write(tmp_path / "wrong.jsonl", gzip.compress(first) + gzip.compress(second))
    write(tmp_path / "wrong.jsonl.gz", zstd(first) + zstd(second))
    write(tmp_path / "wrong.zst", first + second)
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"abcd"  # as pzstd writes them
    write(tmp_path / "frames.zst", skippable + zstd(first) + skippable + zstd(second))
    for name in ("wrong.jsonl", "wrong.jsonl.gz", "wrong.zst", "frames.zst"):
        assert [row[0] for row in rows(pool_of(tmp_path / name), "text")] == list(range(50)), name


def test_blank_lines_are_no_rows_and_ends_may_be_missing(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"text": "a"}\r\n\n  \t\n{"text": "b"}\n\r\n{"text": "c"}')
    found = rows(Pool.jsonl(f"{tmp_path}/a.jsonl", text="text"), "text")
    assert [(row[0], row[2], row[5]) for row in found] == [(0, None, "a"), (1, None, "b"), (2, None, "c")]


NUMBERS = ["7", "18446744073709551615", "18446744073709551616", "100000000000000000001", "100000000000000000002"]
NUMBERS += ["-9223372036854775809", "1.50", "1e20", "0.30000000000000001"]


@pytest.mark.parametrize("path", ["id", "meta.id"])
def test_a_number_is_a_uid_as_it_is_written(tmp_path: Path, path: str) -> None:
    made = [f'{{"id": {one}, "text": "a"}}' if path == "id" else f'{{"meta": {{"id": {one}}}}}' for one in NUMBERS]
    write(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + "\n".join(made).encode())
    found = rows(Pool.jsonl(f"{tmp_path}/a.jsonl", uid=path))
    assert [row[1] for row in found] == NUMBERS and not any(row[2] for row in found)


def test_a_number_that_no_float_holds_is_no_other_uid(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", b'{"id": 5}\n{"id": 1e999}\n{"id": ' + b"9" * 5000 + b"}\n")
    found = rows(Pool.jsonl(f"{tmp_path}/a.jsonl", uid="id"))
    assert [row[2] for row in found] == [None, "json_decode", "json_decode"] and len({row[1] for row in found}) == 3


BAD = {
    b'{"text": "cut sho': "json_decode",
    b"[1, 2]": "json_decode",
    b'"a string"': "json_decode",
    b"null": "json_decode",
    b'{"text": "\xff\xfe"}': "json_decode",
    b'{"text": "\\ud800"}': "json_decode",
    b'{"text": "tab\there"}': "json_decode",
    b'{"text": NaN}': "json_decode",
    b"\x00": "json_decode",
    b"[" * 5000: "json_decode",
}


def test_one_bad_line_costs_one_row(tmp_path: Path) -> None:
    good = lines(10)
    data = b"".join(line + b"\n" + bad + b"\n" for line, bad in zip(good, BAD, strict=True))
    write(tmp_path / "a.jsonl", data)
    found = rows(pool_of(tmp_path / "a.jsonl"), "text")
    assert [row[2] for row in found] == [kind for bad in BAD.values() for kind in (None, bad)]
    assert [row[1] for row in found[::2]] == [json.loads(line)["id"] for line in good]
    summary = run(pool_of(tmp_path / "a.jsonl") | Keep(col("text").char_count() >= 0, reason="a.b"), tmp_path / "out")
    assert summary.reasons == {"quarantine.json_decode": 10} and summary.rows == 20


def test_values_of_another_type_are_that_role_s_matter(tmp_path: Path) -> None:
    odd = [
        {"text": 3},
        {"text": None},
        {},
        {"text": ["a"]},
        {"text": "ok", "text ": 1},
        {"n": "x"},
        {"n": True},
        {"n": 10**400},
    ]
    data = [{"text": "a", "n": 1.5}] * 3 + odd + [{"text": "dup", "n": 2}]
    raw = "\n".join(json.dumps(row) for row in data).replace('"n": 2}', '"n": 1, "n": 2}')
    write(tmp_path / "a.jsonl", raw.encode())
    pool = Pool.jsonl(f"{tmp_path}/a.jsonl", text="text", n="n")
    summary = run(
        pool | Keep(col("text").char_count() >= 1, reason="t.x") | Keep(col("n") >= 0, reason="n.x"), tmp_path / "out"
    )
    assert summary.rows == 12 and summary.kept == 4
    assert summary.reasons == {"quarantine.json_type": 2, "t.x": 4, "n.x": 1, "quarantine.json_decode": 1}


def test_an_undeclared_key_is_a_column_and_types_are_told_by_the_first_rows(tmp_path: Path) -> None:
    made = [{"a": None, "b": 1, "c": True, "d": {"e": {"f": "x"}, "g": [1]}, "h.i": "dot"}, {"a": 2, "z": None}]
    write(tmp_path / "x.jsonl", "\n".join(map(json.dumps, made)).encode())
    pool = Pool.jsonl(f"{tmp_path}/x.jsonl")
    shards = pool.located().listing().shards
    kinds = {"a": "double", "b": "double", "c": "bool", "d.e.f": "string", "h.i": "string", "z": "string"}
    assert {name: str(kind) for name, kind in pool.located().columns(shards).items()} == kinds
    summary = run(pool | Keep(col("d.e.f") == "x", reason="x.y") | Keep(col("h.i") == "dot"), tmp_path / "out")
    assert summary.kept == 1


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_a_stream_that_is_cut_short_loses_one_line_of_the_ledger(tmp_path: Path, pack: Any) -> None:
    dice = np.random.default_rng(0)
    made = [json.dumps({"id": str(i), "text": dice.bytes(60).hex()}).encode() for i in range(30_000)]
    data = pack(b"\n".join(made) + b"\n")
    write(tmp_path / "a.jsonl", data[: len(data) * 3 // 4])
    found = rows(Pool.jsonl(f"{tmp_path}/a.jsonl", uid="id", text="text"), "text")
    assert [row[2] for row in found] == [None] * (len(found) - 1) + ["truncated"]
    assert [row[1] for row in found[:-1]] == [str(i) for i in range(len(found) - 1)]
    assert 0.6 < len(found) / len(made) < 0.8


def opened(name: str, data: bytes) -> bytes:
    """A stream that goes on: no member and no frame has ended."""
    if name == "gzip":
        packer = zlib.compressobj(wbits=31)
        return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)
    frame = zstandard.ZstdCompressor().compressobj()
    return frame.compress(data) + frame.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_rows_before_damage_within_a_stream_are_rows(tmp_path: Path, name: str) -> None:
    """Arrow unpacks about a megabyte at once, and gives nothing of it where a part is damaged."""
    made = [json.dumps({"id": str(i), "text": "x"}).encode() for i in range(2000)]
    # A block of a type that there is not (RFC 1951, 3.2.3; RFC 8878, 3.1.1.2).
    write(tmp_path / "a.jsonl", opened(name, b"\n".join(made) + b"\n") + b"\x07" * 20)
    found = rows(Pool.jsonl(f"{tmp_path}/a.jsonl", uid="id", text="text"), "text")
    assert [row[1] for row in found[:-1]] == [str(i) for i in range(2000)]
    assert [row[2] for row in found] == [None] * 2000 + ["truncated"]


def test_long_lines(tmp_path: Path) -> None:
    small, large = b'{"text": "ab"}', json.dumps({"text": "x" * (50 << 20)}).encode()
    write(tmp_path / "a.jsonl", b"\n".join([small, large, small]))
    pool = Pool.jsonl(f"{tmp_path}/a.jsonl", text="text", max_document_bytes=64 << 20)
    assert [len(row[5]) for row in rows(pool, "text")] == [2, 50 << 20, 2]
    pool = Pool.jsonl(f"{tmp_path}/a.jsonl", text="text")
    assert [row[2] for row in rows(pool, "text")] == [None, "too_large", None]


def test_ranges_of_a_plain_file_are_the_same_rows(tmp_path: Path) -> None:
    made = [line + (b"\n\n" if i % 5 == 0 else b"") for i, line in enumerate(lines(500))]
    write(tmp_path / "a.jsonl", b"\n".join(made))
    whole = pool_of(tmp_path / "a.jsonl")
    for size in (1, 100, 5000, 40_000):
        parts = pool_of(tmp_path / "a.jsonl", split_bytes=size)
        shards = parts.located().listing().shards
        assert len(shards) > 1 and len({shard.name for shard in shards}) == len(shards)
        assert sum(shard.extent or 0 for shard in shards) == (tmp_path / "a.jsonl").stat().st_size
        assert rows(parts, "text", "score") == rows(whole, "text", "score")


def test_the_same_ledger_however_the_pool_is_packed_or_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"\n".join(lines(400))

    def kept(pool: Pool, out: str) -> dict[str, Any]:
        recipe = pool | Keep(col("text").word_count() >= 3, reason="t.short") | Top("score", fraction=0.4, of="pool")
        run(recipe, tmp_path / out)
        found = ledger(tmp_path / out).sort_by("row")
        return {name: found[name].to_pylist() for name in ("row", "uid", "keep", "reason", "score")}

    for extension, pack in PACKED.items():
        write(tmp_path / extension / "a.jsonl", pack(data))
    first = kept(pool_of(tmp_path / "jsonl" / "a.jsonl"), "one")
    assert sum(first["keep"]) == 160
    for extension in PACKED:
        assert kept(pool_of(tmp_path / extension / "a.jsonl"), f"out-{extension}") == first
    assert kept(pool_of(tmp_path / "jsonl" / "a.jsonl", split_bytes=3000), "split") == first
    for module in ("base", "jsonl.read"):
        monkeypatch.setattr(f"poolsieve.dataflow.pools.formats.{module}.BATCH_ROWS", 37)
    run_again = pool_of(tmp_path / "jsonl" / "a.jsonl")
    assert kept(run_again, "small") == first
    assert fingerprint_of(tmp_path / "small") == fingerprint_of(tmp_path / "one")


def test_a_loosened_rule_reads_what_it_needs(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", b"\n".join(lines(1000)))

    def recipe(least: int) -> Any:
        few = Keep(col("text").word_count() >= least, reason="t.short")
        return pool_of(tmp_path / "a.jsonl") | few | Keep(col("text").char_count() <= 90, reason="t.long")

    run(recipe(19), tmp_path / "steps")
    run(recipe(15), tmp_path / "steps")
    run(recipe(15), tmp_path / "once")
    assert fingerprint_of(tmp_path / "steps") == fingerprint_of(tmp_path / "once")
    (tmp_path / "a.jsonl").unlink()
    decide(recipe(16), tmp_path / "once")


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(
        st.sampled_from([b'{"text": "a"}', b"{}", b"", b" ", b"\r", b"bad", b'{"text": "\xc3\xa9"}']), max_size=12
    ),
    block=st.integers(1, 9),
    size=st.integers(1, 40),
    end=st.sampled_from([b"", b"\n"]),
)
def test_any_blocks_and_ranges_give_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], block: int, size: int, end: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.jsonl"
    write(path, b'{"text": "first"}\n' + b"\n".join(parts) + end)
    expected = rows(Pool.jsonl(str(path), text="text"), "text")
    assert len(expected) == 1 + sum(bool(part.strip()) for part in parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("poolsieve.dataflow.pools.formats.jsonl.lines.BLOCK", block)
        assert rows(Pool.jsonl(str(path), text="text", split_bytes=size), "text") == expected


def test_remote_pools() -> None:
    system = fsspec.filesystem("memory")
    for extension, pack in PACKED.items():
        system.pipe(f"/jsonl/{extension}/a.{extension}", pack(b"\n".join(lines(100))))
        assert len(rows(pool_of(f"memory://jsonl/{extension}/*"), "text")) == 100


@pytest.mark.parametrize(
    ("data", "roles", "message"),
    [
        (b'{"text": "a"}\n' * 30, {"text": "txet"}, "reads key 'txet', which none of the first 30 rows has.*'text'"),
        (b'{"text": {"b": "a"}}\n' * 30, {"text": "text"}, "holds a dict: name a field in it"),
        (b'{"text": [{"a": 1}]}\n', {"text": "text"}, "holds a list"),
        (b'{"text": ["a"]}\n', {"text": "text"}, "it is list<item: string>: name a column of text"),
        (b"not json\n", {"text": "text"}, "none of the pool's first 1 shards has a JSON object.*json_decode"),
        (b"", {"text": ""}, "needs the name of a key"),
    ],
)
def test_wrong_pools_are_refused(tmp_path: Path, data: bytes, roles: dict[str, str], message: str) -> None:
    write(tmp_path / "a.jsonl", data)
    with pytest.raises(PlanError, match=message):
        prepare(Pool.jsonl(f"{tmp_path}/a.jsonl", **roles) | Keep(col("text").char_count() > 1, reason="a.b"), "out")


def test_empty_files_are_empty_shards(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", b"\n".join(lines(5)))
    write(tmp_path / "b.jsonl", b"")
    write(tmp_path / "c.jsonl.gz", gzip.compress(b""))
    summary = run(pool_of(tmp_path / "*") | Keep(col("text").char_count() >= 0, reason="a.b"), tmp_path / "out")
    assert summary.rows == summary.kept == 5 and summary.shard_count == 3
    assert pa.types.is_string(ledger(tmp_path / "out").schema.field("uid").type)


def test_a_plan_warns_of_compressed_files_that_one_worker_must_read_alone(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl.gz", gzip.compress(b"\n".join(lines(500))))
    write(tmp_path / "b.jsonl", b"\n".join(lines(500)))
    pool = pool_of(tmp_path / "*", split_bytes=4000)
    found = describe_plan(prepare(pool | Keep(col("text").word_count() >= 3, reason="a.b"), str(tmp_path / "out")))
    assert [warning.split(" ")[0] for warning in found.warnings] == ["a.jsonl.gz"]
    assert found.passes[0].nbytes > 0
