"""Any Beam job service, which the user names by Beam's own flags."""

from __future__ import annotations

from typing import Any

from poolsieve.dataflow import progress
from poolsieve.dataflow.runners.base import Setting
from poolsieve.scoring_models.base.errors import PlanError


class PortableRunner:
    """A job service that `--job_endpoint` names."""

    about = "a Beam job service (name it after --, as: -- --job_endpoint=localhost:8099)"

    def check(self, setting: Setting) -> None:
        """The service must be named: without one, Beam would look for Docker to start its own."""
        if not any(flag.startswith("--job_endpoint") for flag in setting.flags):
            raise PlanError("--runner portable needs its job service: add -- --job_endpoint=HOST:PORT")

    def flags(self, setting: Setting) -> list[str]:
        """None of ours."""
        return []

    def beam_runner(self, setting: Setting) -> Any:
        """Beam's own."""
        progress.goes_on_elsewhere()
        return "PortableRunner"
