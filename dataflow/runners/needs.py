"""What a job asks of the machines that run it, as far as its scorers say; each runner makes of it what it can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import msgspec

from poolsieve.dataflow.runners.base import Setting
from poolsieve.scoring_models.base.errors import PlanError

Hints = Mapping[str, str]
"""Beam's resource hints of a step, by name. Values are texts: Beam refuses numbers for some of them."""

BASE_MB = 2000
"""Megabytes of a worker besides its models: Python, Beam, torch and transformers take 840 when they are imported, four
shards under way up to 64 MB for each batch, and as much for what is decoded of them. A machine should have so much; it
is no limit."""

ONE_PROCESS = "--sdk_worker_parallelism"
"""Beam's flag for the Python processes that a Spark executor or a Flink task manager starts."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """What one step of the job asks of a worker.

    Attributes:
        step: the step that scores, by its name in the pipeline.
        models: score steps with a model, by name.
        must_gpu: those of them that name a GPU as their device.
        may_gpu: those that take one where there is one.
        memory_mb: of one loaded copy of each model, in megabytes, as the scorers declare it.
        gpus: that a machine must have, for the devices that they name (`cuda:1`: two).
    """

    step: str
    models: tuple[str, ...] = ()
    must_gpu: tuple[str, ...] = ()
    may_gpu: tuple[str, ...] = ()
    memory_mb: int = 0
    gpus: int = 0

    @property
    def takes_gpu(self) -> bool:
        """Whether a GPU would be used."""
        return bool(self.must_gpu or self.may_gpu)

    @property
    def memory_gb(self) -> int:
        """Gigabytes (10^9) that a worker of the step should have, rounded up."""
        return -(-(BASE_MB + self.memory_mb) // 1000)


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a whole job asks.

    Attributes:
        steps: each reading of the pool that scores.
        places: URLs and paths that every worker reads or writes: OUT, the pool.
    """

    steps: tuple[Need, ...] = ()
    places: tuple[str, ...] = ()


class StepFit(msgspec.Struct, kw_only=True, frozen=True):
    """How a runner serves one step.

    Attributes:
        hints: Beam's resource hints, on this step alone.
        note: for people.
    """

    step: str
    hints: dict[str, str]
    note: str


class RunnerPlan(msgspec.Struct, kw_only=True, frozen=True):
    """What `poolsieve plan --runner X` says of the runner.

    Attributes:
        flags: Beam's, as the pipeline would get them: the runner's own, then the user's.
    """

    runner: str
    flags: tuple[str, ...]
    steps: tuple[StepFit, ...]


@runtime_checkable
class Fits(Protocol):
    """A runner that can give steps machines of their own, or knows that it can't serve some."""

    def check_needs(self, setting: Setting, needs: Needs) -> None:
        """Refuses a job that can't run there.

        Raises:
            PlanError: with the reason, and what to do.
        """
        ...

    def fit(self, setting: Setting, need: Need) -> StepFit:
        """How a step is served."""
        ...


class ByPool:
    """Mix-in for runners whose Python workers come from pools of processes on machines that the user has set up.

    Neither Spark nor Flink is asked for a GPU or memory by Beam: their portable runners ignore resource hints. What
    can be set is how many Python processes an executor or a task manager starts, each with its own copy of a model.
    """

    def check_needs(self, setting: Setting, needs: Needs) -> None:
        """One process for each executor where a model goes to the GPU.

        Raises:
            PlanError: if several were asked for: each would load the model into the memory of the same GPU.
        """
        wanted = flag_value(setting.flags, ONE_PROCESS)
        gpu = [name for need in needs.steps for name in need.must_gpu]
        if gpu and wanted not in (None, "1"):
            raise PlanError(
                f"{ONE_PROCESS}={wanted}: {', '.join(gpu)} name a GPU, and each process of a machine would "
                f"load its model there; give {ONE_PROCESS}=1, or device='auto'"
            )

    def fit(self, setting: Setting, need: Need) -> StepFit:
        """What the machines of the pools must have."""
        copies = flag_value(setting.flags, ONE_PROCESS) or "1"
        gpu = f", and a GPU for {', '.join(need.must_gpu)}" if need.must_gpu else ""
        maybe = f"; {', '.join(need.may_gpu)} use a GPU where there is one" if need.may_gpu else ""
        each = f"each machine with a worker pool needs {need.memory_gb} GB for each process{gpu}{maybe}"
        return StepFit(step=need.step, hints={}, note=f"{each} ({ONE_PROCESS}={copies}; the runner passes no hints on)")


class Here:
    """Mix-in for the runner of this machine: a model finds its device when it is loaded."""

    def check_needs(self, setting: Setting, needs: Needs) -> None:
        """Nothing to refuse before the model is loaded."""

    def fit(self, setting: Setting, need: Need) -> StepFit:
        """What this machine must have."""
        gpu = f", and a GPU for {', '.join(need.must_gpu)}" if need.must_gpu else ""
        return StepFit(step=need.step, hints={}, note=f"this machine needs {need.memory_gb} GB{gpu}")


def flag_value(flags: Sequence[str], name: str) -> str | None:
    """The value of a Beam flag as users write it, `--name=value` or `--name value`; the last one counts."""
    found = None
    for i, flag in enumerate(flags):
        if flag.startswith(f"{name}="):
            found = flag.partition("=")[2]
        elif flag == name and i + 1 < len(flags):
            found = flags[i + 1]
    return found


def flag_values(flags: Sequence[str], name: str) -> list[str]:
    """Every value of a Beam flag that may be given several times."""
    starts = [i for i, flag in enumerate(flags) if flag == name or flag.startswith(f"{name}=")]
    made = [flag_value(flags[i : i + 2] if flags[i] == name else flags[i : i + 1], name) for i in starts]
    return [value for value in made if value is not None]
