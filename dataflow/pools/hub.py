"""Pools on the Hugging Face Hub: which commit a revision is, and which files of a dataset are a split's.

A revision is asked for once, when a run is planned. What comes back names the commit, so that whoever reads it later
reads the same files and asks nothing. Which files are a split's is `datasets`' to say (its `data_files` module): by
the card's `configs`, or else by the usual names. Nothing of the data is downloaded for that, but the card.
"""

from __future__ import annotations

import contextlib
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote, urlencode

from poolsieve.dataflow import fs
from poolsieve.dataflow.pools.entries import glob
from poolsieve.dataflow.retries import retrying
from poolsieve.dataflow.storage_errors import chain, is_away
from poolsieve.scoring_models.base.errors import PlanError, unknown_name

HUB = "hub"
"""The kind of a pool whose files are still to be asked for."""

SECONDS = 30.0
"""The longest that one answer about a repository may take."""

_CARD_BYTES = 8 << 20
"""Of a card; more of it is not read."""

_SHA = re.compile(r"[0-9a-f]{40}")
_URL = re.compile(
    r"hf://(?P<type>datasets/|models/|spaces/|(?!buckets/))(?P<repo>[^/@#\s]+/[^/@#\s]+)"
    r"(?:@(?P<revision>refs/convert/[\w.-]+|refs/pr/\d+|[^/@#]+))?(?P<path>/.*?)?(?:#(?P<of>(?:name=[^#&]*&)?split=[^#&]*))?"
)
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)

_ENDINGS: Mapping[str, str] = {
    "parquet": "parquet",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "jsonl",
    "tar": "webdataset",
}
"""Ending of a file's name, without that of its packing -> kind of pool."""


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


def pin(urls: Iterable[str], options: fs.StorageOptions) -> tuple[str, ...]:
    """The URLs, each at the commit that its revision is now; those that are elsewhere or pinned as they are.

    Each revision is asked for once.

    Raises:
        PlanError: for a repository or revision that is not there, or may not be read.
        StorageError: if the Hub can't be reached.
    """
    known: dict[tuple[str, str, str | None], str] = {}

    def one(url: str) -> str:
        place = Place.of(url)
        if place is None or place.pinned:
            return url
        key = place.type, place.repo, place.revision
        if key not in known:
            known[key] = commit_of(place, options)
        return str(replace(place, revision=known[key]))

    return tuple(map(one, urls))


def commit_of(place: Place, options: fs.StorageOptions) -> str:
    """The commit of a place's revision.

    Raises:
        PlanError: if the repository or the revision is not there, or may not be read.
        StorageError: if the Hub can't be reached.
    """
    if place.pinned:
        return str(place.revision)
    api = _client(options)
    return _in_words(place, options, lambda: _commit(str(place), api, place))


def _client(options: fs.StorageOptions) -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=options.get("endpoint"), token=options.get("token"))


@retrying
def _commit(url: str, api: Any, place: Place) -> str:
    found = api.repo_info(place.repo, revision=place.revision, repo_type=place.type, timeout=SECONDS)
    return str(found.sha)


def _in_words(place: Place, options: fs.StorageOptions, call: Callable[[], Any]) -> Any:
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
    kinds = {kind.__name__ for one in chain(error) for kind in type(one).__mro__}
    api, shown = _client(options), f"{place.type} {place.repo}"
    if "OfflineModeIsEnabled" in kinds:
        return PlanError(f"HF_HUB_OFFLINE is set, so that {place} can't be asked for: unset it, or name a local copy")
    if "GatedRepoError" in kinds:
        page = f"{api.endpoint}/{place.type}s/{place.repo}"
        return PlanError(f"the {shown} is gated: ask for access at {page}, and set HF_TOKEN to a token that has it")
    if "RevisionNotFoundError" in kinds:
        return unknown_name(
            f"the {shown} has no revision {place.revision!r}", str(place.revision), _revisions(api, place)
        )
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


def files_of(url: str, options: fs.StorageOptions) -> tuple[str, tuple[str, ...]]:
    """(kind, URLs at a commit) of the files that `Pool.hub` means.

    Args:
        url: from `source`.
        options: the pool's `storage_options`: `token` and `endpoint`, else those of the environment.

    Raises:
        PlanError: for a repository, revision, configuration or split that is not there, with the nearest that are; for
            files that no kind of pool reads.
        StorageError: if the Hub can't be reached.
    """
    place = Place.of(url)
    if place is None or place.split is None:
        raise PlanError(f"{url!r} is no split of a dataset on the Hub, as Pool.hub('org/name', split='train')")
    here = replace(place, revision=commit_of(place, options))
    base = str(replace(here, split=None, name=None))
    patterns = _in_words(here, options, lambda: _patterns(base, here, options))
    names = _in_words(here, options, lambda: _names(base, here, patterns, options))
    kind, chosen = _of_one_kind(here, names)
    system, root = fs.connect(base, options)
    matches = {one: glob(system, str(system._strip_protocol(f"{base}/{one}"))) for one in patterns}
    listed = {name.removeprefix(root).lstrip("/") for match in matches.values() for name in match}
    # A pattern stays short for any number of files; it is taken where it means the same to everybody.
    if listed == set(chosen):
        return kind, tuple(f"{base}/{one}" for one, match in matches.items() if match)
    return kind, (_written_out(base, chosen),)


