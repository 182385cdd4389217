"""The texts that leave, in the pool's order: its own, or what the recipe's edits made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.dataflow import progress
from poolsieve.dataflow.export.edited import scores_of
from poolsieve.dataflow.export.index import IdsRecord
from poolsieve.dataflow.export.plan import ExportPlan
from poolsieve.dataflow.pools.formats.base import UID, Ints, wanted
from poolsieve.dataflow.pools.formats.outgoing import Outgoing, Picked
from poolsieve.dataflow.pools.shards import Batch
from poolsieve.dataflow.recipes.derived import RoleSource, RoleValues, pool_roles
from poolsieve.dataflow.tokenizers.encode import pieces
from poolsieve.scoring_models.base.arrow import texts

TEXT = "text"


@dataclass(frozen=True, kw_only=True)
class MegatronPlan(ExportPlan):
    """See `ExportPlan`. Nothing is built of columns here, whatever a pool's files have of them.

    Attributes:
        ids: how rows become ids.
        chunk: type of a row of a pool of token files, a list of one length; None for texts.
        types: type of the role `text`, as the pool has it; empty where edited texts leave, and for token files.
    """

    ids: IdsRecord
    chunk: pa.FixedSizeListType | None = None
    types: Mapping[str, pa.DataType] = field(default_factory=dict)

    @property
    def columns_vary(self) -> bool:
        """No."""
        return False


@dataclass(frozen=True, kw_only=True)
class Documents:
    """Some texts that leave.

    Attributes:
        texts: n of them.
        copies: int64 (n,), how often each leaves.
    """

    texts: list[str]
    copies: Ints


@dataclass
class Left:
    """Rows that give no document, copies counted.

    Attributes:
        unreadable: whose text could not be read, or not be edited.
        blank: null, or without a token.
    """

    unreadable: int = 0
    blank: int = 0


def documents(plan: MegatronPlan, shards: Iterable[Outgoing], left: Left) -> Iterator[Documents]:
    """The texts of the rows that leave, a tokenizer's fill at a time; what gives none is counted in `left`."""
    source, types = _source(plan)
    for item in shards:
        picked = item.pick()
        left.unreadable += picked.unreadable
        scores = plan.edits.scores({TEXT: source}, item.shard, picked.row) if plan.edits is not None else {}
        for batch in plan.files.batches(item.shard, tuple(types), types, wanted(picked.row)):
            text, copies = _readable(batch, picked, source, scores, left)
            for first, end in pieces(text):
                progress.check()
                yield Documents(texts=texts(text.slice(first, end - first)), copies=copies[first:end])


def _source(plan: MegatronPlan) -> tuple[RoleSource, Mapping[str, pa.DataType]]:
    """What the texts are made from, and the types of the roles that are read for it."""
    if plan.edits is None:
        return TEXT, plan.types
    source = plan.edits.derived(plan.files)[TEXT]
    roles = dict.fromkeys(pool_roles({TEXT: source}))
    return source, {role: pa.string() if role == UID else plan.edits.role_types[role] for role in roles}


def _readable(
    batch: Batch, picked: Picked, source: RoleSource, scores: Mapping[str, pa.Array], left: Left
) -> tuple[pa.Array, Ints]:
    """The texts of a batch that leave, without nulls, and how often each does."""
    low, high = np.searchsorted(picked.row, (batch.start, batch.start + batch.num_rows))
    local, copies = picked.row[low:high] - batch.start, picked.copies[low:high]
    lost = np.isin(local, np.fromiter(batch.read_errors, np.int64, len(batch.read_errors)))
    values = RoleValues(batch.roles, batch.role_errors)
    values.scores = scores_of(scores, picked.row, batch)
    made, good, failed = values.batch({TEXT: source}, local[~lost])
    # What a row has not at all is as good as null; it is no fault of the file's.
    faults = [row for row, error in failed.items() if error.kind != "missing_column"]
    lost |= np.isin(local, np.array(faults, dtype=np.int64))
    taken = made.column(0)
    there = pc.is_valid(taken)
    own = copies[np.isin(local, good)][there.to_numpy(zero_copy_only=False)]
    unreadable = int(copies[lost].sum())
    left.unreadable += unreadable
    left.blank += int(copies.sum()) - unreadable - int(own.sum())
    return taken.filter(there), own
