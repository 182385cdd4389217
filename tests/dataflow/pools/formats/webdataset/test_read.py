"""WebDataset shards as chunks, against tars written by tarfile, whole and broken, and the webdataset library itself."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from webdataset.tariterators import group_by_keys, tar_file_expander

from poolsieve.dataflow.pools.formats.webdataset.archive import MEMBER_BYTES, split_name
from poolsieve.dataflow.pools.shards import BATCH_ROWS, Batch, Shard
from poolsieve.dataflow.recipes.recipe import Pool
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import derived_uid

Members = Sequence[tuple[str, bytes]]
TYPES = {"text": pa.string(), "image": pa.binary(), "uid": pa.string(), "w": pa.float64(), "meta": pa.string()}
ROLES = {"text": "txt", "image": "jpg;jpeg;png", "uid": "json:uid", "w": "json:w"}


def tar(members: Members, format: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def read(
    folder: Path,
    data: bytes | Members,
    *roles: str,
    want: Callable[[int, int], bool] | None = None,
    types: dict[str, pa.DataType] | None = None,
    **declared: str,
) -> list[Batch]:
    path = folder / "a.tar"
    path.write_bytes(data if isinstance(data, bytes) else tar(data))
    pool = Pool.webdataset(str(path), **(declared or ROLES))
    asked = roles or tuple(role for role in pool.roles)
    return list(pool.located().batches(pool.located().listing().shards[0], asked, types or TYPES, want))


def column(chunks: list[Batch], role: str) -> list[Any]:
    return [value for chunk in chunks for value in chunk.roles.column(role).to_pylist()]


def keys(chunks: list[Batch]) -> list[str]:
    return [key for chunk in chunks if chunk.key is not None for key in chunk.key.to_pylist()]


def errors(chunks: list[Batch], role: str = "") -> dict[int, str]:
    found = {}
    for chunk in chunks:
        of = chunk.role_errors.get(role, {}) if role else chunk.read_errors
        found |= {chunk.start + row: error.kind for row, error in of.items()}
    return found


def three() -> list[tuple[str, bytes]]:
    members = []
    for name in ("000", "001", "002"):
        meta = json.dumps({"uid": f"u{name}", "w": int(name) + 0.5}).encode()
        members += [
            (f"{name}.jpg", b"J" + name.encode() * 300),
            (f"{name}.json", meta),
            (f"{name}.txt", b"t" + name.encode()),
        ]
    return members


def test_roles_from_members_and_json(tmp_path: Path) -> None:
    (chunk,) = read(tmp_path, three(), "text", "image", "w")
    assert chunk.roles.to_pydict() == {
        "text": ["t000", "t001", "t002"],
        "image": [b"J" + name * 300 for name in (b"000", b"001", b"002")],
        "w": [0.5, 1.5, 2.5],
    }
    assert chunk.uid.to_pylist() == ["u000", "u001", "u002"] and keys([chunk]) == ["000", "001", "002"]
    assert not chunk.role_errors and not chunk.read_errors and chunk.start == 0


def test_byte_ranges_are_whole_samples(tmp_path: Path) -> None:
    for format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        long = "d" * 120 + "/" + "k" * 90 if format != tarfile.USTAR_FORMAT else "k" * 90
        members = [("skipped", b"x"), *three(), (f"{long}.txt", b"long"), (f"{long}.jpg", b"J" * 513)]
        members += [("é" * 60 + ".txt", b"")] if format == tarfile.PAX_FORMAT else []
        data = tar(members, format)
        (chunk,) = read(tmp_path, data, "text")
        assert chunk.offset is not None and chunk.length is not None
        assert chunk.nbytes.tolist() == chunk.length.tolist()
        cut = [data[at : at + n] for at, n in zip(chunk.offset, chunk.length, strict=True)]
        found = []
        for part in cut:
            with tarfile.open(fileobj=io.BytesIO(part + b"\0" * 1024)) as archive:
                found += [(info.name, archive.extractfile(info).read()) for info in archive]  # type: ignore[union-attr]
        assert found == members[1:]


PITFALLS: list[list[tuple[str, bytes]]] = [
    [("a.b.c.jpg", b"1"), ("a.b.txt", b"2"), ("a.txt", b"3"), ("a.TXT.gz", b"4")],
    [
        ("d/x.jpg", b"1"),
        ("d/x.txt", b"2"),
        ("e/x.txt", b"3"),
        ("./x.txt", b"4"),
        ("d.d/x.txt", b"5"),
        ("d/.x.txt", b"6"),
    ],
    [("a.jpg", b"1"), ("b.jpg", b"2"), ("a.txt", b"3")],
    [("nodot", b"1"), ("a.jpg", b"2"), ("dir/nodot", b"3"), ("a.txt", b"4"), (".hidden", b"5"), ("a.", b"6")],
    [("../../etc/passwd.txt", b"1"), ("/abs/x.txt", b"2"), ("a b\n.txt", b"3"), ("a\nb/c.txt", b"4")],
    [("__meta__", b"1"), ("__index__/a.txt", b"2"), ("__x.txt", b"3"), ("a.txt", b"4")],
    [("a.JPG", b"1"), ("a.Txt", b"2"), ("A.txt", b"3")],
    [("n" * 300 + ".txt", b"1"), ("n" * 300 + ".jpg", b"2"), ("d/" * 90 + "x.txt", b"3")],
    [("é.txt", b"1"), ("日本/語.txt", b"2")],
    [("a.txt", b""), ("a.jpg", b""), ("b.txt", b"x" * 512), ("c.txt", b"")],
]


def library(data: bytes) -> list[tuple[str, dict[str, bytes]]]:
    """What the webdataset library makes of an archive."""
    files = tar_file_expander([{"url": "a.tar", "stream": io.BytesIO(data)}])  # type: ignore[arg-type]
    found = list(group_by_keys(files))
    return [(sample["__key__"], {k: v for k, v in sample.items() if not k.startswith("__")}) for sample in found]


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("members", [*PITFALLS, three()])
def test_samples_are_those_of_the_library(tmp_path: Path, members: Members, format: int) -> None:
    data = tar(members, format)
    expected = library(data)
    extensions = sorted({extension for _, sample in expected for extension in sample if extension})
    roles = {f"r{n}": extension for n, extension in enumerate(extensions)}
    chunks = read(tmp_path, data, types=dict.fromkeys(roles, pa.binary()), **roles)
    assert keys(chunks) == [key for key, _ in expected]
    for role, extension in roles.items():
        assert column(chunks, role) == [sample.get(extension) for _, sample in expected]


def test_what_macos_adds_is_skipped(tmp_path: Path) -> None:
    members = [("._000.jpg", b"apple"), *three()[:2], ("__MACOSX/._000.txt", b"x"), ("d/._x.txt", b"x"), *three()[2:]]
    chunks = read(tmp_path, members)
    assert keys(chunks) == ["000", "001", "002"] and column(chunks, "text") == ["t000", "t001", "t002"]
    assert split_name("a/._b.c") is None and split_name("a._b/c.JPG") == ("a._b/c", "jpg")


def test_only_regular_files_count(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind in (
            ("d.d", tarfile.DIRTYPE),
            ("a.jpg", tarfile.SYMTYPE),
            ("a.png", tarfile.LNKTYPE),
            ("a.txt", b"0"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    (chunk,) = read(tmp_path, buffer.getvalue())
    assert keys([chunk]) == ["a"] and column([chunk], "image") == [None] and column([chunk], "text") == [""]


def test_the_first_listed_extension_wins(tmp_path: Path) -> None:
    members = [("a.png", b"p"), ("a.jpg", b"j"), ("b.png", b"p"), ("c.jpeg", b"e"), ("d.txt", b"t")]
    assert column(read(tmp_path, members), "image") == [b"j", b"p", b"e", None]
    assert column(read(tmp_path, members, image="jpg"), "image") == [b"j", None, None, None]


def test_uids(tmp_path: Path) -> None:
    metas = [{"uid": "x"}, {"uid": 7}, {"uid": None}, {}, {"uid": [1]}, {"uid": "x"}]
    members = [(f"{n}.json", json.dumps(meta).encode()) for n, meta in enumerate(metas)] + [("6.txt", b"t")]
    (chunk,) = read(tmp_path, members, "uid")
    derived = [derived_uid("a.tar", row) for row in range(7)]
    assert chunk.uid.to_pylist() == ["x", "7", *derived[2:5], "x", derived[6]] == column([chunk], "uid")
    assert errors([chunk], "uid") == {4: "json_type"}
    assert read(tmp_path, members, uid="__key__")[0].uid.to_pylist() == [str(n) for n in range(7)]
    assert read(tmp_path, members, text="txt")[0].uid.to_pylist() == derived


def test_a_number_is_a_uid_as_it_is_written(tmp_path: Path) -> None:
    numbers = ["7", "18446744073709551616", "100000000000000000001", "1.50", "1e20", "1e999"]
    members = [(f"{n}.json", f'{{"uid": {number}}}'.encode()) for n, number in enumerate(numbers)]
    assert read(tmp_path, members, "uid")[0].uid.to_pylist() == numbers


def test_bad_json_costs_the_roles_that_read_it(tmp_path: Path) -> None:
    bad = [b"{", b"\xff{}", b"[1]", b"", b"[" * 100_000, b'{"w": 1e999}', b'{"w": NaN}', b'{"w": "5"}', b'{"w": true}']
    bad += [b'{"w": 1' + b"0" * 400 + b"}", b'{"a": {"b": 3}, "w": {"b": 4}}', b'{"meta": "\\ud800"}', b'{"meta": 5}']
    members = [item for n, data in enumerate(bad) for item in ((f"{n}.json", data), (f"{n}.txt", b"t"))]
    chunks = read(
        tmp_path,
        members,
        w="json:w",
        deep="json:a.b",
        meta="json:meta",
        text="txt",
        types={**TYPES, "deep": pa.float64()},
    )
    broken = dict.fromkeys(range(5), "json_decode")
    assert errors(chunks, "w") == broken | dict.fromkeys((7, 8, 9, 10), "json_type")
    assert errors(chunks, "meta") == broken | {11: "text_utf8", 12: "json_type"}
    assert errors(chunks, "deep") == broken and column(chunks, "deep")[10] == 3.0
    assert errors(chunks) == {} and column(chunks, "text") == ["t"] * len(bad)
    assert column(chunks, "w")[5] == float("inf") and str(column(chunks, "w")[6]) == "nan"


def test_text_that_is_no_utf8(tmp_path: Path) -> None:
    chunks = read(tmp_path, [("a.txt", b"\xff"), ("b.txt", "ü".encode()), ("c.jpg", b"\xff")], "text", "image")
    assert column(chunks, "text") == [None, "ü", None] and errors(chunks, "text") == {0: "text_utf8"}


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    data = tar([("aXb.txt", b"1"), ("aYb.txt", b"2")])
    for letter, code in ((b"X", b"\xfe"), (b"Y", b"\xff")):
        data = repaired(data.replace(b"a" + letter + b"b.txt", b"a" + code + b"b.txt"))
    chunks = read(tmp_path, data, text="txt", uid="__key__")
    assert column(chunks, "text") == ["1", "2"] and keys(chunks) == ["a\ufffdb"] * 2


def repaired(data: bytes) -> bytes:
    """The archive with the right checksum in each header."""
    fixed = bytearray(data)
    for at in range(0, len(data) - 1024, 1024):
        if any(fixed[at : at + 512]):
            fixed[at + 148 : at + 156] = b" " * 8
            fixed[at + 148 : at + 156] = b"%06o\0 " % sum(fixed[at : at + 512])
    return bytes(fixed)


def test_a_duplicate_member_costs_its_sample(tmp_path: Path) -> None:
    members = [*three()[:3], ("000.TXT", b"again"), *three()[3:], ("000.txt", b"apart")]
    chunks = read(tmp_path, members)
    assert errors(chunks) == {0: "duplicate_member"} and keys(chunks) == ["000", "001", "002", "000"]
    assert column(chunks, "text") == ["t000", "t001", "t002", "apart"]


def ends(data: bytes) -> list[tuple[str, int, int]]:
    """Name, end of the data and end of the padding of each member."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [(i.name, i.offset_data + i.size, i.offset_data + -(-i.size // 512) * 512) for i in archive]


