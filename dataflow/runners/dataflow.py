"""Google Cloud Dataflow: a small configuration in, Beam's flags and resource hints out. A plan opens no connection.

The steps that score with a model get machines of their own ("right fitting"); all others, and the counting and
deciding after them, run on plain ones. Shard records alone cross between them. Source of the flags and of what does not
go together: Dataflow's guides "Right fitting", "Use GPUs" and "Use custom containers".
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from poolsieve.dataflow import fs
from poolsieve.dataflow.runners import given
from poolsieve.dataflow.runners.base import Setting
from poolsieve.dataflow.runners.failures import new_log
from poolsieve.dataflow.runners.guard import Guard
from poolsieve.dataflow.runners.needs import Need, Needs, StepFit, flag_value, flag_values
from poolsieve.dataflow.runners.place import Elsewhere, Place, Sign, Submitted, guarded
from poolsieve.scoring_models.base.errors import PlanError

THREADS = 4
"""Shards under way at a time on a machine, if `--workers` says no more: a model has rows over the end of one shard."""

ACCELERATOR, GPU_MACHINE = "--accelerator", "--gpu_machine_type"
"""Flags of ours among Beam's: the GPU of the steps that score, as `nvidia-l4` or `nvidia-l4:2`, and their machine."""

_ACCELERATOR = re.compile(r"[a-z][a-z0-9-]*(?::[1-9][0-9]?)?")
_BUCKET = re.compile(r"gs://[a-z0-9][-_a-z0-9.]+[a-z0-9](/.*)?")
"""As Beam's `PipelineOptionsValidator.GCS_BUCKET` has it: for another name Beam tries to make a bucket of its own."""

_NEEDED = {
    "--project": "the Google Cloud project that pays, as --project=my-project",
    "--region": "where the machines are, as --region=us-central1",
    "--temp_location": "a folder for Dataflow's own files, as --temp_location=gs://my-bucket/tmp",
}
_PACKAGES = ("--sdk_container_image", "--setup_file", "--requirements_file", "--extra_package")
"""Flags by which poolsieve gets to the workers."""


@dataclass(frozen=True, kw_only=True)
class Dataflow:
    """What is asked of Dataflow, beside Beam's own flags.

    Attributes:
        accelerator: type of GPU for the steps that score with a model; empty for none.
        count: GPUs of each of their machines.
        gpu_machine: type of their machines; empty leaves it to Dataflow.
        threads: shards under way at a time on a machine.
        one_process: one Python process on a machine, so that a model is loaded once; else one for each of its cores.
        everywhere: whether the user gives a GPU to all machines, by the service option.
    """

    accelerator: str = ""
    count: int = 1
    gpu_machine: str = ""
    threads: int = THREADS
    one_process: bool = True
    everywhere: bool = False

    @classmethod
    def of(cls, setting: Setting) -> Dataflow:
        """From what a runner is told.

        Raises:
            PlanError: for an accelerator that is no name of one.
        """
        asked = flag_value(setting.flags, ACCELERATOR) or ""
        if asked and not _ACCELERATOR.fullmatch(asked):
            raise PlanError(f"{ACCELERATOR}={asked}: a type of GPU is wanted, as nvidia-l4, or nvidia-l4:2 for two")
        kind, _, count = asked.partition(":")
        return cls(
            accelerator=kind,
            count=int(count or 1),
            gpu_machine=flag_value(setting.flags, GPU_MACHINE) or "",
            threads=setting.workers if setting.workers > 1 else THREADS,
            one_process=not setting.processes,
            everywhere=any(_is_accelerator(one) for one in flag_values(setting.flags, "--dataflow_service_options")),
        )

    def flags(self) -> list[str]:
        """Beam's flags."""
        made = ["--sdk_location=container", f"--number_of_worker_harness_threads={self.threads}"]
        return [*made, "--experiments=no_use_multiple_sdk_containers"] if self.one_process else made

    def hints(self, need: Need) -> dict[str, str]:
        """Resource hints of a step; none for one without a model, and where all machines have a GPU already."""
        if self.everywhere or not need.models:
            return {}
        made = {"min_ram": f"{need.memory_gb}GB"}
        if self.accelerator and need.takes_gpu:
            machine = f"machine_type:{self.gpu_machine};" if self.gpu_machine else ""
            made["accelerator"] = f"type:{self.accelerator};count:{self.count};{machine}install-nvidia-driver"
        return made


