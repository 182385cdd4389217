"""What the user's Beam flags say, without asking Beam: `--name=value` and `--name value`, the last one counts."""

from __future__ import annotations

import json
from collections.abc import Sequence

from poolsieve.dataflow.runners.place import START_SECONDS
from poolsieve.dataflow.runners.versions import versions
from poolsieve.scoring_models.base.errors import PlanError


def flag(flags: Sequence[str], name: str) -> str:
    """The value of a flag; "" if it is not there."""
    found = ""
    for i, one in enumerate(flags):
        if one.startswith(f"--{name}="):
            found = one.partition("=")[2]
        elif one == f"--{name}" and i + 1 < len(flags):
            found = flags[i + 1]
    return found


def without(flags: Sequence[str], *names: str) -> list[str]:
    """The flags without some, which are ours and no Beam knows."""
    left, skip = [], False
    for one in flags:
        ours = any(one == f"--{name}" or one.startswith(f"--{name}=") for name in names)
        if not skip and not ours:
            left.append(one)
        skip = ours and "=" not in one
    return left


POOL = "environment_config"
"""Beam's flag for the address of worker pools."""

START = "start_seconds"
"""A flag of ours among Beam's: seconds that may pass without a sign of work."""


def start_seconds(flags: Sequence[str]) -> float:
    """What `--start_seconds` says.

    Raises:
        PlanError: for what is no time.
    """
    said = flag(flags, START)
    try:
        seconds = float(said or START_SECONDS)
    except ValueError:
        seconds = -1.0
    if not seconds > 0:
        raise PlanError(f"--{START}={said}: a number of seconds is wanted")
    return seconds


def environment(pool: str) -> list[str]:
    """Flags for workers of a pool of ours, which compares our versions with its own."""
    config = json.dumps({"url": pool, "params": versions()})
    return ["--environment_type=EXTERNAL", f"--{POOL}={config}"]


def check_workers(flags: Sequence[str], pool: str, runner: str, beside: str) -> None:
    """Refuses a cluster without anybody who runs Python.

    Raises:
        PlanError: if neither a pool nor another environment is named.
    """
    if not pool and not flag(flags, "environment_type"):
        raise PlanError(
            f"--runner {runner} needs Python workers: run `poolsieve pool` beside each {beside} and add "
            "-- --environment_config=HOST:PORT, or name an --environment_type"
        )


def pool_of(flags: Sequence[str]) -> str:
    """The worker pool that flags name; "" if they name none."""
    if flag(flags, "environment_type").upper() not in ("", "EXTERNAL"):
        return ""
    said = flag(flags, POOL)
    if said.startswith("{"):
        try:
            return str(json.loads(said).get("url", ""))
        except ValueError as error:
            raise PlanError(f"--environment_config={said}: is no JSON") from error
    return said
