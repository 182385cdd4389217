"""This machine: Beam's FnApiRunner, by name, since `DirectRunner` tries to download another runner at each start."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import Any

from poolsieve.dataflow import progress
from poolsieve.dataflow.runners.base import Setting, quiet_threads
from poolsieve.dataflow.runners.place import Place


class LocalRunner:
    """Threads of this process, or processes where a scorer holds the interpreter lock."""

    in_memory = True
    about = "this machine, with --workers threads, or processes where scorers hold Python's lock"

    def check(self, setting: Setting) -> None:
        """Nothing that could be missing here."""

    def flags(self, setting: Setting) -> list[str]:
        """Beam's flags for so many threads or processes."""
        workers = f"--direct_num_workers={setting.workers}"
        if setting.workers == 1 or setting.processes:
            return [workers]
        return ["--direct_running_mode=multi_threading", workers]

    def opened(self, setting: Setting) -> contextlib.AbstractContextManager[Place]:
        """This process."""
        return contextlib.nullcontext(Place())

    def beam_runner(self, setting: Setting) -> Any:
        """FnApiRunner; with worker processes that end when this one does."""
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner
        from apache_beam.transforms.environments import SubprocessSDKEnvironment

        if setting.workers == 1 or not setting.processes:
            quiet_threads()
            return FnApiRunner()
        progress.goes_on_elsewhere()
        # What fails in a worker comes back as an exception; these would print its trace as well.
        for talkative in ("fn_api_runner.fn_runner", "local_job_service"):
            logging.getLogger(f"apache_beam.runners.portability.{talkative}").setLevel(logging.CRITICAL)
        command = f"{sys.executable} -m poolsieve.dataflow.runners.worker {os.getpid()}"
        return FnApiRunner(default_environment=SubprocessSDKEnvironment.from_command_string(command_string=command))