def test_a_cut_at_any_byte_loses_one_line_at_most(tmp_path: Path) -> None:
    data = tar(three())
    places = ends(data)
    for cut in [*range(512, places[-1][2] + 600, 97), *(end for _, end, _ in places), *(end for *_, end in places)]:
        chunks = read(tmp_path, data[:cut], "text", "image")
        count = sum(chunk.num_rows for chunk in chunks)
        whole = [name for name, end, _ in places if end <= cut]
        begun = sorted({name[:3] for name in whole})
        following = max((end for _, data_end, end in places if data_end <= cut), default=0)
        if cut <= following:  # right after a member, or within its padding
            assert errors(chunks) == {} and keys(chunks) == begun
            continue
        if cut - following >= 512 and following == places[-1][2]:
            assert errors(chunks) == {} and keys(chunks) == begun  # within the closing zeros
            continue
        assert errors(chunks) == {count - 1: "truncated"}, cut
        at_header = cut - following < 512
        cut_key = places[len(whole)][0][:3] if len(whole) < len(places) else ""
        kept = begun if at_header else [key for key in begun if key != cut_key]
        assert keys(chunks)[:-1] == kept and column(chunks, "text")[-1] is None
        assert chunks[-1].uid[-1].as_py() == derived_uid("a.tar", count - 1) and chunks[-1].nbytes[-1] == 0


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty_file"),
        (b"<html>not found</html>" * 100, "not_tar"),
        (b"short", "not_tar"),
        (gzip.compress(tar(three())), "not_tar"),
    ],
)
def test_a_wrong_file_is_one_row(tmp_path: Path, data: bytes, kind: str) -> None:
    (chunk,) = read(tmp_path, data, "text", "uid")
    assert errors([chunk]) == {0: kind} and chunk.uid.to_pylist() == [derived_uid("a.tar", 0)]
    assert chunk.roles.to_pydict() == {"text": [None], "uid": [derived_uid("a.tar", 0)]}
    assert chunk.nbytes.tolist() == [0]


