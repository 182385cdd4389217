"""The logs that the real tools wrote (`tests/fixtures/eval_logs`), copies to spoil, and rows as tests compare them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from poolsieve.scoring_models.base.errors import PlanError

LOGS = Path(__file__).parents[3] / "fixtures" / "eval_logs"


def copied(folder: str, to: Path) -> Path:
    """A copy of one folder of logs, links included."""
    shutil.copytree(LOGS / folder, to / folder, symlinks=True)
    return to / folder


def marks(table: pa.Table) -> dict[tuple[str, bool], dict[str, float | None]]:
    """(model, image) -> item -> mark."""
    found: dict[tuple[str, bool], dict[str, float | None]] = {}
    for row in table.to_pylist():
        items = found.setdefault((row["model"], row["image"]), {})
        assert row["item"] not in items
        items[row["item"]] = row["correct"]
    return found


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def write_lines(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def one(folder: Path, pattern: str) -> Path:
    """The last file of a pattern, by name."""
    return sorted(folder.glob(pattern))[-1]


def refused(read: Callable[..., Any], *said: str | Path, **arguments: Any) -> str:
    """Asserts that a call is refused, and that its message says all of this."""
    with pytest.raises(PlanError) as error:
        read(**arguments)
    for part in said:
        assert str(part) in str(error.value), f"{part!r} is not in: {error.value}"
    return str(error.value)
