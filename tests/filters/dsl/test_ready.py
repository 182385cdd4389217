"""Every ready-made stage is marked, under the name that its example is written with, and its example works."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from poolsieve import filters, scoring_models
from poolsieve.dataflow import Pool
from poolsieve.filters.dsl.ready import makers, ready_made, stage
from poolsieve.filters.dsl.stages import Stage

MAKERS = makers(filters)


@pytest.mark.parametrize("name", MAKERS)
def test_an_example_is_what_a_recipe_writes(name: str) -> None:
    about = ready_made(MAKERS[name])
    assert about is not None and about.example.startswith(f"{name}(")
    made = eval(about.example, {**vars(scoring_models), **vars(filters), "Pool": Pool})
    assert isinstance(made, Stage) and made.flat()
    assert {*about.pools, *about.one_pool, *about.scorers} <= set(inspect.signature(MAKERS[name]).parameters)


def test_no_maker_is_forgotten() -> None:
    """A public function that returns a stage is marked, but for the two that combine rules."""
    families = [value for value in vars(filters).values() if inspect.ismodule(value)]
    returning = {
        made
        for module in (filters, *families)
        for name, made in vars(module).items()
        if inspect.isfunction(made)
        and name.islower()
        and not name.startswith("_")
        and made.__annotations__.get("return") in ("Chain", "Rule", "Stage")
    }
    assert returning - {filters.any_of, filters.all_of} == set(MAKERS.values())


def test_a_stage_has_one_name() -> None:
    assert len(set(MAKERS.values())) == len(MAKERS) >= 12
    assert {"dfn", "gopher.quality", "datacomp.basic"} <= set(MAKERS)


def test_marking_changes_nothing_else() -> None:
    def made(x: int) -> Any:
        return x

    assert stage(example="made(1)")(made) is made
    assert ready_made(made) == ("made(1)", (), (), ())
    assert ready_made(filters.col) is None
