"""`lacking.json`: which scores a run in parts was lacking when somebody tried to finish it, and its cuts so far."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from poolsieve.dataflow import fs
from poolsieve.dataflow.store.layout import lacking_url
from poolsieve.dataflow.store.summary import WithCuts
from poolsieve.scoring_models.base.errors import PoolsieveError
from poolsieve.scoring_models.base.work import Count

NAMED = 10_000
"""Shards that are named: so many that a run which lacks more is best given all its parts again."""


@dataclass
class Lacks:
    """What one shard (or a sum of shards) lacks.

    Attributes:
        shards: that lack something; `unread` of them were never read.
        rows: that lack a score, of the others.
        names: of the first `NAMED` shards, by name.
    """

    shards: int = 0
    unread: int = 0
    rows: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, other: Lacks) -> Lacks:
        """Adds another shard's; the order of adding does not matter."""
        self.shards += other.shards
        self.unread += other.unread
        self.rows += other.rows
        if other.names:
            self.names = sorted([*self.names, *other.names])[:NAMED]
        return self


class Lacking(WithCuts, kw_only=True):
    """The sum over a pool; `run` is the id of the run that looked, `cuts` are those that it came to before.

    The others are as in `Lacks`.
    """

    run: str
    shards: Count
    unread: Count
    rows: Count
    names: list[str]


def read_lacking(out: str, mark: str) -> Lacking | None:
    """What the parts called `mark` were lacking; None if nobody has tried to finish them.

    Raises:
        PoolsieveError: for a file that is damaged.
    """
    url = lacking_url(out, mark)
    try:
        return Lacking.from_json(json.loads(fs.read_bytes(url)))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PoolsieveError(f"{url} is damaged: remove it, then run `poolsieve finish` to make it again") from error
