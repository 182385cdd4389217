"""Where a document comes from: domain and host of its URL, and lists of domains, URLs and words to keep away from.

As datatrove's `URLFilter` does it (huggingface/datatrove, `pipeline/filters/url_filter.py`, 0.10), and so FineWeb.
No list is shipped: give files of your own, one entry a line, `#` starting a comment.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from poolsieve.filters.dsl.expr import col
from poolsieve.filters.dsl.ready import stage
from poolsieve.filters.dsl.stages import Chain, Keep, Rule, Score, Stage
from poolsieve.filters.lists import In
from poolsieve.scoring_models.base.config import JsonObject, absolute_path
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.packages import need
from poolsieve.scoring_models.base.scorer import Resources, Scored, ScorerConfig

SOFT_WORDS = 2
"""A URL with at least so many different soft words is dropped (datatrove's `soft_word_threshold`)."""

_NO_WORD = re.compile(r"[^a-zA-Z0-9]+")


@dataclass(frozen=True, eq=False)
class UrlParts(ScorerConfig):
    """The registered domain (`example.co.uk`) and the host (`www.example.co.uk`) of a URL, by the public suffix list.

    The list is the one that the installed `tldextract` ships; nothing is fetched. A host without a registered domain
    (an IP address, `localhost`) has the empty string for both.
    """

    url: str = "url"
    version: int = 1

    packages = ("tldextract",)
    extra = "text"

    @property
    def reads(self) -> tuple[str, ...]:
        """The URL's role."""
        return (self.url,)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """`domain` and `host`, both string."""
        return {"domain": pa.string(), "host": pa.string()}

    @property
    def resources(self) -> Resources:
        """Python string work."""
        return Resources(holds_gil=True)

    def score(self, batch: pa.RecordBatch) -> Scored:
        """Domain and host of each URL; null for null."""
        extract = _extractor()
        found = [None if url is None else extract(url) for url in batch.column(self.url).to_pylist()]
        domains = [None if parts is None else parts.top_domain_under_public_suffix for parts in found]
        hosts = [None if parts is None else parts.fqdn for parts in found]
        return Scored({"domain": pa.array(domains, pa.string()), "host": pa.array(hosts, pa.string())})


@dataclass(frozen=True, eq=False)
class UrlWords(ScorerConfig):
    """How many words of three lists a URL has.

    A word is a run of ASCII letters and digits, compared with its case (lists are in lower case); a subword may stand
    anywhere in the URL's letters and digits, in either case. Entries of the lists are normalised to lower-case letters
    and digits, as datatrove does it.

    Args:
        words, soft_words, subwords: list files, or None.
        url: the role to read.
    """

    words: str | None = None
    soft_words: str | None = None
    subwords: str | None = None
    url: str = "url"
    version: int = 1

    packages = ("pyahocorasick",)
    extra = "text"

    @property
    def reads(self) -> tuple[str, ...]:
        """The URL's role."""
        return (self.url,)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """`words` and `soft_words`: different words of each list in the URL; `subwords`: 1 if it has one, else 0."""
        return {name: pa.int32() for name in self._lists()}

    @property
    def resources(self) -> Resources:
        """Python string work."""
        return Resources(holds_gil=True)

    def _lists(self) -> dict[str, str]:
        given = {"words": self.words, "soft_words": self.soft_words, "subwords": self.subwords}
        return {name: path for name, path in given.items() if path is not None}

    def to_dict(self) -> JsonObject:
        """Without the lists' folders: their contents are in the fingerprint by hash."""
        return {**super().to_dict(), **{name: Path(path).name for name, path in self._lists().items()}}

    def files(self) -> Mapping[str, Path]:
        """The lists.

        Raises:
            PlanError: for a list that is missing or empty, and without pyahocorasick where subwords are looked for.
        """
        if self.subwords is not None:
            need("UrlWords(subwords=...)", *self.packages, extra=self.extra)
        for path in self._lists().values():
            _entries(path)
        return {f"{name}/{Path(path).name}": Path(path) for name, path in self._lists().items()}

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The counts of each URL; null for null."""
        urls = batch.column(self.url).to_pylist()
        counters = {name: _counter(name, path) for name, path in self._lists().items()}
        made = {name: [None if url is None else count(url) for url in urls] for name, count in counters.items()}
        return Scored({name: pa.array(values, pa.int32()) for name, values in made.items()})


def normalised(text: str) -> str:
    """Lower-case ASCII letters and digits alone."""
    return _NO_WORD.sub("", text).lower()


def _counter(name: str, path: str) -> Callable[[str], int]:
    entries = _entries(path)
    if name != "subwords":
        return lambda url: len(entries.intersection(_NO_WORD.split(url)))
    automaton = _automaton(path)
    return lambda url: int(next(automaton.iter(normalised(url)), None) is not None)


@functools.lru_cache(maxsize=16)
def _entries(path: str) -> frozenset[str]:
    try:
        lines = Path(path).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"can't read the word list {path}: {error}") from error
    found = frozenset(normalised(line) for line in lines if not line.startswith("#")) - {""}
    if not found:
        raise PlanError(f"the word list {path} has no entry")
    return found


@functools.lru_cache(maxsize=16)
def _automaton(path: str) -> Any:
    import ahocorasick

    automaton = ahocorasick.Automaton(ahocorasick.STORE_LENGTH)
    for word in sorted(_entries(path)):
        automaton.add_word(word)
    automaton.make_automaton()
    return automaton


@functools.cache
def _extractor() -> Any:
    import tldextract

    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


_EXAMPLE = (
    'urls(domains="domains.txt", urls="urls.txt", words="words.txt", soft_words="soft.txt", subwords="subwords.txt")'
)


@stage(example=_EXAMPLE)
def urls(
    *,
    domains: str | None = None,
    urls: str | None = None,
    words: str | None = None,
    soft_words: str | None = None,
    subwords: str | None = None,
    soft_word_threshold: int = SOFT_WORDS,
    url: str = "url",
) -> Chain:
    """Drops documents by their URL, in datatrove's order: domain, subdomain, URL, words, soft words, subwords.

    Args:
        domains: a list of domains (`example.com`) and hosts (`blog.example.com`).
        urls: a list of whole URLs.
        words: words that no URL may have.
        soft_words: words of which a URL may have fewer than `soft_word_threshold` different ones.
        subwords: letters that may stand nowhere in a URL.
        soft_word_threshold: see `soft_words`.
        url: the role that holds the URL.

    Raises:
        PlanError: if no list is given.
    """
    lists = {"words": words, "soft_words": soft_words, "subwords": subwords}
    given = {name: absolute_path(path) for name, path in lists.items() if path is not None}
    stages: list[Stage] = [*_listed(domains, urls, url), *_worded(given, soft_word_threshold, url)]
    if not stages:
        raise PlanError("urls() needs at least one list: domains=, urls=, words=, soft_words= or subwords=")
    return Chain(tuple(stages))


def _listed(domains: str | None, urls: str | None, url: str) -> Iterator[Stage]:
    if domains is not None:
        yield Score(**{"urls.at": UrlParts(url)})
        yield _outside(domains, "urls.at.domain", "urls.domain")
        yield _outside(domains, "urls.at.host", "urls.subdomain")
    if urls is not None:
        yield _outside(urls, url, "urls.url")


def _outside(path: str, on: str, reason: str) -> Rule:
    return Rule((~In(path, on=on)).predicate, reason)


def _worded(lists: Mapping[str, str], threshold: int, url: str) -> Iterator[Stage]:
    if not lists:
        return
    scorer = UrlWords(lists.get("words"), lists.get("soft_words"), lists.get("subwords"), url)
    yield Score(**{"urls.has": scorer})
    least = {"words": 1, "soft_words": threshold, "subwords": 1}
    for name in scorer.columns:
        score = f"urls.has.{name}" if len(lists) > 1 else "urls.has"
        yield Keep(col(score) < least[name], reason=f"urls.{name}")
