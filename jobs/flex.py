"""A run as a Flex Template's launcher starts it: parameters are those of `docker/metadata.json`, other flags Beam's.

The launcher must end when the job is handed over, so nobody is left who would write the manifest. The same
`poolsieve run` afterwards, anywhere, finds every score, and writes it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import Any

from poolsieve.dataflow import fs
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.passes.submit import hand_over
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.store.job import Options
from poolsieve.dataflow.store.manifest import read_cuts
from poolsieve.jobs.given import given
from poolsieve.scoring_models.base.errors import PlanError

SWITCHES = ("retry_quarantined", "replace_pool", "newest")
"""Parameters that are true or false."""

NAMES = ("recipe", "out", "parameters", "models", "cuts", "workers", "max_error_rate", *SWITCHES)
"""Parameters that are `poolsieve run`'s; all other flags are Beam's."""


def launch(arguments: Sequence[str]) -> None:
    """Checks a run, and hands its job to Dataflow.

    Args:
        arguments: `--name=value`, as the launcher gives them.

    Raises:
        PlanError: for anything that can't work.
    """
    ours, flags = split(arguments)
    for name in ("recipe", "out"):
        if not ours.get(name):
            raise PlanError(f"the template's parameter {name!r} is missing")
    engine = Engine("dataflow", int(ours.get("workers", 1)), flags)
    with tempfile.TemporaryDirectory() as folder:
        recipe = given(_here(ours["recipe"], folder), parameters(ours.get("parameters", "")))
        frozen = read_cuts(ours["cuts"]) if ours.get("cuts") else None
        plan = prepare(recipe, ours["out"], options=options(ours), frozen=frozen, newest=_true(ours, "newest"))
        if not _true(ours, "replace_pool"):
            plan.check_pool()
        hand_over(plan, engine=engine)


def split(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """(our parameters by name, Beam's flags as they are)."""
    named = [(name, value) for flag in arguments for name, _, value in [flag.removeprefix("--").partition("=")]]
    ours = {name: value for name, value in named if name in NAMES}
    return ours, [flag for flag, (name, _) in zip(arguments, named, strict=True) if name not in NAMES]


def parameters(text: str) -> dict[str, str]:
    """`a=1;b=x` as {"a": "1", "b": "x"}.

    Raises:
        PlanError: for what is not NAME=VALUE.
    """
    pairs = [part.partition("=") for part in text.split(";") if part]
    if any(not (name and equals) for name, equals, _ in pairs):
        raise PlanError(f"parameters={text!r}: write NAME=VALUE, several with a semicolon between them")
    return {name: value for name, _, value in pairs}


def options(ours: dict[str, str]) -> Options:
    """How the job is run."""
    made: dict[str, Any] = {
        "threads": 0,
        "retry_quarantined": _true(ours, "retry_quarantined"),
        "models": ours.get("models", ""),
    }
    if ours.get("max_error_rate"):
        made["max_error_rate"] = float(ours["max_error_rate"])
    return Options(**made)


def _true(ours: dict[str, str], name: str) -> bool:
    return ours.get(name, "false").lower() == "true"


def _here(recipe: str, folder: str) -> str:
    """A recipe file of this machine: one in a bucket is copied."""
    if "://" not in recipe:
        return recipe
    path = os.path.join(folder, recipe.rsplit("/", 1)[-1])
    with open(path, "wb") as file:
        file.write(fs.read_bytes(recipe))
    return path
