"""What is asked before a job is sent anywhere: does it answer, has it room, are the versions the same."""

from __future__ import annotations

import contextlib
import io
import logging
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from poolsieve.dataflow.runners.base import import_beam
from poolsieve.dataflow.runners.network import ANSWER, check_listens, get_json, host_and_port, is_loopback
from poolsieve.dataflow.runners.versions import differences, versions
from poolsieve.dataflow.runners.worker_pool import ask
from poolsieve.scoring_models.base.errors import PlanError


def pool_here(address: str, engine: str, *, ours: bool = False) -> str:
    """The pool's address, if this process reaches what the engine's executors would reach by it; else empty.

    `localhost` is each executor's own machine: it is this one if the engine is.

    Args:
        address: of the pool; "" for none.
        engine: address of the master, or of the job service.
        ours: the engine is a cluster of this machine.
    """
    if not address or ours:
        return address
    there = engine if engine.rpartition(":")[2].partition("/")[0].isdecimal() else ""  # not local[2], yarn, k8s
    alone = engine.startswith("local")  # Spark in the job server itself
    return address if is_loopback(address) and (alone or (there and is_loopback(there))) else ""


def check_pool(address: str, executors: int = 1) -> None:
    """Asks a pool on this machine; one elsewhere is reached by executors, which pass our versions on.

    Args:
        address: of the pool.
        executors: of one machine, which would share it, as far as is known.

    Raises:
        PlanError: if nothing answers, or has other versions; if a pool of Beam's has workers without our package, or
            would be shared.
    """
    check_listens(address, "a worker pool", "start one with `poolsieve pool`")
    said = ask(address)
    if said is None:
        raise PlanError(f"what listens at {address} is no worker pool: start one with `poolsieve pool`")
    if not said.versions:
        _check_beams_pool(address, executors)
    wrong = differences(versions(), said.versions, "worker pool")
    if wrong:
        raise PlanError(f"the worker pool at {address} has other versions: {wrong}. Install the same on both sides")


def _check_beams_pool(address: str, executors: int) -> None:
    if executors > 1:
        raise PlanError(
            f"the worker pool at {address} is Beam's own, which loses workers where {executors} executors of a machine "
            "share it: start `poolsieve pool` there instead"
        )
    import_beam()
    from poolsieve.dataflow.runners.handshake import greet

    greet(address)


def check_flags(flags: Sequence[str]) -> None:
    """Refuses flags that Beam can't read: it would print all that it knows and end the process, late.

    Raises:
        PlanError: in the words of Beam's parser.
    """
    import_beam()
    from apache_beam.options.pipeline_options import PipelineOptions

    root, silent, said = logging.getLogger(), logging.NullHandler(), io.StringIO()
    root.addHandler(silent)  # or the options would give it one that prints
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            PipelineOptions(list(flags)).get_all_options(retain_unknown_options=True)
    except SystemExit as error:
        why = said.getvalue().strip().rpartition("error: ")[2] or "it would print its help and run nothing"
        raise PlanError(f"what follows -- is for Beam, which can't take it: {why}") from error
    finally:
        root.removeHandler(silent)


def check_job_service(address: str, what: str, hint: str) -> None:
    """Refuses an address where no job service of Beam's answers: a job sent there would begin for ever.

    Raises:
        PlanError: naming it and what to do.
    """
    check_listens(address, what, hint)
    import_beam()
    import grpc
    from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

    host, port = host_and_port(address, what)
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
        try:
            # Beam's client asks this first, so that every service answers it.
            stub.DescribePipelineOptions(beam_job_api_pb2.DescribePipelineOptionsRequest(), timeout=ANSWER)
        except grpc.RpcError as error:
            said = f"{error.code().name.lower()}: {str(error.details())[:120]}"
            raise PlanError(f"what answers at {address} is not {what} ({said}): {hint}") from error


class Engine(NamedTuple):
    """What a job server's jar has inside; "" for what it has not and takes from its class path."""

    beam: str = ""
    spark: str = ""
    scala: str = ""
    flink: str = ""


_INSIDE = {
    "beam": ("org/apache/beam/sdk/sdk.properties", "version"),
    "spark": ("spark-version-info.properties", "version"),
    "scala": ("library.properties", "version.number"),
    "flink": (".flink-runtime.version.properties", "project.version"),
}
"""Files by which Beam, Spark, Scala and Flink say their own versions."""


def engine_in(jar: str) -> Engine:
    """The versions that a jar holds.

    Raises:
        PlanError: if there is no such jar.
    """
    if not Path(jar).is_file():
        raise PlanError(f"there is no job server at {jar}")
    try:
        with zipfile.ZipFile(jar) as opened:
            there = set(opened.namelist())
            return Engine(
                **{
                    name: _property(opened.read(file).decode(), key)
                    for name, (file, key) in _INSIDE.items()
                    if file in there
                }
            )
    except zipfile.BadZipFile as error:
        raise PlanError(f"{jar} is no jar") from error


def check_jar(jar: str, engine: str) -> None:
    """Refuses the jar of Beam's runner alone, which has no engine inside and would fail at the first job.

    Args:
        jar: what `java -jar` is to run.
        engine: `spark` or `flink`, as in the names of its packages.

    Raises:
        PlanError: naming it and what to do.
    """
    with zipfile.ZipFile(jar) as opened:
        there = opened.namelist()
        path = "Class-Path" in opened.read("META-INF/MANIFEST.MF").decode() if "META-INF/MANIFEST.MF" in there else ""
    has_runner, has_engine = (
        any(name.startswith(f"org/apache/{part}/") for name in there) for part in (f"beam/runners/{engine}", engine)
    )
    if has_runner and not has_engine and not path:
        raise PlanError(
            f"{jar} is Beam's runner without {engine.title()} inside: name a whole job server's jar, or start it with "
            "the cluster's own jars on its class path and name it by --job_endpoint"
        )


def _property(text: str, key: str) -> str:
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip() == key:
            return value.strip()
    return ""


def check_minor(what: str, jar: str, cluster: str) -> None:
    """Refuses a job server whose engine is of another minor version than the cluster's; "" is not known.

    Raises:
        PlanError: naming both.
    """
    if jar and cluster and jar.split(".")[:2] != cluster.split(".")[:2]:
        raise PlanError(
            f"the job server's jar is for {what} {jar}, and the cluster has {what} {cluster}: take the jar for that"
        )


def flink_on_one_machine(url: str) -> int:
    """The most task managers of a Flink cluster that are on one machine; 1 if it does not say."""
    said = get_json(f"{url}/taskmanagers") or {}
    paths = [str(one.get("path", "")) for one in said.get("taskmanagers", [])]  # pekko.tcp://flink@HOST:PORT/...
    return max(Counter(path.partition("@")[2].rpartition(":")[0] for path in paths).values(), default=1)


def flink_overview(url: str) -> tuple[int, int, str]:
    """(slots, free slots, version) of a Flink cluster.

    Raises:
        PlanError: if none answers there, or it has no slots at all.
    """
    check_listens(url, "Flink", "start a cluster with `poolsieve cluster up --flink`, or name another --flink_master")
    said = get_json(f"{url}/overview")
    if not isinstance(said, dict) or "slots-total" not in said:
        raise PlanError(f"what answers at {url} is no Flink: name its REST address by --flink_master=HOST:PORT")
    if not said["slots-total"]:
        raise PlanError(f"Flink at {url} has no task manager, so no slots: start one")
    return said["slots-total"], said["slots-available"], str(said.get("flink-version", ""))
