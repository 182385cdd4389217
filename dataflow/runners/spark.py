"""Spark, by a job server of our own for each run."""

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
from poolsieve.dataflow.runners.network import check_listens, get_json
from poolsieve.dataflow.runners.place import Elsewhere, Place, guarded
from poolsieve.dataflow.runners.preflight import (
    check_jar,
    check_job_service,
    check_minor,
    check_pool,
    engine_in,
    pool_here,
)
from poolsieve.scoring_models.base.errors import PlanError

MAIN = "org.apache.beam.runners.spark.SparkJobServerDriver"

_CACHED = 600_000
"""Milliseconds that a Python worker stays: else Spark starts a new one, with its models, for each stage."""

_MASTERS = ("spark://", "local", "yarn", "k8s://", "mesos://")
"""What Spark's masters begin with (its page "Submitting Applications")."""

PROPERTIES = (
    # A worker that died stays in an executor's cache: the next try must go to another executor.
    "-Dspark.excludeOnFailure.enabled=true",
    "-Dspark.excludeOnFailure.task.maxTaskAttemptsPerExecutor=1",
    # Where no executor is left that has not failed, the job has failed; Spark would wait for two minutes.
    "-Dspark.scheduler.excludeOnFailure.unschedulableTaskSetTimeout=3s",
    "-Dspark.ui.enabled=false",
)


@dataclass(frozen=True, kw_only=True)
class SparkConfig:
    """What the preset is made from.

    Attributes:
        master: `spark://HOST:PORT`, or what else Spark takes.
        pool: HOST:PORT of the worker pools, as executors reach theirs; "" if the user names another environment.
        jar: of the job server; "" for Beam's own.
        home: folder of Spark, for a jar without Spark in it.
        endpoint: of a job server that the user has; none is started then.
        version, scala: of the cluster's Spark, and of its Scala; "" if not known.
        memory: of an executor; "" for Spark's default.
        workers: executors of this machine; 0 if not known.
        ours: it is the cluster of this machine.
    """

    master: str = ""
    pool: str = ""
    jar: str = ""
    home: str = ""
    endpoint: str = ""
    version: str = ""
    scala: str = ""
    memory: str = ""
    workers: int = 0
    ours: bool = False

    @classmethod
    def of(cls, flags: Sequence[str]) -> SparkConfig:
        """What flags say, and for the rest the cluster on this machine."""
        master, endpoint = given.flag(flags, "spark_master_url"), given.flag(flags, "job_endpoint")
        pool, jar = given.pool_of(flags), given.flag(flags, "spark_job_server_jar")
        here = None if master or endpoint else running("spark")
        if here is None:
            return cls(master=master, pool=pool, jar=jar, endpoint=endpoint)
        return cls(
            master=here.master,
            pool=pool or here.pool,
            jar=jar or here.jar,
            home="" if jar else here.home,
            version=here.versions.get("spark", ""),
            scala=here.versions.get("scala", ""),
            memory="768m",
            workers=here.workers,
            ours=True,
        )

    @property
    def pool_here(self) -> str:
        """The pool, if this process reaches it as executors do; else empty."""
        return pool_here(self.pool, self.master or self.endpoint, ours=self.ours)

    def options(self, endpoint: str = "") -> list[str]:
        """Beam's flags. Pure."""
        return [
            f"--job_endpoint={endpoint or self.endpoint}",
            *(given.environment(self.pool) if self.pool else []),
            "--sdk_worker_parallelism=1",
            f"--environment_cache_millis={_CACHED}",
            *([f"--files_to_stage={self.jar}"] if self.home else []),
        ]

    def server(self, jar: str) -> JobServer:
        """The job server of one run. Pure."""
        memory = [f"-Dspark.executor.memory={self.memory}"] if self.memory else []
        brief = [*BRIEF, f"-Dspark.executor.extraJavaOptions={' '.join(BRIEF)}"] if self.ours else []
        return JobServer(
            jar=jar,
            main=MAIN,
            home=f"{self.home}/jars/*" if self.home else "",
            arguments=[f"--spark-master-url={self.master}"],
            properties=[*PROPERTIES, *memory, *brief],
        )


class SparkRunner:
    """Spark 3 (or, with its own jar, 4)."""

    about = "Spark: `poolsieve cluster up --spark`'s, or yours by -- --spark_master_url and --environment_config"

    def check(self, setting: Setting) -> None:
        """A master that answers, a jar for its Spark, a pool that answers if it is here."""
        config = SparkConfig.of(setting.flags)
        given.start_seconds(setting.flags)
        if not config.master and not config.endpoint:
            raise PlanError(
                "--runner spark needs a cluster: `poolsieve cluster up --spark` makes one on this machine; name yours "
                "by -- --spark_master_url=spark://HOST:7077 --environment_config=HOST:PORT"
            )
        given.check_workers(setting.flags, config.pool, "spark", "Spark worker")
        check_spark(config)

    def flags(self, setting: Setting) -> list[str]:
        """The preset; the job server's address is known once it runs."""
        return SparkConfig.of(setting.flags).options("localhost:PORT")

    def beam_runner(self, setting: Setting) -> Any:
        """Beam's own for job services."""
        return "PortableRunner"

    @contextlib.contextmanager
    def opened(self, setting: Setting) -> Iterator[Place]:
        """A job server of this run's own, unless the user names one."""
        config = SparkConfig.of(setting.flags)
        with _server(config) as (endpoint, guard):
            yield Elsewhere(
                "Spark",
                endpoint,
                guard,
                config.options(endpoint),
                config.pool_here,
                start_seconds=given.start_seconds(setting.flags),
                cluster="spark" if config.ours else "",
            )


@contextlib.contextmanager
def _server(config: SparkConfig) -> Iterator[tuple[str, Guard]]:
    if config.endpoint:
        with guarded(Guard(new_log("spark"))) as guard:
            yield config.endpoint, guard
        return
    jar = config.jar or beams_jar(":runners:spark:3:job-server:shadowJar")
    home = {"SPARK_HOME": config.home, "SPARK_LOCAL_IP": "127.0.0.1"} if config.home else {}
    with serving(config.server(jar), "Spark", home) as found:
        yield found


def check_spark(config: SparkConfig) -> None:
    """Asks everything that can be asked from here.

    Raises:
        PlanError: for what does not answer, or does not fit.
    """
    if config.endpoint:
        check_job_service(config.endpoint, "a Beam job server", "start it, or leave --job_endpoint out")
    elif config.master.startswith("spark://"):
        check_listens(config.master, "a Spark master", "start it, or name another --spark_master_url")
    elif not config.master.startswith(_MASTERS):
        raise PlanError(f"--spark_master_url={config.master}: Spark takes none such; write spark://HOST:7077")
    if config.jar:
        found = engine_in(config.jar)
        check_minor("Spark", found.spark, config.version)
        check_minor("Scala", found.scala, config.scala)  # its classes do not fit another's, whatever Spark
        if not config.home:
            check_jar(config.jar, "spark")
    if config.pool_here:
        check_pool(config.pool_here, max(config.workers, 1))


def alive_workers(web: str, master: str) -> int | None:
    """How many workers a master has that are alive, by its own page; None if no or another one answers there."""
    said = get_json(f"{web}/json/")
    if not isinstance(said, dict) or said.get("url") != master:
        return None
    return sum(one.get("state") == "ALIVE" for one in said.get("workers", []))
