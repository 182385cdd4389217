"""Our own flags among Beam's, so that its parser knows them; they stand in the job's options, where people see them."""

from __future__ import annotations

import argparse

from apache_beam.options.pipeline_options import PipelineOptions

from poolsieve.dataflow.runners.dataflow import ACCELERATOR, GPU_MACHINE


class FitOptions(PipelineOptions):
    """The machines of the steps that score. Beam finds the class by its base."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(ACCELERATOR, default=None, help="GPU of the steps that score: TYPE or TYPE:COUNT.")
        parser.add_argument(GPU_MACHINE, default=None, help="Type of machine of the steps that score on a GPU.")
