"""Small good files of every kind of pool, what is known of their rows, and how each kind is damaged in its own way."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from PIL import Image

from poolsieve.dataflow import Pool
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.filters import Edit, Keep, Masked, PersonalData, Score, col
from poolsieve.scoring_models import ImageSize
from tests.fuzz.mutators import Input, Mutant, Mutator, compared, mutant

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Good:
    """A file as it should be.

    Attributes:
        data: its bytes, before compression.
        rows: where each row stands: all that it needs lies within; a row group's rows share a span.
        alone: (row, span) of bytes that belong to one row only, whatever stands in them.
        places: what decides most; see `Input`.
        ending: of its name.
        packed: how it is compressed, None for not at all.
    """

    data: bytes
    rows: Sequence[Span]
    alone: Sequence[tuple[int, Span]] = ()
    places: Sequence[Span] = ()
    ending: str
    packed: Callable[[bytes], bytes] | None = field(default=None)


@dataclass(frozen=True, kw_only=True)
class World:
    """One kind of pool.

    Attributes:
        make: a good file from a generator and the file's number.
        recipe: over a folder of such files; rules without cuts, so that files have nothing to do with one another.
        own: mutators of this kind.
        pattern: of its files.
        format: as `Pool` and exports name it.
    """

    make: Callable[[Random, int], Good]
    recipe: Callable[[str], Recipe]
    own: Mapping[str, Mutator]
    pattern: str
    format: str


@dataclass(frozen=True, kw_only=True)
class Case:
    """A damaged file: its bytes on disk, and the rows of the good file whose ledger lines must stay as they are."""

    data: bytes
    name: str
    untouched: frozenset[int]


def words(r: Random) -> str:
    some = ("a", "cat", "sat", "on", "the", "mat", "über", "猫", "jo@example.org", "10.0.0.7", "x" * 30, "😀")
    return " ".join(r.choice(some) for _ in range(r.randrange(9)))


def picture(r: Random, form: str | None = None) -> bytes:
    """A small image of any format that pools have."""
    sink, side = io.BytesIO(), r.randrange(2, 24)
    image = Image.frombytes("RGB", (side, side), r.randbytes(3 * side * side))
    form = form or r.choice(("JPEG", "PNG", "WEBP", "GIF"))
    image.convert(r.choice(("L", "RGB")) if form in ("JPEG", "PNG") else "RGB").save(sink, form)
    return sink.getvalue()


# Tars


def tar_file(r: Random, number: int) -> Good:
    sink = io.BytesIO()
    form = r.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT))
    with tarfile.open(fileobj=sink, mode="w", format=form) as archive:
        for i in range(r.randrange(4, 9)):
            key = f"d{number}/" + ("k" * 90 if i % 3 == 0 and form != tarfile.USTAR_FORMAT else "") + f"s{i:03d}"
            meta = {"uid": f"{number:016x}{i:016x}", "n": r.randrange(9), "more": [1, None]}
            parts = {"json": json.dumps(meta).encode(), "txt": words(r).encode(), "jpg": picture(r)}
            for ending in r.sample(list(parts), 3):
                info = tarfile.TarInfo(f"{key}.{ending}")
                info.size, info.mtime = len(parts[ending]), 1_600_000_000
                archive.addfile(info, io.BytesIO(parts[ending]))
    return _tar_known(sink.getvalue())


def _tar_known(data: bytes) -> Good:
    rows: list[Span] = []
    alone, places, before = [], [], ""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for info in archive:
            key, end = info.name.rpartition(".")[0], info.offset_data + -(-info.size // 512) * 512
            rows = [*rows[:-1], (rows[-1][0], end)] if key == before else [*rows, (info.offset, end)]
            alone.append((len(rows) - 1, (info.offset_data, info.offset_data + info.size)))
            places.append((info.offset, info.offset_data))
            before = key
    return Good(data=data, rows=rows, alone=alone, places=[*places, (rows[-1][1], len(data))], ending="tar")


_FIELDS = {"name": (0, 100), "mode": (100, 8), "size": (124, 12), "mtime": (136, 12), "type": (156, 1)}
_FIELDS |= {"link": (157, 100), "magic": (257, 8), "prefix": (345, 155)}
_NAMES = (b"../../canary/x.txt", b"/etc/x.txt", b"", b".txt", b"a.", b"..", b"\xff\xfe.txt", b"y" * 100, b"__x__/a.txt")
_TYPES = tuple(bytes([one]) for one in b"01234567xgLKSDVMNA\0")
_SIZES = (*(one * 11 for one in (b"0", b"7", b"9", b" ", b"\xff", b"\x80")), b"00000000001", b"-0000000001")
_SIZES += (b"\x80" + b"\x7f" * 11,)  # a binary number, beyond all files


def header_lie(r: Random, given: Input) -> bytes:
    """A field of a tar's header says something else, and the checksum is right."""
    data, starts = bytearray(given.data), [start for start, end in given.places if start + 512 <= end]
    at = r.choice(starts or [0])
    name = r.choice(list(_FIELDS))
    start, length = _FIELDS[name]
    some = {"name": _NAMES, "size": _SIZES, "type": _TYPES}.get(name) or (r.randbytes(length),)
    made = r.choice(some)
    data[at + start : at + start + length] = made[:length].ljust(length, b"\0")
    return _with_checksum(bytes(data), at)