def test_empty_and_unclosed_archives(tmp_path: Path) -> None:
    assert read(tmp_path, tar([])) == [] and read(tmp_path, tar([("nodot", b"x")])) == []
    data = tar(three())
    unclosed = data[: ends(data)[-1][2]]
    assert keys(read(tmp_path, unclosed)) == ["000", "001", "002"]
    assert errors(read(tmp_path, unclosed)) == {}


def test_a_corrupt_header_loses_the_rest(tmp_path: Path) -> None:
    data = bytearray(tar(three()))
    at = ends(bytes(data))[4][2]  # the header after 001.json
    data[at + 10] ^= 0xFF
    chunks = read(tmp_path, bytes(data), "text")
    assert errors(chunks) == {2: "tar_header"} and keys(chunks)[:2] == ["000", "001"]


@pytest.mark.parametrize("field", [b"\xff" * 12, b"\xff" * 4 + b"\xff" * 6 + b"\xfc\x00", b"\x80" + b"\x7f" * 11])
def test_impossible_sizes_end_the_reading(tmp_path: Path, field: bytes) -> None:
    data = bytearray(tar([("a.txt", b"x"), ("b.txt", b"y")]))
    data[1024 + 124 : 1024 + 136] = field
    chunks = read(tmp_path, repaired(bytes(data)), "text")
    assert column(chunks, "text") == ["x", None] and errors(chunks)[1] in ("tar_header", "truncated")


