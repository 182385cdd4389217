"""A folder of the user's on this machine, and what is made there once, however many processes want it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator

from poolsieve.dataflow import fs, leases
from poolsieve.dataflow.storage_errors import FULL
from poolsieve.scoring_models.base.errors import PlanError

VARIABLE = "POOLSIEVE_CACHE"
"""Names the folder, where `cache=` does not."""

PATIENCE = 3600.0
"""Seconds that a process waits for another one that makes the same thing; then it makes it itself."""


def cache_folder(given: str) -> str:
    """`given`, else what the variable says, else `poolsieve` in the user's folder of caches (XDG_CACHE_HOME)."""
    named = given or os.environ.get(VARIABLE, "")
    if named:
        return os.path.abspath(os.path.expanduser(named))
    home = os.environ.get("XDG_CACHE_HOME", "") or os.path.join("~", ".cache")
    return os.path.join(os.path.abspath(os.path.expanduser(home)), "poolsieve")


def made_once(folder: str, make: Callable[[str], None]) -> str:
    """`folder`, whose presence means that it is whole; `make` fills a temporary one beside it first.

    Raises:
        PlanError: if nothing can be written there.
    """
    if os.path.isdir(folder):
        return folder
    home = os.path.dirname(folder)
    try:
        os.makedirs(home, exist_ok=True)
        tempfile.TemporaryFile(dir=home).close()
    except OSError as error:
        raise _no_cache(home, error) from error
    with _alone(f"{folder}.leases"):
        if not os.path.isdir(folder):
            _make(folder, make)
    return folder


def seen_once(file: str, look: Callable[[], None]) -> None:
    """Calls `look` unless it was content with that very file before; where nothing can be written it is called again.

    Args:
        file: in the cache, named by what was looked at: its presence says that it was found good.
        look: raises if it is not.
    """
    if os.path.exists(file):
        return
    look()
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, "wb"):
            pass


def _no_cache(home: str, error: OSError) -> PlanError:
    return PlanError(
        f"the cache {home} can't be written ({error.strerror or error}): name another folder by cache= or {VARIABLE}"
    )


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    """One process makes it, the others of this machine wait; whose patience ends makes it too, which does no harm."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(leases.InUse):
            stack.enter_context(leases.held(folder, leases.SOLE, "poolsieve", patience=PATIENCE))
        yield


def _make(folder: str, make: Callable[[str], None]) -> None:
    temporary = os.path.join(os.path.dirname(folder), f"{fs.TEMPORARY}{uuid.uuid4().hex}")
    os.makedirs(temporary)
    try:
        make(temporary)
        os.rename(temporary, folder)
    except OSError as error:
        if error.errno in FULL:
            raise _no_cache(os.path.dirname(folder), error) from error
        if not os.path.isdir(folder):  # somebody else's is as good
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
