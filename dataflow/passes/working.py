"""Who works in OUT for a plan: beside others that score and decide, and what a run leaves for a moment ends with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from poolsieve.dataflow import fs, leases
from poolsieve.dataflow.passes.plan import Plan
from poolsieve.dataflow.store.layout import leases_folder, run_folder


@contextlib.contextmanager
def working(plan: Plan, what: str, *, read_only: bool = False) -> Iterator[None]:
    """Beside any number of others that score and decide in OUT, and never beside one that removes something there."""
    folder = leases_folder(plan.job.out)
    try:
        with leases.held(folder, leases.WORK, what, patience=leases.PRUNE_SECONDS, read_only=read_only):
            yield
    finally:
        with contextlib.suppress(OSError):  # what can't be removed now, `prune` removes
            fs.remove(run_folder(plan.job.out, plan.job.run_id))


def clear(out: str, what: str) -> None:
    """Removes what workers that were killed left half-written in OUT, unless somebody else is at work there.

    Then the next run does it, or `prune`. Only on local disks: elsewhere a file is seen when it is whole.
    """
    with contextlib.suppress(OSError, leases.InUse):
        if fs.is_local(fs.connect(out)[0]) and any(True for _ in fs.leftovers(out)):
            with leases.held(leases_folder(out), leases.SOLE, what):
                fs.remove_leftovers(out)
