"""How a job that fills a folder is carried out: watched, and with the storage's errors in words."""

from __future__ import annotations

from typing import Protocol, TypeVar

from poolsieve.dataflow.export.sink import explain
from poolsieve.dataflow.runners.supervise import Watch, supervised

Index_co = TypeVar("Index_co", covariant=True)


class Work(Protocol[Index_co]):
    """A job; `index` is what the folder's own index says, once it has been called."""

    @property
    def index(self) -> Index_co | None:
        """None before."""
        ...

    def __call__(self) -> None:
        """Does it."""
        ...


def carried_out(work: Work[Index_co], url: str, watch: Watch | None) -> Index_co:
    """The index of a folder, once the job is done.

    Args:
        work: fills the folder.
        url: of the folder.
        watch: see `supervised`.

    Raises:
        PoolsieveError: whatever stopped it, as the user should read it.
    """
    try:
        supervised(work, watch)
    except OSError as error:
        raise explain(error, url) or error from error
    assert work.index is not None
    return work.index
