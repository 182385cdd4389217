"""What `poolsieve cluster` remembers of a cluster of this user on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from poolsieve.dataflow import fs
from poolsieve.dataflow.caches import cache_folder
from poolsieve.dataflow.runners.clusters.processes import Process
from poolsieve.scoring_models.base.errors import PlanError


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster that was started.

    Attributes:
        kind: spark, flink or prism.
        master: where jobs are sent: a URL of Spark, HOST:PORT of Flink's REST or of Prism's job service.
        pool: address of its pool of Python workers.
        workers: shards at a time.
        processes: in the order in which they were started.
        rising: not all of it is up: `up` is at work, or was killed in the middle.
        jar: of the job server that each run starts; "" for Prism.
        home: folder of the engine, whose jars the job server needs; "" for Prism.
        web: URL of the engine's own page; "" if it has none.
        versions: of engine, its Beam and Java parts, poolsieve, Beam and Python.
    """

    kind: str
    master: str
    pool: str
    workers: int
    processes: tuple[Process, ...]
    jar: str = ""
    home: str = ""
    web: str = ""
    versions: dict[str, str] = {}
    rising: bool = False

    def dead(self) -> list[Process]:
        """Processes that have ended by themselves."""
        return [one for one in self.processes if not one.alive]

    @property
    def is_useless(self) -> bool:
        """Whether nothing of a sort is left, as the pool, or every task manager: no job comes to its end here."""
        sorts = {one.name.rstrip("-0123456789") for one in self.processes}
        return sorts != {one.name.rstrip("-0123456789") for one in self.processes if one.alive}


def clusters_folder() -> Path:
    """Where states and logs of this user's clusters are; nobody else may write there."""
    folder = Path(cache_folder("")) / "clusters"
    folder.mkdir(parents=True, exist_ok=True)
    os.chmod(folder, 0o700)
    return folder


def state_file(kind: str) -> Path:
    """The file of one cluster."""
    return clusters_folder() / f"{kind}.json"


def stored(kind: str) -> Cluster | None:
    """The cluster that was started last and not ended; its processes may have died since.

    Raises:
        PlanError: if its file can't be read.
    """
    path = state_file(kind)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Cluster)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, OSError) as error:
        raise PlanError(
            f"{path} can't be read ({error}): remove it, and end its cluster's processes by hand"
        ) from error


def running(kind: str) -> Cluster | None:
    """The cluster of this machine, or None.

    Raises:
        PlanError: if some of its processes have died, or not all are up yet.
    """
    found = stored(kind)
    if found is not None and found.rising:
        raise PlanError(
            f"the {kind} cluster of this machine is not up yet; if no `poolsieve cluster up --{kind}` is at work any "
            f"more, `poolsieve cluster down --{kind}` ends what it has started"
        )
    if found is not None and found.dead():
        raise PlanError(_lost(found))
    return found


def gone(kind: str) -> str:
    """What to say of a cluster of this machine that a job was on, if it has ended or lost processes; else empty."""
    found = stored(kind)
    if found is None:
        return (
            f"the {kind} cluster of this machine was ended in the middle of the job: `poolsieve cluster up --{kind}`, "
            "and the same command goes on from there"
        )
    return _lost(found) if found.dead() else ""


def hopeless(kind: str) -> str:
    """What to say of a cluster of this machine on which a job would go on for ever; else empty."""
    found = stored(kind)
    return gone(kind) if found is None or found.is_useless else ""


def _lost(cluster: Cluster) -> str:
    dead = cluster.dead()
    names = ", ".join(one.name for one in dead)
    return (
        f"the {cluster.kind} cluster of this machine has lost {names} (see {dead[0].log}): `poolsieve cluster down "
        f"--{cluster.kind}`, then `cluster up --{cluster.kind}`"
    )


def keep(cluster: Cluster) -> None:
    """Writes its state."""
    fs.write_bytes(str(state_file(cluster.kind)), msgspec.json.format(msgspec.json.encode(cluster), indent=1))


def forget(kind: str) -> None:
    """Removes its state."""
    state_file(kind).unlink(missing_ok=True)
