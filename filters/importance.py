"""DSIR: documents by their importance weight towards a target, from hashed n-grams.

Xie et al., "Data Selection for Language Models via Importance Resampling", arXiv 2302.03169, as in the package
`data-selection` 1.0.3 (p-lambda/dsir, `HashedNgramDSIR`): the weight is the same, which is a sum over n-grams and so
grows with a document's length. The package samples by it (Gumbel noise, then the largest); `Top` ranks by it, as its
`resample(top_k=True)` does. Words are those of Python's `re`, as in nltk when the package came out; nltk 3.10 and later
use another library, for which combining marks are letters and superscripts are none. The counts of both distributions
are an artefact that is built once, by a job of its own before the first pass. The package stops counting raw documents
after 100,000 n-grams a bucket; here all of them count.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from poolsieve.filters.dsl.expr import col
from poolsieve.filters.dsl.ready import stage
from poolsieve.filters.dsl.stages import Chain, Keep, Score, Stage
from poolsieve.filters.dsl.top import Top
from poolsieve.filters.parted import readable
from poolsieve.filters.words.hashed import Floats, HashedNgrams, Ints
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from poolsieve.scoring_models.base.kinds import short
from poolsieve.scoring_models.base.scorer import Scored, TextScorer

N, BUCKETS, MIN_WORDS = 2, 10_000, 100
"""`ngrams`, `num_buckets` and `min_example_length` of the package."""

MOST_BUCKETS = 1 << 20
"""Beyond this the counts of a shard are no small record any more."""

_SMOOTHING = 1e-8
"""Added to each probability (`fit_importance_estimator`)."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Dsir(TextScorer):
    """How much likelier a document's n-grams are in a target pool than in a raw pool: DSIR's log importance weight.

    Its columns are the weight (float64: the sum over all n-grams of log p(target) - log p(raw), larger is better),
    `mean` (float64: the same by n-gram, which does not favour long documents) and `words` (int32, which the package
    calls the example's length). All are null for a text without words.

    Args:
        target: the pool of documents that are wanted; its role `text` is read.
        raw: the pool that is chosen from, or a sample of it; its role `text` is read.
        n: words in the longest n-gram; those of 1 to n words count. More than 2 take several times as long.
        buckets: that n-grams are hashed into.
        text: the role to read.
    """

    target: Any
    raw: Any
    n: int = N
    buckets: int = BUCKETS
    artefact: str = field(default="", metadata={"runtime": True})
    """URL of what was counted; filled in before the first pass."""

    def __post_init__(self) -> None:
        for name, pool in self.pools.items():
            if not hasattr(pool, "located"):
                raise PlanError(f"Dsir({name}={short(pool)}): give a pool, as Pool.jsonl('{name}.jsonl', text='text')")
        if type(self.n) is not int or self.n < 1:
            raise PlanError(f"Dsir(n={short(self.n)}): must be a whole number of words, 1 or more")
        if type(self.buckets) is not int or not 2 <= self.buckets <= MOST_BUCKETS:
            raise PlanError(f"Dsir(buckets={short(self.buckets)}): must be a whole number from 2 to {MOST_BUCKETS:,}")

    pools_are: ClassVar[str] = "pool"
    """What messages call them."""

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """The weight, by n-gram, and the number of words."""
        return {"": pa.float64(), "mean": pa.float64(), "words": pa.int32()}

    @property
    def pools(self) -> Mapping[str, Any]:
        """The pools that the artefact is counted from; role `text` is read."""
        return {"raw": self.raw, "target": self.target}

    @property
    def ngrams(self) -> HashedNgrams:
        """What counts and adds up."""
        return HashedNgrams(self.n, self.buckets)

    def tally(self, batch: pa.RecordBatch) -> Ints:
        """int64 (buckets,): n-grams of the column `text` in each. Sums over batches are what `counted` takes."""
        texts: list[str] = batch.column("text").drop_null().to_pylist()  # type: ignore[assignment]
        return self.ngrams.counts(texts)

    def counted(self, sums: Mapping[str, Ints]) -> pa.Table:
        """The artefact: for each bucket the n-grams of `raw` and `target` (int64), and `log_ratio` (float64).

        Args:
            sums: name of a pool -> int64 (buckets,).

        Raises:
            PoolsieveError: if a pool has no word.
        """
        for name in self.pools:
            if name not in sums or not sums[name].sum():
                raise PoolsieveError(f"pool {name!r} of Dsir has no text with a word in it: nothing can be like it")
        raw, target = (_logs(sums[name]) for name in ("raw", "target"))
        return pa.table({"raw": sums["raw"], "target": sums["target"], "log_ratio": target - raw})

    def build(self, batches: Iterable[tuple[str, pa.RecordBatch]]) -> pa.Table:
        """The artefact from (pool, batch with a column `text`) in any order."""
        sums = {name: np.zeros(self.buckets, dtype=np.int64) for name in self.pools}
        for name, batch in batches:
            sums[name] += self.tally(batch)
        return self.counted(sums)

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The three columns; null for null and for texts without words."""
        given: list[Any] = batch.column(self.text).to_pylist()
        rows = [row for row, text in enumerate(given) if text is not None]
        texts = [text for text in given if text is not None]
        weights, words = self.ngrams.sums(texts, _log_ratios(self.artefact))
        return Scored(_columns(len(given), np.array(rows, dtype=np.int64), weights, words, self.n))


def _logs(counts: Ints) -> Floats:
    """float64 (buckets,): logarithms of smoothed probabilities, by the C library: NumPy's differ between processors."""
    return np.array([math.log(share + _SMOOTHING) for share in (counts / counts.sum()).tolist()])


