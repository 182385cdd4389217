"""One run of each format for all tests of cards: they change nothing in it."""

from __future__ import annotations

import pytest

import poolsieve
from poolsieve.dataflow.publish.contents import Subject
from tests.jobs.card.subjects import run_jsonl, run_parquet, run_tars, subject_of


@pytest.fixture(scope="session")
def parquet_run(tmp_path_factory: pytest.TempPathFactory) -> poolsieve.Run:
    return run_parquet(tmp_path_factory.mktemp("parquet"))


@pytest.fixture(scope="session")
def jsonl_run(tmp_path_factory: pytest.TempPathFactory) -> poolsieve.Run:
    return run_jsonl(tmp_path_factory.mktemp("jsonl"))


@pytest.fixture(scope="session")
def tars_run(tmp_path_factory: pytest.TempPathFactory) -> poolsieve.Run:
    return run_tars(tmp_path_factory.mktemp("tars"))


@pytest.fixture
def subject(parquet_run: poolsieve.Run) -> Subject:
    return subject_of(parquet_run)
