"""`poolsieve cluster`: fetch, up, down, status."""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from poolsieve.dataflow import leases
from poolsieve.dataflow.runners.base import import_beam
from poolsieve.dataflow.runners.clusters.artefacts import Say, together
from poolsieve.dataflow.runners.clusters.base import Kind, Rising
from poolsieve.dataflow.runners.clusters.flink import FlinkCluster
from poolsieve.dataflow.runners.clusters.prism import PrismCluster
from poolsieve.dataflow.runners.clusters.processes import Process
from poolsieve.dataflow.runners.clusters.spark import SparkCluster
from poolsieve.dataflow.runners.clusters.state import Cluster, clusters_folder, forget, keep, stored
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.runners.versions import differences, versions
from poolsieve.scoring_models.base.errors import PlanError

KINDS: Mapping[str, Kind] = {"spark": SparkCluster(), "flink": FlinkCluster(), "prism": PrismCluster()}
"""Name -> how it is brought up."""

PROBE_SECONDS = 300.0
"""Seconds in which the probe's worker must start."""


def up(kind: str, workers: int, say: Say, *, probe: bool = True) -> Cluster:
    """Starts a cluster on this machine, and has it do a job of one element.

    Args:
        kind: a name of `KINDS`.
        workers: shards at a time.
        say: is told each step.
        probe: send the job.

    Raises:
        PlanError: if one is there already, or what it is made of can't be had.
        PoolsieveError: if a step shows no sign in its time; what was started has been ended then.
    """
    if workers < 1:
        raise PlanError(f"workers={workers}: a cluster has at least one")
    with _alone(kind):
        found = stored(kind)
        if found is not None and len(found.dead()) < len(found.processes):
            raise PlanError(f"there is a {kind} cluster already: `poolsieve cluster down --{kind}` ends it")
        KINDS[kind].fetch(say)
        rising = Rising(_fresh(kind), say, functools.partial(_note, kind, workers))
        try:
            made = KINDS[kind].start(rising, workers)
            keep(made)
            if probe:
                _probe(kind, say)
        except BaseException:
            rising.end()
            forget(kind)
            raise
    return made


def fetch(kinds: Iterable[str], say: Say) -> None:
    """Fetches and builds what clusters are made of, at a time, and starts nothing: for an image, or before a CI run.

    Args:
        kinds: names of `KINDS`.
        say: is told what is fetched, and how long that has taken.

    Raises:
        PlanError: if something can't be had.
    """
    together(*(functools.partial(KINDS[kind].fetch, say) for kind in kinds))


def down(kind: str, say: Say) -> bool:
    """Ends a cluster, and just what `up` started; whether there was one."""
    with _alone(kind):
        found = stored(kind)
        if found is None:
            return False
        for process in reversed(found.processes):
            say(f"{process.name}: {'ends' if process.alive else 'has ended already'}")
            process.end()
        forget(kind)
    return True


def status() -> list[Cluster]:
    """The clusters of this user on this machine, whole or not."""
    return [found for kind in KINDS if (found := stored(kind)) is not None]


def _note(kind: str, workers: int, processes: Sequence[Process]) -> None:
    """What `down` ends if this process is killed before all is up."""
    keep(Cluster(kind=kind, master="", pool="", workers=workers, processes=tuple(processes), rising=True))


@contextlib.contextmanager
def _alone(kind: str) -> Iterator[None]:
    with leases.held(str(clusters_folder() / f"{kind}.leases"), leases.SOLE, f"poolsieve cluster (--{kind})"):
        yield


def _fresh(kind: str) -> Path:
    """An empty folder for logs and working files."""
    folder = clusters_folder() / kind
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _probe(kind: str, say: Say) -> None:
    """A job of one element through everything that a run goes through."""
    say("probe: a job of one element")
    import_beam()
    Engine(kind, flags=[f"--start_seconds={PROBE_SECONDS:.0f}"]).run(_probe_job)
    say("probe: done")


def _probe_job(pipeline: Any) -> None:
    import apache_beam as beam

    one = pipeline | "One" >> beam.Create([versions()]) | "Spread" >> beam.Reshuffle()
    _ = one | "Probe" >> beam.Map(probe_worker)


def probe_worker(client: dict[str, str]) -> None:
    """On a worker.

    Raises:
        PlanError: if its versions are others than the client's.
    """
    wrong = differences(client, versions(), "worker")
    if wrong:
        raise PlanError(f"versions differ: {wrong}. Install the same on both sides")