def _with_checksum(data: bytes, at: int) -> bytes:
    block = data[at : at + 148] + b" " * 8 + data[at + 156 : at + 512]
    return data[: at + 148] + b"%06o\0 " % sum(block) + data[at + 156 :]


def member_in(r: Random, given: Input) -> bytes:
    """One more member, whole and well-formed, with an odd name or an odd type, before one of the others."""
    at = r.choice([start for start, _ in given.places] or [0])
    info = tarfile.TarInfo("odd.txt")
    info.type = r.choice((tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE))
    info.linkname = r.choice(("", "../../canary/x", "/etc/passwd"))
    data = bytes(512) if info.type == tarfile.REGTYPE else b""
    info.size = len(data)
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    head[0:100] = r.choice(_NAMES).ljust(100, b"\0")
    return given.data[:at] + _with_checksum(bytes(head), 0) + data + given.data[at:]


def tar_recipe(folder: str) -> Recipe:
    pool = Pool.webdataset(f"{folder}/*.tar", uid="json:uid", text="txt", image="jpg;png", n="json:n")
    return pool | _common()


def _common() -> Any:
    from poolsieve.filters.dsl.stages import Chain

    return Chain(
        (
            Keep(col("text").word_count() > 1, reason="t.short"),
            Score(size=ImageSize()),
            Keep(col("size.width") > 5, reason="t.small"),
            Keep(col("n") > 1, reason="t.n"),
        )
    )


# Parquet


def parquet_file(r: Random, number: int) -> Good:
    groups, size = r.randrange(1, 4), r.randrange(3, 8)
    n = groups * size
    table = pa.table(
        {
            "uid": [f"{number:016x}{i:016x}" for i in range(n)],
            "text": [words(r) for _ in range(n)],
            "n": pa.array([r.choice((None, *range(9))) for _ in range(n)], pa.int64()),
            "image": pa.array([{"bytes": picture(r), "path": None} for _ in range(n)]),
            "tags": pa.array([["a"] * r.randrange(3) for _ in range(n)], pa.list_(pa.string())),
        }
    )
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        row_group_size=size,
        compression=r.choice(("none", "zstd", "snappy")),
        use_dictionary=r.random() < 0.5,
        data_page_version=r.choice(("1.0", "2.0")),
        write_page_checksum=r.random() < 0.5,
    )
    return _parquet_known(sink.getvalue(), size)


def _parquet_known(data: bytes, size: int) -> Good:
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    meta = pq.ParquetFile(io.BytesIO(data)).metadata
    rows: list[Span] = []
    places: list[Span] = [(footer, len(data))] * 3
    for g in range(meta.num_row_groups):
        chunks = [_chunk(meta.row_group(g).column(c)) for c in range(meta.num_columns)]
        rows += [(min(start for start, _ in chunks), max(end for _, end in chunks))] * meta.row_group(g).num_rows
        places += [(start, start + 40) for start, _ in chunks]  # page headers
    return Good(data=data, rows=rows, places=places, ending="parquet")


def _chunk(column: Any) -> Span:
    start = min(x for x in (column.dictionary_page_offset, column.data_page_offset) if x)
    return start, start + column.total_compressed_size