def test_a_header_that_would_fill_the_memory(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 4 << 20
    data = tar([("a.txt", b"x")])[:1024] + header.tobuf() + b"n" * (4 << 20) + tar([("b.txt", b"y")])
    chunks = read(tmp_path, data, "text")
    assert column(chunks, "text") == ["x", None] and errors(chunks) == {1: "tar_header"}
    endless = tarfile.TarInfo("x")
    endless.type = tarfile.XHDTYPE
    chunks = read(tmp_path, tar([("a.txt", b"x")])[:1024] + endless.tobuf() * 5000, "text")
    assert column(chunks, "text") == ["x", None] and set(errors(chunks)) == {1}


def test_a_member_that_is_too_big_costs_its_role(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.jpg")
    info.size = MEMBER_BYTES + 1
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        file.write(info.tobuf())
        file.seek(info.size + 511 & ~511, os.SEEK_CUR)
        file.write(tar([("a.txt", b"t"), ("b.txt", b"u")]))
    pool = Pool.webdataset(str(path), **ROLES)
    (chunk,) = pool.located().batches(pool.located().listing().shards[0], ["image", "text"], TYPES)
    assert errors([chunk], "image") == {0: "member_too_big"} and column([chunk], "text") == ["t", "u"]


def test_chunks_close_at_their_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = BATCH_ROWS + 10
    chunks = read(tmp_path, [(f"{n:05}.txt", b"%d" % n) for n in range(count)], "text")
    assert [(chunk.start, chunk.num_rows) for chunk in chunks] == [(0, BATCH_ROWS), (BATCH_ROWS, 10)]
    assert column(chunks, "text") == [str(n) for n in range(count)]
    monkeypatch.setattr("poolsieve.dataflow.pools.formats.webdataset.read.BATCH_BYTES", 1000)
    sizes = [400, 400, 400, 5000, 1, 999, 1]
    chunks = read(tmp_path, [(f"{n}.jpg", b"x" * size) for n, size in enumerate(sizes)], "image")
    assert [(chunk.start, chunk.num_rows) for chunk in chunks] == [(0, 2), (2, 1), (3, 1), (4, 2), (6, 1)]


def test_rows_that_nobody_wants_are_skipped(tmp_path: Path) -> None:
    members = [(f"{n:04}.txt", b"%d" % n) for n in range(1000)]
    asked = []

    def want(start: int, count: int) -> bool:
        asked.append(start)
        return start <= 300 < start + count

    chunks = read(tmp_path, tar(members)[:-1], "text", want=want)
    assert column(chunks, "text") == [str(n) for n in range(256, 512)] and chunks[0].start == 256
    assert asked == [0, 256, 512, 768]


def test_role_types(tmp_path: Path) -> None:
    metas: list[dict[str, Any]] = [
        {"w": None, "name": None, "flag": None, "a": {"b": None}, "width": None, "none": None}
    ]
    metas += [{"w": 5, "name": "x", "flag": False, "a": {"b": 2.5}, "width": None, "none": None}]
    members = [
        item for n, meta in enumerate(metas) for item in ((f"{n}.json", json.dumps(meta).encode()), (f"{n}.jpg", b""))
    ]
    (tmp_path / "0.tar").write_bytes(b"")
    (tmp_path / "1.tar").write_bytes(tar(members))
    fields = {name: f"json:{name}" for name in ("w", "name", "flag", "width", "none")}
    pool = Pool.webdataset(
        f"{tmp_path}/*.tar", image="jpg;png", text="txt", caption="txt", uid="__key__", b="json:a.b", **fields
    )
    shards = pool.located().listing().shards
    types = {name: str(kind) for name, kind in pool.located().role_types(shards).items()}
    assert types == {
        "image": "binary",
        "text": "string",
        "caption": "string",
        "uid": "string",
        "b": "double",
        "w": "double",
        "name": "string",
        "flag": "bool",
        "width": "double",
        "none": "string",
    }
    assert (
        pool.located().columns(shards) == {}
        and Pool.webdataset("a", text="txt").located().role_types(shards[:0], ["uid"])["uid"] == pa.string()
    )


def test_wrong_roles_name_the_nearest(tmp_path: Path) -> None:
    members = [(f"{n}.{ext}", b'{"width": 1}') for n in range(9) for ext in ("jpeg", "json")]
    (tmp_path / "a.tar").write_bytes(tar(members))
    url = f"{tmp_path}/a.tar"
    for pool, message in (
        (Pool.webdataset(url, image="jpg"), r"members \.jpg, which none .*Did you mean 'jpeg'"),
        (Pool.webdataset(url, width="json:widht"), "field 'widht', which none .*Did you mean 'width'"),
    ):
        with pytest.raises(PlanError, match=message):
            pool.located().role_types(pool.located().listing().shards)
    with pytest.raises(PlanError, match=r"no role 'imag'. Did you mean 'image'.*Declare it"):
        Pool.webdataset(url, image="jpeg").located().role_types([Shard(path="a.tar")], ["imag"])


def test_no_readable_shard_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"x" * 600)
    pool = Pool.webdataset(f"{tmp_path}/a.tar", text="txt")
    with pytest.raises(PlanError, match=r"none of the pool's first 1 shards .*a.tar: not_tar"):
        pool.located().role_types(pool.located().listing().shards)


def test_other_storage_reads_the_same(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe("/tars/a.tar", tar(three()))
    pool = Pool.webdataset("memory://tars/{a..a}.tar", **ROLES)
    (chunk,) = pool.located().batches(pool.located().listing().shards[0], list(ROLES), TYPES)
    (local,) = read(tmp_path, three())
    assert chunk.roles.equals(local.roles) and chunk.uid.equals(local.uid)
    assert chunk.offset is not None and local.offset is not None and chunk.offset.tolist() == local.offset.tolist()
    with pytest.raises(FileNotFoundError):
        list(pool.located().batches(Shard(path="b.tar"), ["text"], TYPES))


def test_memory_stays_flat_on_big_images(tmp_path: Path) -> None:
    script = """
        import resource, sys
        import pyarrow as pa
        from poolsieve.dataflow.recipes.recipe import Pool
        pool = Pool.webdataset(sys.argv[1], image="jpg")
        shard = pool.located().listing().shards[0]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert sum(c.num_rows for c in pool.located().batches(shard, ["image"], {"image": pa.binary()})) == 600
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
    """
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        for n in range(600):
            info = tarfile.TarInfo(f"{n}.jpg")
            info.size = 1 << 20
            file.write(info.tobuf() + bytes(1 << 20))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(path)], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) < 300, f"{done.stdout} MB"


