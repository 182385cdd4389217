"""Flink, by a job server of our own for each run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from poolsieve.dataflow.runners import given
from poolsieve.dataflow.runners.base import Setting
from poolsieve.dataflow.runners.clusters.state import running
from poolsieve.dataflow.runners.failures import new_log
from poolsieve.dataflow.runners.guard import Guard
from poolsieve.dataflow.runners.java import BRIEF, JobServer, beams_jar, serving
from poolsieve.dataflow.runners.place import Elsewhere, Place, guarded
from poolsieve.dataflow.runners.preflight import (
    check_jar,
    check_job_service,
    check_minor,
    check_pool,
    engine_in,
    flink_on_one_machine,
    flink_overview,
    pool_here,
)
from poolsieve.scoring_models.base.errors import PlanError

MAIN = "org.apache.beam.runners.flink.FlinkJobServerDriver"


@dataclass(frozen=True, kw_only=True)
class FlinkConfig:
    """What the preset is made from.

    Attributes:
        master: HOST:PORT of Flink's REST service.
        pool: HOST:PORT of the worker pools, as task managers reach theirs; "" if the user names another environment.
        jar: of the job server; "" for Beam's own.
        home: folder of Flink, for a jar without Flink in it.
        endpoint: of a job server that the user has; none is started then.
        parallelism: slots that the job takes; 0 if not known.
        version: a minor version of Flink, by which Beam's own jar is chosen.
        ours: it is the cluster of this machine.
    """

    master: str = ""
    pool: str = ""
    jar: str = ""
    home: str = ""
    endpoint: str = ""
    parallelism: int = 0
    version: str = ""
    ours: bool = False

    @classmethod
    def of(cls, flags: Sequence[str]) -> FlinkConfig:
        """What flags say, and for the rest the cluster on this machine."""
        master, endpoint = given.flag(flags, "flink_master"), given.flag(flags, "job_endpoint")
        pool, jar = given.pool_of(flags), given.flag(flags, "flink_job_server_jar")
        here = None if master or endpoint else running("flink")
        if here is None:
            version = given.flag(flags, "flink_version")
            master = master.rpartition("://")[2]
            return cls(master=master, pool=pool, jar=jar, endpoint=endpoint, version=version)
        return cls(
            master=here.master,
            pool=pool or here.pool,
            jar=jar or here.jar,
            home="" if jar else here.home,
            parallelism=here.workers,
            ours=True,
        )

    @property
    def pool_here(self) -> str:
        """The pool, if this process reaches it as task managers do; else empty."""
        return pool_here(self.pool, self.master or self.endpoint, ours=self.ours)

    def options(self, name: str = "", endpoint: str = "") -> list[str]:
        """Beam's flags. Pure."""
        return [
            f"--job_endpoint={endpoint or self.endpoint}",
            *([f"--job_name={name}"] if name else []),
            *(given.environment(self.pool) if self.pool else []),
            "--sdk_worker_parallelism=1",
            *([f"--parallelism={self.parallelism}"] if self.parallelism else []),
            *([f"--files_to_stage={self.jar}"] if self.home else []),
        ]

    def server(self, jar: str) -> JobServer:
        """The job server of one run. Pure."""
        home = f"{self.home}/lib/*" if self.home else ""
        brief = BRIEF if self.ours else ()
        return JobServer(jar=jar, main=MAIN, home=home, arguments=[f"--flink-master={self.master}"], properties=brief)

    @property
    def rest(self) -> str:
        """URL of Flink's REST service."""
        return f"http://{self.master}" if self.master else ""


class FlinkRunner:
    """Flink, as a session cluster."""

    about = "Flink: `poolsieve cluster up --flink`'s, or yours by -- --flink_master and --environment_config"

    def check(self, setting: Setting) -> None:
        """A cluster with slots, a jar for its Flink, a pool that answers if it is here."""
        config = FlinkConfig.of(setting.flags)
        given.start_seconds(setting.flags)
        if not config.master and not config.endpoint:
            raise PlanError(
                "--runner flink needs a cluster: `poolsieve cluster up --flink` makes one on this machine; name yours "
                "by -- --flink_master=HOST:8081 --environment_config=HOST:PORT"
            )
        given.check_workers(setting.flags, config.pool, "flink", "task manager")
        check_flink(config, given.flag(setting.flags, "parallelism"))

    def flags(self, setting: Setting) -> list[str]:
        """The preset; the job server's address is known once it runs."""
        return FlinkConfig.of(setting.flags).options("poolsieve-JOB", "localhost:PORT")

    def beam_runner(self, setting: Setting) -> Any:
        """Beam's own for job services."""
        return "PortableRunner"

    @contextlib.contextmanager
    def opened(self, setting: Setting) -> Iterator[Place]:
        """A job server of this run's own, unless the user names one."""
        config = FlinkConfig.of(setting.flags)
        with _server(config) as (endpoint, guard):
            place = Elsewhere(
                "Flink",
                endpoint,
                guard,
                pool=config.pool_here,
                flink=config.rest,
                start_seconds=given.start_seconds(setting.flags),
                cluster="flink" if config.ours else "",
            )
            place.flags = config.options(place.name, endpoint)
            yield place


@contextlib.contextmanager
def _server(config: FlinkConfig) -> Iterator[tuple[str, Guard]]:
    if config.endpoint:
        with guarded(Guard(new_log("flink"))) as guard:
            yield config.endpoint, guard
        return
    with serving(config.server(config.jar or _beams_jar(config)), "Flink") as found:
        yield found


def _beams_jar(config: FlinkConfig) -> str:
    version = config.version or ".".join(flink_overview(config.rest)[2].split(".")[:2])
    return beams_jar(f":runners:flink:{version}:job-server:shadowJar")


def check_flink(config: FlinkConfig, parallelism: str = "") -> None:
    """Asks everything that can be asked from here; `parallelism` is what the user asks for.

    Raises:
        PlanError: for what does not answer, or does not fit.
    """
    if config.endpoint:
        check_job_service(config.endpoint, "a Beam job server", "start it, or leave --job_endpoint out")
    slots, _, version = flink_overview(config.rest) if config.master else (0, 0, "")
    if config.ours:
        check_slots(parallelism, slots)
    if config.jar:
        check_minor("Flink", engine_in(config.jar).flink, version)
        if not config.home:
            check_jar(config.jar, "flink")
    if config.pool_here:
        check_pool(config.pool_here, flink_on_one_machine(config.rest) if config.rest else 1)


def check_slots(parallelism: str, slots: int) -> None:
    """Refuses to wait for slots that there will never be; other people's clusters may grow.

    Raises:
        PlanError: saying how many there are.
    """
    if parallelism.isdecimal() and int(parallelism) > slots:
        raise PlanError(
            f"--parallelism={parallelism} asks for more than the {slots} slots of this machine's Flink: leave it "
            "out, or `poolsieve cluster down --flink` and `up --flink --workers N`"
        )
