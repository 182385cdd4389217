"""Presets as what they are: functions from a small config to Beam's flags and a job server's command line."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import grpc
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from click.testing import CliRunner

from poolsieve.dataflow.leases import started_at
from poolsieve.dataflow.runners import given, place
from poolsieve.dataflow.runners.base import SPARED, THREADS, own_threads, spare_loopback
from poolsieve.dataflow.runners.clusters import state
from poolsieve.dataflow.runners.clusters.artefacts import on_loopback, together
from poolsieve.dataflow.runners.clusters.artefacts import run as fetched
from poolsieve.dataflow.runners.clusters.processes import Process, start
from poolsieve.dataflow.runners.clusters.up import down, up
from poolsieve.dataflow.runners.engine import RUNNERS, Engine
from poolsieve.dataflow.runners.failures import cause_in, told
from poolsieve.dataflow.runners.flink import FlinkConfig, check_flink, check_slots
from poolsieve.dataflow.runners.guard import Guard
from poolsieve.dataflow.runners.java import BRIEF
from poolsieve.dataflow.runners.network import listens
from poolsieve.dataflow.runners.preflight import check_minor, engine_in, pool_here
from poolsieve.dataflow.runners.prism import PrismConfig
from poolsieve.dataflow.runners.spark import SparkConfig, check_spark
from poolsieve.dataflow.runners.versions import differences, versions
from poolsieve.dataflow.runners.worker_pool import WorkerPool, ask
from poolsieve.jobs.cli import main
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from poolsieve.scoring_models.devices.choice import cores
from tests.cluster import free_port
from tests.held_work import wait_until


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has no cluster."""
    monkeypatch.setenv("POOLSIEVE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_spark() -> None:
    config = SparkConfig(master="spark://h:7077", pool="localhost:5", jar="/j.jar", home="/spark", memory="768m")
    flags = config.options("localhost:9")
    made = PipelineOptions(flags).view_as(PortableOptions)
    assert made.job_endpoint == "localhost:9"
    assert made.environment_type == "EXTERNAL"
    assert json.loads(made.environment_config) == {"url": "localhost:5", "params": versions()}
    assert "--sdk_worker_parallelism=1" in flags and "--files_to_stage=/j.jar" in flags
    assert "--environment_cache_millis=600000" in flags
    command = config.server("/j.jar").command("java", 7, "/tmp/a")
    assert command[0] == "java" and command[-1] == "--spark-master-url=spark://h:7077"
    assert "/j.jar:/spark/jars/*" in command and "--job-port=7" in command
    assert "-Dspark.scheduler.excludeOnFailure.unschedulableTaskSetTimeout=3s" in command


def test_java_is_brief_on_a_cluster_of_this_machine_alone() -> None:
    for config in (SparkConfig(master="spark://h:7077"), FlinkConfig(master="h:8081")):
        ours = dataclasses.replace(config, ours=True).server("/j.jar").command("java", 7, "/tmp/a")
        assert set(BRIEF) < set(ours) and not set(BRIEF) & set(config.server("/j.jar").command("java", 7, "/tmp/a"))


def test_a_jar_of_the_users_own_brings_its_engine() -> None:
    config = SparkConfig(master="spark://h:7077", pool="h:5", jar="/users.jar")
    command = config.server("/users.jar").command("java", 7, "/tmp/a")
    assert command[command.index("-jar") + 1] == "/users.jar"
    assert not any("files_to_stage" in flag for flag in config.options("localhost:9"))


def test_flink() -> None:
    config = FlinkConfig(master="127.0.0.1:8081", pool="localhost:5", parallelism=3, jar="/j.jar", home="/flink")
    flags = config.options("poolsieve-1", "localhost:9")
    assert {"--parallelism=3", "--job_name=poolsieve-1", "--job_endpoint=localhost:9"} <= set(flags)
    assert "--flink-master=127.0.0.1:8081" in config.server("/j.jar").command("java", 7, "/tmp/a")


def test_prism() -> None:
    assert PrismConfig(endpoint="h:1", pool="h:2").options()[0] == "--job_endpoint=h:1"


def test_flags_of_the_user_come_last_and_ours_stay_with_us(port_that_answers: int) -> None:
    given_flags = ["--spark_master_url=local[2]", f"--environment_config=127.0.0.1:{port_that_answers}"]
    made = Engine("spark", flags=[*given_flags, "--start_seconds", "9", "--experiments=x"]).all_flags()
    # The address of pools comes with the preset's versions, and not again.
    assert made[-3:] == ["--no_save_main_session", given_flags[0], "--experiments=x"]
    assert not any("start_seconds" in flag for flag in made)


@pytest.fixture
def port_that_answers() -> Any:
    pool = WorkerPool()
    yield pool.port
    pool.stop()


@pytest.mark.parametrize("kind", ["spark", "flink", "prism"])
def test_without_a_cluster_it_says_how_to_get_one(kind: str) -> None:
    with pytest.raises(PlanError, match=f"poolsieve cluster up --{kind}"):
        Engine(kind)


@pytest.mark.parametrize(
    ("kind", "flags", "said"),
    [
        ("spark", ["--spark_master_url=spark://127.0.0.1:{}", "--environment_config=localhost:1"], "a Spark master does"),
        ("spark", ["--spark_master_url=local[2]", "--environment_config=localhost:1"], "a worker pool does not answer"),
        ("spark", ["--spark_master_url=spark://h:7077"], "poolsieve pool"),
        ("spark", ["--spark_master_url=h:7077", "--environment_config=localhost:1"], "write spark://HOST:7077"),
        ("spark", ["--job_endpoint=127.0.0.1:{}", "--environment_config=localhost:1"], "a Beam job server does not"),
        ("spark", ["--job_endpoint=h", "--environment_config=localhost:1"], "'h' is no address of a Beam job server"),
        ("flink", ["--flink_master=127.0.0.1:{}", "--environment_config=localhost:1"], "Flink does not answer"),
        ("flink", ["--flink_master=h:1"], "poolsieve pool"),
        ("prism", ["--job_endpoint=127.0.0.1:{}"], "Prism does not answer"),
        ("portable", ["--job_endpoint=127.0.0.1:{}"], "a Beam job service does not answer"),
        ("portable", ["--job_endpoint=h:1", "--start_seconds=soon"], "a number of seconds"),
        ("portable", [], "needs its job service"),
    ],
)  # fmt: skip
def test_what_does_not_answer_is_refused(kind: str, flags: list[str], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        Engine(kind, flags=[flag.format(free_port()) for flag in flags])


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    port_that_answers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv(SPARED, "")
    monkeypatch.setenv("no_proxy", "intern.example")
    assert ask(f"127.0.0.1:{port_that_answers}", timeout=30.0) is not None
    spare_loopback()
    assert os.environ[SPARED] == "intern.example,localhost,127.0.0.1,::1"


@pytest.mark.parametrize("kind", ["spark", "flink", "prism", "portable"])
def test_what_is_no_job_service_is_refused(kind: str, port_that_answers: int) -> None:
    address = f"127.0.0.1:{port_that_answers}"
    with pytest.raises(PlanError, match=f"what answers at {address} is not .* .unimplemented"):
        Engine(kind, flags=[f"--job_endpoint={address}", f"--environment_config={address}"])


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--job_endpoint", "argument --job_endpoint: expected one argument"),
        ("--parallelism=many", "argument --parallelism: invalid int value: 'many'"),
        ("--help", "print its help"),
    ],
)
def test_flags_that_beam_can_not_read_are_refused_in_its_words(
    flag: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    handlers = list(logging.getLogger().handlers)
    with pytest.raises(PlanError, match=f"can't take it: .*{said}"):
        Engine("local", flags=[flag])
    assert capfd.readouterr() == ("", "") and logging.getLogger().handlers == handlers


def test_localhost_is_this_machine_only_if_the_engine_is_here() -> None:
    assert pool_here("localhost:5", "spark://127.0.0.1:7077") == "localhost:5"
    assert pool_here("localhost:5", "local[2]") == pool_here("localhost:5", "localhost:8081") == "localhost:5"
    assert pool_here("h:5", "", ours=True) == "h:5"
    for engine in ("spark://h:7077", "spark://h:7077,h2:7077", "yarn", "k8s://https://h:443", "nonsense"):
        assert pool_here("localhost:5", engine) == ""
    assert pool_here("h:5", "localhost:8081") == pool_here("", "localhost:8081") == ""
    Engine(
        "spark", flags=["--spark_master_url=yarn", "--environment_config=localhost:1"]
    )  # a pool beside each executor


def test_a_connection_that_broke_is_no_cause_where_another_is_told() -> None:
    broke, log = (
        "status = StatusCode.UNAVAILABLE details = 'Stream removed'",
        "unable to start sdk worker: connection refused",
    )
    assert "no worker pool answers" in str(cause_in(broke, log))
    assert "ended in the middle" in str(cause_in(broke, "all is well"))
    assert str(cause_in(broke, ended="the job server ended")) == "the job server ended"
    assert "no worker pool answers" in str(cause_in(broke, log, ended="the job server ended"))


def test_what_is_no_flink_and_no_pool_is_refused(port_that_answers: int) -> None:
    with pytest.raises(PlanError, match="is no Flink"):
        Engine("flink", flags=[f"--flink_master=127.0.0.1:{port_that_answers}", "--environment_config=localhost:1"])


def test_versions_that_differ() -> None:
    assert differences(versions(), versions(), "worker") == ""
    other = versions() | {"python": "3.9"}
    assert differences(versions(), other, "worker").startswith("python 3.9 (worker) against 3.")


def jar(path: Path, **inside: str) -> str:
    with zipfile.ZipFile(path, "w") as made:
        for name, text in inside.items():
            made.writestr(name.replace("__", "/"), text)
    return str(path)


def test_a_jar_of_another_spark_is_refused(tmp_path: Path) -> None:
    found = engine_in(jar(tmp_path / "a.jar", **{"spark-version-info.properties": "version=4.0.1\nuser=x"}))
    assert found.spark == "4.0.1" and found.flink == ""
    check_minor("Spark", "3.5.0", "3.5.9")
    with pytest.raises(PlanError, match=r"for Spark 4\.0\.1, and the cluster has Spark 3\.5\.9"):
        check_minor("Spark", found.spark, "3.5.9")
    with pytest.raises(PlanError, match="there is no job server at"):
        engine_in(str(tmp_path / "none.jar"))
    (tmp_path / "b.jar").write_text("no zip")
    with pytest.raises(PlanError, match="is no jar"):
        engine_in(str(tmp_path / "b.jar"))


@pytest.mark.parametrize(
    ("engine", "check", "config"),
    [("spark", check_spark, SparkConfig(master="local[2]")), ("flink", check_flink, FlinkConfig())],
)
def test_a_jar_of_beams_runner_without_its_engine_is_refused(
    engine: str, check: Any, config: Any, tmp_path: Path
) -> None:
    runner, whole = {f"org/apache/beam/runners/{engine}/Driver.class": ""}, {f"org/apache/{engine}/Some.class": ""}
    with pytest.raises(PlanError, match=f"runner without {engine.title()} inside"):
        check(dataclasses.replace(config, jar=jar(tmp_path / "thin.jar", **runner)))
    check(dataclasses.replace(config, jar=jar(tmp_path / "whole.jar", **runner, **whole)))
    path = {"META-INF/MANIFEST.MF": "Class-Path: engine.jar"}
    check(dataclasses.replace(config, jar=jar(tmp_path / "path.jar", **runner, **path)))
    check(dataclasses.replace(config, jar=jar(tmp_path / "thin.jar", **runner), home="some"))


def test_a_job_server_of_another_scala_is_refused(tmp_path: Path, port_that_answers: int) -> None:
    inside = {"spark-version-info.properties": "version=3.5.1", "library.properties": "version.number=2.13.8"}
    config = SparkConfig(jar=jar(tmp_path / "a.jar", **inside), master="local[2]", version="3.5.9", scala="2.12")
    with pytest.raises(PlanError, match=r"for Scala 2\.13\.8, and the cluster has Scala 2\.12"):
        check_spark(config)
    check_spark(dataclasses.replace(config, scala="2.13"))


@pytest.mark.parametrize(
    ("config", "master"),
    [(SparkConfig, "--spark_master_url=spark://far:7077"), (FlinkConfig, "--flink_master=far:8081")],
)
def test_a_job_server_here_for_a_cluster_elsewhere_needs_no_pool_here(config: Any, master: str) -> None:
    flags = ["--job_endpoint=localhost:8099", "--environment_config=localhost:50000"]
    assert config.of(flags).pool_here == "localhost:50000"
    assert config.of([*flags, master]).pool_here == ""


@pytest.mark.parametrize("given_as", [["--environment_config=far:50000"], ["--environment_config", "far:50000"]])
def test_pools_of_the_users_are_told_the_clients_versions(port_that_answers: int, given_as: list[str]) -> None:
    flags = [f"--spark_master_url=spark://localhost:{port_that_answers}", *given_as]
    options = PipelineOptions(Engine("spark", flags=flags).all_flags()).view_as(PortableOptions)
    assert json.loads(options.environment_config) == {"url": "far:50000", "params": versions()}
    own = '{"url": "far:50000", "params": {"python": "3.9"}}'
    options = PipelineOptions(Engine("spark", flags=[*flags, f"--environment_config={own}"]).all_flags()).view_as(
        PortableOptions
    )
    assert options.environment_config == own


def test_prism_is_built_to_listen_on_loopback_alone() -> None:
    source = 'lis, err := net.Listen("tcp", fmt.Sprintf(":%d", port))\nother(fmt.Sprintf(":%d", port))'
    assert on_loopback(source) == source.replace('Sprintf(":%d", port))\n', 'Sprintf("127.0.0.1:%d", port))\n')
    with pytest.raises(PlanError, match="would listen on every interface"):
        on_loopback('lis, err := net.Listen("tcp", address)')


def test_what_is_fetched_at_a_time_stops_when_one_fails(cache: Path) -> None:
    there, said = threading.Barrier(2, timeout=60), list[str]()

    def fail() -> None:
        there.wait()
        raise PlanError("no such thing")

    def fetch() -> None:
        there.wait()
        together(lambda: fetched(["sleep", "600"], "what takes long", said.append))

    with pytest.raises(PlanError, match="no such thing"):
        together(fail, fetch)
    assert said[:1] == ["fetching what takes long"]
    together(lambda: fetched(["true"], "what is quick", said.append))


def test_a_worker_knows_how_many_threads_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(THREADS, raising=False)
    assert own_threads() == cores()
    monkeypatch.setenv(THREADS, "3")
    assert own_threads() == 3
    monkeypatch.setenv(THREADS, "0")
    assert own_threads() == cores()


def test_flags_as_people_write_them() -> None:
    flags = ["--a=1", "--b", "2", "--a", "3", "--start_seconds", "5", "--c"]
    assert (given.flag(flags, "a"), given.flag(flags, "b"), given.flag(flags, "d")) == ("3", "2", "")
    assert given.without(flags, "start_seconds") == ["--a=1", "--b", "2", "--a", "3", "--c"]
    assert given.pool_of(['--environment_config={"url": "h:1"}']) == "h:1"
    assert given.pool_of(["--environment_type=DOCKER", "--environment_config=image"]) == ""


SPARK_TRACE = """java.util.concurrent.ExecutionException: java.lang.RuntimeException: Error received from SDK harness
\tat java.base/java.util.concurrent.CompletableFuture.reportGet(CompletableFuture.java:396)
Caused by: java.lang.RuntimeException: Error received from SDK harness for instruction 4: Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1498, in apache_beam.runners.common.DoFnRunner.process
{}
Job aborted due to stage failure: ... can be disabled by spark.excludeOnFailure.enabled.
"""


@pytest.mark.parametrize(
    ("line", "kind", "said"),
    [
        ("RuntimeError: PermissionError: [Errno 13] denied: '/some/where' [while running 'P/Score']", PermissionError, "/some"),
        ("MemoryError: no [while running 'Pass1/Score']", PoolsieveError, "MemoryError: no .in the step Pass1/Score.: the worker ran"),
        ("RuntimeError: ValueError: bad 3 [while running 'Pass1/Score']", PoolsieveError, "^ValueError: bad 3 .in the step"),
        ("poolsieve.dataflow.store.stored.NotScored: 3 rows need [while running 'x']", PoolsieveError, "^3 rows need$"),
        ("ModuleNotFoundError: No module named 'poolsieve'", PoolsieveError, "has no package 'poolsieve'"),
        ("Only one SparkContext should be running in this JVM", PoolsieveError, "leave --job_endpoint out"),
        ("java.io.IOException: Insufficient number of network buffers: required 512", PoolsieveError, "network.min"),
        ("io.grpc.StatusRuntimeException: UNAVAILABLE: io exception\nCaused by: Connection refused", PoolsieveError, "no worker pool"),
        ("unable to start sdk worker h:1 error: connection refused", PoolsieveError, "no worker pool"),
        ("java.io.InvalidClassException: org.apache.spark.rdd.RDD; local class incompatible: x", PoolsieveError, "other versions of"),
        ("RuntimeError: SDK worker disconnected", PoolsieveError, "ended in the middle"),
    ],
)  # fmt: skip
def test_the_cause_is_found_in_a_long_trace(line: str, kind: type[Exception], said: str) -> None:
    found = cause_in(SPARK_TRACE.format(line))
    assert isinstance(found, kind)
    with pytest.raises(kind, match=said):
        raise found


def test_one_line_and_the_rest_in_a_file(cache: Path) -> None:
    found = told(["java.lang.IllegalStateException: what\n\tat x.y(z)"], what="the job on Spark")
    assert "\n" not in str(found) and "the job on Spark failed: java.lang.IllegalStateException: what" in str(found)
    path = Path(str(found).rpartition(" is in ")[2])
    assert path.is_relative_to(cache) and "at x.y(z)" in path.read_text()


def test_what_a_job_server_says_counts_where_its_client_has_no_word_for_it(cache: Path) -> None:
    client = "<_InactiveRpcError of RPC that terminated with:\n\tstatus = StatusCode.UNKNOWN\n>"
    server = "java.lang.IllegalStateException: no such master\n\tat x.y(z)"
    assert "failed: java.lang.IllegalStateException: no such master; " in str(told([client, server], what="the job"))
    lacking = 'Exception in thread "a" java.lang.NoClassDefFoundError: org/apache/spark/streaming/api/Some\n\tat x.y(z)'
    assert "has not the engine's jars on its class path" in str(told([client, lacking], what="the job"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "org.apache.flink.runtime.jobgraph.RestoreMode",
            "those of another version: start it with those of the cluster",
        ),
        ("org.apache.beam.runners.spark.Some", "--files_to_stage=JAR"),
    ],
)
def test_classes_that_a_cluster_lacks_are_told_by_what_brings_them(name: str, said: str) -> None:
    assert said in str(cause_in(f"Caused by: java.lang.ClassNotFoundException: {name}\n\tat x.y(z)"))


