"""The examples in docstrings are true, and every name of the DSL has one."""

from __future__ import annotations

import doctest
import importlib

import pytest

from poolsieve import filters

MODULES = (
    "poolsieve.filters.dsl.edits",
    "poolsieve.filters.dsl.expr",
    "poolsieve.filters.dsl.stages",
    "poolsieve.filters.dsl.top",
    "poolsieve.filters.lists",
    "poolsieve.filters.words.ngrams",
    "poolsieve.scoring_models.base.arrow",
    "poolsieve.scoring_models.base.functions",
)
NAMES = ("Above", "Below", "Drop", "Edit", "In", "Keep", "Score", "Top", "all_of", "any_of", "col", "editor", "scorer")


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted and not found.failed


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_dsl_has_an_example(name: str) -> None:
    documented = importlib.import_module(getattr(filters, name).__module__)
    assert documented.__name__ in MODULES
    assert ">>> " in (getattr(filters, name).__doc__ or "")