NAME = st.text(st.sampled_from("ab./_é"), min_size=1, max_size=8).map(lambda name: name.strip("/") or "a")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    members=st.lists(st.tuples(NAME, st.binary(max_size=600)), max_size=12),
    format=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_round_trip(tmp_path: Path, members: Members, format: int) -> None:
    members = [(name, data) for name, data in members if "._" not in name and ".." not in name]
    data = tar(members, format)
    try:
        expected = library(data)
    except ValueError:  # the library stops at a duplicate; here it costs its row
        assert "duplicate_member" in errors(read(tmp_path, data, text="txt")).values()
        return
    roles = {f"r{n}": ext for n, ext in enumerate(sorted({ext for _, found in expected for ext in found if ext}))}
    roles = roles or {"r": "txt"}
    chunks = read(tmp_path, data, types=dict.fromkeys(roles, pa.binary()), **roles)
    assert keys(chunks) == [key for key, _ in expected]
    for role, extension in roles.items():
        assert column(chunks, role) == [sample.get(extension) for _, sample in expected]


def blank(data: bytes, at: int, size: int) -> bytes:
    return data[:at] + bytes(size) + data[at + size :]


@pytest.mark.parametrize("zeros", [1, 2, 20, 5000])
def test_what_follows_zero_blocks_is_read_after_one_line_for_the_gap(tmp_path: Path, zeros: int) -> None:
    first, second = tar(three())[: 21 * 512], tar([("b.txt", b"b"), ("c.txt", b"c")])
    assert tarfile.TarInfo.frombuf(second[:512], "utf-8", "strict").name == "b.txt"
    data = first + bytes(512 * zeros) + second
    chunks = read(tmp_path, data, "text")
    assert errors(chunks) == {3: "zero_blocks"}
    assert column(chunks, "text") == ["t000", "t001", "t002", None, "b", "c"]
    found = [(at, n) for chunk in chunks for at, n in zip(chunk.offset, chunk.length, strict=True)]  # type: ignore[arg-type]
    for key, (at, n) in zip(keys(chunks), found, strict=True):
        with tarfile.open(fileobj=io.BytesIO(data[at : at + n] + bytes(1024))) as archive:
            assert {name.partition(".")[0] for name in archive.getnames()} == ({key} if key else set())


