"""Runner presets: pure functions from a few settings to Beam's pipeline options."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from poolsieve.dataflow.edits import editors
from poolsieve.dataflow.program import Program
from poolsieve.scoring_models.protocol import PlanError

RUNNERS = ("local", "portable")
"""`local` is Beam's FnApiRunner, by name: `DirectRunner` tries to download another runner each time it starts."""


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_for(workers: int) -> int:
    """Threads that one worker may keep busy, so that all of them together fill the machine."""
    return max(1, cores() // max(1, workers))


NOTHING = Program(())
"""A program without steps: for pipelines that score nothing."""


@dataclass(frozen=True)
class Engine:
    """Where pipelines run.

    Args:
        runner: `local`, or `portable` (a job service that `flags` names with --job_endpoint).
        workers: for `local`: shards at a time, in threads, or in processes where a scorer holds the interpreter lock.
        program: what will run, to see whether threads can help it.
        flags: further Beam flags, as on a command line.

    Raises:
        PlanError: for an unknown runner or a number of workers below one.
    """

    runner: str = "local"
    workers: int = 1
    program: Program = NOTHING
    flags: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.runner not in RUNNERS:
            raise PlanError(f"runner {self.runner!r} is not one of {', '.join(RUNNERS)}")
        if self.workers < 1:
            raise PlanError(f"--workers {self.workers}: at least one worker is needed")

    def options(self) -> PipelineOptions:
        """Beam's options."""
        flags = local_flags(self.workers, self.program) if self.runner == "local" else []
        return PipelineOptions([*flags, "--no_save_main_session", *self.flags])

    def pipeline(self) -> beam.Pipeline:
        """An empty pipeline that will run here."""
        made = make_runner(self.runner, self.workers, self.program)
        return beam.Pipeline(runner=made, options=self.options())


def local_flags(workers: int, program: Program) -> list[str]:
    """Flags of Beam's FnApiRunner."""
    if workers == 1 or processes_help(program):
        return [f"--direct_num_workers={workers}"]
    return ["--direct_running_mode=multi_threading", f"--direct_num_workers={workers}"]


def processes_help(program: Program) -> bool:
    """Whether workers should be processes: a scorer holds the interpreter lock, and no model would be loaded twice."""
    locked = any(step.scorer.resources.holds_gil or any(editors(step.inputs)) for step in program.scorers)
    return locked and not any(hasattr(step.scorer, "load") for step in program.scorers)


def make_runner(runner: str, workers: int, program: Program) -> Any:
    """The runner for `beam.Pipeline`."""
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.transforms.environments import SubprocessSDKEnvironment

    if runner != "local":
        return "PortableRunner"
    if workers == 1 or not processes_help(program):
        return FnApiRunner()
    logging.getLogger("apache_beam.runners.portability.fn_api_runner.fn_runner").setLevel(logging.ERROR)
    command = f"{sys.executable} -m poolsieve.dataflow.worker {os.getpid()}"
    return FnApiRunner(default_environment=SubprocessSDKEnvironment.from_command_string(command_string=command))