class DataflowRunner:
    """Jobs as Google Cloud Dataflow takes them."""

    about = (
        "Google Cloud Dataflow (after --: --project, --region, --temp_location, --sdk_container_image; "
        "--accelerator=nvidia-l4 gives the steps with a model a GPU)"
    )

    def check(self, setting: Setting) -> None:
        """Client, project, region, bucket and image must be named, and flags that go together."""
        if not _installed("google.cloud.dataflow_v1beta3"):
            raise PlanError("--runner dataflow needs Google's clients: pip install 'poolsieve[gcp]'")
        for flag, what in _NEEDED.items():
            if not flag_value(setting.flags, flag):
                raise PlanError(f"--runner dataflow needs {what}, after --")
        _check_bucket(setting.flags, "--temp_location")
        _check_bucket(setting.flags, "--staging_location")
        if not any(flag_value(setting.flags, flag) for flag in _PACKAGES):
            raise PlanError(
                "--runner dataflow needs an image in which poolsieve is installed, as --sdk_container_image="
                "REGION-docker.pkg.dev/PROJECT/REPOSITORY/poolsieve:TAG (docs/docker.md), after --"
            )
        if any(flag.partition("=")[0] == "--dry_run" for flag in setting.flags):
            raise PlanError("--dry_run: `poolsieve plan --runner dataflow` says what a run would ask for")
        given.start_seconds(setting.flags)
        _check_together(Dataflow.of(setting), setting.flags)

    def flags(self, setting: Setting) -> list[str]:
        """Beam's flags for so many threads, one Python process on each machine where a model is loaded."""
        return Dataflow.of(setting).flags()

    def beam_runner(self, setting: Setting) -> Any:
        """Beam's own."""
        from poolsieve.dataflow.runners import dataflow_options  # noqa: F401  (Beam knows our flags once it is loaded)

        return "DataflowRunner"

    @contextlib.contextmanager
    def opened(self, setting: Setting) -> Iterator[Place]:
        """Google's service; nobody waits for a job that a Flex Template's launcher only writes down."""
        for name in ("--temp_location", "--staging_location"):
            _check_there(setting.flags, name)
        if flag_value(setting.flags, "--template_location"):
            yield Unwaited()
            return
        with guarded(Guard(new_log("dataflow"))) as guard:
            seconds = given.start_seconds(setting.flags) if given.flag(setting.flags, given.START) else math.inf
            yield OnDataflow("Dataflow", "", guard, start_seconds=seconds, account=tuple(setting.flags))

    def check_needs(self, setting: Setting, needs: Needs) -> None:
        """A GPU for scorers that name one, and for no others; everything where machines of Google's can reach it."""
        for place in needs.places:
            if "://" not in place or place.startswith(("file://", "memory://")):
                raise PlanError(
                    f"--runner dataflow: its machines can't reach {place}; OUT and the pool must be on a storage that "
                    "they can, as gs://my-bucket/out"
                )
        _check_gpus(Dataflow.of(setting), needs)

    def fit(self, setting: Setting, need: Need) -> StepFit:
        """The step's hints, and what they come to."""
        asked = Dataflow.of(setting)
        hints = asked.hints(need)
        if not need.models:
            note = "no model: the plain machines"
        elif "accelerator" in hints or asked.everywhere:
            note = f"{need.memory_gb} GB and a GPU for {', '.join((*need.must_gpu, *need.may_gpu)) or 'nothing'}"
        else:
            none = f"; no {ACCELERATOR}, so on CPUs: {', '.join(need.may_gpu)}" if need.may_gpu else ""
            note = f"{need.memory_gb} GB{none}"
        return StepFit(step=need.step, hints=hints, note=note)


