"""Which commit a revision on the Hub is.

It is asked for once, when a run is planned. What comes back names the commit, so that whoever reads it later reads the
same files and asks nothing. Commits that a folder has kept from earlier (`store/pins.py`) are taken in place of asking.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from poolsieve.dataflow import fs
from poolsieve.dataflow.credentials import hide
from poolsieve.dataflow.pools.hub import MAIN, Place
from poolsieve.dataflow.retries import retrying
from poolsieve.dataflow.storage_errors import is_away, kinds_of
from poolsieve.scoring_models.base.errors import PlanError, unknown_name

SECONDS = 30.0
"""The longest that one answer about a repository may take."""

HINT_SECONDS = 10.0
"""The same where the answer is for a hint alone."""

T = TypeVar("T")


class Revision(NamedTuple):
    """A revision as a recipe names it, `hf://datasets/org/name@main`, and the Hub, if the pool names one."""

    url: str
    endpoint: str = ""

    @classmethod
    def of(cls, place: Place, options: fs.StorageOptions) -> Revision:
        """The revision of a place that is no commit."""
        named = replace(place.base, revision=place.revision or MAIN)
        return cls(str(named), hide(str(options.get("endpoint") or "")))


Revisions = Mapping[Revision, str]
"""Revision -> the commit that it was."""


class Pins:
    """Which commit each revision is: each is asked for once, and then stays what it was.

    Args:
        kept: gives what is known from earlier; called once, and only where a revision is to be resolved.
        where: that was kept, and what to do about it, for messages.
    """

    def __init__(self, kept: Callable[[], Revisions] = dict, where: str = "") -> None:
        self._kept, self._where = kept, where
        self._known: Revisions | None = None
        self._found: dict[Revision, str] = {}
        self._taken: dict[Revision, tuple[Place, fs.StorageOptions]] = {}

    @classmethod
    def of(cls, commits: Revisions) -> Pins:
        """Of revisions that have been resolved: nothing is asked for them."""
        made = cls()
        made._found = dict(commits)
        return made

    @property
    def commits(self) -> dict[Revision, str]:
        """What has been resolved so far."""
        return dict(self._found)

    def commit(self, place: Place, options: fs.StorageOptions) -> str:
        """The commit of a place's revision: as it was kept, else as it is now.

        Raises:
            PlanError: if the repository or the revision is not there, or may not be read.
            StorageError: if the Hub can't be reached.
        """
        if place.pinned:
            return commit_of(place, options)
        key = Revision.of(place, options)
        if key not in self._found:
            self._found[key] = self._resolved(key, place, options)
        return self._found[key]

    def _resolved(self, key: Revision, place: Place, options: fs.StorageOptions) -> str:
        if self._known is None:
            self._known = self._kept()
        kept = self._known.get(key)
        if kept is None:
            return commit_of(place, options)
        self._taken[key] = place, options
        return self._still_there(place, kept, options)

    def _still_there(self, place: Place, kept: str, options: fs.StorageOptions) -> str:
        """`kept`, if the Hub has it: listing and reading would say less clearly that it has not."""
        try:
            return commit_of(replace(place, revision=kept), options)
        except NoRevision as error:
            raise PlanError(
                f"{self._where} says that {Revision.of(place, options).url} was commit {kept}, which the Hub has no "
                "longer: add --newest to read what the revision is now"
            ) from error

    def moved(self) -> tuple[str, ...]:
        """What to say of revisions that are another commit now than the kept one; nothing where the Hub is away."""
        found = []
        for key, (place, options) in self._taken.items():
            now = None
            with contextlib.suppress(Exception):  # a hint alone
                now = _sha(_client(options), place, HINT_SECONDS)
            if now is not None and now != self._found[key]:
                found.append(
                    f"{key.url} has moved on: {self._where} says that it was commit {self._found[key][:12]}, which is "
                    f"read again, and it is {now[:12]} now. --newest reads that one"
                )
        return tuple(found)


class NoRevision(PlanError):
    """The repository is there, and has no such branch, tag or commit."""


def pin(urls: Iterable[str], options: fs.StorageOptions, pins: Pins) -> tuple[str, ...]:
    """The URLs, each at the commit of its revision; those that are elsewhere or pinned as they are.

    Raises:
        PlanError: for a repository or revision that is not there, or may not be read.
        StorageError: if the Hub can't be reached.
    """

    def one(url: str) -> str:
        place = Place.of(url)
        if place is None or place.pinned:
            return url
        return str(replace(place, revision=pins.commit(place, options)))

    return tuple(map(one, urls))


def commit_of(place: Place, options: fs.StorageOptions) -> str:
    """The commit that a place's revision is now.

    Raises:
        PlanError: if the repository or the revision is not there, or may not be read.
        StorageError: if the Hub can't be reached.
    """
    return in_words(place, options, lambda: _asked(str(place), _client(options), place))


def check_readable(urls: Iterable[str], options: fs.StorageOptions) -> None:
    """Says why what URLs name on the Hub can't be read, where its repository or revision is the reason.

    Raises:
        PlanError: if one is not there, or may not be read.
        StorageError: if the Hub can't be reached.
    """
    for place in dict.fromkeys(place.base for place in map(Place.of, urls) if place is not None):
        commit_of(place, options)


def _client(options: fs.StorageOptions) -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=options.get("endpoint"), token=options.get("token"))


@retrying
def _asked(url: str, api: Any, place: Place) -> str:
    return _sha(api, place, SECONDS)


def _sha(api: Any, place: Place, seconds: float) -> str:
    return str(api.repo_info(place.repo, revision=place.revision, repo_type=place.type, timeout=seconds).sha)


def in_words(place: Place, options: fs.StorageOptions, call: Callable[[], T]) -> T:
    """What a call to the Hub gives.

    Raises:
        PlanError: what the Hub's refusal means, and what to do.
    """
    try:
        return call()
    except PlanError:
        raise
    except Exception as error:
        found = _refused(error, place, options)
        if found is None:
            raise
        raise found from error


def _refused(error: Exception, place: Place, options: fs.StorageOptions) -> PlanError | None:
    """What the Hub's answer means, with the nearest names; None for what is no refusal of its."""
    kinds = kinds_of(error)
    api, shown = _client(options), f"{place.type} {place.repo}"
    if "OfflineModeIsEnabled" in kinds:
        return PlanError(f"HF_HUB_OFFLINE is set, so that {place} can't be asked for: unset it, or name a local copy")
    if "GatedRepoError" in kinds:
        page = f"{api.endpoint}/{place.type}s/{place.repo}"
        return PlanError(f"the {shown} is gated: ask for access at {page}, and set HF_TOKEN to a token that has it")
    if "RevisionNotFoundError" in kinds:
        what = f"the {shown} has no revision {place.revision!r}"
        return NoRevision(str(unknown_name(what, str(place.revision), _revisions(api, place))))
    if "RepositoryNotFoundError" in kinds:
        what = f"there is no {shown} at {api.endpoint}, or your token may not see it (`hf auth login`, or HF_TOKEN)"
        there = _siblings(api, place)
        return unknown_name(what, place.repo, there) if there else PlanError(what)
    if is_away(error):
        return PlanError(f"the Hub at {api.endpoint} can't be reached for {place}: check the network, and HF_ENDPOINT")
    return None


def _revisions(api: Any, place: Place) -> list[str]:
    with contextlib.suppress(Exception):  # a hint alone
        refs = api.list_repo_refs(place.repo, repo_type=place.type)
        found = [*refs.branches, *refs.tags]
        return [one.name for one in found] + [one.ref for one in refs.converts]
    return []


def _siblings(api: Any, place: Place) -> list[str]:
    """Datasets of the same owner."""
    with contextlib.suppress(Exception):  # a hint alone
        return [one.id for one in api.list_datasets(author=place.repo.partition("/")[0], limit=200)]
    return []
