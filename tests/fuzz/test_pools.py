"""Pools of damaged files: each costs itself at most, rows that the damage left alone keep their lines."""

from __future__ import annotations

import functools

import pytest

from tests.fuzz.conftest import Campaign
from tests.fuzz.pools import pool_case

FILES = 40
"""Damaged files of a case: a run costs a second however few there are."""


@pytest.mark.parametrize("kind", ["tar", "parquet", "jsonl"])
def test_damaged_files(kind: str, campaign: Campaign) -> None:
    campaign.each(functools.partial(pool_case, kind, files=FILES), seeds=(1,))


def test_damage_within_one_row_costs_that_row(campaign: Campaign) -> None:
    campaign.each(functools.partial(pool_case, "tar", files=FILES, pictures=True), seeds=(1,))