@dataclass
class OnDataflow(Elsewhere):
    """A job of Google's service, which sees by itself, after an hour, that no worker comes.

    Attributes:
        account: flags that say whose job it is, and how the service is reached.
    """

    account: Sequence[str] = ()

    def _name(self, job: Submitted) -> None:
        self.what = f"Dataflow (job {job.id})"
        self.guard.watch(dataflow=str(job.id), flags=given.without(self.account, given.START))


class Unwaited(Place):
    """Where a job goes on, or begins, when this process has ended."""

    def run(self, pipeline: Any, sign: Sign) -> None:
        """Hands a pipeline over."""
        pipeline.run()


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _is_accelerator(option: str) -> bool:
    return option.startswith("worker_accelerator=")


def _check_bucket(flags: Sequence[str], name: str) -> None:
    folder = flag_value(flags, name)
    if folder is not None and not _BUCKET.fullmatch(folder):
        raise PlanError(f"{name}={folder}: a folder in a bucket is wanted, as gs://my-bucket/tmp")


def _check_gpus(asked: Dataflow, needs: Needs) -> None:
    """As many GPUs as scorers name, and none that nobody would use.

    Raises:
        PlanError: naming the scorers or the flag.
    """
    must = [name for need in needs.steps for name in need.must_gpu]
    if must and not (asked.accelerator or asked.everywhere):
        raise PlanError(
            f"{', '.join(must)} name a GPU as their device, and Dataflow's machines have none: add {ACCELERATOR}="
            "nvidia-l4 after --, or give the scorers device='auto'"
        )
    if asked.accelerator and not any(need.takes_gpu for need in needs.steps):
        raise PlanError(f"{ACCELERATOR}={asked.accelerator}: no scorer of this recipe would use a GPU: leave it out")
    most = max((need.gpus for need in needs.steps), default=0)
    if asked.accelerator and most > asked.count:
        raise PlanError(
            f"{ACCELERATOR}={asked.accelerator}:{asked.count} is too few GPUs for scorers that name cuda:{most - 1}: "
            f"write {ACCELERATOR}={asked.accelerator}:{most}, or device='cuda'"
        )


def _check_there(flags: Sequence[str], name: str) -> None:
    """Refuses a bucket that is not there: Beam's client would try it for hours, and say nothing.

    One that this process may not look at is the job's to tell: it may go by another account.

    Raises:
        PlanError: naming it.
    """
    folder = flag_value(flags, name) or ""
    bucket = "/".join(folder.split("/")[:3])
    if not bucket:
        return
    system, path = fs.connect(bucket)
    try:
        system.info(path)
    except FileNotFoundError as error:
        raise PlanError(f"{name}={folder}: there is no bucket {bucket}: make it, or name another") from error
    except Exception:  # noqa: BLE001  (each client of Google's has its own; the job will say it)
        return


def _check_together(asked: Dataflow, flags: Sequence[str]) -> None:
    """Refuses what Dataflow's guides say not to use with resource hints.

    Raises:
        PlanError: naming both.
    """
    if asked.everywhere and asked.accelerator:
        raise PlanError(
            f"{ACCELERATOR} gives the steps that score a GPU, and worker_accelerator all machines: choose one of them"
        )
    if flag_value(flags, "--flexrs_goal"):
        raise PlanError("--flexrs_goal: Dataflow has no machines of their own for single steps with it: leave it out")
    if asked.gpu_machine and not asked.accelerator:
        raise PlanError(f"{GPU_MACHINE}={asked.gpu_machine} is for {ACCELERATOR}, which is not given")
