"""URL rules against datatrove's own filter."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datatrove.data import Document
from datatrove.pipeline.filters import URLFilter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolsieve.dataflow.transforms import apply_stages, program_for
from poolsieve.filters import Score, urls
from poolsieve.filters.url_lists import UrlParts, UrlWords
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import decide, ledger, run, write_pool

pytestmark = pytest.mark.filterwarnings("ignore:The 'registered_domain' property:DeprecationWarning")

LISTS = {
    "domains": ["bad.com", "blog.fine.org", "10.0.0.1", "localhost", "evil.co.uk", "user.github.io"],
    "urls": ["http://fine.org/one", "https://x.example/a b"],
    "words": ["casino", "X-Rated", "123"],
    "soft_words": ["win", "free", "cash", "now"],
    "subwords": ["warez", "torrent9"],
}
REASONS = {
    "domain": "urls.domain",
    "subdomain": "urls.subdomain",
    "url": "urls.url",
    "hard_blacklisted": "urls.words",
    "soft_blacklisted": "urls.soft_words",
    "blacklisted_subword": "urls.subwords",
}
HOSTS = [
    "bad.com",
    "www.bad.com",
    "blog.fine.org",
    "fine.org",
    "10.0.0.1",
    "localhost",
    "a.evil.co.uk",
    "user.github.io",
]
HOSTS += ["www.user.github.io", "münchen.de", "X.EXAMPLE", "bad.com.", "warez.net", "casino.example", "free-win.org"]
PATHS = [
    "",
    "/",
    "/one",
    "/a b",
    "/casino/games",
    "/CASINO",
    "/x-rated",
    "/xrated",
    "/free/cash",
    "/free",
    "/win,free,now",
]
PATHS += ["/ware-z", "/tor_rent9?x=1", "/123", "/1234", "?q=now&w=cash", "#free-win", "/çasino", "/\U0001f600"]
EDGES = [
    "",
    " ",
    "http://",
    "not a url",
    "mailto:me@bad.com",
    "//bad.com/x",
    "http://[::1]/casino",
    "ftp://bad.com:21/",
]
EVERY = [f"{scheme}{host}{path}" for scheme, host, path in itertools.product(("http://", "https://", ""), HOSTS, PATHS)]


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("lists")
    for name, entries in LISTS.items():
        (folder / name).write_text("\n".join(["# a comment", *entries]) + "\n", encoding="utf-8")
    return {name: str(folder / name) for name in LISTS}


def theirs(url: str) -> str | None:
    """datatrove's reason, in our words; None where it keeps the document."""
    found = FILTER.filter(Document(text="", id="0", metadata={"url": url}))
    return None if found is True else REASONS[found[1]]


FILTER: Any = URLFilter(
    extra_domains=LISTS["domains"],
    extra_urls=LISTS["urls"],
    banned_words=LISTS["words"],
    banned_subwords=LISTS["subwords"],
    soft_banned_words=LISTS["soft_words"],
    use_integrated_lists=False,
)


def ours(given: list[str | None], lists: dict[str, str]) -> list[str | None]:
    batch = pa.record_batch({"url": pa.array(given, pa.string())})
    found = apply_stages(program_for(urls(**lists), batch.schema), batch)
    return list(found.column("reason").to_pylist())


def test_the_same_verdict_and_first_reason_as_datatrove(lists: dict[str, str]) -> None:
    asked = EVERY + [url for url in EDGES if url]
    expected = [theirs(url) for url in asked]
    assert set(expected) == {None, *REASONS.values()}
    assert ours(list(asked), lists) == expected


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(url=st.lists(st.sampled_from([*HOSTS, *PATHS, "http://", ".", "@", ":8080"]), min_size=1).map("".join))
def test_any_string_has_the_same_verdict(url: str, lists: dict[str, str]) -> None:
    assert not url or ours([url], lists) == [theirs(url)]


def test_null_is_dropped_and_an_empty_url_has_no_domain(lists: dict[str, str]) -> None:
    assert ours([None, ""], lists) == ["urls.domain", None]
    parts = UrlParts().score(pa.record_batch({"url": ["https://a.b.co.uk/x", "", "http://127.0.0.1/"]}))
    assert parts.columns["domain"].to_pylist() == ["b.co.uk", "", ""]
    assert parts.columns["host"].to_pylist() == ["a.b.co.uk", "", ""]


def test_lists_of_domains_change_without_the_pool_lists_of_words_are_in_the_fingerprint(
    tmp_path: Path, lists: dict[str, str]
) -> None:
    from poolsieve.dataflow import Pool

    source = Pool.parquet(f"{write_pool(tmp_path / 'pool', sizes=[20])}/*.parquet", uid="uid", text="text")
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("nothing.example\n")
    second.write_text("\n")
    run(source | Score(**{"urls.at": UrlParts("text")}), tmp_path / "out")
    with pytest.raises(PlanError, match="has no entry"):
        UrlWords(words=str(second)).files()
    with pytest.raises(PlanError, match="at least one list"):
        urls()
    run(source | urls(domains=str(first), url="text"), tmp_path / "out")
    first.write_text("other.example\n")
    decide(source | urls(domains=str(first), url="text"), tmp_path / "out")
    assert ledger(tmp_path / "out")["urls.at.domain"].null_count == 0