def test_a_page_of_zeros_costs_what_it_covers(tmp_path: Path) -> None:
    data = tar([(f"{n:03d}.txt", b"%03d" % n * 400) for n in range(40)])
    size = 2048
    whole = blank(data, 10 * size, 2 * size)
    chunks = read(tmp_path, whole, "text", text="txt")
    assert errors(chunks) == {10: "zero_blocks"}
    assert [key for key in keys(chunks) if key] == [f"{n:03d}" for n in range(40) if n not in (10, 11)]
    # From the middle of one member's data to the middle of another's: its own bytes are zeros, which nothing tells.
    chunks = read(tmp_path, blank(data, 10 * size + 1024, 2 * size), "text", text="txt")
    assert errors(chunks) == {11: "zero_blocks"} and len(keys(chunks)) == 40 - 2 + 1


def test_a_gap_within_a_sample_parts_it(tmp_path: Path) -> None:
    data = tar([("a.jpg", b"1"), ("a.json", b"{}"), ("a.txt", b"2"), ("b.txt", b"3")])
    chunks = read(tmp_path, blank(data, 1024, 1024), "text", text="txt", image="jpg")
    assert keys(chunks) == ["a", "", "a", "b"] and errors(chunks) == {1: "zero_blocks"}
    assert column(chunks, "text") == [None, None, "2", "3"]


