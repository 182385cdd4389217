"""Losses that CoLoR-Filter's own code has stored, as scores of the rows that bear its instances' numbers.

Layout (davidbrandfonbrener/color-filter-olmo, `olmo/data/dict_memmap_dataset.py`): in a folder `files.txt`, `1.npy`,
`2.npy` ... and `mmap_index.npy`; none of the arrays has NumPy's header. A file holds 2**20 losses, float32, the last
one zeros at its end; the index has the instance's number of each, int64, and zeros behind. `files.txt` names the files
by the paths that they had where they were written, and a run that was started again wrote its lines once more.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.base.config import JsonObject, absolute_path
from poolsieve.scoring_models.base.errors import PlanError, RowError
from poolsieve.scoring_models.base.scorer import Resources, Scored, ScorerConfig

FILES, INDEX = "files.txt", "mmap_index.npy"
PER_FILE = 1 << 20
"""Losses of a file (`file_seqs` of the reference)."""

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredLosses(ScorerConfig):
    """CoLoR-Filter's score from two folders of losses that its own code has stored; columns as `Color` has them.

    `Score(color=StoredLosses(prior="prior/score", conditional="down/score"))`. A row's losses are found by the number
    of its instance; a row whose number has no losses, or that has no number, has no score.

    Args:
        prior: the folder `score/` of the prior.
        conditional: the same of the conditional model, over the same instances in the same order.
        instance: the role with the numbers: a row's chunk, counted from 0 over the token files in sorted order.
        version: see `Scorer`.
    """

    prior: str
    conditional: str
    instance: str = "instance"
    version: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("prior", "conditional"):
            object.__setattr__(self, name, absolute_path(getattr(self, name)))
        if self.prior == self.conditional:
            raise PlanError(f"StoredLosses: prior and conditional are both {self.prior}, so that every score is 0")

    @property
    def reads(self) -> tuple[str, ...]:
        """The role with the instances' numbers."""
        return (self.instance,)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """`conditional` - `prior`, and the two losses, float32."""
        return dict.fromkeys(["", "prior", "conditional"], pa.float32())

    @property
    def resources(self) -> Resources:
        """The index and its order: 16 bytes for each stored loss, of which a published job has 49 million."""
        return Resources(memory_mb=1000)

    def check_role(self, where: str, role: str, kind: pa.DataType) -> None:
        """Refuses a role that is known to hold no integers.

        Raises:
            PlanError: naming the role's type.
        """
        if not pa.types.is_null(kind) and not pa.types.is_integer(kind):
            raise PlanError(f"{where} reads {role!r} as numbers of instances, but it is {kind}: name a column of them")

    def to_dict(self) -> JsonObject:
        """Without the folders, whose files enter the fingerprint by hash."""
        return {key: value for key, value in super().to_dict().items() if key not in ("prior", "conditional")}

    def files(self) -> Mapping[str, Path]:
        """The index and the losses of both, as `prior/1.npy`.

        Raises:
            PlanError: if a file is missing, or has another size than the layout says.
        """
        folders = {"prior": self.prior, "conditional": self.conditional}
        return {f"{key}/{path.name}": path for key, folder in folders.items() for path in score_files(folder)}

    def score(self, batch: pa.RecordBatch) -> Scored:
        """Losses of a batch; an error for those that are NaN or infinite."""
        stored = _stored(self.prior, self.conditional, _stamp(self.prior, self.conditional))
        numbers = batch.column(self.instance)
        known = np.asarray(numbers.is_valid())
        wanted = np.asarray(numbers.cast(pa.int64()).fill_null(-1), dtype=np.int64)
        places, found = stored.places(wanted)
        found &= known
        prior, conditional = (losses[places[found]] for losses in (stored.prior, stored.conditional))
        good = np.isfinite(prior) & np.isfinite(conditional)
        rows = np.flatnonzero(found)
        errors = {int(row): RowError("not_a_number", "a stored loss is NaN or infinite") for row in rows[~good]}
        made = {"": conditional - prior, "prior": prior, "conditional": conditional}
        return Scored({name: _spread(values[good], rows[good], len(known)) for name, values in made.items()}, errors)