def _patterns(base: str, place: Place, options: fs.StorageOptions) -> list[str]:
    """Patterns of the split's files, relative to `base`."""
    datasets = _library()
    configs = _configs(base, place, options)
    download = datasets.DownloadConfig(storage_options={"hf": dict(options)}, token=options.get("token"))
    name = _config_name(place, configs)
    config = configs.get(name, {})
    folder = str(config.get("data_dir") or "").strip("/")
    files = datasets.data_files
    try:
        given = config.get("data_files")
        where = f"{base}/{folder}".rstrip("/")
        splits = files.sanitize_patterns(given) if given is not None else files.get_data_patterns(where, download)
    except (FileNotFoundError, ValueError) as error:
        raise PlanError(f"the dataset {place.repo} has no files that are data of {name!r}: {_line(error)}") from error
    found = {str(split): list(patterns) for split, patterns in splits.items()}
    if place.split not in found:
        raise unknown_name(
            f"{place.repo}, configuration {name!r}, has no split {place.split!r}", str(place.split), found
        )
    return [posixpath.join(folder, str(pattern)) for pattern in found[str(place.split)]]


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _library() -> Any:
    try:
        import datasets
        import datasets.data_files
        import datasets.utils.metadata
    except ImportError as error:
        raise PlanError("Pool.hub() asks `datasets` for a split's files: pip install 'poolsieve[hub]'") from error
    return datasets


def _configs(base: str, place: Place, options: fs.StorageOptions) -> Mapping[str, Mapping[str, Any]]:
    """Name -> what the card says of a configuration."""
    from huggingface_hub import DatasetCard

    metadata = _library().utils.metadata
    text = card(base, options)
    if not text:
        return {}
    try:
        found = metadata.MetadataConfigs.from_dataset_card_data(DatasetCard(text, ignore_metadata_errors=True).data)
        found.get_default_config_name()
    except Exception as error:  # whatever the card's YAML holds
        raise PlanError(f"the card of {place.repo} has `configs` that can't be read: {_line(error)}") from error
    return dict(found)


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


def _config_name(place: Place, configs: Mapping[str, Mapping[str, Any]]) -> str:
    known = list(configs) or ["default"]
    if place.name is not None:
        if place.name not in known:
            raise unknown_name(f"{place.repo} has no configuration {place.name!r}", place.name, known)
        return place.name
    default = [name for name in known if len(known) == 1 or name == "default" or configs[name].get("default")]
    if not default:
        raise PlanError(
            f"{place.repo} has several configurations: say which, as Pool.hub(..., name={known[0]!r}). There are: "
            + ", ".join(known[:20])
        )
    return default[0]


def _names(base: str, place: Place, patterns: Sequence[str], options: fs.StorageOptions) -> list[str]:
    """The split's files, relative to the repository, sorted: as `datasets` finds them."""
    datasets = _library()
    download = datasets.DownloadConfig(storage_options={"hf": dict(options)}, token=options.get("token"))
    found: set[str] = set()
    for pattern in patterns:
        with contextlib.suppress(FileNotFoundError):
            found.update(map(str, datasets.data_files.resolve_pattern(pattern, base, download_config=download)))
    outside = sorted(name for name in found if not name.startswith(f"{base}/"))
    if outside:
        raise PlanError(f"{place.repo}, split {place.split!r}, has files elsewhere ({outside[0]}): name them as URLs")
    return sorted(name.removeprefix(f"{base}/") for name in found)


def _of_one_kind(place: Place, names: Sequence[str]) -> tuple[str, list[str]]:
    kinds = {name: kind for name in names if (kind := _kind(name))}
    counts = Counter(kinds.values())
    if not counts:
        some = f"only {', '.join(names[:3])}" if names else "no files"
        raise PlanError(
            f"{place.repo}, split {place.split!r}, has {some}: pools are read from .parquet, .jsonl (.gz, .zst), .tar. "
            "The Hub keeps many datasets as Parquet too: add revision='refs/convert/parquet'"
        )
    if len(counts) > 1:
        said = ", ".join(f"{count} of {kind}" for kind, count in sorted(counts.items()))
        raise PlanError(f"{place.repo}, split {place.split!r}, has files of several kinds ({said}): name them as URLs")
    return next(iter(counts)), list(kinds)


def _kind(name: str) -> str | None:
    plain = re.sub(r"\.(gz|zst)$", "", posixpath.basename(name))
    return _ENDINGS.get(plain.rpartition(".")[2].lower()) if "." in plain else None


def _written_out(base: str, names: Sequence[str]) -> str:
    """One URL for just these files, all below the folder that they share."""
    odd = next((name for name in names if re.search(r"[{},\\]", name)), None)
    if odd is not None:
        raise PlanError(f"{base} has a file {odd!r}, whose name can't stand in a list: name the files as patterns")
    folder = posixpath.commonpath([posixpath.dirname(name) for name in names])
    below = [posixpath.relpath(name, folder or ".") for name in names]
    return posixpath.join(base, folder, below[0] if len(below) == 1 else "{" + ",".join(below) + "}")
