"""Runner presets: pure functions from a few settings to Beam's pipeline options."""

from __future__ import annotations

import os
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions

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


def pipeline_options(runner: str, workers: int, program: Program, extra: Sequence[str] = ()) -> PipelineOptions:
    """Beam options for a run.

    Args:
        runner: `local`, or `portable` (a job service that `extra` names with --job_endpoint).
        workers: for `local`: shards at a time, in threads, or in processes where a scorer holds the interpreter lock.
        program: what will run, to see whether threads can help it.
        extra: further Beam flags, as on a command line.

    Raises:
        PlanError: for an unknown runner or a number of workers below one.
    """
    if runner not in RUNNERS:
        raise PlanError(f"runner {runner!r} is not one of {', '.join(RUNNERS)}")
    if workers < 1:
        raise PlanError(f"--workers {workers}: at least one worker is needed")
    flags = local_flags(workers, program) if runner == "local" else ["--runner=PortableRunner"]
    return PipelineOptions([*flags, "--no_save_main_session", *extra])


def local_flags(workers: int, program: Program) -> list[str]:
    """Flags of Beam's FnApiRunner."""
    if workers == 1:
        return ["--runner=FnApiRunner", "--direct_running_mode=in_memory"]
    locked = any(step.scorer.resources.holds_gil for step in program.scorers)
    models = any(hasattr(step.scorer, "load") for step in program.scorers)
    mode = "multi_processing" if locked and not models else "multi_threading"
    return ["--runner=FnApiRunner", f"--direct_running_mode={mode}", f"--direct_num_workers={workers}"]
