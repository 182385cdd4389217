"""`poolsieve report OUT`, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from poolsieve.jobs import api

RECIPE = """
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Top, col

recipe = (
    Pool.parquet("{pool}/*.parquet", uid="uid", text="text")
    | Keep(col("text").word_count() >= 3, reason="text.short")
    | Top("clip", fraction="0.5")
)
"""

REPORT = """
import sys
from poolsieve.jobs.cli import main

try:
    main(["report", {out!r}])
except SystemExit as ended:
    assert not ended.code, ended.code
heavy = {{"apache_beam", "torch"}} & set(sys.modules)
assert not heavy, heavy
"""


def contents(report: Path) -> dict[str, Any]:
    """What report.json says beside when it was made, and whose figures the throughput is."""
    data = json.loads(report.with_suffix(".json").read_text())
    return {**data, "made": "", "throughput": {**data["throughput"], "earlier": False}}


def test_a_report_made_anew_needs_no_beam_and_says_the_same(pool: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "recipe.py", tmp_path / "out"
    recipe.write_text(RECIPE.format(pool=pool))
    report = Path(api.run(recipe, out).report)
    first = contents(report)
    report.unlink()
    code = REPORT.format(out=str(out))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == str(report) and report.exists()
    assert contents(report) == first
