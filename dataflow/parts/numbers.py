"""Which parts of a pool a process takes: `3/100`, `3,17-19/100`, or what a launcher's environment says."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from poolsieve.dataflow.parts.launchers import LAUNCHERS
from poolsieve.scoring_models.base.errors import PlanError

MOST = 1_000_000
"""Parts that a pool may have: more than clusters have tasks."""

_SPELLED = re.compile(r"([0-9]{1,7}(?:-[0-9]{1,7})?(?:,[0-9]{1,7}(?:-[0-9]{1,7})?)*)/([0-9]{1,7})", re.ASCII)

_HOW = "write I/N, as 0/100 to 99/100 (3,17-19/100 for several parts at once)"


@dataclass(frozen=True)
class Share:
    """Some of the `of` parts of a pool, counted from 0; none where a task has nothing left to take.

    Raises:
        PlanError: for a number that is no part, and for more parts than `MOST`.
    """

    numbers: tuple[int, ...]
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.of <= MOST:
            raise PlanError(f"--part: {self.of:,} parts, and a pool has 1 to {MOST:,}")
        wrong = next((number for number in self.numbers if not 0 <= number < self.of), None)
        if wrong is not None:
            raise PlanError(
                f"--part {wrong}/{self.of}: parts are counted from 0, so that the last of {self.of} is "
                f"{self.of - 1}/{self.of}. For a Slurm array that begins elsewhere write --part slurm"
            )

    def __str__(self) -> str:
        """As `--part` takes it."""
        return f"{spelled(self.numbers)}/{self.of}"


def share_of(text: str, environ: Mapping[str, str]) -> Share:
    """What `--part` says.

    Args:
        text: `I/N` with parts from 0 to N - 1; several as `3,17-19/100`; the name of a launcher, whose environment then
            says it; or `LAUNCHER/N`, by which each of its tasks takes every so-manieth of N parts.
        environ: of this process.

    Raises:
        PlanError: for anything else, and for a launcher that did not start this process.
    """
    name, _, count = text.partition("/")
    if name in LAUNCHERS:
        return _launched(name, count if "/" in text else None, environ)
    found = _SPELLED.fullmatch(text)
    if found is None:
        names = ", ".join(f"--part {launcher}" for launcher in LAUNCHERS)
        raise PlanError(f"--part {text[:80]!r}: {_HOW}, or, where the launcher counts, {names}")
    numbers = itertools.chain.from_iterable(map(_range, found[1].split(",")))
    return Share(tuple(sorted(set(numbers))), int(found[2]))


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    if last and int(last) < int(first):
        raise PlanError(f"--part {text}: a range goes upwards, as {last}-{first}")
    return range(int(first), int(last or first) + 1)


def _launched(name: str, count: str | None, environ: Mapping[str, str]) -> Share:
    place, places = LAUNCHERS[name](environ)
    if count is None:
        return Share((place,), places)
    if not re.fullmatch("[0-9]{1,7}", count, re.ASCII):
        raise PlanError(f"--part {name}/{count[:80]}: a number of parts is wanted, as {name}/5000")
    of = int(count)
    return Share(tuple(range(place, of, places)), of)


def spelled(numbers: Iterable[int]) -> str:
    """Ascending numbers with neighbours as ranges.

    >>> spelled([0, 3, 4, 5, 9, 10])
    '0,3-5,9-10'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)
