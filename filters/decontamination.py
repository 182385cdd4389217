"""Decontamination: documents that share an n-gram of words with a benchmark.

As in GPT-3 (Brown et al., arXiv 2005.14165, appendix C: 13-grams of lower-case words without punctuation) and in
datatrove (`pipeline/decont/n_grams.py`, 0.10: numbers become 0 and diacritics go as well). The benchmarks' n-grams are
an artefact that is built once, before the first pass.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from poolsieve.filters.dsl.expr import col
from poolsieve.filters.dsl.ready import stage
from poolsieve.filters.dsl.stages import Chain, Keep, Score
from poolsieve.filters.parted import readable
from poolsieve.filters.words.marks import decomposed
from poolsieve.filters.words.mixing import Hashes, mixed
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.scorer import Scored, TextScorer

N = 13
"""Words in an n-gram: the length that GPT-3 used for all but short benchmarks."""

_NUMBER = re.compile(r"\d+(?:[.,،٫⎖⎗⎘]\d+)?")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_REMEMBERED = 1 << 20

_log = logging.getLogger(__name__)


def normalised_words(text: str) -> list[str]:
    """Lower-case words without punctuation and diacritics; each number is `0`."""
    text = _NUMBER.sub("0", text.lower())
    if not text.isascii():
        text = "".join(c for c in decomposed(text) if unicodedata.category(c) != "Mn")
    found: list[str] = _word().findall(text)
    return found


@functools.cache
def _word() -> re.Pattern[str]:
    """Letters and digits, with the vowel signs and joiners (Unicode's Mc, ZWNJ, ZWJ) of Indic and Persian words."""
    signs = "".join(c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) == "Mc")
    return re.compile(rf"(?:[^\W_]|[{signs}\u200c\u200d])+")


@functools.lru_cache(maxsize=_REMEMBERED)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def ngram_hashes(text: str, n: int = N) -> Hashes:
    """uint64 (max(0, number of words - n + 1),): a hash of each n-gram, the same on any machine."""
    ids = np.array([_word_hash(word) for word in normalised_words(text)], dtype=np.uint64)
    count = len(ids) - n + 1
    if count <= 0:
        return np.zeros(0, dtype=np.uint64)
    made = np.zeros(count, dtype=np.uint64)
    for j in range(n):  # a polynomial in the words' hashes, modulo 2^64
        made = made * _MULTIPLIER + ids[j : j + count]
    return mixed(made)


@dataclass(frozen=True, eq=False)
class Ngrams(TextScorer):
    """How many n-grams of a document stand in benchmarks, and which benchmark the first of them is from.

    Args:
        benchmarks: name -> pool of texts (its role `text` is read).
        n: words in an n-gram. Benchmark texts with fewer words can't be found; the artefact says how many there are.
        text: the role to read.
    """

    benchmarks: Mapping[str, Any]
    n: int = N
    version: int = field(default=2, kw_only=True)
    artefact: str = field(default="", metadata={"runtime": True})
    """URL of what `build` made; filled in before the first pass."""

    def __post_init__(self) -> None:
        if not self.benchmarks:
            raise PlanError("Ngrams needs at least one benchmark, as {'gsm8k': Pool.parquet(...)}")
        wrong = {name: pool for name, pool in self.benchmarks.items() if isinstance(pool, str)}
        for name, url in wrong.items():
            raise PlanError(f"benchmark {name!r} is a string: give a pool, as Pool.jsonl({url!r}, text='question')")
        if not isinstance(self.n, int) or self.n < 1:
            raise PlanError(f"Ngrams(n={self.n!r}): must be a whole number of words, 1 or more")

    pools_are: ClassVar[str] = "benchmark"
    """What messages call them."""

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """`matches` (int32): places where an n-gram matches; `benchmark` (string): of the first, null without one."""
        return {"matches": pa.int32(), "benchmark": pa.string()}

    @property
    def pools(self) -> Mapping[str, Any]:
        """The pools that the artefact is built from; role `text` is read."""
        return dict(sorted(self.benchmarks.items()))

    def to_dict(self) -> JsonObject:
        """The benchmarks by name; what is in them is in the artefact's name."""
        return {**super().to_dict(), "benchmarks": sorted(self.benchmarks)}

    def build(self, batches: Iterable[tuple[str, pa.RecordBatch]]) -> pa.Table:
        """The artefact: every n-gram's hash, sorted, with its benchmark (the first by name, if several have it).

        Args:
            batches: (benchmark, batch with a column `text`), benchmarks in the order of `pools`.
        """
        names = list(self.pools)
        found, short = [], Counter[str]()
        for name, text in _texts(batches):
            hashes = ngram_hashes(text, self.n)
            short[name] += not len(hashes)
            found.append((np.unique(hashes), names.index(name)))
        for name, count in (+short).items():
            _log.warning("benchmark %r: %d texts have fewer than %d words and can't be found", name, count, self.n)
        return _table(found, names, short.total(), self.n)

    def load(self) -> LoadedNgrams:
        """Reads the artefact."""
        with readable(self.artefact), fsspec.open(self.artefact, "rb") as file:
            return LoadedNgrams(pq.read_table(file), self.n, self.text)


