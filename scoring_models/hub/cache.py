"""Files of Hugging Face Hub repositories, through the client's own cache: each is downloaded once a machine.

The client's locks keep processes from downloading one file twice, and it moves a file to its place when it is whole.
What is added here: the hub is asked once in a process which commit a branch is, so that all files are of one commit,
whatever is pushed meanwhile, and what the cache has of a commit is taken without a request.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from poolsieve.scoring_models.hub.errors import explained, may_pass, not_cached
from poolsieve.scoring_models.hub.mirror import mirrored_commit, mirrored_file, storage_url

MAIN = "main"
"""The branch that a repository without a revision is read at."""

ATTEMPTS = 3
"""Times that the hub is asked before it counts as away. Each waits at most `HF_HUB_ETAG_TIMEOUT` (10 s)."""

_PAUSE = 1.0
"""Seconds between two of them."""

_COMMIT = re.compile(r"[0-9a-f]{40}")

Commits = Mapping[tuple[str, str], str]
"""(repository, branch or tag) -> commit."""

_commits: dict[tuple[str, str], str] = {}
_reached: set[str] = set()
"""Repositories for which the hub has answered in this process."""

_log = logging.getLogger(__name__)


def commits() -> Commits:
    """What branches and tags are, as far as this process knows."""
    return dict(_commits)


def use_commits(known: Commits) -> None:
    """Takes branches and tags for what they were elsewhere: a worker loads the files that the plan was made of."""
    _commits.update(known)


def fetch(repository: str, revision: str | None, name: str) -> Path | None:
    """A file of a repository in the local cache; None if the repository has no such file.

    Args:
        repository: as `organisation/name`.
        revision: a commit, branch or tag; None is `main`.
        name: of the file.

    Raises:
        PlanError: if it can't be had: no such repository, no access, no network, no disk.
    """
    wanted = revision or MAIN
    try:
        commit = _commit_of(repository, wanted, name)
        return None if commit is None else _of_commit(repository, commit, name)
    except PoolsieveError:
        raise
    except Exception as error:  # the client's own, those of its HTTP library (which changes), and the disk's
        raise _told(explained(error, repository, wanted, name)) from error


def _told(error: PlanError) -> PlanError:
    """With the place where it was looked for first."""
    return PlanError(f"{error}. Nor is it in {storage_url()} (--models)") if storage_url() else error


def _commit_of(repository: str, revision: str, name: str) -> str | None:
    """The commit that a revision is; None if the repository has no such file, and the hub does not say which it is."""
    from huggingface_hub import is_offline_mode

    if _COMMIT.fullmatch(revision):
        return revision
    found: str | None = _commits.get((repository, revision)) or mirrored_commit(repository, revision)
    if found is None:
        found = _noted(repository, revision) if is_offline_mode() else _asked(repository, revision, name)
        if found is None and is_offline_mode():
            raise _told(not_cached(repository, revision, name))
    if found is not None:
        _commits[repository, revision] = found
    return found


def _asked(repository: str, revision: str, name: str) -> str | None:
    """The commit, by the hub; by the cache's note of an earlier answer if the hub gives none now."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RevisionNotFoundError

    noted = _noted(repository, revision)
    try:
        _reach(repository, revision, name, attempts=1 if noted else ATTEMPTS)
        # The client also notes the answer, for the next process and for one that is offline.
        return _snapshot_of(Path(hf_hub_download(repository, name, revision=revision)), name)
    except (LocalEntryNotFoundError, RevisionNotFoundError):
        raise
    except EntryNotFoundError as error:
        return _answered(error)
    except Exception as error:
        if noted is None:
            raise
        why = explained(error, repository, revision, name)
        _log.warning("%s; going on with commit %s, which the cache has as %r", why, noted, revision)
        return noted


def _of_commit(repository: str, commit: str, name: str) -> Path | None:
    from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, is_offline_mode, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    known = try_to_load_from_cache(repository, name, revision=commit)
    if known is _CACHED_NO_EXIST:
        return None
    if known is not None:
        return Path(known)
    there, path = mirrored_file(repository, commit, name)
    if there:
        return path
    if is_offline_mode():
        raise _told(not_cached(repository, commit, name))
    try:
        _reach(repository, commit, name, attempts=ATTEMPTS)
        return Path(hf_hub_download(repository, name, revision=commit))
    except LocalEntryNotFoundError:
        raise
    except EntryNotFoundError:
        return None


def _reach(repository: str, revision: str, name: str, *, attempts: int) -> None:
    """Asks for a file's size, for a limited time: where nothing is cached, the client itself waits for seven minutes.

    Raises:
        Exception: of the client or its HTTP library, if the hub does not answer, or refuses.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    if repository in _reached:
        return
    url = hf_hub_url(repository, name, revision=revision)
    for attempt in range(1, attempts + 1):
        try:
            get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT)
            break
        except EntryNotFoundError:  # an answer, which the client notes when it gets it itself
            break
        except Exception as error:
            if attempt == attempts or not may_pass(error):
                raise
        time.sleep(_PAUSE)
    _reached.add(repository)


def _noted(repository: str, revision: str) -> str | None:
    """The commit that the cache has for a branch or tag, from when it was last asked for."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model")
    try:
        text = (folder / "refs" / revision).read_text().strip()
    except (OSError, ValueError):
        return None
    return text if _COMMIT.fullmatch(text) else None


def _snapshot_of(path: Path, name: str) -> str | None:
    """The commit of a file in the cache, `snapshots/<commit>/<name>`."""
    found = path.parents[name.count("/")].name
    return found if _COMMIT.fullmatch(found) else None


def _answered(error: Any) -> str | None:
    """The commit that "no such file" was said of."""
    found = str(error.response.headers.get("X-Repo-Commit", ""))
    return found if _COMMIT.fullmatch(found) else None
