"""Models from a storage of the user's in place of the hub: what workers without network load, once a machine.

The storage has the layout of the hub's own cache, `models--ORG--NAME/refs/BRANCH` and `.../snapshots/COMMIT/FILE`. A
file goes to the same place in the cache of this machine: whatever reads that cache finds it, the next process too.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Protocol

from poolsieve.scoring_models.base.errors import PlanError

PATIENCE = 3600.0
"""Seconds that a process waits while another one of the machine fetches the same file."""


class Storage(Protocol):
    """Where models are kept. Paths are relative to it."""

    @property
    def url(self) -> str:
        """For messages."""
        ...

    def read(self, path: str) -> bytes | None:
        """A small file; None if there is none."""
        ...

    def size(self, path: str) -> int | None:
        """Bytes of a file; None if there is none."""
        ...

    def has_folder(self, path: str) -> bool:
        """Whether there is anything in a folder."""
        ...

    def copy(self, path: str, local: str) -> None:
        """Copies a file to a path of this machine."""
        ...


_storage: list[Storage] = []


def use_storage(storage: Storage | None) -> None:
    """From now on this process looks there first, and at the hub for what is missing there; None: at the hub alone."""
    _storage[:] = [] if storage is None else [storage]


def storage_url() -> str:
    """Where models are looked for first; empty for nowhere."""
    return _storage[0].url if _storage else ""


def mirrored_commit(repository: str, revision: str) -> str | None:
    """The commit that a branch or tag is there; None if the storage does not say."""
    if not _storage:
        return None
    noted = _storage[0].read(f"{folder_of(repository)}/refs/{revision}")
    return None if noted is None else noted.decode("ascii", "replace").strip()


def mirrored_file(repository: str, commit: str, name: str) -> tuple[bool, Path | None]:
    """(whether the storage has the commit, the file in this machine's cache; None if the commit has no such file).

    Raises:
        PlanError: if another process has been fetching it for an hour.
    """
    folder = f"{folder_of(repository)}/snapshots/{commit}"
    if not _storage or not _storage[0].has_folder(folder):
        return False, None
    size = _storage[0].size(f"{folder}/{name}")
    return True, None if size is None else _fetched(_storage[0], f"{folder}/{name}", size)


def folder_of(repository: str) -> str:
    """What the hub's cache calls the folder of a repository."""
    return "models--" + repository.replace("/", "--")


def _fetched(storage: Storage, path: str, size: int) -> Path:
    """The file in the cache, put there by one process of the machine: the others wait for it."""
    from filelock import FileLock, Timeout
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    place, lock = cache / path, cache / ".locks" / f"{path}.lock"
    if place.exists():
        return place
    lock.parent.mkdir(parents=True, exist_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=PATIENCE):
            if not place.exists():
                _copied(storage, path, place, size)
    except Timeout as error:
        why = f"another process has held {lock} for {PATIENCE:.0f} s"
        raise PlanError(f"can't fetch {storage.url}/{path}: {why}; end it, then run again") from error
    return place


def _copied(storage: Storage, path: str, place: Path, size: int) -> None:
    """Copies beside the place and renames: what is there under its name is whole."""
    temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
    try:
        storage.copy(path, str(temporary))
        if (here := temporary.stat().st_size) != size:
            raise PlanError(f"{storage.url}/{path} has {size} bytes, and {here} of them arrived: run again")
        os.replace(temporary, place)
    finally:
        temporary.unlink(missing_ok=True)