def test_slots_that_never_come_are_refused() -> None:
    for fits in ("", "2", "1", "no number"):
        check_slots(fits, 2)
    with pytest.raises(PlanError, match=r"--parallelism=7 asks for more than the 2 slots.*--workers N"):
        check_slots("7", 2)


def test_a_process_is_known_by_its_start_and_ends_with_its_children(tmp_path: Path) -> None:
    made = start("some", ["sh", "-c", "sleep 600 & echo $!; wait"], tmp_path)
    log = Path(made.log)
    while not log.read_text().strip():
        pass
    child = int(log.read_text())
    assert made.alive
    other = Process(name="other", pid=made.pid, started="1", log=made.log)
    other.end()
    assert made.alive, "only the process that was started is ended, not one that got its number"
    made.end()
    assert not made.alive
    wait_until(lambda: not _runs(child), "the child's end")  # its signal was sent with its parent's


def test_a_child_that_ignores_the_request_ends_though_its_leader_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poolsieve.dataflow.runners.clusters.processes._PATIENCE", 0.5)
    deaf = f"{sys.executable} -c 'import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); "
    made = start("some", ["sh", "-c", f"{deaf}time.sleep(600)' & echo $!; wait"], tmp_path)
    wait_until(lambda: len(Path(made.log).read_text().split()) == 2, "a child that is deaf")
    child = next(int(one) for one in Path(made.log).read_text().split() if one != "1")
    made.end()
    assert not made.alive
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_a_cluster_that_lost_a_process_is_not_used(tmp_path: Path) -> None:
    made = start("master", ["sleep", "600"], tmp_path)
    cluster = state.Cluster(kind="spark", master="spark://h:1", pool="h:2", workers=2, processes=(made,), home="/s")
    state.keep(cluster)
    assert state.running("spark") == cluster
    assert SparkConfig.of([]).master == "spark://h:1"
    assert SparkConfig.of(["--spark_master_url=local[2]"]).master == "local[2]"
    assert state.gone("spark") == ""
    made.end()
    assert "has lost master" in state.gone("spark")
    with pytest.raises(PlanError, match=r"has lost master .*cluster down --spark"):
        Engine("spark")
    state.forget("spark")
    assert state.running("spark") is None and "was ended in the middle of the job" in state.gone("spark")


