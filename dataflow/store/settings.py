"""`scorer.json`: what a scorer's stored scores were made with, and the check that later workers honour it."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from poolsieve.dataflow import fs
from poolsieve.dataflow.store.layout import scores_folder, settings_url
from poolsieve.dataflow.store.summary import dumps
from poolsieve.scoring_models.base.config import JsonObject, digest
from poolsieve.scoring_models.base.errors import PoolsieveError


class SettingsChanged(PoolsieveError):
    """A worker can't honour the dtype, shapes, threads or device that a scorer's stored scores were made with."""


class ScorerParts(msgspec.Struct, kw_only=True, frozen=True):
    """What a scorer's numbers are looked up by.

    Attributes:
        name: in the recipe. It stands in the folder's name only.
        scorer: the configuration, as `to_dict` has it.
        version: of the scorer.
        sources: role -> where it comes from: the pool's source in its one spelling, or an edit with its own sources.
        files: model file -> SHA-256; `artefact` -> the hash of what it is made from.
        training: how its models were made, where they say so: see `provenance.records`. No part of the fingerprint.
        facts: what its files say of its columns, where these depend on them: see `Scorer`. No part of the fingerprint.
        pools: pool that its artefact is made from -> URLs at their commits, of those on the Hub. No part of the
            fingerprint: another commit with the same files gives the same numbers.
        source: hash of a user's function, to warn when it changed and its version did not; None for our own scorers.
    """

    name: str
    scorer: JsonObject
    version: int
    sources: JsonObject
    files: dict[str, str] = msgspec.field(default_factory=dict)
    source: str | None = None
    training: JsonObject = msgspec.field(default_factory=dict)
    facts: JsonObject = msgspec.field(default_factory=dict)
    pools: dict[str, list[str]] = msgspec.field(default_factory=dict)

    def fingerprint(self) -> str:
        """Hexadecimal hash of what the numbers depend on."""
        return digest({"scorer": self.scorer, "version": self.version, "sources": self.sources, "files": self.files}, 8)

    def same_scorer(self, other: ScorerParts) -> bool:
        """Whether both are one scorer over the same sources, whatever its model files."""
        mine, theirs = (plain((one.name, one.scorer, one.version, one.sources)) for one in (self, other))
        return bool(mine == theirs)


class StoredScorer(ScorerParts, kw_only=True, frozen=True):
    """What `scorer.json` says: the parts, and the dtype, shapes, threads and device of its first use."""

    settings: JsonObject = msgspec.field(default_factory=dict)
    folder: str = ""

    def parts(self) -> ScorerParts:
        """The parts alone."""
        return msgspec.convert(plain(self), ScorerParts)


def plain(value: Any) -> Any:
    """A value as it is once it has been JSON: tuples are lists, keys are text."""
    return json.loads(dumps(value))


def stored_settings(folder: str) -> JsonObject | None:
    """What the scores in a folder were made with; None if nobody has scored there yet.

    Raises:
        PoolsieveError: for a `scorer.json` that is damaged, naming it.
    """
    url = settings_url(folder)
    return _stored(url, "").settings if fs.exists(url) else None


def check_settings(folder: str, parts: ScorerParts, settings: JsonObject) -> None:
    """Writes `scorer.json` at first use, and checks later workers against it.

    Raises:
        SettingsChanged: naming the settings that differ.
        PoolsieveError: for a `scorer.json` that is damaged, naming it.
    """
    mine = plain(dict(settings))
    url = settings_url(folder)
    # Two that begin at once must not both be the first: one of them would score with settings that nobody recorded.
    if not fs.exists(url) and fs.write_new(url, dumps({**plain(parts), "settings": mine})):
        return
    found = _stored(url, "").settings
    changed = sorted(key for key in {*found, *mine} if found.get(key) != mine.get(key))
    if changed:
        detail = "; ".join(f"{key}: stored {found.get(key)!r}, here {mine.get(key)!r}" for key in changed)
        raise SettingsChanged(
            f"{folder} was scored with other settings ({detail}), so scores would not compare. Score on the same kind "
            "of device and with the same options, or name the scorer's options in the recipe so that it is scored anew."
        )


def stored_scorers(out: str) -> list[StoredScorer]:
    """What OUT says of every scorer that it has scores of.

    Raises:
        PoolsieveError: for a file that is damaged, naming it.
    """
    urls = {name: settings_url(fs.join(scores_folder(out), name)) for name in fs.names(scores_folder(out))}
    return [_stored(url, name) for name, url in urls.items() if fs.exists(url)]


def _stored(url: str, folder: str) -> StoredScorer:
    try:
        return msgspec.convert({**json.loads(fs.read_bytes(url)), "folder": folder}, StoredScorer)
    except (ValueError, TypeError) as error:
        raise PoolsieveError(f"{url} is damaged ({error}); remove its folder, then run again to score anew") from error
