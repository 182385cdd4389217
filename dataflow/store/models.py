"""Models on a storage of the user's (`--models URL`), filled here and read through `scoring_models.hub.mirror`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from poolsieve.dataflow import fs
from poolsieve.scoring_models.hub.cache import Commits
from poolsieve.scoring_models.hub.mirror import folder_of, use_storage

_CACHED = re.compile(r".*/(?P<repository>models--[^/]+)/snapshots/(?P<commit>[0-9a-f]{40})/(?P<name>.+)")
"""A model file in the hub's cache."""


@dataclass(frozen=True)
class ModelStorage:
    """A folder on any fsspec storage, laid out as the hub's cache.

    Args:
        url: absolute.
    """

    url: str

    def read(self, path: str) -> bytes | None:
        """A small file; None if there is none."""
        try:
            return fs.read_bytes(fs.join(self.url, path))
        except FileNotFoundError:
            return None

    def size(self, path: str) -> int | None:
        """Bytes of a file; None if there is none."""
        try:
            return fs.stat(*fs.connect(fs.join(self.url, path))).size
        except FileNotFoundError:
            return None

    def has_folder(self, path: str) -> bool:
        """Whether there is anything in a folder."""
        return bool(fs.names(fs.join(self.url, path)))

    def copy(self, path: str, local: str) -> None:
        """Copies a file to a path of this machine."""
        fs.download(*fs.connect(fs.join(self.url, path)), local)


def use_models(url: str) -> None:
    """From now on this process looks for models there first; "" for nowhere."""
    use_storage(ModelStorage(url) if url else None)


def local_files(files: Iterable[Mapping[str, Path]]) -> list[Path]:
    """Model files that are of no repository: a worker finds them at their paths, or not at all."""
    return sorted({path for named in files for path in named.values() if not _CACHED.fullmatch(str(path))})


def upload(files: Iterable[Mapping[str, Path]], commits: Commits, url: str) -> list[str]:
    """Copies models of the hub to a storage, from this machine's cache; returns the new files, relative to it.

    What is there with the same size stays: a file of a commit never changes. What the cache knows a commit not to have
    is copied as well, as empty files, the cache's own way: the folder can be the cache of a machine without network.

    Args:
        files: of each scorer, as `Scorer.files` names them; those that are of no repository are left out.
        commits: what branches are.
        url: where to.
    """
    found = [match for named in files for path in named.values() if (match := _CACHED.fullmatch(str(path)))]
    held = {match["repository"] for match in found}
    storage = ModelStorage(url)
    made = [name for name, path in _with_absent(found).items() if _put(storage, name, path)]
    for (repository, revision), commit in sorted(commits.items()):
        if folder_of(repository) in held:
            fs.write_bytes(fs.join(url, folder_of(repository), "refs", revision), commit.encode())
    return made


def _put(storage: ModelStorage, name: str, path: Path) -> bool:
    """Whether the file was not there yet."""
    if storage.size(name) == path.stat().st_size:
        return False
    with fs.atomic_path(fs.join(storage.url, name)) as temporary:
        shutil.copyfile(path, temporary)
    return True


def _with_absent(found: Iterable[re.Match[str]]) -> dict[str, Path]:
    """Name in the storage -> file, with the cache's marks of what a commit has not."""
    made: dict[str, Path] = {}
    for match in found:
        repository, commit = match["repository"], match["commit"]
        made[f"{repository}/snapshots/{commit}/{match['name']}"] = Path(match.string)
        marks = Path(match.string[: match.end("repository")], ".no_exist", commit)
        for path in (path for path in marks.rglob("*") if path.is_file()):
            made[f"{repository}/.no_exist/{commit}/{path.relative_to(marks)}"] = path
    return dict(sorted(made.items()))
