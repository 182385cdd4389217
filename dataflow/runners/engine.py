"""Where pipelines run: the registered runners, and one of them with its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolsieve.dataflow.runners.base import Runner, Setting
from poolsieve.dataflow.runners.local import LocalRunner
from poolsieve.dataflow.runners.portable import PortableRunner
from poolsieve.scoring_models.base.errors import PlanError, unknown_name

if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

RUNNERS: Mapping[str, Runner] = {"local": LocalRunner(), "portable": PortableRunner()}
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
