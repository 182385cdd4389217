"""Slurm's job arrays, by the variables that `sbatch --array` sets in each task.

They are in sbatch(1), "OUTPUT ENVIRONMENT VARIABLES".
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from poolsieve.scoring_models.base.errors import PlanError

_ID = "SLURM_ARRAY_TASK_ID"


def place(environ: Mapping[str, str]) -> tuple[int, int]:
    """(place of this task in its array, from 0; number of tasks), wherever the array begins and whatever its step.

    Of an array that is a list (`--array=1,2,7`) Slurm tells a task only the ends and the count; the place of a task of
    even steps follows from these, that of any other is not known.

    Raises:
        PlanError: outside of an array, and for a list of uneven steps.
    """
    if _ID not in environ:
        raise PlanError(
            f"--part slurm: {_ID} is not set, so this is no task of a job array. Submit with `sbatch --array=0-99`, or "
            "write --part I/N"
        )
    task, first, last, count = (_number(environ, name) for name in (_ID, *_ENDS))
    step, rest = divmod(last - first, count - 1) if count > 1 else (1, last - first)
    at, between = divmod(task - first, step) if step > 0 else (0, 1)
    if rest or between or not 0 <= at < count:
        raise PlanError(
            f"--part slurm: of an array that is a list (task {task} of {count} from {first} to {last}) Slurm does not "
            "say which one this is. Use a range, as --array=0-99 or --array=0-99:3, or write --part I/N"
        )
    return at, count


_ENDS = ("SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT")


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "")
    if not re.fullmatch("[0-9]{1,10}", text, re.ASCII):
        raise PlanError(f"--part slurm: {name} is {text[:80]!r}, and Slurm sets a number: write --part I/N")
    return int(text)
