"""Which files of a dataset on the Hub are a split's.

That is `datasets`' to say (its `data_files` module): by the card's `configs`, or else by the usual names. For that the
card is downloaded, and nothing of the data.
"""

from __future__ import annotations

import contextlib
import posixpath
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from poolsieve.dataflow import fs
from poolsieve.dataflow.pools.entries import glob
from poolsieve.dataflow.pools.hub import Place, card
from poolsieve.dataflow.pools.hub_commits import Pins, in_words
from poolsieve.scoring_models.base.errors import PlanError, unknown_name

_ENDINGS: Mapping[str, str] = {
    "parquet": "parquet",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "jsonl",
    "tar": "webdataset",
}
"""Ending of a file's name, without that of its packing -> kind of pool."""


def files_of(url: str, options: fs.StorageOptions, pins: Pins) -> tuple[str, tuple[str, ...]]:
    """(kind, URLs at a commit) of the files that `Pool.hub` means.

    Args:
        url: from `source`.
        options: the pool's `storage_options`: `token` and `endpoint`, else those of the environment.
        pins: which commit its revision is.

    Raises:
        PlanError: for a repository, revision, configuration or split that is not there, with the nearest that are; for
            files that no kind of pool reads.
        StorageError: if the Hub can't be reached.
    """
    place = Place.of(url)
    if place is None or place.split is None:
        raise PlanError(f"{url!r} is no split of a dataset on the Hub, as Pool.hub('org/name', split='train')")
    here = replace(place, revision=pins.commit(place, options))
    base = str(here.base)
    patterns = in_words(here, options, lambda: _patterns(base, here, options))
    names = in_words(here, options, lambda: _names(base, here, patterns, options))
    kind, chosen = _of_one_kind(here, names)
    system, root = fs.connect(base, options)
    matches = {one: dict(glob(system, str(system._strip_protocol(f"{base}/{one}")))) for one in patterns}
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
