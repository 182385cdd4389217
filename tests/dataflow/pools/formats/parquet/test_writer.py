"""Files as `datasets` writes them: by their footers, beside one that `datasets` itself has written."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow.pools.formats.parquet import writer
from poolsieve.dataflow.pools.formats.parquet.copy import schema_hash
from poolsieve.dataflow.pools.formats.parquet.writer import CHUNKING, CHUNKING_KEY, RowGroups, media_of, without_note
from tests.dataflow.exported import JPEG

FEATURES = datasets.Features(
    {
        "image": datasets.Image(),
        "text": datasets.Value("string"),
        "pages": datasets.List({"page": datasets.Image(), "number": datasets.Value("int32")}),
        "tags": datasets.List(datasets.Value("string")),
        "box.x": datasets.Value("float32"),
    }
)


def rows(n: int) -> pa.Table:
    image = [{"bytes": JPEG + bytes([i % 256]), "path": f"{i}.jpg"} for i in range(n)]
    columns: dict[str, Any] = {
        "image": image,
        "text": [f"text {i % 9}" for i in range(n)],
        "pages": [[{"page": one, "number": i} for i in range(2)] for one in image],
        "tags": [["a", f"{i}"] for i in range(n)],
        "box.x": np.arange(n, dtype=np.float32),
    }
    return pa.Table.from_pydict(columns, schema=FEATURES.arrow_schema)


def written(table: pa.Table, **how: Any) -> io.BytesIO:
    sunk = io.BytesIO()
    target = RowGroups(sunk, table.schema, **how)
    for batch in table.to_batches(max_chunksize=100):
        target.add(batch)
    target.close()
    return sunk


def described(file: Any) -> dict[str, tuple[Any, ...]]:
    group = pq.read_metadata(file).row_group(0)
    chunks = [group.column(i) for i in range(group.num_columns)]
    return {one.path_in_schema: (one.encodings, one.has_offset_index, one.compression) for one in chunks}


def test_the_footer_is_that_of_datasets_but_for_the_codec_of_what_is_no_media(tmp_path: Path) -> None:
    table = rows(300)
    datasets.Dataset(table).to_parquet(tmp_path / "theirs.parquet")
    ours, theirs = described(written(table)), described(tmp_path / "theirs.parquet")
    assert ours.keys() == theirs.keys()
    for path, (encodings, index, codec) in theirs.items():
        assert ours[path] == (encodings, index, {"SNAPPY": "ZSTD"}.get(codec, codec)), path
    assert theirs["image.bytes"][2] == theirs["pages.list.element.page.bytes"][2] == "UNCOMPRESSED"
    key = CHUNKING_KEY.encode()
    assert pq.read_metadata(written(table)).metadata[key] == pq.read_metadata(tmp_path / "theirs.parquet").metadata[key]


def test_numbers_are_those_of_datasets() -> None:
    assert datasets.config.DEFAULT_CDC_OPTIONS == CHUNKING
    assert datasets.config.MAX_ROW_GROUP_SIZE == "100MB" and writer.ROW_GROUP_BYTES == 100_000_000
    kinds = {"Audio", "Image", "Mesh", "Nifti", "Pdf", "Video"}
    assert kinds == writer.MEDIA and all(hasattr(getattr(datasets, kind), "embed_storage") for kind in kinds)


def test_the_note_is_the_only_metadata_that_is_added_and_is_there_once() -> None:
    table = rows(10).replace_schema_metadata({"mine": "1", CHUNKING_KEY: "older"})
    found = pq.read_metadata(written(table)).metadata
    assert set(found) == {b"ARROW:schema", b"mine", CHUNKING_KEY.encode()}
    assert json.loads(found[CHUNKING_KEY.encode()]) == CHUNKING
    assert pq.read_schema(written(table)).metadata == {b"mine": b"1"}
    assert schema_hash(table.schema) == schema_hash(without_note(table.schema))


def test_a_column_of_images_without_a_note_of_datasets_is_named() -> None:
    table = pa.table({"image": [JPEG] * 9, "text": ["x"] * 9})
    found = described(written(table, media=["image"]))
    assert found["image"][2] == "UNCOMPRESSED" and found["text"][2] == "ZSTD"


def test_a_column_with_the_path_of_a_leaf_of_media_is_written(tmp_path: Path) -> None:
    image = pa.array([{"bytes": JPEG, "path": "a.jpg"}] * 3)
    table = pa.table({"image": image, "image.bytes": ["x", None, "y"], "text": ["a", "b", "c"]})
    assert pq.read_table(written(table, media=["image"])).equals(table)
    assert described(written(table, media=["image"]))["text"][2] == "ZSTD"


def test_one_batch_of_more_than_a_row_group_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "ROW_GROUP_BYTES", 10_000)
    table = pa.table({"text": ["x" * 96] * 1000}).combine_chunks()
    sunk = io.BytesIO()
    target = RowGroups(sunk, table.schema)
    for batch in table.to_batches():
        target.add(batch)
    target.close()
    footer = pq.read_metadata(sunk)
    assert [footer.row_group(i).num_rows for i in range(footer.num_row_groups)] == [100] * 10
    assert pq.read_table(sunk).equals(table)


@pytest.mark.parametrize(
    "note", [b"", b"[]", b"{}", b'{"info": {"features": [1]}}', b'{"info": 1}', b"\xff", b"[" * 100_000]
)
def test_a_note_that_is_none_means_no_media(note: bytes) -> None:
    assert media_of(pa.schema([("a", pa.binary())], metadata={b"huggingface": note})) == frozenset()


def cut(data: bytes) -> list[bytes]:
    """Pieces that end where the sum of 64 bytes has twelve low zero bits: of their contents alone."""
    sums = np.cumsum(np.frombuffer(data, np.uint8).astype(np.uint64) * np.uint64(2654435761))
    window = (sums[64:] - sums[:-64]) & np.uint64(0xFFF)
    ends = [0, *(np.flatnonzero(window == 0) + 64).tolist(), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(ends) if b > a]


def shared(before: io.BytesIO, after: io.BytesIO) -> float:
    """Share of a file's bytes that an earlier one has, cut as Xet cuts them."""
    known = {hashlib.sha256(piece).digest() for piece in cut(before.getvalue())}
    pieces = cut(after.getvalue())
    return sum(len(one) for one in pieces if hashlib.sha256(one).digest() in known) / len(after.getvalue())


def test_a_moved_cut_leaves_most_bytes_of_pictures_as_they_were() -> None:
    rng = np.random.default_rng(0)
    table = pa.table({"image": [rng.bytes(20_000) for _ in range(1000)], "score": rng.random(1000)})
    before, after = (table.filter(pa.compute.greater_equal(table["score"], cut)) for cut in (0.5, 0.51))
    assert shared(written(before, media=["image"]), written(after, media=["image"])) > 0.9


def test_of_texts_a_change_in_few_places_leaves_most_bytes_as_they_were() -> None:
    words = np.array([f"w{i:04x}" for i in range(5000)])
    rng = np.random.default_rng(0)
    table = pa.table({"text": [" ".join(rng.choice(words, 400)) for _ in range(8000)]})
    fewer = table.filter(pa.array([i not in (900, 5000) for i in range(8000)]))
    assert shared(written(table), written(fewer)) > 0.7
    plain = [io.BytesIO(), io.BytesIO()]
    for sunk, one in zip(plain, (table, fewer), strict=True):
        pq.write_table(one, sunk, compression="zstd", compression_level=3)
    assert shared(*plain) < 0.5
