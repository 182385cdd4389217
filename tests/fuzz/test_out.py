"""An OUT in which files are damaged or were edited by somebody: every command works or refuses, and stays inside."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz import tasks
from tests.fuzz.batches import fell
from tests.fuzz.conftest import Campaign
from tests.fuzz.outs import build

CASES = 12
"""Damaged OUTs of a seed."""


def case(seed: int, folder: Path) -> list[str]:
    reference = build(folder)
    (folder / "out").rename(folder / "pristine")
    numbers = [seed * CASES + i for i in range(CASES)]
    return fell(tasks.use_outs, numbers, str(folder), reference, log=folder / "logs" / "log", limit=600)


def test_damaged_outs(campaign: Campaign) -> None:
    campaign.each(case, seeds=(1,))
