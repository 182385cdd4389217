"""An OUT in which files are damaged or were edited by somebody: every command works or refuses, and stays inside."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

from tests.conftest import write_pool
from tests.fuzz import checks, tasks
from tests.fuzz.boxes import boxed
from tests.fuzz.conftest import Campaign
from tests.fuzz.mutators import Input, mutant
from tests.fuzz.texts import json_mutant

CASES = 12
"""Damaged OUTs of a seed, each in a box of its own."""

QUICK = ("open", "report", "prune", "export", "plan")
SLOW = ("what_if", "decide", "cuts", "run")


def world(folder: Path) -> str:
    """A pool, an OUT with two decisions, an export and the notes of another export that was killed."""
    write_pool(folder / "pool", sizes=(30, 20, 40), row_group=10)
    (folder / "recipe.py").write_text(tasks.RECIPE)
    (folder / "logs").mkdir()
    made = boxed(tasks.make_out, str(folder), log=folder / "logs" / "make")
    assert made.how == "ok", made.text
    return str(made.value)


def case(seed: int, folder: Path) -> list[str]:
    r, found = Random(f"out {seed}"), []
    reference = world(folder)
    checks.canaries(folder / "about")
    shutil.copytree(folder / "out", folder / "pristine")
    before = checks.fence(folder, folder / "out", folder / "logs")
    for i in range(CASES):
        shutil.rmtree(folder / "out")
        shutil.copytree(folder / "pristine", folder / "out")
        hit = [damage(r, folder) for _ in range(r.choice((1, 1, 2)))]
        commands = [*r.sample(QUICK, r.choice((1, 2, 3))), *r.sample(SLOW, r.choice((0, 0, 0, 1)))]
        r.shuffle(commands)
        sound = not any(name.startswith(("rows/", "scores/")) for name in hit)
        outcome = boxed(tasks.use_out, str(folder), commands, reference if sound else "", log=folder / "logs" / f"{i}")
        told = outcome.value if outcome.how == "ok" else [str(outcome)]
        after = checks.fence(folder, folder / "out", folder / "logs")
        told += checks.differences(before, after)
        found += [f"case {i}, {', '.join(hit)}, {', '.join(commands)}: {text}" for text in told]
        before = after
    return found


def damage(r: Random, folder: Path) -> str:
    """Damages one file of OUT; JSON, which commands believe most, more often than the rest."""
    out = folder / "out"
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.suffix != ".html")
    texts = [path for path in files if path.suffix == ".json"]
    path = r.choice(texts if r.random() < 0.6 else files)
    if path.suffix == ".json":
        path.write_bytes(json_mutant(r, path.read_bytes(), str(folder / "about" / "canary")))
    else:
        data = path.read_bytes()
        path.write_bytes(mutant(r, Input(data=data, places=[(max(0, len(data) - 400), len(data))]), {}).data)
    return str(path.relative_to(out))


def test_damaged_outs(campaign: Campaign) -> None:
    campaign.each(case, seeds=(1,))
