"""Job servers in Java: one for each run, on free ports, ended with it. Spark and Flink differ by a few words."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from poolsieve.dataflow.runners.base import import_beam
from poolsieve.dataflow.runners.failures import new_log, told
from poolsieve.dataflow.runners.guard import Guard
from poolsieve.dataflow.runners.network import free_ports, listens, wait_until
from poolsieve.dataflow.runners.place import guarded
from poolsieve.scoring_models.base.errors import PlanError

OPENS = tuple(
    f"--add-opens=java.base/{name}=ALL-UNNAMED"
    for name in (
        "java.lang", "java.lang.invoke", "java.util", "java.util.concurrent", "java.net", "java.nio", "sun.nio.ch"
    )
)  # fmt: skip
"""What Spark 3.5 and Beam's Java part reach into from Java 17 on."""

BRIEF = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""For Java on a cluster of this machine, whose jobs are short: what it would compile well costs more than it brings."""

READY_SECONDS = 180.0
"""Seconds that a job server has to start."""


def java() -> str:
    """The Java that runs job servers: of JAVA_HOME, else of the path.

    Raises:
        PlanError: if there is none.
    """
    home = os.environ.get("JAVA_HOME", "")
    named = os.path.join(home, "bin", "java")
    found = named if home and os.path.isfile(named) else shutil.which("java")
    if found is None:
        raise PlanError("there is no Java here (11 or 17): install one, or name one of yours by JAVA_HOME")
    return found


@dataclass(frozen=True, kw_only=True)
class JobServer:
    """What one is started with.

    Attributes:
        jar: its file.
        main: its class, for a jar that has no engine inside.
        home: glob of the engine's jars, for such a jar; else empty.
        arguments: where the cluster is.
        properties: of the JVM.
    """

    jar: str
    main: str
    home: str = ""
    arguments: Sequence[str] = ()
    properties: Sequence[str] = ()

    def command(self, java: str, port: int, artifacts: str) -> list[str]:
        """The command line. Pure."""
        what = ["-cp", f"{self.jar}{os.pathsep}{self.home}", self.main] if self.home else ["-jar", self.jar]
        ports = [f"--job-port={port}", "--artifact-port=0", "--expansion-port=0", f"--artifacts-dir={artifacts}"]
        return [java, "-Xmx512m", *OPENS, *self.properties, *what, *ports, *self.arguments]


@contextlib.contextmanager
def serving(server: JobServer, what: str, env: dict[str, str] | None = None) -> Iterator[tuple[str, Guard]]:
    """(address, guard) of a job server that takes jobs; it ends with the block, or with this process.

    Raises:
        PoolsieveError: in one line, why it did not come up.
    """
    found, (port,), artifacts = java(), free_ports(1), tempfile.mkdtemp(prefix="poolsieve-artifacts-")
    guard = Guard(new_log(f"{what}-job-server"), server.command(found, port, artifacts), {**os.environ, **(env or {})})
    guard.watch(scratch=artifacts)  # it outlives this process, if this one is killed
    try:
        with guarded(guard):
            _until_ready(guard, port, what)
            yield f"localhost:{port}", guard
    finally:
        shutil.rmtree(artifacts, ignore_errors=True)


def _until_ready(guard: Guard, port: int, what: str) -> None:
    try:
        wait_until(lambda: listens("127.0.0.1", port, 1.0), READY_SECONDS, guard.ended)
    except TimeoutError as error:
        said = guard.log.read_text(errors="replace")
        raise told([f"{said}\n{error}"], what=f"the job server for {what}") from error


def beams_jar(gradle_target: str, artefact: str | None = None, cache: str = "") -> str:
    """Beam's own job server for the installed Beam, from Maven by Beam's own ways, kept by it.

    Raises:
        PlanError: if it can't be had.
    """
    import_beam()
    from apache_beam.utils.subprocess_server import JavaJarServer

    server: Any = JavaJarServer
    try:
        return str(server.local_jar(server.path_to_beam_jar(gradle_target, artifact_id=artefact), cache or None))
    except Exception as error:
        raise PlanError(
            f"Beam's job server can't be fetched ({type(error).__name__}: {str(error)[:200]}): name its jar by "
            "--spark_job_server_jar or --flink_job_server_jar"
        ) from error
