"""Any Beam job service, which the user names by Beam's own flags."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from poolsieve.dataflow.runners import given
from poolsieve.dataflow.runners.base import Setting
from poolsieve.dataflow.runners.failures import new_log
from poolsieve.dataflow.runners.guard import Guard
from poolsieve.dataflow.runners.place import Elsewhere, Place, guarded
from poolsieve.dataflow.runners.preflight import check_job_service, check_pool, pool_here
from poolsieve.scoring_models.base.errors import PlanError


class PortableRunner:
    """A job service that `--job_endpoint` names."""

    about = "a Beam job service (name it after --, as: -- --job_endpoint=localhost:8099)"

    def check(self, setting: Setting) -> None:
        """The service must be named, and answer: without one, Beam would look for Docker to start its own."""
        endpoint, pool = given.flag(setting.flags, "job_endpoint"), given.pool_of(setting.flags)
        given.start_seconds(setting.flags)
        if not endpoint:
            raise PlanError("--runner portable needs its job service: add -- --job_endpoint=HOST:PORT")
        check_job_service(endpoint, "a Beam job service", "start it, or name another --job_endpoint")
        if here := pool_here(pool, endpoint):
            check_pool(here)

    def flags(self, setting: Setting) -> list[str]:
        """None of ours."""
        return []

    def beam_runner(self, setting: Setting) -> Any:
        """Beam's own."""
        return "PortableRunner"

    @contextlib.contextmanager
    def opened(self, setting: Setting) -> Iterator[Place]:
        """The service that is there."""
        pool, endpoint = given.pool_of(setting.flags), given.flag(setting.flags, "job_endpoint")
        with guarded(Guard(new_log("portable"))) as guard:
            seen = pool_here(pool, endpoint)
            seconds = given.start_seconds(setting.flags)
            yield Elsewhere("the job service", endpoint, guard, pool=seen, start_seconds=seconds)
