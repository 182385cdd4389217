"""Runs over tiny pools of each format, their exports, and what is published of them."""

from __future__ import annotations

import datetime
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from PIL import Image

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.export.index import read_index
from poolsieve.dataflow.publish.contents import Item, Subject, Table
from poolsieve.dataflow.publish.inferred import inferred_schema
from poolsieve.filters import Keep, Top, col
from poolsieve.jobs.card.pictures import captions

ROWS = 60
REPO = "curators/tiny-subset"
URL = f"https://huggingface.co/datasets/{REPO}"

RECIPE = '''
"""A tiny recipe: ``` and </details> and <!-- poolsieve:end 0123456789abcdef -->."""
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Top, col

def recipe(pool="", words=3):
    return (
        Pool.parquet(pool + "/*.parquet", uid="uid", text="text", image="image.bytes")
        | Keep(col("text").word_count() >= words, reason="text.short")
        | Top("clip", fraction=0.5)
    )
'''


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def rows() -> list[dict[str, Any]]:
    dice = np.random.default_rng(7)
    return [
        {
            "uid": dice.bytes(16).hex(),
            "text": " ".join(["word"] * int(dice.integers(0, 12))),
            "clip": float(np.float32(round(dice.normal(0.2, 0.05), 3))),
            "tags": ["a", "b"][: int(dice.integers(0, 3))],
            "size": {"width": int(dice.integers(10, 99)), "height": 8},
        }
        for _ in range(ROWS)
    ]


def write_parquet(folder: Path) -> Path:
    folder.mkdir(parents=True)
    made = [{**row, "image": {"bytes": png(i), "path": f"{i}.png"}} for i, row in enumerate(rows())]
    features = {"image": {"_type": "Image"}, "text": {"dtype": "string", "_type": "Value"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema(
        [
            ("uid", pa.string()),
            ("text", pa.string()),
            ("clip", pa.float32()),
            ("tags", pa.list_(pa.string())),
            ("size", pa.struct([("width", pa.int64()), ("height", pa.int32())])),
            ("image", picture),
        ],
        metadata=metadata,
    )
    for part in range(2):
        half = made[part * ROWS // 2 : (part + 1) * ROWS // 2]
        pq.write_table(pa.Table.from_pylist(half, schema=schema), folder / f"part-{part}.parquet", row_group_size=10)
    return folder


def write_jsonl(folder: Path) -> Path:
    folder.mkdir(parents=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows())
    (folder / "docs.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))
    return folder


def write_tars(folder: Path) -> Path:
    folder.mkdir(parents=True)
    with tarfile.open(folder / "00000.tar", "w") as tar:
        for i, row in enumerate(rows()):
            about = {"clip": row["clip"], "uid": row["uid"]}
            for ending, data in (("png", png(i)), ("txt", row["text"].encode()), ("json", json.dumps(about).encode())):
                info = tarfile.TarInfo(f"{i:06d}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return folder


def run_parquet(folder: Path) -> poolsieve.Run:
    """From a recipe file that holds what could end a fence, a block and our own block."""
    pool = write_parquet(folder / "pool")
    path = folder / "recipe.py"
    path.write_text(RECIPE)
    out = poolsieve.run(path, folder / "out", params={"pool": str(pool)}, samples=False)
    out.export()
    return out


def run_object(pool: Pool, folder: Path) -> poolsieve.Run:
    """From a recipe made in Python."""
    recipe = pool | Keep(col("text").word_count() >= 3, reason="text.short") | Top("clip", fraction=0.5)
    out = poolsieve.run(recipe, folder / "out", samples=False)
    out.export()
    return out


def run_jsonl(folder: Path) -> poolsieve.Run:
    pool = write_jsonl(folder / "pool")
    return run_object(Pool.jsonl(f"{pool}/*.jsonl.zst", uid="uid", text="text", clip="clip"), folder)


def run_tars(folder: Path) -> poolsieve.Run:
    pool = write_tars(folder / "pool")
    return run_object(
        Pool.webdataset(f"{pool}/*.tar", uid="json:uid", text="txt", image="png", clip="json:clip"), folder
    )


def items_of(folder: Path) -> tuple[Item, ...]:
    index = read_index(str(folder))
    assert index is not None
    return tuple(
        Item(path=one.name, size=one.bytes, sha256=one.sha256, source=str(folder / one.name), rows=one.rows)
        for one in index.files
    )


def _schema(folder: Path, items: tuple[Item, ...], format: str) -> pa.Schema | None:
    if format == "parquet":
        return pq.read_schema(folder / items[0].path)
    return inferred_schema(str(folder / items[0].path), format) if items else None


def table_of(folder: Path) -> Table:
    index, items = read_index(str(folder)), items_of(folder)
    assert index is not None
    parquet = index.format == "parquet"
    footers = [pq.read_metadata(folder / item.path) for item in items] if parquet else []
    return Table(
        name="default",
        pattern="data/train-*",
        format=index.format,
        schema=_schema(folder, items, index.format),
        items=items,
        memory=sum(one.row_group(i).total_byte_size for one in footers for i in range(one.num_row_groups)) or None,
    )


def subject_of(out: poolsieve.Run, **more: Any) -> Subject:
    """What would be published of a run's export."""
    folder = Path(out.url) / "export"
    index = read_index(str(folder))
    assert index is not None
    given = {
        "repo": REPO,
        "url": URL,
        "license": "cc-by-4.0",
        "run": poolsieve.open(out.url),
        "index": index,
        "tables": (table_of(folder),),
        "others": tuple(Item.of(name, (folder / name).read_bytes()) for name in index.also),
        "started": datetime.datetime(2026, 11, 28, 10, tzinfo=datetime.UTC),
        "ended": datetime.datetime(2026, 11, 28, 11, 30, tzinfo=datetime.UTC),
        "published": datetime.date(2026, 11, 29),
        "pictures": captions(out),
    }
    return Subject(**{**given, **more})
