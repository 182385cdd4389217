"""Which shards a part has: all parts about as many bytes, whoever asks and in whatever order the pool is listed."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence

from poolsieve.dataflow.parts.numbers import Share
from poolsieve.dataflow.pools.packed import Shards
from poolsieve.dataflow.pools.shards import Shard


def part_of_each(shards: Sequence[Shard], parts: int) -> dict[Shard, int]:
    """Shard -> number of its part: the largest first, each to the part that has the least.

    No part has more than 4/3 of the least possible largest (Graham 1969, SIAM J. Appl. Math. 17:416). A shard that is
    part of a file counts its share of the file.
    """
    of_file = Counter(shard.path for shard in shards)
    weights = {shard: max(shard.size // of_file[shard.path], 1) for shard in shards}
    least = [(0, part) for part in range(parts)]
    made = {}
    for shard in sorted(shards, key=lambda one: (-weights[one], one)):
        weight, part = least[0]
        heapq.heapreplace(least, (weight + weights[shard], part))
        made[shard] = part
    return made


def shards_of(shards: Sequence[Shard], share: Share) -> Shards:
    """The shards of some parts, in the order of the pool."""
    wanted, part = set(share.numbers), part_of_each(shards, share.of)
    return Shards.of(shard for shard in shards if part[shard] in wanted)
