"""A master and workers of Spark, each worker with one core."""

from __future__ import annotations

import sys

from poolsieve.dataflow.runners.clusters import artefacts
from poolsieve.dataflow.runners.clusters.artefacts import Say
from poolsieve.dataflow.runners.clusters.base import Rising
from poolsieve.dataflow.runners.clusters.state import Cluster
from poolsieve.dataflow.runners.java import BRIEF, OPENS, java
from poolsieve.dataflow.runners.network import free_ports
from poolsieve.dataflow.runners.spark import MAIN, alive_workers
from poolsieve.dataflow.runners.versions import versions

_RUNNER = "beam-runners-spark-3"
_HOST = "127.0.0.1"
_SCALA = "2.12"
"""Of this Spark: its start scripts would say it to workers, which start executors by it."""

_MEMORY = "1g"
"""Of a worker, for its executor."""


class SparkCluster:
    """`poolsieve cluster up --spark`."""

    def fetch(self, say: Say) -> None:
        """Java must be there; Spark by pip, the job server by Maven."""
        java()
        artefacts.together(
            lambda: artefacts.SPARK.fetched(say),
            lambda: artefacts.job_server(_RUNNER, MAIN, say),
        )

    def start(self, rising: Rising, workers: int) -> Cluster:
        """Master, workers, pool."""
        home, jar = artefacts.SPARK.fetched(rising.say), artefacts.job_server(_RUNNER, MAIN, rising.say)
        port, page, pool, *pages = free_ports(3 + workers)
        master, web = f"spark://{_HOST}:{port}", f"http://{_HOST}:{page}"
        env = {"SPARK_HOME": home, "SPARK_LOCAL_IP": _HOST, "SPARK_SCALA_VERSION": _SCALA}
        daemon = [java(), "-Xmx256m", *BRIEF, *OPENS, "-cp", f"{home}/jars/*"]
        where = ["--host", _HOST, "--port", str(port), "--webui-port", str(page)]
        rising.start("master", [*daemon, "org.apache.spark.deploy.master.Master", *where], env)
        # Its page names it: another service may have taken the port meanwhile.
        rising.until("Spark's master", lambda: alive_workers(web, master) is not None)
        for i, shown in enumerate(pages, 1):
            self._worker(rising, daemon, env, i, shown, master)
        rising.until("Spark's workers", lambda: alive_workers(web, master) == workers)
        address = rising.pool(sys.executable, pool, workers)
        return Cluster(
            kind="spark",
            master=master,
            pool=address,
            workers=workers,
            processes=tuple(rising.processes),
            jar=jar,
            home=home,
            web=web,
            versions=versions()
            | {"spark": artefacts.SPARK.version, "scala": _SCALA, "beam of the job server": artefacts.BEAM_JAVA},
        )

    def _worker(
        self, rising: Rising, daemon: list[str], env: dict[str, str], number: int, page: int, master: str
    ) -> None:
        room = ["--cores", "1", "--memory", _MEMORY]
        where = ["--host", _HOST, "--webui-port", str(page), "--work-dir", str(rising.folder / f"work-{number}")]
        rising.start(f"worker-{number}", [*daemon, "org.apache.spark.deploy.worker.Worker", *where, *room, master], env)
