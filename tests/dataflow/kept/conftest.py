"""A cache of each test's own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where lists are kept that OUT has not."""
    monkeypatch.setenv("POOLSIEVE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
