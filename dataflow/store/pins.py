"""`hub.json`: which commits the Hub's revisions were when a run in OUT first read them.

It is written before a run reads a row, so that the run that goes on with what a killed one left, days later perhaps,
reads the same files; and so does the next run with other rules. Who wants what the revision is now says so.
"""

from __future__ import annotations

import re

import msgspec

from poolsieve.dataflow import fs, leases
from poolsieve.dataflow.pools.hub import Place
from poolsieve.dataflow.pools.hub_commits import Pins, Revision, Revisions
from poolsieve.dataflow.store.layout import leases_folder, pins_url
from poolsieve.dataflow.store.summary import dumps
from poolsieve.scoring_models.base.errors import PoolsieveError

_FORMAT = 1
_SHA = re.compile(r"[0-9a-f]{40}")

_PATIENCE = 900.0
"""Seconds to wait for another run that writes its report and its manifest."""


class Pin(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A revision, `hf://datasets/org/name@main`, of the Hub that the pool names, else the environment's; its commit."""

    url: str
    endpoint: str = ""
    commit: str

    def __post_init__(self) -> None:
        place = Place.of(self.url)
        if place is None or place.pinned or str(place.base) != self.url or not _SHA.fullmatch(self.commit):
            raise ValueError(f"{self.url[:200]!r} at {self.commit[:100]!r} is no revision and its commit")


class _Damaged(PoolsieveError):
    """A `hub.json` that says nothing; one of a newer version says something."""


class _File(msgspec.Struct, kw_only=True, frozen=True):
    format: int
    pins: tuple[Pin, ...]


def pins_of(out: str, *, newest: bool = False) -> Pins:
    """What OUT has kept; asks for the rest.

    Args:
        out: OUT.
        newest: ask for everything anew.
    """
    return Pins(where=pins_url(out)) if newest else Pins(lambda: kept(out), pins_url(out))


def kept(out: str) -> Revisions:
    """The commits that OUT has kept; none where there is no `hub.json`.

    Raises:
        PoolsieveError: if that is damaged.
    """
    url = pins_url(out)
    try:
        found = msgspec.json.decode(fs.read_bytes(url), type=_File)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, UnicodeDecodeError) as error:  # msgspec's errors are ValueErrors
        said = "".join(char for char in str(error)[:300] if char.isprintable())
        raise _Damaged(
            f"{url} is damaged ({said}): add --newest to read the Hub's revisions as they are now, which writes it anew"
        ) from error
    if found.format != _FORMAT:
        raise PoolsieveError(
            f"{url} has format {found.format}, and this version reads {_FORMAT}: use a newer poolsieve"
        )
    return {Revision(pin.url, pin.endpoint): pin.commit for pin in found.pins}


def keep(out: str, commits: Revisions, *, newest: bool = False) -> bool:
    """Keeps commits in OUT, beside those of other revisions; whether these are what OUT has now.

    Of two runs that begin at once one writes first, and the other plans again with what that one wrote.

    Args:
        out: OUT.
        commits: that a run is about to read.
        newest: they take the place of what is kept.

    Raises:
        PoolsieveError: if `hub.json` is damaged; not with `newest`, which writes it anew.
        InUse: while something is being removed in OUT.
    """
    if not commits:
        return True
    if not newest and commits.items() <= kept(out).items():
        return True
    with leases.held(leases_folder(out), leases.CLOSE, "poolsieve run", patience=_PATIENCE):
        there = _readable(out) if newest else kept(out)
        if not newest and any(there.get(key, commit) != commit for key, commit in commits.items()):
            return False
        fs.write_bytes(pins_url(out), dumps(_file({**there, **commits})))
    return True


def _readable(out: str) -> Revisions:
    try:
        return kept(out)
    except _Damaged:
        return {}


def _file(commits: Revisions) -> _File:
    pins = (Pin(url=key.url, endpoint=key.endpoint, commit=commit) for key, commit in sorted(commits.items()))
    return _File(format=_FORMAT, pins=tuple(pins))
