"""Where pipelines run: the registered runners, and one of them with its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolsieve.dataflow.runners import given
from poolsieve.dataflow.runners.base import Runner, Setting
from poolsieve.dataflow.runners.flink import FlinkRunner
from poolsieve.dataflow.runners.local import LocalRunner
from poolsieve.dataflow.runners.place import Sign
from poolsieve.dataflow.runners.portable import PortableRunner
from poolsieve.dataflow.runners.prism import PrismRunner
from poolsieve.dataflow.runners.spark import SparkRunner
from poolsieve.scoring_models.base.errors import PlanError, unknown_name

if TYPE_CHECKING:
    import apache_beam as beam

Build = Callable[["beam.Pipeline"], None]
"""Adds steps to a pipeline."""

RUNNERS: Mapping[str, Runner] = {
    "local": LocalRunner(),
    "prism": PrismRunner(),
    "spark": SparkRunner(),
    "flink": FlinkRunner(),
    "portable": PortableRunner(),
}
"""Name -> runner: what `--runner` may be."""


def _nothing_seen() -> bool:
    return False


@dataclass(frozen=True)
class Engine:
    """A runner and how many workers it has.

    Args:
        runner: a name of `RUNNERS`.
        workers: shards at a time (local).
        flags: further Beam flags, as on a command line.

    Raises:
        PlanError: for an unknown runner, or settings that it can't work with.
    """

    runner: str = "local"
    workers: int = 1
    flags: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.runner not in RUNNERS:
            raise unknown_name(f"there is no runner {self.runner!r}", self.runner, RUNNERS)
        if not isinstance(self.flags, (list, tuple)) or not all(isinstance(one, str) for one in self.flags):
            raise PlanError(f"beam_flags={self.flags!r}: give a list of texts, as ['--job_endpoint=localhost:8099']")
        if self.flags and not self.flags[0].startswith("-"):
            raise PlanError(
                f"{self.flags[0]!r} is one argument too many: what follows is for Beam and begins with --, as "
                "--job_endpoint=localhost:8099; each parameter of a recipe has a -p of its own"
            )
        RUNNERS[self.runner].check(self._setting(False))

    def _setting(self, processes: bool) -> Setting:
        return Setting(workers=self.workers, processes=processes, flags=tuple(self.flags))

    def all_flags(self, processes: bool = False, opened: Sequence[str] = ()) -> list[str]:
        """Beam's flags: the runner's, then those of what was opened for the job, then the user's, which win."""
        own = opened or RUNNERS[self.runner].flags(self._setting(processes))
        return [*own, "--no_save_main_session", *given.without(self.flags, given.START)]

    def run(self, build: Build, *, processes: bool = False, sign: Sign = _nothing_seen) -> None:
        """Runs a pipeline here to its end.

        Args:
            build: adds the steps to an empty pipeline.
            processes: whether threads would gain nothing.
            sign: whether anything of the job was done since the last look; a job elsewhere without a sign is given up.

        Raises:
            PoolsieveError: whatever stopped it.
        """
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions

        runner, setting = RUNNERS[self.runner], self._setting(processes)
        with runner.opened(setting) as place:
            options = PipelineOptions(self.all_flags(processes, place.flags))
            pipeline = beam.Pipeline(runner=runner.beam_runner(setting), options=options)
            build(pipeline)
            place.run(pipeline, sign)
