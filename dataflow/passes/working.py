"""Who works in OUT for a plan: beside others that score and decide, and what a run leaves for a moment ends with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from poolsieve.dataflow import fs, leases
from poolsieve.dataflow.passes.plan import Plan
from poolsieve.dataflow.store.layout import leases_folder, own_folders, run_folder


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
        if fs.is_local(fs.connect(out)[0]) and any(True for _ in _left(out)):
            with leases.held(leases_folder(out), leases.SOLE, what):
                for url in list(_left(out)):
                    fs.remove(url)


def _left(out: str) -> Iterator[str]:
    """Not in folders of others: a lease of this OUT says nothing of another one that stands in it."""
    yield from fs.leftovers(out, deep=False)
    for folder in own_folders(out):
        yield from fs.leftovers(folder)