def _texts(batches: Iterable[tuple[str, pa.RecordBatch]]) -> Iterator[tuple[str, str]]:
    for name, batch in batches:
        for text in batch.column("text").to_pylist():
            if text is not None:
                yield name, text


def _table(found: list[tuple[Hashes, int]], names: list[str], short: int, n: int) -> pa.Table:
    hashes = np.concatenate([hashes for hashes, _ in found]) if found else np.zeros(0, dtype=np.uint64)
    owner = np.concatenate([np.full(len(hashes), i, dtype=np.int32) for hashes, i in found] or [np.zeros(0, np.int32)])
    order = np.lexsort((owner, hashes))
    hashes, owner = hashes[order], owner[order]
    first = np.ones(len(hashes), dtype=bool)
    first[1:] = hashes[1:] != hashes[:-1]
    benchmark = pa.DictionaryArray.from_arrays(pa.array(owner[first]), pa.array(names, pa.string()))
    about = {"n": str(n), "texts": str(len(found)), "too_short": str(short)}
    return pa.table({"hash": hashes[first], "benchmark": benchmark.cast(pa.string())}).replace_schema_metadata(about)


class LoadedNgrams:
    """The benchmarks' n-grams in memory: 8 bytes each, and 4 for the benchmark."""

    def __init__(self, table: pa.Table, n: int, text: str) -> None:
        self.hashes: Hashes = table.column("hash").to_numpy()
        names = table.column("benchmark").combine_chunks().dictionary_encode()
        self.owner, self.names = names.indices.to_numpy(), names.dictionary.to_pylist()
        self.n, self.text = n, text
        self.settings: JsonObject = {"ngrams": len(self.hashes)}

    def score(self, batch: pa.RecordBatch) -> Scored:
        """Matches of each text; null for null."""
        found = [None if text is None else self.match(text) for text in batch.column(self.text).to_pylist()]
        matches = [None if one is None else one[0] for one in found]
        benchmark = [None if one is None else one[1] for one in found]
        return Scored({"matches": pa.array(matches, pa.int32()), "benchmark": pa.array(benchmark, pa.string())})

    def match(self, text: str) -> tuple[int, str | None]:
        """(places that match, benchmark of the first)."""
        hashes = ngram_hashes(text, self.n)
        if not len(hashes) or not len(self.hashes):
            return 0, None
        place = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        hits = np.flatnonzero(self.hashes[place] == hashes)
        return len(hits), self.names[self.owner[place[hits[0]]]] if len(hits) else None


@stage(example='decontaminate({"gsm8k": Pool.jsonl("gsm8k.jsonl", text="question")})', pools=("benchmarks",))
def decontaminate(benchmarks: Mapping[str, Any], *, n: int = N, at_most: int = 0, text: str = "text") -> Chain:
    """Drops documents of which more than `at_most` places match an n-gram of a benchmark, with `leak.contaminated`.

    Args:
        benchmarks: name -> pool with a role `text`.
        n: words of an n-gram. Benchmark texts with fewer words can't be found; a run warns of them.
        at_most: places of a document that may match.
        text: the role to read.
    """
    rule = Keep(col("leak.matches") <= at_most, reason="leak.contaminated")
    return Score(leak=Ngrams(benchmarks, n=n, text=text)) | rule
