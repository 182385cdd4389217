"""Small pools to export, and how exports are read back."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from poolsieve.dataflow import Pool
from poolsieve.dataflow.export.index import ExportIndex
from poolsieve.filters import Keep, col
from poolsieve.filters.lists import hex_pairs

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(200))
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(99))


def words(n: int) -> str:
    return " ".join(["word"] * n)


def add(archive: tarfile.TarFile, name: str, data: bytes, **fields: Any) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    archive.addfile(info, io.BytesIO(data))


def uid_of(shard: int, i: int) -> str:
    return hashlib.md5(f"{shard}/{i}".encode()).hexdigest()


def write_tar(
    path: Path, shard: int, n: int, *, keys: Sequence[str] = (), format: int = tarfile.PAX_FORMAT, longest: int = 0
) -> Path:
    """A tar of n samples: directories in names, PAX names, owners and dates; every third caption is too short."""
    with tarfile.open(path, "w", format=format) as archive:
        for i in range(n):
            key = keys[i] if keys else f"set/{shard:03d}{i:05d}"
            if longest and i % 5 == 0:
                key = f"set/{'x' * longest}é{shard:03d}{i:05d}"
            meta = json.dumps({"uid": uid_of(shard, i), "original_width": 100 + i}).encode()
            dated = {"mtime": 1.6e9 + i + 0.25, "uname": "jo", "gname": "staff", "uid": 501, "mode": 0o600}
            add(archive, f"{key}.JPG" if i % 2 else f"{key}.png", JPEG * (1 + i % 4) if i % 2 else PNG, **dated)
            add(archive, f"{key}.txt", words(1 if i % 3 == 0 else 5).encode(), **dated)
            add(archive, f"{key}.json", meta)
    return path


def tar_recipe(folder: Path) -> Any:
    pool = Pool.webdataset(f"{folder}/*.tar", uid="json:uid", text="txt", image="jpg;png")
    return pool | Keep(col("text").word_count() >= 3, reason="caption.too_short")


def parquet_recipe(folder: Path, **roles: Any) -> Any:
    pool = Pool.parquet(f"{folder}/*.parquet", **{"uid": "uid", "text": "text", **roles})
    return (
        pool
        | Keep(col("text").word_count() >= 3, reason="caption.too_short")
        | Keep(col("text").word_count() <= 17, reason="caption.too_long")
    )


def read_back(out: Path | str, found: ExportIndex) -> pa.Table:
    folder = Path(found.target)
    assert folder.is_relative_to(out)
    return pa.concat_tables(pq.read_table(folder / file.name) for file in found.files)


def same(a: pa.Table, b: pa.Table) -> bool:
    """Equal schemas, metadata and values; NaN is itself here."""
    return bool(a.schema.equals(b.schema, check_metadata=True)) and repr(a.to_pylist()) == repr(b.to_pylist())


def pool_table(folder: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob("*.parquet")))


def raw_samples(path: Path) -> list[tuple[str, bytes]]:
    """(key, all bytes of the sample, headers and padding included), by tarfile's word for where members are."""
    data = path.read_bytes()
    out: list[tuple[str, bytes]] = []
    with tarfile.open(path) as archive:
        infos = archive.getmembers()
    for info in infos:
        end = info.offset_data + -(-info.size // 512) * 512
        key = info.name.rpartition("/")[0] + "/" + info.name.rpartition("/")[2].split(".")[0]
        if out and out[-1][0] == key:
            out[-1] = (key, out[-1][1] + data[info.offset : end])
        else:
            out.append((key, data[info.offset : end]))
    return out


def tar_files(found: ExportIndex) -> list[Path]:
    return [Path(found.target) / file.name for file in found.files]


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder, by its hash; export.json apart."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "_export.json"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def npy(path: Path, uids: Sequence[str]) -> str:
    pairs, _ = hex_pairs(pa.array(uids))
    np.save(path, np.sort(pairs, order=("f0", "f1")))
    return str(path)


def image_pool(folder: Path) -> Path:
    folder.mkdir()
    n = 60
    bytes_ = [JPEG, PNG, b"RIFF\0\0\0\0WEBPxx", b"GIF89a..", b"?"]
    table = pa.table(
        {
            "uid": [f"{i:032x}" for i in range(n)],
            "picture": pa.array([{"bytes": bytes_[i % 5], "path": None} for i in range(n)]),
            "text": pa.array([words(1 if i % 3 == 0 else 5) for i in range(n)]),
            "score": pa.array([float("nan") if i == 1 else i / 4 for i in range(n)]),
            "tags": pa.array([["a", str(i)] for i in range(n)]),
            "when": pa.array(range(n), pa.timestamp("s")),
            "raw": pa.array([b"\0"] * n),
        }
    )
    pq.write_table(table, folder / "a.parquet", row_group_size=20)
    return folder
