"""A job manager and task managers of Flink, each task manager with one slot."""

from __future__ import annotations

import sys
from pathlib import Path

from poolsieve.dataflow.runners.clusters import artefacts
from poolsieve.dataflow.runners.clusters.artefacts import Say
from poolsieve.dataflow.runners.clusters.base import Rising
from poolsieve.dataflow.runners.clusters.state import Cluster
from poolsieve.dataflow.runners.flink import MAIN
from poolsieve.dataflow.runners.java import BRIEF, OPENS, java
from poolsieve.dataflow.runners.network import free_ports, get_json
from poolsieve.dataflow.runners.versions import versions

_RUNNER = "beam-runners-flink-1.19"
_ENTRY = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASKS = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"

_SETTINGS = {
    "jobmanager.rpc.address": "127.0.0.1",
    "jobmanager.bind-host": "127.0.0.1",
    "rest.address": "127.0.0.1",
    "rest.bind-address": "127.0.0.1",
    "taskmanager.host": "127.0.0.1",
    "taskmanager.bind-host": "127.0.0.1",
    "taskmanager.numberOfTaskSlots": "1",
    # Flink's start scripts, which the package has not, would derive these from one figure.
    "taskmanager.cpu.cores": "1.0",
    "taskmanager.memory.task.heap.size": "384m",
    "taskmanager.memory.task.off-heap.size": "0m",
    "taskmanager.memory.managed.size": "128m",
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
    # Beam's graph has many exchanges, and each wants buffers: with 256m and Flink's 512 for a sort there were too few.
    "taskmanager.memory.network.min": "256m",
    "taskmanager.memory.network.max": "256m",
    "taskmanager.network.sort-shuffle.min-buffers": "32",
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "3",
    "restart-strategy.fixed-delay.delay": "1 s",
    # A killed task manager is noticed by its connection; without one, by silence.
    "heartbeat.timeout": "20000",
}


class FlinkCluster:
    """`poolsieve cluster up --flink`."""

    def fetch(self, say: Say) -> None:
        """Java must be there; Flink by pip, the job server by Maven."""
        java()
        artefacts.together(
            lambda: artefacts.FLINK.fetched(say),
            lambda: artefacts.job_server(_RUNNER, MAIN, say),
        )

    def start(self, rising: Rising, workers: int) -> Cluster:
        """Job manager, task managers, pool."""
        home, jar = artefacts.FLINK.fetched(rising.say), artefacts.job_server(_RUNNER, MAIN, rising.say)
        rpc, rest, blobs, pool = free_ports(4)
        settings = {"jobmanager.rpc.port": str(rpc), "rest.port": str(rest), "blob.server.port": str(blobs)}
        conf = _conf(rising.folder, settings)
        run = [java(), *BRIEF, *OPENS, "-cp", f"{home}/lib/*"]
        rising.start("job-manager", [*run, "-Xmx448m", _ENTRY, "--configDir", conf])
        web = f"http://127.0.0.1:{rest}"
        rising.until("Flink's job manager", lambda: get_json(f"{web}/overview"))
        for number in range(1, workers + 1):
            memory = ["-Xmx512m", "-XX:MaxDirectMemorySize=384m"]
            rising.start(f"task-manager-{number}", [*run, *memory, _TASKS, "--configDir", conf])
        rising.until("Flink's slots", lambda: (get_json(f"{web}/overview") or {}).get("slots-total") == workers)
        address = rising.pool(sys.executable, pool, workers)
        return Cluster(
            kind="flink",
            master=f"127.0.0.1:{rest}",
            pool=address,
            workers=workers,
            processes=tuple(rising.processes),
            jar=jar,
            home=home,
            web=web,
            versions=versions() | {"flink": artefacts.FLINK.version, "beam of the job server": artefacts.BEAM_JAVA},
        )


def _conf(folder: Path, more: dict[str, str]) -> str:
    """The folder of a configuration with every setting."""
    conf = folder / "conf"
    conf.mkdir(exist_ok=True)
    settings = _SETTINGS | {"io.tmp.dirs": str(folder)} | more
    (conf / "config.yaml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
    return str(conf)
