"""datatrove's and FineWeb's deduplication: the same rows kept as by huggingface/datatrove's own stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from poolsieve.filters.duplicates import families
from poolsieve.filters.duplicates.chains import kept_by
from poolsieve.filters.duplicates.signatures import HASHES, signatures
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.derived import Part, Scores
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
        """See `families.COLUMNS`."""
        return families.COLUMNS

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
        """A line for each row of a family; `similarity` is the share of the signature's numbers that are equal."""
        rows, numbers, some = self._collected(parts)
        signed = np.flatnonzero(some)
        kept = np.arange(len(some))
        kept[signed] = signed[kept_by(numbers.reshape(len(signed), self.buckets, numbers.shape[1] // self.buckets))]
        place = np.cumsum(some) - 1
        similarity = np.ones(len(some))
        for at in np.array_split(signed, max(1, len(signed) >> 12)):
            similarity[at] = (numbers[place[at]] == numbers[place[kept[at]]]).mean(axis=1)
        return families.table(rows, kept, np.arange(len(some)), similarity)

    def _collected(self, parts: Iterator[Part]) -> tuple[families.Rows, Any, Any]:
        """(rows, numbers, some): uint64 (m, count) for the m rows that have a signature, which `some` says of all."""
        chunks: list[Any] = []

        def stripped() -> Iterator[Part]:
            for part in parts:
                chunks.append(part.scores[self.signature])
                yield part._replace(scores={})

        rows = families.Rows.of(stripped(), {})
        some = np.concatenate([np.empty(0, dtype=bool), *(np.asarray(chunk.is_valid()) for chunk in chunks)])
        flat = b"".join([b"".join(chunk.drop_null().to_pylist()) for chunk in chunks])
        width = next((chunk.type.byte_width for chunk in chunks), _BYTES * self.buckets)
        return rows, np.frombuffer(flat, dtype="<u8").reshape(-1, width // _BYTES), some

    def values(self, scores: Scores, table: pa.Table) -> Mapping[str, pa.Array]:
        """The lines' columns, and rank 0, size 1 for a row that is in no family."""
        return families.values(table)