def footer_length_lie(r: Random, given: Input) -> bytes:
    size = r.choice((0, 1, len(given.data), len(given.data) - 12, 1 << 31, (1 << 32) - 1, r.randrange(1 << 16)))
    return given.data[:-8] + size.to_bytes(4, "little") + given.data[-4:]


def footer_flips(r: Random, given: Input) -> bytes:
    """A few bytes of the footer's Thrift, where every count, type and offset stands."""
    data = bytearray(given.data)
    start, end = given.places[0] if given.places else (0, len(data))
    for _ in range(r.randrange(1, 4)):
        at = r.randrange(start, max(start + 1, min(end, len(data)) - 8))
        if at < len(data):
            data[at] = r.choice((data[at] ^ 1 << r.randrange(8), r.randrange(256), 0, 0xFF, 0x7F))
    return bytes(data)


def parquet_recipe(folder: str) -> Recipe:
    return Pool.parquet(f"{folder}/*.parquet", uid="uid", text="text", image="image", n="n") | _common()


# JSON lines


def jsonl_file(r: Random, number: int) -> Good:
    lines = []
    for i in range(r.randrange(5, 14)):
        made: dict[str, Any] = {"uid": f"{number:016x}{i:016x}", "text": words(r), "meta": {"n": r.randrange(9)}}
        lines.append(json.dumps(made, ensure_ascii=r.random() < 0.5).encode())
    data, at, rows = b"\n".join(lines) + b"\n", 0, []
    for line in lines:
        rows.append((at, at + len(line) + 1))
        at += len(line) + 1
    packings = {"jsonl": None, "jsonl.gz": gzip.compress, "jsonl.zst": zstandard.compress}
    ending = ("jsonl", "jsonl", "jsonl.gz", "jsonl.zst")[number % 4]
    return Good(
        data=data, rows=rows, alone=[*enumerate((a, b - 1) for a, b in rows)], ending=ending, packed=packings[ending]
    )


_ODD = [b"null", b"true", b"-0.0", b"1e400", b"18446744073709551616", b"1.5", b'""', b'"\\ud800"', b"[[[[]]]]", b"{}"]
_ODD += [b"NaN", b"[" * 300 + b"]" * 300, b'"' + b"x " * 50_000 + b'"', b'"\\u0000"', b'{"n": {"n": 1}}', b"'x'"]
_ODD += [b'"\xff"', b'"' + "é".encode() * 40 + b'"', b'"(' + b"a-" * 2000 + b'@"']


def value_in(r: Random, given: Input) -> bytes:
    """Another value behind one of the colons."""
    colons = [i for i in range(min(len(given.data), 200_000)) if given.data[i : i + 2] == b": "]
    if not colons:
        return given.data + r.choice(_ODD)
    at = r.choice(colons) + 2
    end = next((i for i in range(at, len(given.data)) if given.data[i : i + 1] in b",}\n"), len(given.data))
    return given.data[:at] + r.choice(_ODD) + given.data[end:]


def line_in(r: Random, given: Input) -> bytes:
    breaks = [0, *(i + 1 for i in range(len(given.data)) if given.data[i : i + 1] == b"\n")]
    at = r.choice(breaks)
    odd = r.choice((*_ODD, b"", b" \t", b"\r", b"\xef\xbb\xbf{}", b'{"text": "a b c"}\r', b'{"uid": 7, "text": ["a"]}'))
    return given.data[:at] + odd + b"\n" + given.data[at:]


def jsonl_recipe(folder: str) -> Recipe:
    pool = Pool.jsonl(f"{folder}/*.jsonl*", uid="uid", text="text", n="meta.n")
    return (
        pool
        | Score(pii=PersonalData())
        | Keep(col("pii.emails") < 3, reason="t.mail")
        | Edit(text=Masked())
        | Keep(col("text").word_count() > 1, reason="t.short")
        | Keep(col("n") > 1, reason="t.n")
    )


