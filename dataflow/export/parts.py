"""How an export is cut into files: by size, where samples of one key would meet, and a folder for each schema."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from poolsieve.dataflow.pools.shards import Shard

PartName = Callable[[int, int, str, str], str]
"""(number, count, folder, path of the first shard's file) -> name of a file, below the target."""


@dataclass(frozen=True, kw_only=True)
class ShardExtract:
    """What one shard gives to the export.

    Attributes:
        shard: the shard.
        rows: rows that leave, copies counted.
        nbytes: about as many bytes.
        unreadable: rows that were asked for, but could not be read when they were scored.
        first_key: of the first sample that leaves, as it will be named, where keys must not meet.
        last_key: of the last one.
        schema: a hash; shards of different schemas don't go into one file.
        whole: whether the shard is a whole file of which every row leaves once.
        fields: what the rows hold, as a serialised Arrow schema, where only rows tell; else empty.
        ledger_sha256: of the shard's ledger.
        part: of a union that is copied: no file has rows of two.
    """

    shard: Shard
    rows: int
    nbytes: int = 0
    unreadable: int = 0
    first_key: str | None = None
    last_key: str | None = None
    schema: str = ""
    whole: bool = False
    fields: bytes = b""
    ledger_sha256: str | None = None
    part: str = ""


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """One file of the export: its name in the target, and what goes into it, in this order."""

    name: str
    inputs: tuple[ShardExtract, ...]


def plan_parts(inputs: Sequence[ShardExtract], target_bytes: int, name: PartName) -> tuple[OutputFile, ...]:
    """Cuts the inputs, in their order, into files: each closes at the first boundary past `target_bytes`.

    It also closes where two samples of one key would become neighbours, and where a part of a union ends. Inputs of
    another schema than the first one's go to a folder of their own, since readers take the files of one folder for one
    table: `data`, `data-2`, ...
    """
    groups: dict[str, list[ShardExtract]] = {}
    for item in inputs:
        groups.setdefault(item.schema, []).append(item)
    made: list[OutputFile] = []
    for number, group in enumerate(groups.values(), 1):
        folder = "data" if number == 1 else f"data-{number}"
        runs = _runs(group, target_bytes)
        made += [
            OutputFile(name=name(i, len(runs), folder, run[0].shard.path), inputs=tuple(run))
            for i, run in enumerate(runs)
        ]
    return tuple(made)


def _runs(inputs: Sequence[ShardExtract], target_bytes: int) -> list[list[ShardExtract]]:
    runs: list[list[ShardExtract]] = []
    filled = 0
    for item in inputs:
        if not runs or filled >= target_bytes or _meet(runs[-1][-1], item):
            runs.append([])
            filled = 0
        runs[-1].append(item)
        filled += item.nbytes
    return runs


def _meet(last: ShardExtract, item: ShardExtract) -> bool:
    if last.part != item.part:
        return True
    return last.last_key is not None and last.last_key == item.first_key
