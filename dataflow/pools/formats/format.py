"""A format is one thing: how its files are called, read, copied and built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from poolsieve.dataflow.pools.formats.base import Location, Reader
from poolsieve.dataflow.pools.formats.outgoing import Builder, Copier
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.scoring_models.base.errors import PlanError


def _none(rows: Mapping[str, int]) -> Mapping[str, bytes]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Format:
    """One kind of file. Whoever has one of these knows all of it; nobody else asks for a format by name.

    Attributes:
        name: as `Pool.<name>` and `--format` have it.
        title: in prose.
        endings: of the names of files that are taken for this format.
        ending: of the files that are written.
        target_bytes: usual size of a file.
        text: where a text is found if nobody says; empty where files hold none.
        reader, copier, builder: how its files are read, how they are made of files of their own kind, and of any rows.
        not_built: without a builder, why there is none, and what to do instead.
        row_role: a role that every pool of it declares: its source says which bytes of a file are a row.
        keeps_ending: whether copied rows leave in files that end as the pool's do.
        instances: rows of a whole file as a trainer numbers them, by its size alone; None where none numbers them. Its
            reader then reads the role `instance` by `Location.firsts`.
        never_empty: whether an export without rows has a file all the same, so that its readers find a schema.
        scores_are_columns: whether scores stand among the pool's own columns, so that none may have a column's name.
        for_datasets: whether `datasets.load_dataset` reads a folder of its files.
        about_files: small files that readers expect beside the files: name -> rows gives name -> contents.
    """

    name: str
    title: str
    endings: tuple[str, ...]
    ending: str
    target_bytes: int
    reader: Reader
    copier: Copier
    builder: Builder | None = None
    not_built: str = ""
    text: str = "text"
    row_role: str = ""
    keeps_ending: bool = False
    instances: Callable[[Location, Shard], int] | None = None
    never_empty: bool = False
    scores_are_columns: bool = False
    for_datasets: bool = True
    about_files: Callable[[Mapping[str, int]], Mapping[str, bytes]] = _none

    def part_name(self, i: int, n: int, folder: str = "data", path: str = "") -> str:
        """The name of file i of n: `data/train-00000-of-00004.parquet`, which `datasets` takes for a split `train`.

        Args:
            path: of a file of the pool that goes into it, for formats that keep endings.
        """
        own = (ending for ending in self.endings if self.keeps_ending and path.endswith(ending))
        return f"{folder}/train-{i:05d}-of-{n:05d}{next(own, self.ending)}"

    def build_with(self) -> Builder:
        """The builder.

        Raises:
            PlanError: if rows of other pools can't become such files.
        """
        if self.builder is None:
            raise PlanError(self.not_built)
        return self.builder

    def side_files(self, rows: Mapping[str, int]) -> Mapping[str, bytes]:
        """What stands beside the files, given their names and rows: name -> contents."""
        return self.about_files(rows)