class Stored(NamedTuple):
    """Losses by position, and the instances' numbers, ascending, with the position of each."""

    numbers: Ints
    order: Ints
    prior: Floats
    conditional: Floats

    def places(self, wanted: Ints) -> tuple[Ints, np.ndarray[Any, np.dtype[np.bool_]]]:
        """Positions of the losses of some numbers, and whether they have any."""
        at = np.minimum(np.searchsorted(self.numbers, wanted, side="left"), len(self.numbers) - 1)
        return self.order[at], self.numbers[at] == wanted


def score_files(folder: str) -> list[Path]:
    """The index, and the files of losses in their order.

    Raises:
        PlanError: naming the file that is missing, or whose size is wrong.
    """
    names = _names(Path(folder) / FILES)
    paths = [Path(folder) / name for name in (INDEX, *names)]
    for path in paths:
        if not path.is_file():
            raise PlanError(f"{folder} is no folder of stored losses: it has no {path.name}")
        size = path.stat().st_size
        if size % 8 or not size or (path.name != INDEX and size != 4 * PER_FILE):
            raise PlanError(f"{path} has {size:,} bytes: losses are {PER_FILE:,} float32, an index is of int64")
    return paths


def _names(listing: Path) -> list[str]:
    """The names in `files.txt`, once each: `1.npy` and so on, without a gap."""
    try:
        lines = listing.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise PlanError(f"{listing.parent} is no folder of stored losses: can't read {FILES}: {error}") from error
    names = list(dict.fromkeys(re.split(r"[/\\]", line.strip())[-1] for line in lines if line.strip()))
    if not names or names != [f"{number}.npy" for number in range(1, len(names) + 1)]:
        raise PlanError(f"{listing} names {', '.join(names[:4]) or 'no files'}: expected 1.npy, 2.npy and so on")
    return names


def _stamp(*folders: str) -> tuple[int, ...]:
    """Times at which the folders' indices were written: what is in memory is of these."""
    return tuple((Path(folder) / INDEX).stat().st_mtime_ns for folder in folders)


@functools.lru_cache(maxsize=1)
def _stored(prior: str, conditional: str, stamp: tuple[int, ...]) -> Stored:
    """Both folders' losses, in memory.

    Raises:
        PlanError: if they are of other instances, or in another order, or of more than there are files.
    """
    indices = [np.memmap(score_files(folder)[0], np.int64, mode="r") for folder in (prior, conditional)]
    if not np.array_equal(indices[0], indices[1]):
        raise PlanError(f"{prior} and {conditional} have losses of other instances, or in another order")
    losses = [_losses(folder) for folder in (prior, conditional)]
    numbers = _numbers(indices[0], losses)
    if len(numbers) > min(map(len, losses)):
        raise PlanError(
            f"{prior} and {conditional}: the index has {len(numbers):,} instances, and there are fewer losses"
        )
    order = np.argsort(numbers, kind="stable")
    return Stored(numbers[order], order, *losses)


def _losses(folder: str) -> Floats:
    maps = [np.memmap(path, np.float32, mode="r") for path in score_files(folder)[1:]]
    return np.concatenate(maps)


def _numbers(index: Ints, losses: list[Floats]) -> Ints:
    """The index without the zeros behind.

    The reference takes a last instance 0 for one of them. Here it counts if no other place has it, and if both folders
    have a loss there: what nobody has written is 0.
    """
    used = np.flatnonzero(index)
    count = int(used[-1]) + 1 if len(used) else 0
    numbers = np.array(index[: count + 1], dtype=np.int64)
    last = len(numbers) > count and all(len(some) > count and some[count] != 0 for some in losses)
    if last and (numbers[:count] != 0).all():
        return numbers
    if not count:
        raise PlanError("the index of stored losses has no instances")
    return numbers[:count]


def _spread(values: Floats, rows: Ints, count: int) -> pa.Array:
    """Values of some rows as float32 of all `count`, null elsewhere."""
    whole, missing = np.zeros(count, dtype=np.float32), np.ones(count, dtype=bool)
    whole[rows], missing[rows] = values, False
    return pa.array(whole, pa.float32(), mask=missing)
