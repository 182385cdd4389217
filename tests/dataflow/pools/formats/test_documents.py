"""`max_document_bytes`: a document above it costs its row, whatever the format, and no memory where the file allows."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.pools.formats import FORMATS
from poolsieve.dataflow.pools.formats.format import Format
from poolsieve.dataflow.pools.shards import DOCUMENT_BYTES
from poolsieve.dataflow.recipes.recipe import Pool
from poolsieve.filters import Keep, col
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import ledger, run
from tests.dataflow.pools.formats import conformance as the
from tests.dataflow.pools.formats.jsonl.test_read import PACKED, write

TEXTS = [format for format in FORMATS.values() if format.text]
"""Formats that hold documents."""

LARGE = 3
"""The row whose text is long."""


def built(format: Format, folder: Path) -> Path:
    table = the.table(8)
    texts = ["x" * 5000 if i == LARGE else f"text {i}" for i in range(8)]
    the.build(format, folder / f"a{format.ending}", table.set_column(1, "text", pa.array(texts)))
    return folder


def pool(format: Format, folder: Path, **options: Any) -> Pool:
    return Pool(format.name, (f"{folder}/*",), the.sources(format, "uid", "text", "n"), **options)


@pytest.mark.parametrize("format", TEXTS, ids=[format.name for format in TEXTS])
def test_a_long_document_costs_its_row(format: Format, tmp_path: Path) -> None:
    made = pool(format, built(format, tmp_path / "pool"), max_document_bytes=2000)
    out = str(tmp_path / "out")
    run(made | Keep(col("text").word_count() >= 1, reason="text.short"), out)
    assert ledger(out)["row"].to_pylist() == list(range(8))
    assert ledger(out)["reason"].to_pylist() == ["quarantine.too_large" if i == LARGE else None for i in range(8)]
    kept = [f"text {i}" for i in range(8) if i != LARGE]
    for to in TEXTS:
        target = tmp_path / to.name
        assert export(out, target=str(target), format=to.name).rows == 7
        files = the.PoolFiles(
            root=str(target),
            format=to.name,
            patterns=(f"{target}/data/train-*",),
            roles={
                "text": "txt"
                if not format.reader.has_columns and to.reader.has_columns
                else the.sources(to, "text")["text"]
            },
        )
        assert [row["text"] for row in the.whole(files)] == kept


@pytest.mark.parametrize("format", TEXTS, ids=[format.name for format in TEXTS])
def test_another_limit_is_another_reading_and_the_usual_one_is_not_named(format: Format, tmp_path: Path) -> None:
    folder, out = built(format, tmp_path / "pool"), str(tmp_path / "out")
    rule = Keep(col("text").word_count() >= 1, reason="text.short")
    found = {}
    for limit in (DOCUMENT_BYTES, 2000, 1_000_000):
        made = pool(format, folder, max_document_bytes=limit)
        assert ("max_document_bytes" in json.dumps(made.to_dict())) == (limit != DOCUMENT_BYTES)
        run(made | rule, out)
        found[limit] = (
            json.loads(Path(out, "manifest.json").read_text())["fingerprints"]["text.word_count"],
            ledger(out)["keep"].to_pylist()[LARGE],
        )
    assert [keep for _, keep in found.values()] == [True, False, True]
    assert len({fingerprint for fingerprint, _ in found.values()}) == 3
    usual = made.located()
    assert made.to_dict() == {**pool(format, folder).to_dict(), "max_document_bytes": 1_000_000}
    assert pool(format, folder).located().limits == () and usual.limits


def test_images_are_no_documents(tmp_path: Path) -> None:
    format = FORMATS["webdataset"]
    with the.sink(str(tmp_path / "a.tar")) as file:
        for name, size in (("0.jpg", 5000), ("0.txt", 10), ("1.jpg", 10), ("1.txt", 5000)):
            from poolsieve.dataflow.pools.formats.webdataset.members import member

            file.write(member(name, b"x" * size))
    files = the.PoolFiles(
        root=str(tmp_path),
        format=format.name,
        patterns=(f"{tmp_path}/*.tar",),
        roles={"image": "jpg", "text": "txt"},
        max_document_bytes=2000,
    )
    (shard,) = files.listing().shards
    (batch,) = files.batches(shard, ("image", "text"), {"image": pa.binary(), "text": pa.string()})
    assert {role: [(i, e.kind) for i, e in errors.items()] for role, errors in batch.role_errors.items()} == {
        "text": [(1, "too_large")]
    }
    assert [len(image) for image in batch.roles["image"].to_pylist()] == [5000, 10]


@pytest.mark.parametrize("extension", PACKED)
@pytest.mark.parametrize("limit", [1, 40, 3000, 1 << 21, 1 << 23])
def test_rows_and_places_do_not_depend_on_the_limit(tmp_path: Path, extension: str, limit: int) -> None:
    """Blank lines of any length are no rows, and long lines stand where they stand."""
    lines = [b'{"t": "%s"}' % (b"x" * n) for n in (3, 2000, 3, 3 << 20, 5, 1 << 20)]
    data = b"\n".join([lines[0], b" " * 50, *lines[1:4], b"\t" * (4 << 20), *lines[4:], b" " * 3000])
    write(tmp_path / f"a.{extension}", PACKED[extension](data))
    made = Pool.jsonl(f"{tmp_path}/a.*", t="t", max_document_bytes=limit, split_bytes=1 << 20)
    files, found = made.located(), []
    for shard in files.listing().shards:
        for batch in files.batches(shard, ("t",), {"t": pa.string()}):
            assert batch.offset is not None and batch.length is not None
            places = zip(batch.offset.tolist(), batch.length.tolist(), strict=True)
            errors = [batch.read_errors.get(i) for i in range(batch.num_rows)]
            found += [(batch.start + i, *place, errors[i]) for i, place in enumerate(places)]
    assert [row for row, *_ in found] == list(range(6))
    assert [data[start : start + size] for _, start, size, _ in found] == lines
    assert [error and error.kind for *_, error in found] == ["too_large" if len(x) > limit else None for x in lines]


@pytest.mark.parametrize("wrong", [0, -1, 1 << 31, 1.5, "64MB", None, True])
def test_silly_limits_are_refused(wrong: Any) -> None:
    with pytest.raises(PlanError, match="max_document_bytes"):
        Pool.jsonl("a.jsonl", text="text", max_document_bytes=wrong)


PEAK = """
import resource, sys
from poolsieve.dataflow.recipes.recipe import Pool
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) >> 10
pool = Pool.jsonl(sys.argv[1], text="text").located()
list(pool.batches(pool.listing().shards[0], ("text",), pool.role_types(pool.listing().shards)))
print(peak())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_line_of_200_megabytes_takes_no_memory(tmp_path: Path) -> None:
    small = b'{"text": "ab"}\n'
    peaks = []
    for name, size in (("small", 10), ("large", 200_000_000)):
        with gzip.open(tmp_path / f"{name}.jsonl.gz", "wb", compresslevel=1) as file:
            file.write(small + b'{"text": "')
            for _ in range(size // 1000):
                file.write(b"word " * 200)
            file.write(b'"}\n' + small)
        found = subprocess.run(
            [sys.executable, "-c", PEAK, str(tmp_path / f"{name}.jsonl.gz")], check=True, capture_output=True, text=True
        )
        peaks.append(int(found.stdout))
    assert peaks[1] < peaks[0] + 80
