"""How large the ids of a shard will be, before any is made: by those of a few rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from poolsieve.dataflow.export.megatron.documents import Left, MegatronPlan, documents
from poolsieve.dataflow.export.parts import ShardExtract
from poolsieve.dataflow.pools.formats.outgoing import Outgoing, Picked
from poolsieve.dataflow.tokenizers.encode import encode, from_text
from poolsieve.dataflow.tokenizers.source import Tokenizer

_SHARDS, _ROWS, _BYTES = 16, 64, 1 << 20
"""A sample: so many shards, evenly spread; of each the first rows that leave, up to so many and about so many bytes."""


def in_ids(plan: MegatronPlan, tokenizer: Tokenizer, inputs: Sequence[ShardExtract]) -> list[ShardExtract]:
    """The shards with about the bytes of their ids for those of their rows, which may hold much beside texts.

    One ratio serves all: bytes of ids to bytes of the pool, over a sample. Where that has no token, nothing is known,
    and the pool's bytes stay.
    """
    some = [item for item in inputs if item.rows]
    chosen = [some[i] for i in sorted({int(i) for i in np.linspace(0, len(some) - 1, _SHARDS)})] if some else []
    picked = [(item, _first(plan, item)) for item in chosen]
    made, taken = _ids(plan, tokenizer, picked), sum(_payload(one) for _, one in picked)
    if not made or not taken:
        return list(inputs)
    return [dataclasses.replace(item, nbytes=item.nbytes * made // taken) for item in inputs]


def _first(plan: MegatronPlan, item: ShardExtract) -> Picked:
    """The first rows that leave, with their lines, which have their bytes."""
    choice = dataclasses.replace(plan.choice, lines=True)
    found = choice.pick(item.shard, item.ledger_sha256)
    n = 1 + int(np.searchsorted(np.cumsum(found.column("nbytes")[: _ROWS - 1]), _BYTES))
    columns = {name: getattr(found, name)[:n] for name in ("row", "copies", "uid", "lines", "scores")}
    return dataclasses.replace(found, **columns, unreadable=0)


def _payload(picked: Picked) -> int:
    return int((picked.column("nbytes") * picked.copies).sum())


def _ids(plan: MegatronPlan, tokenizer: Tokenizer, picked: Sequence[tuple[ShardExtract, Picked]]) -> int:
    """Bytes of the ids of these rows."""
    shards = [Outgoing(shard=item.shard, rows=len(one.row), pick=lambda one=one: one) for item, one in picked]  # type: ignore[misc]
    encoder, total = from_text(tokenizer.text), 0
    for some in documents(plan, shards, Left()):
        ids, sizes = encode(encoder, some.texts, tokenizer.about.eos_id, plan.ids.dtype)
        total += int((sizes * some.copies).sum()) * ids.itemsize
    return total