@functools.lru_cache(maxsize=16)
def _log_ratios(artefact: str) -> Floats:
    with readable(artefact), fsspec.open(artefact, "rb") as file:
        found: Floats = pq.read_table(file, columns=["log_ratio"]).column(0).to_numpy()
    return found


def _columns(count: int, rows: Ints, weights: Floats, words: Ints, n: int) -> Mapping[str, pa.Array]:
    """Columns of `count` rows, of which `rows` have a text."""
    ngrams = np.sum([np.maximum(words - size + 1, 0) for size in range(1, n + 1)], axis=0)
    some = np.flatnonzero(words)
    empty = np.ones(count, dtype=bool)
    empty[rows[some]] = False
    made = {"": weights[some], "mean": weights[some] / ngrams[some], "words": words[some].astype(np.int32)}
    return {name: _spread(values, empty) for name, values in made.items()}


def _spread(values: np.ndarray[Any, Any], empty: np.ndarray[Any, np.dtype[np.bool_]]) -> pa.Array:
    made = np.zeros(len(empty), dtype=values.dtype)
    made[~empty] = values
    return pa.array(made, mask=empty)


@stage(
    example='dsir(target=Pool.jsonl("wiki.jsonl", text="text"), raw=Pool.jsonl("web.jsonl", text="text"))',
    one_pool=("target", "raw"),
)
def dsir(
    target: Any,
    raw: Any,
    *,
    fraction: float | str | Decimal | None = None,
    min_words: int = MIN_WORDS,
    text: str = "text",
) -> Chain:
    """Scores documents by DSIR's importance weight towards a target; drops short ones, and all but the best fraction.

    Args:
        target: pool of documents that are wanted, with a role `text`.
        raw: the pool that is chosen from, or a sample of it, with a role `text`.
        fraction: of the rows alive, those with the largest weights, that stay; None leaves the cut to the recipe's own
            `Top` or `Above`.
        min_words: words of the shortest document that stays.
        text: the role to read.
    """
    rules: Sequence[Stage] = () if fraction is None else (Top("dsir", fraction=fraction),)
    enough = Keep(col("dsir.words") >= min_words, reason="dsir.too_short")
    return Chain((Score(dsir=Dsir(target, raw, text=text)), enough, *rules))
