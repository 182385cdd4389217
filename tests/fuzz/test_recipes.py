"""Recipes with slips of all kinds: a plan or a refusal that is meant for the user."""

from __future__ import annotations

import functools
from pathlib import Path
from random import Random

import pytest

from tests.conftest import write_pool
from tests.fuzz import checks, tasks
from tests.fuzz.batches import fell
from tests.fuzz.conftest import Campaign
from tests.fuzz.texts import PYTHON, YAML, recipe_mutant

RECIPES = 150


def case(ending: str, seed: int, folder: Path) -> list[str]:
    r, paths = Random(f"{ending} {seed}"), []
    write_pool(folder / "pool", sizes=(20, 10, 15), row_group=10)
    (folder / "recipes").mkdir()
    for i in range(RECIPES):
        path = folder / "recipes" / f"{i:03d}.{ending}"
        path.write_bytes(recipe_mutant(r, PYTHON if ending == "py" else YAML))
        paths.append(str(path))
    checks.canaries(folder / "about")
    before = checks.fence(folder, folder / "logs")
    (folder / "logs").mkdir()
    found = fell(tasks.plan_recipes, paths, str(folder), log=folder / "logs" / "log")
    return found + checks.differences(before, checks.fence(folder, folder / "logs"))


@pytest.mark.parametrize("ending", ["py", "yaml"])
def test_recipes_with_slips(ending: str, campaign: Campaign) -> None:
    campaign.each(functools.partial(case, ending), seeds=(1, 2))
