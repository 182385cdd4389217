"""What of an export is published: its files as items, its folders as tables, and which of them the Hub has already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from poolsieve.dataflow import fs
from poolsieve.dataflow.export.index import INDEX, INDICES, ExportIndex, FileRecord
from poolsieve.dataflow.pools.formats import FORMATS
from poolsieve.dataflow.pools.hub import Place
from poolsieve.dataflow.publish.contents import SPLIT, HubFile, Item, Parent, Table
from poolsieve.dataflow.publish.inferred import inferred_schema
from poolsieve.dataflow.publish.repository import Repository
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.scoring_models.base.errors import PlanError

MOST_FILES, MOST_ENTRIES, MOST_BYTES = 100_000, 10_000, 200_000_000_000
"""The Hub's limits: files of a repository, entries of a folder, bytes of a file (its "Storage limits")."""


def files_of(index: ExportIndex, folder: str) -> list[Item]:
    """The files of an export, in order, and what stands beside them."""
    items = [_item(record, folder) for record in index.files]
    return items + [Item.of(name, fs.read_bytes(fs.join(folder, name))) for name in index.also]


def _item(record: FileRecord, folder: str) -> Item:
    source = fs.join(folder, record.name)
    return Item(path=record.name, size=record.bytes, sha256=record.sha256, source=source, rows=record.rows)


def tables_of(index: ExportIndex, items: Sequence[Item]) -> list[Table]:
    """A table for each folder of the export; none where `datasets` does not read the format."""
    if index.format not in FORMATS or not FORMATS[index.format].for_datasets:
        return []
    folders: dict[str, list[Item]] = {}
    for item in items[: len(index.files)]:
        folders.setdefault(item.path.rpartition("/")[0], []).append(item)
    return [_table(folder, found, index.format) for folder, found in folders.items()]


def _table(folder: str, items: Sequence[Item], format: str) -> Table:
    schema, memory = _of_footers(items) if format == "parquet" else (_inferred(items, format), None)
    name = "default" if folder == "data" else folder
    pattern = f"{folder}/{SPLIT}-*"
    return Table(name=name, pattern=pattern, format=format, schema=schema, items=tuple(items), memory=memory)


def _inferred(items: Sequence[Item], format: str) -> pa.Schema | None:
    first = next((item for item in items if item.rows), None)
    return None if first is None else inferred_schema(str(first.source), format)


def _of_footers(items: Sequence[Item]) -> tuple[pa.Schema, int]:
    """The schema of the first file, and what all row groups hold before compression."""
    memory, schema = 0, pa.schema([])
    for number, item in enumerate(items):
        assert isinstance(item.source, str)
        system, path = fs.connect(item.source)
        with system.open(path, "rb") as opened, pq.ParquetFile(opened) as file:
            schema = schema if number else file.schema_arrow
            memory += sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
    return schema, memory


def check_limits(items: Sequence[Item]) -> None:
    """Compares what is published with what the Hub takes.

    Raises:
        PlanError: with the limit, and what to do.
    """
    if len(items) > MOST_FILES:
        raise PlanError(
            f"{len(items):,} files, and a repository takes {MOST_FILES:,}: export again with a larger --target-mb"
        )
    folders: dict[str, int] = {}
    for item in items:
        folder = item.path.rpartition("/")[0]
        folders[folder] = folders.get(folder, 0) + 1
        if item.size > MOST_BYTES:
            raise PlanError(
                f"{item.path} has {item.size:,} bytes, and the Hub takes files of {MOST_BYTES:,}: export again with a "
                "smaller --target-mb, or split the pool's file"
            )
    full = next((folder for folder, count in folders.items() if count > MOST_ENTRIES), None)
    if full is not None:
        raise PlanError(
            f"{folders[full]:,} files in {full}, and a folder on the Hub takes {MOST_ENTRIES:,}: export again with a "
            "larger --target-mb"
        )


def places(run: OutFolder) -> list[tuple[str, HubFile]]:
    """(prefix of the paths of its shards, place) of each part of the pool that is on the Hub, at a commit."""
    found = []
    for part in run.manifest.pool.pool().located().places:
        at = Place.of(part.root)
        if at is not None and at.type == "dataset" and at.revision is not None and at.pinned:
            found.append((part.prefix, HubFile(repo=at.repo, commit=at.revision, path=at.path.strip("/"))))
    return found


def parents(run: OutFolder, repository: Repository) -> tuple[Parent, ...]:
    """The datasets that the pool is of, with the licenses that their cards say."""
    distinct = sorted({(place.repo, place.commit) for _, place in places(run)})
    return tuple(Parent(repo=repo, commit=at, license=repository.license_of(repo, at)) for repo, at in distinct)


def with_copies(run: OutFolder, index: ExportIndex, items: Sequence[Item], repository: Repository) -> list[Item]:
    """The items, with the pool's own file where the Hub has the very same bytes as one of LFS or Xet.

    Regular (small) files would be fetched and sent again by the client: those are simply sent.
    """
    there = places(run)
    wanted: dict[tuple[str, str], dict[str, int]] = {}
    for number, record in enumerate(index.files):
        place = _whole_copy(record, there)
        if place is not None:
            wanted.setdefault((place.repo, place.commit), {})[place.path] = number
    made = list(items)
    for (repo, commit), paths in wanted.items():
        for path, file in repository.paths(list(paths), commit, repo).items():
            number = paths[path]
            if file.sha256 == made[number].sha256:
                made[number] = replace(made[number], copy_of=HubFile(repo=repo, commit=commit, path=path))
    return made


def _whole_copy(record: FileRecord, there: Sequence[tuple[str, HubFile]]) -> HubFile | None:
    """Where a file of the pool is that a file of the export may be a copy of; its hash decides."""
    if len(record.inputs) != 1 or record.inputs[0].size != record.bytes:
        return None
    path = record.inputs[0].path
    place = next(((prefix, at) for prefix, at in there if path.startswith(prefix)), None)
    if place is None:
        return None
    prefix, at = place
    return replace(at, path="/".join(filter(None, (at.path, path.removeprefix(prefix)))))


def check_export(index: ExportIndex | None, run: OutFolder, folder: str) -> ExportIndex:
    """Whether an export can be published as what the run kept.

    Raises:
        PlanError: if there is none, or it is of other rows.
    """
    if index is None:
        raise PlanError(f"{folder} holds no whole export ({INDEX} is missing): run `poolsieve export` again")
    if index.decision != run.decision:
        raise PlanError(
            f"{folder} holds an export of decision {index.decision}, and the current one is {run.decision}: run "
            f"`poolsieve export {run.url} --replace`, with the options that it was made with"
        )
    if not index.rows:
        raise PlanError(f"{folder} has no row: there is nothing to publish")
    if index.format == INDICES:
        raise PlanError(f"{folder} holds numbers of rows and no rows, which are not published")
    if index.select is not None or index.uids is not None:
        chosen = f"dropped for {index.select!r}" if index.uids is None else "of a list"
        raise PlanError(f"{folder} holds rows {chosen}, not those that the run kept: publish another export")
    return index
