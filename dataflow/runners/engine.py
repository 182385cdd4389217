"""Where pipelines run: the registered runners, and one of them with its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolsieve.dataflow.runners.base import Runner, Setting
from poolsieve.dataflow.runners.dataflow import DataflowRunner
from poolsieve.dataflow.runners.local import LocalRunner
from poolsieve.dataflow.runners.needs import ByPool, Fits, Here, Hints, Needs, RunnerPlan
from poolsieve.dataflow.runners.portable import PortableRunner
from poolsieve.scoring_models.base.errors import PlanError, unknown_name

if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

RUNNERS: Mapping[str, Runner] = {
    "local": LocalRunner(),
    "portable": PortableRunner(),
    "dataflow": DataflowRunner(),
}
"""Name -> runner: what `--runner` may be."""


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

    def options(self, processes: bool = False) -> PipelineOptions:
        """Beam's options."""
        from apache_beam.options.pipeline_options import PipelineOptions

        own = RUNNERS[self.runner].flags(self._setting(processes))
        return PipelineOptions([*own, "--no_save_main_session", *self.flags])

    def pipeline(self, processes: bool = False) -> beam.Pipeline:
        """An empty pipeline that will run here; `processes` says that threads would gain nothing."""
        import apache_beam as beam

        made = RUNNERS[self.runner].beam_runner(self._setting(processes))
        return beam.Pipeline(runner=made, options=self.options(processes))

    def check_needs(self, needs: Needs) -> None:
        """Refuses a job that can't run here, before any work starts.

        Raises:
            PlanError: with the reason, and what to do.
        """
        self._fits.check_needs(self._setting(False), needs)

    def hints(self, needs: Needs) -> dict[str, Hints]:
        """Step that scores -> its resource hints."""
        return {need.step: self._fits.fit(self._setting(False), need).hints for need in needs.steps}

    def describe(self, needs: Needs, processes: bool = False) -> RunnerPlan:
        """What the runner is told, and how it serves each step.

        Raises:
            PlanError: for a job that can't run here.
        """
        self.check_needs(needs)
        setting = self._setting(processes)
        flags = (*RUNNERS[self.runner].flags(setting), *self.flags)
        steps = tuple(self._fits.fit(setting, need) for need in needs.steps)
        return RunnerPlan(runner=self.runner, flags=flags, steps=steps)

    @property
    def _fits(self) -> Fits:
        """The runner, if it can give steps machines of their own; else what all can say that run here, or elsewhere."""
        runner = RUNNERS[self.runner]
        return runner if isinstance(runner, Fits) else Here() if self.runner == "local" else ByPool()
