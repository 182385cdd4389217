"""The export against bare loops: Parquet read-filter-write with the same writer settings, and a `tarfile` copy.

    python benchmarks/export.py --megabytes 400 --keep 0.15 --keep 1.0 --runs 3

The bare loops get their masks for nothing, look at no ledger, write no hash, check no pool file, and write the same
rows to the same number of files. What `poolsieve export` is timed for is the whole call, Beam's start and fsync included.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import tarfile
import tempfile
import unittest.mock
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import pairs, text_pool

from poolsieve.dataflow import Pool
from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.export.index import ExportIndex
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.passes.submit import execute
from poolsieve.dataflow.pools.formats.parquet import writer
from poolsieve.dataflow.pools.formats.parquet.writer import ROW_GROUP_BYTES, WRITER, column_options
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.store.manifest import read_manifest, write_manifest
from poolsieve.filters import Keep, col


def image_pool(folder: Path, megabytes: int, shards: int, image_bytes: int) -> Path:
    """A Parquet pool of random bytes in the place of images, which no codec can shrink."""
    target = folder / f"images-{megabytes}-{shards}-{image_bytes}"
    if not target.exists():
        target.mkdir(parents=True)
        rows = max(1, (megabytes << 20) // image_bytes // shards)
        for shard in range(shards):
            rng = np.random.default_rng(shard)
            table = pa.table(
                {
                    "uid": [f"{shard:016x}{i:016x}" for i in range(rows)],
                    "image": [rng.bytes(int(image_bytes * rng.uniform(0.5, 1.5))) for _ in range(rows)],
                    "text": [f"caption {i} of {shard}" for i in range(rows)],
                    "width": rng.integers(50, 900, rows),
                }
            )
            pq.write_table(table, target / f"part-{shard:05d}.parquet", row_group_size=1000)
    return target


def tar_pool(folder: Path, megabytes: int, shards: int, image_bytes: int) -> Path:
    """Tars of an image, a caption and a JSON a sample, as img2dataset writes them."""
    target = folder / f"tars-{megabytes}-{shards}-{image_bytes}"
    if not target.exists():
        target.mkdir(parents=True)
        rows = max(1, (megabytes << 20) // image_bytes // shards)
        for shard in range(shards):
            with tarfile.open(target / f"{shard:08d}.tar", "w") as archive:
                rng = np.random.default_rng(shard)
                for i in range(rows):
                    width = int(rng.integers(50, 900))
                    meta = {
                        "uid": f"{shard:016x}{i:016x}",
                        "original_width": width,
                        "url": "http://example/" + "x" * 80,
                    }
                    image = rng.bytes(int(image_bytes * rng.uniform(0.5, 1.5)))
                    members = {"jpg": image, "txt": f"caption {i}".encode(), "json": json.dumps(meta).encode()}
                    for extension, data in members.items():
                        info = tarfile.TarInfo(f"{shard:04d}{i:05d}.{extension}")
                        info.size = len(data)
                        archive.addfile(info, io.BytesIO(data))
    return target


def decided(pool: Path, out: Path, share: float) -> Path:
    """A run whose one rule keeps about `share` of the rows."""
    limit = 50 + 850 * share
    if pool.name.startswith("tars"):
        source = Pool.webdataset(f"{pool}/*.tar", uid="json:uid", text="txt", image="jpg", width="json:original_width")
    else:
        source = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text")
    shutil.rmtree(out, ignore_errors=True)
    recipe: Recipe = source | Keep(col("width") < limit, reason="image.too_wide")
    prepared = prepare(recipe, str(out))
    write_manifest(prepared.job, execute(prepared), {})
    return out


def masks(out: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Path of each shard -> which of its rows stay."""
    found = {}
    for path in (out / read_manifest(str(out)).ledger).glob("*.parquet"):
        table = pq.read_table(path)
        found[table.schema.metadata[b"poolsieve.path"].decode()] = np.asarray(table.column("keep").to_numpy())
    return found


def ours(out: Path, workers: int) -> ExportIndex:
    """The whole export, from nothing."""
    shutil.rmtree(out / "export", ignore_errors=True)
    return export(str(out), engine=Engine(workers=workers))


