"""Brace ranges: counted as `braceexpand` writes them out, and refused at once where they are too many."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from braceexpand import braceexpand

from poolsieve.dataflow.pools.braces import MOST_NAMES, count, names
from poolsieve.dataflow.recipes.recipe import Pool
from poolsieve.scoring_models.base.errors import PlanError
from tests.dataflow.pools.test_files import paths, touch


def made(chance: random.Random, depth: int = 0) -> str:
    kind = chance.random()
    if depth > 3 or kind < 0.35:
        return chance.choice(["a", "b-", "\\{", "\\,", "x/y", "", "é", ".", "},{"[depth % 3]])
    if kind < 0.5:
        return f"{{{chance.randint(-3, 12)}..{chance.randint(-3, 12)}}}"
    if kind < 0.55:
        return f"{{{chance.randint(0, 12):02}..{chance.randint(0, 12)}..{chance.choice([0, 1, 2, -2, 3])}}}"
    if kind < 0.6:
        return f"{{{chance.choice('abcXZ')}..{chance.choice('abcXZ')}}}"
    if kind < 0.85:
        return "{" + ",".join(made(chance, depth + 1) for _ in range(chance.randint(1, 4))) + "}"
    return made(chance, depth + 1) + made(chance, depth + 1)


def test_names_are_counted_as_they_are_written_out() -> None:
    chance, counted = random.Random(5), 0
    for _ in range(3000):
        pattern = made(chance)
        try:
            found = count(pattern)
        except PlanError:
            continue
        assert found == len(list(names([pattern]))), pattern
        assert "{" not in pattern or found == len(list(braceexpand(pattern))), pattern
        counted += "{" in pattern
    assert counted > 1000


@pytest.mark.parametrize(
    "url",
    [
        "{00000000..99999999}.tar",
        "{0..9999}/{0..9999}.tar",
        "{1..99999999999999999999999}.tar",
        "{a,b}" * 60,
        "{{0..9999999},x}.tar",
        "{a..z}{A..Z}{0..999999..2}",
    ],
)
def test_more_names_than_can_be_looked_for_are_refused_at_once(tmp_path: Path, url: str) -> None:
    started = time.monotonic()
    pool = Pool.webdataset(f"{tmp_path}/{url}").located()
    for look in (pool.look_ahead, pool.listing):
        with pytest.raises(PlanError, match=rf"stand for [\d,]+ names, more than the {MOST_NAMES:,}.*\*\.tar"):
            look()
    assert time.monotonic() - started < 60  # they would take hours


@pytest.mark.parametrize("url", ["{" * 5000, "{a," * 3000 + "b" + "}" * 3000])
def test_braces_too_deep(url: str) -> None:
    with pytest.raises(PlanError, match="more than 50 braces within one another"):
        Pool.webdataset(f"/{url}").located().listing()


@pytest.mark.parametrize("url", ["{0..1", "a}{b", "{a}}{", "{{0..1}", "x{a,b}}"])
def test_a_brace_that_is_not_closed(url: str) -> None:
    with pytest.raises(PlanError, match="never closed"):
        Pool.webdataset(f"/data/{url}").located().listing()


def test_a_file_whose_name_has_a_closing_brace(tmp_path: Path) -> None:
    touch(tmp_path, "a}.tar")
    assert paths(Pool.webdataset(f"{tmp_path}/a}}.tar")) == ["a}.tar"]
