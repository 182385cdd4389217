"""datatrove's and FineWeb's deduplication: the same rows kept as by huggingface/datatrove's own stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from poolsieve.filters.duplicates.chains import kept_by
from poolsieve.filters.duplicates.clusters import named
from poolsieve.filters.duplicates.families import COLUMNS, Members, report, values
from poolsieve.filters.duplicates.signatures import HASHES, signatures
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.derived import Alive, Part, Scores, Sums
from poolsieve.scoring_models.base.errors import PlanError, unknown_name
from poolsieve.scoring_models.base.kinds import short
from poolsieve.scoring_models.base.scorer import Scored, TextScorer

_BYTES = 8
"""Of a number of a signature."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MinHash(TextScorer):
    """A text's MinHash signature, as huggingface/datatrove 0.10 makes it, number by number (little-endian uint64).

    Null for null, and for a text of fewer than `ngram` tokens. English, as datatrove's default.

    Args:
        count: numbers in a signature: datatrove's `num_buckets` times `hashes_per_bucket`.
        ngram: tokens that are hashed together.
        hash: "xxh64", datatrove 0.10's default, or "sha1", its first 64 bits, as FineWeb was made.
        seed: datatrove's, from which the permutations are drawn.
    """

    count: int = 112
    ngram: int = 5
    hash: str = "xxh64"
    seed: int = 1

    packages = ("spacy",)

    def __post_init__(self) -> None:
        for name, most in (("count", 4096), ("ngram", 100)):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise PlanError(f"MinHash({name}={short(value)}): must be a whole number from 1 to {most}")
        if type(self.seed) is not int or not 0 <= self.seed < 1 << 32:
            raise PlanError(f"MinHash(seed={short(self.seed)}): must be a whole number from 0 to 2^32 - 1")
        if self.hash not in HASHES:
            raise unknown_name(f"MinHash(hash={short(self.hash)}) does not exist", self.hash, HASHES)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """The signature, fixed_size_binary[8 * count]."""
        return {"": pa.binary(_BYTES * self.count)}

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The signature of each text."""
        texts = batch.column(self.text).to_pylist()
        made = signatures(texts, count=self.count, ngram=self.ngram, kind=self.hash, seed=self.seed)
        rows = [None if one is None else one.astype("<u8").tobytes() for one in made]
        return Scored({"": pa.array(rows, self.columns[""])})


@dataclass(frozen=True, eq=False, kw_only=True)
class Chains(Config):
    """Families as datatrove makes them of signatures (`MinHash`): any chain of rows with a bucket in common.

    All rows alive are seen at once, by one worker: 8 * count bytes of memory a row, and what the pairs take. In each
    family one row is kept, the one that datatrove keeps when each file of the pool is a task of its, in the order of
    their paths. A row may resemble the one kept for it through others alone, or hardly at all: see docs/duplicates.md.

    Args:
        signature: the score that `MinHash` made.
        buckets: parts of a signature, one of which two rows have in common.
        version: raised when the same scores would give other values.
    """

    signature: str
    buckets: int = 14
    version: int = 1

    in_manifest: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if type(self.buckets) is not int or self.buckets < 1:
            raise PlanError(f"Chains(buckets={short(self.buckets)}): must be a whole number above 0")

    @property
    def reads(self) -> tuple[str, ...]:
        """The signature."""
        return (self.signature,)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """See `filters/dedup.py`."""
        return COLUMNS

    def check_types(self, where: str, types: Mapping[str, pa.DataType]) -> None:
        """Refuses what is no signature, and one that can't be parted.

        Raises:
            PlanError: saying what it is.
        """
        kind = types[self.signature]
        if not pa.types.is_fixed_size_binary(kind) or kind.byte_width % (_BYTES * self.buckets):
            raise PlanError(
                f"{where}: {self.signature!r} is {kind}, and a signature of {self.buckets} equal parts of 64-bit "
                f"numbers is needed: make it by MinHash(count=N), N a multiple of {self.buckets}"
            )

    def gather(self, parts: Iterator[Part]) -> pa.Table:
        """A line for each row of a cluster; `similarity` is the share of the signature's numbers that are equal."""
        members = Members.of(parts, self.reads)
        chunks = members.scores[self.signature]
        width = chunks[0].type.byte_width if chunks else _BYTES * self.buckets
        data, some = members.bytes_of(self.signature, width)
        numbers, signed = data.view("<u8"), np.flatnonzero(some)
        kept, rank = np.arange(len(some)), np.arange(len(some))
        parts_of = numbers[signed].reshape(len(signed), self.buckets, width // (_BYTES * self.buckets))
        kept[signed] = signed[kept_by(parts_of)]
        rank[kept == rank] -= len(rank)  # the row that is kept is the first
        rows, alone = np.arange(len(some), dtype=np.uint64), np.arange(len(some))
        return members.table(named(rows, rank, alone, kept, _agreement(numbers, kept), np.zeros_like(rank)))

    def values(self, scores: Scores, table: pa.Table) -> Mapping[str, pa.Array]:
        """The lines' columns, and rank 0, size 1 for a row that is in no family."""
        return values(table)

    def report(self, scores: Scores, kept: Alive) -> Sums:
        """See `families.report`."""
        return report(scores, kept)


def _agreement(numbers: Any, kept: Any) -> Any:
    """float32 (n,): the share of each row's numbers, uint64 (n, count), that are those of the row kept for it."""
    made = np.ones(len(kept), dtype=np.float32)
    others = np.flatnonzero(kept != np.arange(len(kept)))
    for at in np.array_split(others, 1 + (len(others) >> 12)):
        made[at] = (numbers[at] == numbers[kept[at]]).mean(axis=1)
    return made
