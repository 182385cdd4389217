"""The preset for Dataflow: what it asks for and refuses, and the job as the service would get it, with sockets denied."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from poolsieve.dataflow import Pool
from poolsieve.dataflow.passes.needs import needs_of
from poolsieve.dataflow.passes.plan import Plan, prepare
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.runners.base import Setting
from poolsieve.dataflow.runners.dataflow import Dataflow, DataflowRunner
from poolsieve.dataflow.runners.engine import RUNNERS, Engine
from poolsieve.dataflow.runners.needs import Need, Needs, flag_value, flag_values
from poolsieve.filters import dedup
from poolsieve.jobs.cli import main
from poolsieve.scoring_models.base.errors import PlanError
from tests.cluster import job_service_alone
from tests.conftest import run

GOLDEN = Path(__file__).with_name("dataflow_job.json")
IMAGE = "--sdk_container_image=us-docker.pkg.dev/my-project/images/poolsieve:1"
FLAGS = ["--project=my-project", "--region=us-central1", "--temp_location=gs://my-bucket/tmp", IMAGE]
GPU = ["--accelerator=nvidia-l4", "--gpu_machine_type=g2-standard-8"]
REST = ["--job_name=job", "--machine_type=n2-standard-4", "--max_num_workers=20", "--disk_size_gb=200"]
PLACES = ("gs://my-bucket/out", "gs://my-bucket/pool/*.parquet")
MODEL = Need(step="Pass1", models=("m",), may_gpu=("m",), memory_mb=2500)
MUST = Need(step="Pass1", models=("m", "n"), must_gpu=("m",), may_gpu=("n",), memory_mb=2500)
PLAIN = Need(step="Pass2")

RECIPE = '''
from __future__ import annotations
from dataclasses import dataclass
import pyarrow as pa
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, Top, col
from poolsieve.scoring_models.base.scorer import Resources, TextScorer

@dataclass(frozen=True, eq=False)
class Model(TextScorer):
    """Has a model, and is never asked to load it."""
    device: str = "auto"
    columns = {"": pa.float32()}

    @property
    def resources(self):
        return Resources(device=self.device, memory_mb=2500)

    def load(self):
        raise AssertionError("a plan loads no model")

def recipe(pool: str, device: str = "auto"):
    return (
        Pool.parquet(pool, uid="uid", text="text")
        | Keep(col("text").word_count() >= 3, reason="caption.short")
        | Score(model=Model(device=device))
        | Top("model", fraction=0.4, of="pool")
        | Keep(col("text").char_count() >= 2, reason="caption.tiny")
    )
'''


@pytest.fixture
def plan(pool: Path, tmp_path: Path, recipe_file: Callable[..., RecipeSource]) -> Plan:
    return prepare(recipe_file(RECIPE, pool=f"{pool}/*.parquet"), str(tmp_path / "out"))


@pytest.fixture
def no_clients_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the flags come to is asked where Google's clients are not installed, too."""
    monkeypatch.setattr("poolsieve.dataflow.runners.dataflow._installed", lambda module: True)


def setting(*flags: str, **how: Any) -> Setting:
    return Setting(flags=(*FLAGS, *flags), **how)


def test_flags_are_one_function_of_a_small_configuration() -> None:
    assert Dataflow().flags() == [
        "--sdk_location=container",
        "--number_of_worker_harness_threads=4",
        "--experiments=no_use_multiple_sdk_containers",
    ]
    assert Dataflow(threads=8, one_process=False).flags()[1:] == ["--number_of_worker_harness_threads=8"]
    assert Dataflow.of(setting(*GPU, workers=6)) == Dataflow(
        accelerator="nvidia-l4", gpu_machine="g2-standard-8", threads=6
    )
    assert Dataflow.of(setting("--accelerator", "nvidia-tesla-t4:2", processes=True)) == Dataflow(
        accelerator="nvidia-tesla-t4", count=2, one_process=False
    )


def test_hints_are_texts_and_on_steps_with_a_model_alone() -> None:
    asked = Dataflow(accelerator="nvidia-l4", count=2, gpu_machine="g2-standard-24")
    assert asked.hints(MODEL) == {
        "min_ram": "5GB",
        "accelerator": "type:nvidia-l4;count:2;machine_type:g2-standard-24;install-nvidia-driver",
    }
    assert asked.hints(PLAIN) == {}
    assert Dataflow().hints(MODEL) == {"min_ram": "5GB"}
    assert Dataflow(everywhere=True).hints(MODEL) == {}, "the service takes no hints beside worker_accelerator"
    cpu = Need(step="Pass1", models=("m",), memory_mb=100)
    assert asked.hints(cpu) == {"min_ram": "3GB"}, "a GPU that its model would leave idle costs money"