WORLDS: Mapping[str, World] = {
    "tar": World(
        make=tar_file,
        recipe=tar_recipe,
        own={"header_lie": header_lie, "member_in": member_in},
        pattern="*.tar",
        format="webdataset",
    ),
    "parquet": World(
        make=parquet_file,
        recipe=parquet_recipe,
        own={"footer_flips": footer_flips, "footer_length_lie": footer_length_lie},
        pattern="*.parquet",
        format="parquet",
    ),
    "jsonl": World(
        make=jsonl_file,
        recipe=jsonl_recipe,
        own={"value_in": value_in, "line_in": line_in},
        pattern="*.jsonl*",
        format="jsonl",
    ),
}


# Damage


def damaged(r: Random, world: World, good: Good, other: Good) -> Case:
    """A mutant of a good file, with what must hold for its rows."""
    if good.packed is not None and r.random() < 0.5:
        packed = good.packed(good.data)
        ends = [(0, 12), (max(0, len(packed) - 12), len(packed))]
        found = mutant(r, Input(data=packed, places=ends, other=other.data), {})
        return Case(data=found.data, name=f"packed {found.name}", untouched=_unpacked(good, found.data))
    found = mutant(r, Input(data=good.data, places=good.places, other=other.data), world.own)
    data = found.data if good.packed is None else good.packed(found.data)
    return Case(data=data, name=found.name, untouched=untouched(good, found))


def picture_in(r: Random, good: Good) -> Case:
    """One row's picture (or another member of it) is damaged within its bytes: no other row may change."""
    row, (start, end) = r.choice([(row, span) for row, span in good.alone if span[1] > span[0]])
    made = mutant(r, Input(data=good.data[start:end], other=picture(r)), {}).data
    part = made[: end - start].ljust(end - start, b"\0")
    data = good.data[:start] + part + good.data[end:]
    return Case(data=data, name=f"payload of row {row}", untouched=untouched(good, compared(good.data, data, "")))


def untouched(good: Good, found: Mutant) -> frozenset[int]:
    """Rows of the good file that the damage provably leaves alone.

    Damage within bytes that are one row's costs that row. In Parquet, damage within a row group costs that group,
    unless the footer is hit. Otherwise only what stands before the damage is sure, but for a tar's last sample before
    it: it ends where another key follows, and that is what can't be read.
    """
    if found.data == good.data:
        return frozenset(range(len(good.rows)))
    if good.ending == "parquet":
        footer = good.places[0][0]
        within = found.last is not None and found.first >= 4 and found.last <= footer
        hit = [i for i, (start, end) in enumerate(good.rows) if found.first < end and (found.last or 0) > start]
        return frozenset(range(len(good.rows))) - frozenset(hit) if within else frozenset()
    if (row := _one_row(good, found)) is not None:
        return frozenset(range(len(good.rows))) - {row}
    before = [i for i, (_, end) in enumerate(good.rows) if end <= found.first]
    return frozenset(before[:-1] if good.ending == "tar" else before)


def _one_row(good: Good, found: Mutant) -> int | None:
    for row, (start, end) in good.alone:
        if found.last is not None and start <= found.first and found.last <= end:
            inside = found.data[start:end]
            # A line that falls in two, or becomes blank, moves the lines behind it; the first bytes tell compression.
            moved = good.ending != "tar" and (b"\n" in inside or not inside.strip() or found.first < 4)
            return None if moved else row
    return None


def _unpacked(good: Good, packed: bytes) -> frozenset[int]:
    """Rows that can still be unpacked, one byte after the other, and are what they were."""
    made = b"".join(_stream(packed, good.ending))
    same = compared(good.data, made, "").first
    return frozenset(i for i, (_, end) in enumerate(good.rows) if end <= same)


def _stream(packed: bytes, ending: str) -> Iterator[bytes]:
    gzipped = ending == "jsonl.gz"
    if not packed.startswith(b"\x1f\x8b" if gzipped else b"\x28\xb5\x2f\xfd"):
        return  # not compressed any more, by its first bytes
    stream: Any = zlib.decompressobj(31) if gzipped else zstandard.ZstdDecompressor().decompressobj()
    try:
        for i in range(len(packed)):
            yield stream.decompress(packed[i : i + 1])
    except (zlib.error, zstandard.ZstdError):
        return


def write_world(folder: Path, world: World, cases: Sequence[tuple[str, bytes]]) -> Path:
    folder.mkdir(parents=True)
    for name, data in cases:
        (folder / name).write_bytes(data)
    return folder
