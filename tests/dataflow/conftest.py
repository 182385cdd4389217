"""Pools of several kinds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dataflow.exported import write_tar


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    """Three tars of 40, 30 and 50 samples."""
    folder = tmp_path / "tars"
    folder.mkdir()
    for shard, n in enumerate((40, 30, 50)):
        write_tar(folder / f"{shard:05d}.tar", shard, n, longest=120 if shard == 1 else 0)
    return folder
