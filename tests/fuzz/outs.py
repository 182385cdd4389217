"""An OUT with everything in it that an OUT can have, and how it is damaged."""

from __future__ import annotations

from pathlib import Path
from random import Random

from tests.conftest import write_pool
from tests.fuzz import checks, tasks
from tests.fuzz.boxes import boxed
from tests.fuzz.mutators import Input, mutant
from tests.fuzz.texts import json_mutant

QUICK = ("open", "report", "prune", "export", "plan")
SLOW = ("what_if", "decide", "cuts", "run")
"""These start Beam."""


def build(folder: Path) -> str:
    """A pool, an OUT with two decisions, an export and the notes of another one that was killed, and canaries about.

    Returns:
        The current ledger's hash.
    """
    write_pool(folder / "pool", sizes=(30, 20, 40), row_group=10)
    (folder / "recipe.py").write_text(tasks.RECIPE)
    (folder / "logs").mkdir()
    checks.canaries(folder / "about")
    made = boxed(tasks.make_out, str(folder), log=folder / "logs" / "make")
    assert made.how == "ok", made.text
    return str(made.value)


def commands(r: Random) -> list[str]:
    """Some commands in some order."""
    found = [*r.sample(QUICK, r.choice((1, 2, 3))), *r.sample(SLOW, r.choice((0, 0, 0, 1)))]
    r.shuffle(found)
    return found


def damage(r: Random, folder: Path) -> str:
    """Damages one file of OUT and names it; JSON, which commands believe most, more often than the rest."""
    out = folder / "out"
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.suffix != ".html")
    texts = [path for path in files if path.suffix == ".json"]
    path = r.choice(texts if r.random() < 0.6 else files)
    data = path.read_bytes()
    if path.suffix == ".json":
        path.write_bytes(json_mutant(r, data, str(folder / "about" / "canary")))
    else:
        path.write_bytes(mutant(r, Input(data=data, places=[(max(0, len(data) - 400), len(data))]), {}).data)
    return str(path.relative_to(out))
