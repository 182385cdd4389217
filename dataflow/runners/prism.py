"""Prism, Beam's own engine in Go: one process, no cluster to keep."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolsieve.dataflow.runners import given
from poolsieve.dataflow.runners.base import Setting
from poolsieve.dataflow.runners.clusters.state import running
from poolsieve.dataflow.runners.failures import new_log
from poolsieve.dataflow.runners.guard import Guard
from poolsieve.dataflow.runners.place import Elsewhere, Place, guarded
from poolsieve.dataflow.runners.preflight import check_job_service, check_pool, pool_here
from poolsieve.scoring_models.base.errors import PlanError


@dataclass(frozen=True, kw_only=True)
class PrismConfig:
    """What the preset is made from.

    Attributes:
        endpoint: HOST:PORT of Prism's job service.
        pool: HOST:PORT of the worker pool; "" if the user names another environment.
        log: of the server, if it is of this machine's cluster.
        ours: it is that.
    """

    endpoint: str = ""
    pool: str = ""
    log: str = ""
    ours: bool = False

    @classmethod
    def of(cls, flags: Sequence[str]) -> PrismConfig:
        """What flags say, and for the rest the server on this machine."""
        endpoint, pool = given.flag(flags, "job_endpoint"), given.pool_of(flags)
        here = None if endpoint else running("prism")
        if here is None:
            return cls(endpoint=endpoint, pool=pool)
        return cls(endpoint=here.master, pool=pool or here.pool, log=here.processes[-1].log, ours=True)

    @property
    def pool_here(self) -> str:
        """The pool, if this process reaches it as the server does; else empty."""
        return pool_here(self.pool, self.endpoint, ours=self.ours)

    def options(self) -> list[str]:
        """Beam's flags. Pure."""
        return [f"--job_endpoint={self.endpoint}", *(given.environment(self.pool) if self.pool else [])]


class PrismRunner:
    """A Prism server and a pool."""

    about = "Prism: `poolsieve cluster up --prism`'s, or yours by -- --job_endpoint and --environment_config"

    def check(self, setting: Setting) -> None:
        """A server and a pool that answer: without a pool, Prism itself would end with the job."""
        config = PrismConfig.of(setting.flags)
        given.start_seconds(setting.flags)
        if not config.endpoint:
            raise PlanError(
                "--runner prism needs a server: `poolsieve cluster up --prism` starts one on this machine; name yours "
                "by -- --job_endpoint=HOST:PORT --environment_config=HOST:PORT"
            )
        check_job_service(config.endpoint, "Prism", "start it, or name another --job_endpoint")
        if config.pool_here:
            check_pool(config.pool_here)

    def flags(self, setting: Setting) -> list[str]:
        """The preset."""
        return PrismConfig.of(setting.flags).options()

    def beam_runner(self, setting: Setting) -> Any:
        """Beam's own for job services."""
        return "PortableRunner"

    @contextlib.contextmanager
    def opened(self, setting: Setting) -> Iterator[Place]:
        """The server that is there."""
        config = PrismConfig.of(setting.flags)
        with guarded(Guard(new_log("prism"))) as guard:
            yield Elsewhere(
                "Prism",
                config.endpoint,
                guard,
                config.options(),
                config.pool_here,
                start_seconds=given.start_seconds(setting.flags),
                cluster="prism" if config.ours else "",
                engine_log=Path(config.log) if config.log else None,
            )
