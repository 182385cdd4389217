"""Where pipelines run: the registered runners, and one of them with its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolsieve.dataflow.runners import given
from poolsieve.dataflow.runners.base import Runner, Setting, import_beam
from poolsieve.dataflow.runners.dataflow import DataflowRunner
from poolsieve.dataflow.runners.flink import FlinkRunner
from poolsieve.dataflow.runners.local import LocalRunner
from poolsieve.dataflow.runners.needs import ByPool, Fits, Here, Hints, Needs, RunnerPlan
from poolsieve.dataflow.runners.place import Sign
from poolsieve.dataflow.runners.portable import PortableRunner
from poolsieve.dataflow.runners.preflight import check_flags
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
    "dataflow": DataflowRunner(),
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
        if type(self.workers) is not int or self.workers < 1:
            raise PlanError(f"workers={self.workers!r}: a number of at least one worker is needed")
        if not isinstance(self.flags, (list, tuple)) or not all(isinstance(one, str) for one in self.flags):
            raise PlanError(f"beam_flags={self.flags!r}: give a list of texts, as ['--job_endpoint=localhost:8099']")
        if self.flags and not self.flags[0].startswith("-"):
            raise PlanError(
                f"{self.flags[0]!r} is one argument too many: what follows is for Beam and begins with --, as "
                "--job_endpoint=localhost:8099; each parameter of a recipe has a -p of its own"
            )
        RUNNERS[self.runner].check(self._setting(False))
        if self.flags:
            check_flags(self.flags)

    @property
    def in_memory(self) -> bool:
        """Whether what passes between steps lies in the memory of one process, however many work."""
        return bool(getattr(RUNNERS[self.runner], "in_memory", False))

    def _setting(self, processes: bool) -> Setting:
        return Setting(workers=self.workers, processes=processes, flags=tuple(self.flags))

    def all_flags(self, processes: bool = False, opened: Sequence[str] = ()) -> list[str]:
        """Beam's flags: the runner's, then those of what was opened for the job, then the user's, which win."""
        own = opened or RUNNERS[self.runner].flags(self._setting(processes))
        # A plain address has no versions with it, which the preset adds: without them a pool refuses nobody.
        asked = any(one.startswith(f"--{given.POOL}={{") for one in own)
        plain = asked and not given.flag(self.flags, given.POOL).startswith("{")
        theirs = given.without(self.flags, given.START, *([given.POOL] if plain else []))
        return [*own, "--no_save_main_session", *theirs]

    def run(self, build: Build, *, processes: bool = False, sign: Sign = _nothing_seen) -> None:
        """Runs a pipeline here to its end.

        Args:
            build: adds the steps to an empty pipeline.
            processes: whether threads would gain nothing.
            sign: whether anything of the job was done since the last look; a job elsewhere without a sign is given up.

        Raises:
            PoolsieveError: whatever stopped it.
        """
        import_beam()
        import apache_beam as beam

        from poolsieve.dataflow.runners.remembered import KeptOptions, remember_stateless

        runner, setting = RUNNERS[self.runner], self._setting(processes)
        with runner.opened(setting) as place:
            remember_stateless()
            options = KeptOptions(self.all_flags(processes, place.flags))
            pipeline = beam.Pipeline(runner=runner.beam_runner(setting), options=options)
            build(pipeline)
            place.run(pipeline, sign)

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
        flags = tuple(self.all_flags(processes))
        steps = tuple(self._fits.fit(setting, need) for need in needs.steps)
        return RunnerPlan(runner=self.runner, flags=flags, steps=steps)

    @property
    def _fits(self) -> Fits:
        """The runner, if it can give steps machines of their own; else what all can say that run here, or elsewhere."""
        runner = RUNNERS[self.runner]
        return runner if isinstance(runner, Fits) else Here() if self.runner == "local" else ByPool()