def bare_parquet(pool: Path, target: Path, files: list[list[str]], keep: dict[str, np.ndarray[Any, Any]]) -> None:
    """Reads, filters and writes."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for number, inputs in enumerate(files):
        schema = pq.read_schema(pool / inputs[0])
        options = column_options(schema, frozenset({"image"}))
        with pq.ParquetWriter(target / f"{number:05d}.parquet", schema, **options) as writer:
            waiting: list[pa.RecordBatch] = []
            for name in inputs:
                row = 0
                for batch in pq.ParquetFile(pool / name).iter_batches():
                    waiting.append(batch.filter(pa.array(keep[name][row : row + batch.num_rows])))
                    row += batch.num_rows
                    if sum(item.nbytes for item in waiting) > ROW_GROUP_BYTES:
                        writer.write_table(pa.Table.from_batches(waiting), row_group_size=1 << 30)
                        waiting = []
            if waiting:
                writer.write_table(pa.Table.from_batches(waiting), row_group_size=1 << 30)


def bare_tar(pool: Path, target: Path, files: list[list[str]], keep: dict[str, np.ndarray[Any, Any]]) -> None:
    """`tarfile`, member by member."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for number, inputs in enumerate(files):
        with tarfile.open(target / f"{number:08d}.tar", "w") as made:
            for name in inputs:
                with tarfile.open(pool / name) as archive:
                    for i, info in enumerate(archive):
                        if keep[name][i // 3]:
                            made.addfile(info, archive.extractfile(info))


def compare(label: str, pool: Path, folder: Path, share: float, runs: int, workers: int) -> None:
    """Prints one ratio."""
    out = decided(pool, folder / "export-out", share)
    keep = masks(out)
    found = ours(out, workers)
    files = [[item.path for item in file.inputs] for file in found.files]
    loop = bare_tar if pool.name.startswith("tars") else bare_parquet
    mine, bare, ratio = pairs(lambda: ours(out, workers), lambda: loop(pool, folder / "export-bare", files, keep), runs)
    read = sum(path.stat().st_size for path in pool.iterdir()) / 1e6
    print(
        f"{label}, {share:.0%} kept: export {mine:.2f} s, bare loop {bare:.2f} s: {1 / ratio:.2f} of the bare loop's "
        f"throughput ({read:.0f} MB in, {found.bytes / 1e6:.0f} MB out, {found.rows} rows)"
    )


SNAPPY = {"write_page_index": True, "use_content_defined_chunking": True}
"""As `datasets` writes what is no media."""


def codecs(name: str, pool: Path, runs: int) -> None:
    """One file of a pool as it is written now, against zstd for every column (as before) and against snappy."""
    table = pq.read_table(next(iter(sorted(pool.glob("*.parquet")))))
    now = column_options(table.schema, frozenset({"image"}))
    target = pool.parent / "codecs.parquet"
    for other, options in {"zstd for all": WRITER, "snappy for all": SNAPPY}.items():
        ours, theirs, ratio = pairs(
            lambda: pq.write_table(table, target, **now),
            lambda options=options: pq.write_table(table, target, **options),  # type: ignore[misc]
            runs,
        )
        sizes = [_size(table, target, one) for one in (now, options)]
        print(
            f"{name:7} now against {other}: {ours:.2f} s and {theirs:.2f} s, time {ratio:.2f}, bytes {sizes[0] / sizes[1]:.3f}"
        )


def settings(name: str, pool: Path, folder: Path, share: float, runs: int, workers: int) -> None:
    """The whole export as it is now, against the same with zstd for every column, as before."""
    out = decided(pool, folder / "export-out", share)
    sizes = [ours(out, workers).bytes, before(out, workers).bytes]
    mine, theirs, ratio = pairs(lambda: ours(out, workers), lambda: before(out, workers), runs)
    print(
        f"{name:7} {share:.0%} kept, whole export now against zstd for all: {mine:.2f} s and {theirs:.2f} s, time "
        f"{ratio:.2f}, bytes {sizes[0] / sizes[1]:.3f}"
    )


def before(out: Path, workers: int) -> ExportIndex:
    """An export with the writer's settings of before; files are written in this process."""
    with unittest.mock.patch.object(writer, "column_options", return_value=WRITER):
        return ours(out, workers)


def _size(table: pa.Table, target: Path, options: dict[str, Any]) -> int:
    pq.write_table(table, target, **options)
    return target.stat().st_size


def main() -> None:
    """Prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=400, help="size of each pool")
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--image-bytes", type=int, default=20_000)
    parser.add_argument("--row-bytes", type=int, default=2200)
    parser.add_argument("--keep", type=float, action="append", help="share of rows kept; may be given again")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "poolsieve-benchmarks")
    parser.add_argument("--codecs", action="store_true", help="compare settings of the writer alone, on one file")
    parser.add_argument("--settings", action="store_true", help="compare settings of the writer, on whole exports")
    parser.add_argument("--only", choices=["text", "images", "tars"])
    given = parser.parse_args()
    size = (given.folder, given.megabytes, given.shards, given.image_bytes)
    rows = (given.megabytes << 20) // given.row_bytes
    made = {
        "text": lambda: text_pool(given.folder, rows, given.shards, given.row_bytes),
        "images": lambda: image_pool(*size),
        "tars": lambda: tar_pool(*size),
    }
    for name, make in made.items():
        if given.only not in (None, name):
            continue
        if given.codecs and name != "tars":
            codecs(name, make(), given.runs)
        elif given.settings and name != "tars":
            for share in given.keep or [0.15, 0.9]:
                settings(name, make(), given.folder, share, given.runs, given.workers)
        elif not (given.codecs or given.settings):
            for share in given.keep or [0.15, 0.9]:
                compare(name, make(), given.folder, share, given.runs, given.workers)


if __name__ == "__main__":
    main()
