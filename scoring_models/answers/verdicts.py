"""What a judge said of items, as somebody has stored it: columns of the rows that bear the items' names."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.answers import files
from poolsieve.scoring_models.answers.keys import UID, Ints, Keys, Mask, Unmatched, check_names, keys_of
from poolsieve.scoring_models.answers.values import Codes, Tell, flags_of, names_of
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.scorer import Resources, Scored, ScorerConfig

VERDICTS = ("ground_truth_wrong", "question_is_ambiguous", "needs_high_resolution")
"""What a judge says of an item (DatBench, arXiv 2601.02316, the third stage's prompt)."""


@dataclass(frozen=True, eq=False)
class Verdicts(ScorerConfig):
    """What a judge said of an item, from a file: three booleans, null where it said nothing or the item is not there.

    `Score(verdict=Verdicts("verdicts.parquet"))`. The file has one line for each item that was judged.

    Args:
        path: Parquet, CSV or JSON lines, one file or several.
        item: column with the items' names, texts or integers, which are the uids of the pool's rows.
        ground_truth_wrong: column that says whether the stored answer is wrong; None if the judge was not asked.
        question_is_ambiguous: the same of the question.
        needs_high_resolution: the same of the image.
        version: see `Scorer`.
    """

    path: str | tuple[str, ...] = field(metadata={"runtime": True})
    item: str = "item"
    ground_truth_wrong: str | None = "ground_truth_wrong"
    question_is_ambiguous: str | None = "question_is_ambiguous"
    needs_high_resolution: str | None = "needs_high_resolution"
    version: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", files.checked_paths("Verdicts", self.path))
        if not self._said:
            raise PlanError("Verdicts: a judge who was asked nothing has no verdicts: name one of the three columns")

    @property
    def _said(self) -> dict[str, str]:
        named = {name: getattr(self, name) for name in VERDICTS}
        return {name: column for name, column in named.items() if column is not None}

    @property
    def reads(self) -> tuple[str, ...]:
        """The uid."""
        return (UID,)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """The three verdicts, bool."""
        return dict.fromkeys(VERDICTS, pa.bool_())

    @property
    def resources(self) -> Resources:
        """A name and a few bytes for each item."""
        return Resources(memory_mb=200)

    def check_role(self, where: str, role: str, kind: pa.DataType) -> None:
        """Refuses a role that can't be names of items.

        Raises:
            PlanError: naming the role's type.
        """
        check_names(where, kind)

    def files(self) -> Mapping[str, Path]:
        """The files, as `verdicts/1` and so on. They are read, so that a plan refuses what is wrong with them.

        Raises:
            PlanError: if one is missing, or can't be right.
        """
        super().files()
        self._table()
        return self._found()

    def _found(self) -> dict[str, Path]:
        assert isinstance(self.path, tuple)
        return {f"verdicts/{n}": path for n, path in enumerate(files.there("Verdicts", self.path), 1)}

    def score(self, batch: pa.RecordBatch) -> Scored:
        """Verdicts of a batch."""
        table = self._table()
        places = table.keys.find(batch.column(UID))
        return Scored({name: table.of(name, places) for name in VERDICTS})

    def unmatched(self, uids: Iterable[pa.Array]) -> dict[str, Any]:
        """What judged items and the pool's rows have not in common.

        Args:
            uids: string arrays of all rows.

        Returns:
            `items`, the number of judged items that no row has, and the `first` of their names (at most 10); `rows`,
            the number of rows without a verdict, and the `first_rows`.
        """
        keys = self._table().keys
        count = Unmatched(keys, np.zeros(len(keys.names), dtype=bool))
        for some in uids:
            count.add(some)
        return count.to_dict()

    def _table(self) -> _Table:
        with _LOCK:
            return _loaded(self, files.stamps_of(self._found()))

    def read(self) -> _Table:
        """Reads and checks the verdicts; `score` has them from memory.

        Raises:
            PlanError: for verdicts that can't be read or can't be right, with the place.
        """
        places, items, said = files.Places(), list[pa.Array](), dict[str, list[tuple[Mask, Mask]]]()
        for path in self._found().values():
            table, tell = files.read("Verdicts", path, {"item": self.item, **self._said})
            items.append(names_of(table.column("item"), "item", tell).encoded())
            for name in self._said:
                said.setdefault(name, []).append(flags_of(table.column(name), name, tell, null=True))
            places.add(table.num_rows, tell)
        if not places.rows:
            raise PlanError(f"Verdicts: {', '.join(self.path)} has no lines: one for each judged item is wanted")
        names = names_of(pa.chunked_array(items), "item", places)
        order = _once(names.codes, places)
        flags = {
            name: [np.concatenate(parts)[order] for parts in zip(*some, strict=True)] for name, some in said.items()
        }
        return _Table(keys_of(names.distinct), {name: (values, known) for name, (values, known) in flags.items()})


class _Table(NamedTuple):
    """n items, and of each verdict whether it is true and whether anything was said: bool (n,) twice."""

    keys: Keys
    flags: Mapping[str, tuple[Mask, Mask]]

    def of(self, name: str, places: Ints) -> pa.Array:
        """A verdict of the items at some places; null for -1."""
        if name not in self.flags:
            return pa.nulls(len(places), pa.bool_())
        values, known = self.flags[name]
        return pa.array(values[places], pa.bool_(), mask=(places < 0) | ~known[places])


def _once(codes: Codes, tell: Tell) -> Ints:
    """The row of each item.

    Raises:
        PlanError: for an item that stands twice, naming both places.
    """
    order = np.argsort(codes, kind="stable")
    twice = np.flatnonzero(codes[order][1:] == codes[order][:-1])
    if len(twice):
        at = twice[np.argmin(order[twice + 1])]
        first, second = int(order[at]), int(order[at + 1])
        raise PlanError(f"{tell(second)}: the item is judged in {tell(first)} already: keep one of the two")
    return order


_LOCK = threading.Lock()


@functools.lru_cache(maxsize=4)
def _loaded(verdicts: Verdicts, stamps: tuple[Any, ...]) -> _Table:
    return verdicts.read()