def test_a_long_name_that_a_hole_took_is_one_line(tmp_path: Path) -> None:
    long = "b" * 300 + ".txt"
    data = tar([("a.txt", b"1"), (long, b"2"), ("c.txt", b"3")])
    place = data.index(long.encode())
    chunks = read(tmp_path, blank(data, place, 512), "text", text="txt")
    assert errors(chunks) == {1: "tar_header"} and column(chunks, "text") == ["1", None, "3"]


def test_zeros_to_the_end_are_no_damage_and_anything_else_is(tmp_path: Path) -> None:
    data = tar([("a.txt", b"1")])
    for padding in (0, 100, 512, 3 << 20):
        assert errors(read(tmp_path, data + bytes(padding), "text", text="txt")) == {}
    for rest in (b"x", bytes(700) + b"x", b"0000000\0" * 200_000):
        chunks = read(tmp_path, data + rest, "text", text="txt")
        assert errors(chunks) == {1: "zero_blocks"} and column(chunks, "text") == ["1", None]


def test_rows_that_nobody_wants_are_counted_over_a_gap(tmp_path: Path) -> None:
    one = tar([(f"{n:04d}.txt", b"%d" % n) for n in range(300)])
    every = column(read(tmp_path, one + one, "text", text="txt"), "text")
    chunks = read(tmp_path, one + one, "text", text="txt", want=lambda start, n: start + n > 550)
    assert column(chunks, "text") == every[512:]
    assert len(every) == 601 and every[300] is None


def test_a_gap_behind_every_member_is_read_in_linear_time(tmp_path: Path) -> None:
    piece = tar([("a.txt", b"")])[:512] + bytes(512)
    start = time.process_time()
    chunks = read(tmp_path, piece * 8_000, "text", text="txt")
    assert sum(chunk.num_rows for chunk in chunks) == 15_999 and len(errors(chunks)) == 7_999
    # A look at the whole file, or at a megabyte, for each gap would take minutes.
    assert time.process_time() - start < 20