@pytest.mark.usefixtures("no_clients_needed")
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (FLAGS[1:], "needs the Google Cloud project"),
        ([FLAGS[0], *FLAGS[2:]], "needs where the machines are, as --region"),
        ([*FLAGS[:2], IMAGE], "a folder for Dataflow's own files, as --temp_location=gs://"),
        ([*FLAGS[:2], "--temp_location=/tmp/x", IMAGE], "--temp_location=/tmp/x: a folder in a bucket"),
        ([*FLAGS[:2], "--temp_location=gs://b/x", IMAGE], "gs://b/x: a folder in a bucket"),
        ([*FLAGS, "--staging_location=s3://bucket/x"], "--staging_location=s3://bucket/x"),
        (FLAGS[:3], "an image in which poolsieve is installed"),
        ([*FLAGS, "--accelerator=type:nvidia-l4;count:1"], "nvidia-l4:2 for two"),
        ([*FLAGS, "--accelerator=nvidia-l4:0"], "nvidia-l4:2 for two"),
        ([*FLAGS, *GPU, "--dataflow_service_options=worker_accelerator=type:nvidia-l4"], "choose one of them"),
        ([*FLAGS, "--flexrs_goal=COST_OPTIMIZED"], "--flexrs_goal"),
        ([*FLAGS, "--gpu_machine_type=g2-standard-8"], "is for --accelerator, which is not given"),
        ([*FLAGS, "--dry_run"], "poolsieve plan --runner dataflow"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(flags: list[str], said: str) -> None:
    with pytest.raises(PlanError, match=re.escape(said)):
        Engine("dataflow", flags=flags)


def test_less_than_one_worker_is_refused_for_every_runner() -> None:
    for runner in RUNNERS:
        with pytest.raises(PlanError, match="workers=0: a number of at least one worker"):
            Engine(runner, workers=0, flags=FLAGS)


@pytest.mark.skipif(importlib.util.find_spec("gcsfs") is not None, reason="poolsieve[gcp] is installed here")
def test_without_googles_clients_their_extra_is_named() -> None:
    with pytest.raises(PlanError, match=r"pip install 'poolsieve\[gcp\]'"):
        Engine("dataflow", flags=FLAGS)


@pytest.mark.usefixtures("no_clients_needed")
def test_jobs_that_its_machines_could_not_run_are_refused_with_the_reason() -> None:
    plain, gpu = Engine("dataflow", flags=FLAGS), Engine("dataflow", flags=[*FLAGS, *GPU])
    for place in ("/data/out", "memory://x/y", "file:///data/out"):
        with pytest.raises(PlanError, match=f"can't reach {place}"):
            plain.check_needs(Needs(steps=(MODEL,), places=(PLACES[1], place)))
    with pytest.raises(PlanError, match=r"m name a GPU as their device.*--accelerator=nvidia-l4"):
        plain.check_needs(Needs(steps=(MUST,), places=PLACES))
    with pytest.raises(PlanError, match="no scorer of this recipe would use a GPU"):
        gpu.check_needs(Needs(steps=(PLAIN,), places=PLACES))
    gpu.check_needs(Needs(steps=(MUST, PLAIN), places=PLACES))
    second = Needs(steps=(PLAIN, replace(MUST, gpus=2)), places=PLACES)
    with pytest.raises(PlanError, match=r"nvidia-l4:1 is too few GPUs .* cuda:1: write --accelerator=nvidia-l4:2"):
        gpu.check_needs(second)
    Engine("dataflow", flags=[*FLAGS, "--accelerator=nvidia-l4:2"]).check_needs(second)
    plain.check_needs(Needs(steps=(MODEL,), places=PLACES))
    everywhere = [*FLAGS, "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1"]
    Engine("dataflow", flags=everywhere).check_needs(Needs(steps=(MUST,), places=PLACES))


@pytest.fixture
def service() -> Iterator[str]:
    with job_service_alone() as address:
        yield address


def test_a_pool_of_processes_is_refused_several_copies_on_a_gpu(service: str) -> None:
    job = [f"--job_endpoint={service}"]
    with pytest.raises(PlanError, match="sdk_worker_parallelism=4: m name a GPU"):
        Engine("portable", flags=[*job, "--sdk_worker_parallelism=4"]).check_needs(Needs(steps=(MUST,)))
    there = Engine("portable", flags=job).describe(Needs(steps=(MUST,), places=("/data/out",)))
    assert there.steps[0].hints == {}
    assert "5 GB for each process, and a GPU for m; n use a GPU where there is one" in there.steps[0].note


def test_a_flag_is_read_in_both_spellings_and_the_last_counts() -> None:
    flags = ["--a=1", "--b", "2", "--a", "3", "--b=4=5", "--ab=6"]
    assert (flag_value(flags, "--a"), flag_value(flags, "--b"), flag_value(flags, "--c")) == ("3", "4=5", None)
    assert (flag_values(flags, "--a"), flag_values(flags, "--b")) == (["1", "3"], ["2", "4=5"])


@pytest.mark.usefixtures("no_clients_needed")
def test_what_scorers_declare_is_what_passes_need(plan: Plan) -> None:
    needs = needs_of(plan.job)
    assert [(need.step, need.models, need.may_gpu, need.memory_mb) for need in needs.steps] == [
        ("Pass1", ("model",), ("model",), 2500),
        ("Pass2", (), (), 0),
    ]
    assert needs.places == (plan.job.out, *plan.job.pool.all_urls) and needs.steps[0].gpus == 0
    assert needs_of(plan.job, score=False).steps == (), "a decision loads no model"
    there = Engine("dataflow", flags=[*FLAGS, *GPU]).describe(Needs(steps=needs.steps, places=PLACES))
    assert there.flags[-2:] == tuple(GPU) and "--experiments=no_use_multiple_sdk_containers" in there.flags
    assert [step.note for step in there.steps] == ["5 GB and a GPU for model", "no model: the plain machines"]


def test_a_scorers_second_gpu_is_one_that_machines_must_have(
    pool: Path, tmp_path: Path, recipe_file: Callable[..., RecipeSource]
) -> None:
    for device, gpus in {"cpu": 0, "auto": 0, "cuda": 1, "cuda:0": 1, "cuda:3": 4}.items():
        made = prepare(recipe_file(RECIPE, pool=f"{pool}/*.parquet", device=device), str(tmp_path / "out"))
        assert needs_of(made.job).steps[0].gpus == gpus


def test_pools_that_workers_read_first_are_places_until_their_file_is_made(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").symlink_to(pool)
    mine = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text")
    recipe = mine | dedup.exact(against=Pool.parquet("other/*.parquet", text="text"))
    made = prepare(recipe, str(tmp_path / "out"))
    assert needs_of(made.job).places == (made.job.out, *made.job.pool.all_urls, f"{tmp_path}/other/*.parquet")
    assert needs_of(made.job, score=False).places == (made.job.out,)
    run(recipe, tmp_path / "out")
    made = prepare(recipe, str(tmp_path / "out"))
    assert needs_of(made.job).places == (made.job.out, *made.job.pool.all_urls)


def test_a_plan_shows_the_runner_its_flags_and_what_machines_must_have(
    service: str, pool: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.py"
    recipe.write_text(RECIPE)
    endpoint = f"--job_endpoint={service}"
    where = ["--runner", "portable", "--", endpoint]
    shown = CliRunner().invoke(
        main,
        ["plan", str(recipe), "--out", str(tmp_path / "out"), "-p", f"pool={pool}/*.parquet", "--sample", "0", *where],
    )
    assert shown.exit_code == 0, shown.output
    assert f"beam     {endpoint}" in shown.output
    assert "Pass1    each machine with a worker pool needs 5 GB for each process; model use a GPU" in shown.output


def test_the_runner_is_registered() -> None:
    assert isinstance(RUNNERS["dataflow"], DataflowRunner)


def denied(*_: Any, **__: Any) -> None:
    raise AssertionError("a socket was opened")


def test_the_job_is_what_it_was(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the golden file; after a change that was meant: `POOLSIEVE_GOLDEN=write make test-gcp`."""
    pytest.importorskip("google.cloud.dataflow_v1beta3", reason="poolsieve[gcp] is not installed; see make test-gcp")
    from apache_beam.options.pipeline_options import PipelineOptions

    from poolsieve.dataflow.passes import pipeline
    from poolsieve.dataflow.runners.dataflow_job import job_description

    monkeypatch.setattr(socket.socket, "connect", denied)
    monkeypatch.setattr(socket, "getaddrinfo", denied)
    engine = Engine("dataflow", flags=[*FLAGS, *GPU, *REST])
    hints = engine.hints(needs_of(plan.job))
    processes = plan.job.program.wants_processes

    def build(made: Any) -> None:
        pipeline.build(made, plan.job, plan.shards, hints=hints)

    RUNNERS["dataflow"].beam_runner(Setting())  # as a run does: our own flags are known to Beam from here on
    job, graph = job_description(PipelineOptions(engine.all_flags(processes)), build)
    found = {"job": _steady(job), "hints": _hints(graph)}
    if os.environ.get("POOLSIEVE_GOLDEN") == "write":
        GOLDEN.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    assert found == json.loads(GOLDEN.read_text())


def _steady(job: dict[str, Any]) -> dict[str, Any]:
    """What we ask for, without what Beam's version and the time of day add."""
    environment = job["environment"]
    (machines,) = environment["workerPools"]
    images = machines["sdkHarnessContainerImages"]
    kept = ("machineType", "numThreadsPerWorker", "diskSizeGb", "autoscalingSettings", "kind")
    return {
        "name": job["name"],
        "type": job["type"],
        "serviceOptions": environment.get("serviceOptions", []),
        "experiments": sorted(one for one in environment["experiments"] if "use_multiple" in one),
        "workerPool": {name: machines[name] for name in kept if name in machines},
        "images": [image["containerImage"] for image in images],
        "ours": {
            name: environment["sdkPipelineOptions"]["options"].get(name) for name in ("accelerator", "gpu_machine_type")
        },
    }


def _hints(graph: Any) -> dict[str, dict[str, str]]:
    """Step -> its environment's resource hints, of the steps that have any."""
    components, found = graph.components, {}
    for step in components.transforms.values():
        hints = components.environments[step.environment_id].resource_hints if step.environment_id else {}
        if hints:
            found[step.unique_name] = {urn: value.decode() for urn, value in hints.items()}
    return found
