"""Where everything in OUT stands. No other module joins a path below OUT."""

from __future__ import annotations

from poolsieve.dataflow import fs
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.scoring_models.base.config import digest


def rows_url(out: str, shard: Shard, reading: str) -> str:
    """Where the rows of a shard are kept; `reading` is the hash of how uids are read from the pool."""
    return fs.join(out, "rows", f"{shard.name}.{digest([shard.identity, reading], 6)}.parquet")


def scorer_folder(out: str, name: str, fingerprint: str) -> str:
    """The folder of one scorer's scores."""
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    return fs.join(out, "scores", f"{safe}-{fingerprint}")


def score_prefix(shard: Shard) -> str:
    """What the names of a shard's score files begin with."""
    return f"{shard.name}.{digest(shard.identity, 6)}"


def decision_url(out: str, decision: str, *parts: str) -> str:
    """A path in a decision's folder."""
    return fs.join(out, "decisions", decision, *parts)