SLOW_CLUSTER = """
from poolsieve.dataflow.runners.clusters import up

class Slow:
    def fetch(self, say):
        pass

    def start(self, rising, workers):
        rising.start("first", ["sleep", "600"])
        rising.until("what never comes", lambda: None)

up.KINDS["prism"] = Slow()
up.up("prism", 1, print)
"""


def test_what_an_up_that_was_killed_has_started_is_ended_by_down() -> None:
    coming = subprocess.Popen([sys.executable, "-c", SLOW_CLUSTER], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: state.stored("prism"), "the first process")
    finally:
        coming.kill()
        coming.wait()
    found = state.stored("prism")
    assert found is not None and [one.alive for one in found.processes] == [True]
    with pytest.raises(PlanError, match=r"prism cluster of this machine is not up yet.*cluster down --prism"):
        Engine("prism")
    with pytest.raises(PlanError, match="there is a prism cluster already"):
        up("prism", 1, print)
    said = CliRunner().invoke(main, ["cluster", "status"]).stdout
    assert "prism    is not up yet" in said and "first runs, process" in said
    assert down("prism", print)
    assert not found.processes[0].alive and state.stored("prism") is None


def test_a_cluster_that_has_lost_all_of_a_sort_is_hopeless(tmp_path: Path) -> None:
    names = ("head", "worker-1", "worker-2", "pool")
    made = {name: start(name, ["sleep", "60"], tmp_path) for name in names}
    state.keep(state.Cluster(kind="prism", master="m", pool="p", workers=2, processes=tuple(made.values())))
    try:
        assert not state.hopeless("prism")
        made["worker-1"].end()
        assert not state.hopeless("prism"), "another one is there"
        made["worker-2"].end()
        assert "has lost worker-1, worker-2" in state.hopeless("prism")
        with pytest.raises(PoolsieveError, match="has lost worker-1, worker-2"):
            place.Elsewhere("Prism", "", Guard(tmp_path / "log"), cluster="prism")._check_hope()
    finally:
        down("prism", print)
    assert "was ended" in state.hopeless("prism")


