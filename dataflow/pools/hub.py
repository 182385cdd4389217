"""Places on the Hugging Face Hub: which repository, revision and files a URL means.

`hub_commits.py` says which commit a revision is, and `hub_splits.py` which files of a dataset are a split's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import parse_qsl, quote, unquote, urlencode

from poolsieve.dataflow import fs
from poolsieve.dataflow.retries import retrying
from poolsieve.scoring_models.base.errors import PlanError

HUB = "hub"
"""The kind of a pool whose files are still to be asked for."""

MAIN = "main"
"""The branch that is meant where none is named."""

_CARD_BYTES = 8 << 20
"""Of a card; more of it is not read."""

_SHA = re.compile(r"[0-9a-f]{40}")
_URL = re.compile(
    r"hf://(?P<type>datasets/|models/|spaces/|(?!buckets/))(?P<repo>[^/@#\s]+/[^/@#\s]+)"
    r"(?:@(?P<revision>refs/convert/[\w.-]+|refs/pr/\d+|[^/@#]+))?(?P<path>/.*?)?(?:#(?P<of>(?:name=[^#&]*&)?split=[^#&]*))?"
)
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place in a repository, and what is meant of a dataset there.

    Attributes:
        type: `dataset`, `model` or `space`.
        repo: `organisation/name`.
        revision: branch, tag or commit; None for the main branch.
        path: pattern of files, from the repository's root, beginning with a slash; empty for none.
        split, name: of `Pool.hub`: which part of the dataset, and which configuration; None for the default one.
    """

    type: str
    repo: str
    revision: str | None = None
    path: str = ""
    split: str | None = None
    name: str | None = None

    @classmethod
    def of(cls, url: str) -> Self | None:
        """The place that a URL names; None for what is no repository on the Hub."""
        hit = _URL.fullmatch(url)
        if hit is None:
            return None
        of = dict(parse_qsl(hit["of"] or ""))
        return cls(
            type=(hit["type"] or "models/").rstrip("s/"),
            repo=hit["repo"],
            revision=None if hit["revision"] is None else unquote(hit["revision"]),
            path=hit["path"] or "",
            split=of.get("split"),
            name=of.get("name"),
        )

    def __str__(self) -> str:
        kind = "" if self.type == "model" else f"{self.type}s/"
        revision = "" if self.revision is None else f"@{quote(self.revision, safe='')}"
        meant = {key: value for key, value in (("name", self.name), ("split", self.split)) if value is not None}
        return f"hf://{kind}{self.repo}{revision}{self.path}" + (f"#{urlencode(meant)}" if meant else "")

    @property
    def base(self) -> Self:
        """The repository at that revision, whatever is meant of it."""
        return replace(self, path="", split=None, name=None)

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which stays what it is."""
        return self.revision is not None and _SHA.fullmatch(self.revision) is not None


def source(repo: str, split: str, name: str | None, revision: str | None) -> str:
    """What `Pool.hub` means, as one URL: `hf://datasets/org/name@v1#name=en&split=train`.

    Raises:
        PlanError: for what is no name of a repository, and for empty texts.
    """
    if not isinstance(repo, str) or _NAME.fullmatch(repo) is None:
        raise PlanError(f"Pool.hub({repo!r}): expected the name of a dataset, as 'organisation/name'")
    for key, value in (("split", split), ("name", name), ("revision", revision)):
        if value is not None and (not isinstance(value, str) or not value):
            raise PlanError(f"Pool.hub({repo!r}, {key}={value!r}): expected a text")
    return str(Place(type="dataset", repo=repo, split=split, name=name, revision=revision))


def is_open(url: str) -> bool:
    """Whether a URL names a repository at a revision that may move."""
    place = Place.of(url)
    return place is not None and not place.pinned


def is_pin(url: str, pinned: str) -> bool:
    """Whether `pinned` may be what `url` was resolved to: the same repository and pattern, at a commit."""
    here, there = Place.of(url), Place.of(pinned)
    if here is None or there is None or here.pinned or not there.pinned:
        return False
    if here.split is not None:
        return (here.type, here.repo) == (there.type, there.repo)
    return replace(here, revision=there.revision) == there


def root_of(urls: Iterable[str]) -> str | None:
    """The repository at its commit, `hf://datasets/org/name@commit`, that all URLs are of; None if there is none.

    It is a pool's root then, so that a file's path, and what is named after it, is the same however the pool's patterns
    are spelled.
    """
    places = [Place.of(url) for url in urls]
    bases = {str(one.base) if one is not None and one.pinned else "" for one in places}
    return next(iter(bases)) or None if len(bases) == 1 else None


def card(base: str, options: fs.StorageOptions) -> str:
    """The text of a dataset's card, `base` being `hf://datasets/org/name@commit`; empty where there is none."""
    return _text(f"{base}/README.md", options)


@retrying
def _text(url: str, options: fs.StorageOptions) -> str:
    system, path = fs.connect(url, options)
    try:
        with system.open(path, "rb") as file:
            return bytes(file.read(_CARD_BYTES)).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
