"""Imported once by the process that workers are forked from: what each of them would import by itself."""

import importlib

from poolsieve.dataflow.runners.base import import_beam

import_beam()
for _name in (
    "apache_beam.runners.worker.sdk_worker",
    # By name, since rooms import only what is below them: a job's pickles name it too.
    "poolsieve.dataflow.passes.pipeline",
):
    importlib.import_module(_name)