def test_every_runner_says_what_it_is() -> None:
    assert all(runner.about and "\n" not in runner.about for runner in RUNNERS.values())


def test_a_thread_of_beams_that_loses_its_service_late_prints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", printed.append)

    def read() -> None:
        time.sleep(0.3)
        with grpc.insecure_channel(f"127.0.0.1:{free_port()}") as channel:
            channel.unary_unary("/no/Method")(b"", timeout=5)

    with place._quiet_threads():
        thread = threading.Thread(target=read, name="wait_until_finish_read")
        thread.start()
    thread.join()
    assert not printed


def test_nor_does_one_whose_job_server_ends_with_a_job_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", printed.append)
    port = free_port()
    served = f"import socket, time; one = socket.create_server(('127.0.0.1', {port})); time.sleep(600)"

    def read() -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            channel.unary_unary("/no/Method")(b"", timeout=60)

    thread = threading.Thread(target=read, name="wait_until_finish_read")
    with (
        pytest.raises(PoolsieveError, match="failed"),
        place.guarded(Guard(tmp_path / "log", [sys.executable, "-c", served])),
    ):
        wait_until(lambda: listens("127.0.0.1", port), "the server")
        thread.start()
        raise PoolsieveError("failed")
    thread.join()
    assert not printed


def test_a_job_that_waits_in_vain_says_what_its_job_server_knows(tmp_path: Path) -> None:
    said = "java.io.InvalidClassException: org.apache.spark.rpc.Some; local class incompatible: stream"
    log = tmp_path / "log"
    with place.guarded(Guard(log, [sys.executable, "-c", f"print({said!r})"])) as guard:
        wait_until(lambda: said in log.read_text(), "what it says")
        waited = place.Elsewhere("Spark", "localhost:1", guard, start_seconds=7)
        assert "nothing done for 7 s on Spark: the job server's jar and the cluster have other" in str(
            waited._nothing_moves()
        )


@pytest.mark.parametrize(
    "killed",
    ["client", pytest.param("guard", marks=pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's"))],
)
def test_nothing_is_left_of_a_job_server_whichever_process_is_killed(tmp_path: Path, killed: str) -> None:
    (tmp_path / "scratch").mkdir()
    code = (
        "import time; from pathlib import Path; from poolsieve.dataflow.runners.guard import Guard; "
        f"made = Guard(Path({str(tmp_path / 'log')!r}), ['sh', '-c', 'echo $$ $PPID; exec sleep 600']); "
        f"made.watch(scratch={str(tmp_path / 'scratch')!r}); time.sleep(600)"
    )
    client, log = subprocess.Popen([sys.executable, "-c", code]), tmp_path / "log"
    try:
        while not (log.exists() and log.read_text().strip()):
            assert client.poll() is None
        server, guard = map(int, log.read_text().split()[:2])
        os.kill(guard if killed == "guard" else client.pid, signal.SIGKILL)
        while started_at(server) or (killed == "client" and (tmp_path / "scratch").exists()):
            time.sleep(0.05)
    finally:
        client.kill()
        client.wait()
